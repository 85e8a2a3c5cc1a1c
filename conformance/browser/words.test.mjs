// The page speaks the language of the browser: Russian to those who ask for it, else English.

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { Socket, launch, open, servePages } from './helpers.mjs';
import { Tab, crash, serve } from './tab.mjs';

let browser;
let pages;
let server;
let tabs;

before(async () => {
  pages = await servePages();
  browser = await launch();
});

after(async () => {
  await browser?.close();
  pages?.close();
});

beforeEach(async () => {
  server = await serve();
  tabs = [];
});

afterEach(async () => {
  for (const tab of tabs) await tab.close();
  server?.kill();
});

async function join(room, locale, options) {
  const tab = await Tab.open(browser, `http://127.0.0.1:${server.port}/${room}`,
    { locale, ...options });
  tabs.push(tab);
  return tab;
}

/**
 * Every word that the page itself has to say, shown or read out, but for code.
 */
async function words(tab) {
  const found = await tab.page.evaluate(() => {
    const said = [];
    const walker = document.createTreeWalker(document.documentElement, NodeFilter.SHOW_ELEMENT);
    for (let element = walker.currentNode; element; element = walker.nextNode()) {
      if (element.closest('script, style, code, pre, noscript, svg')) continue;
      for (const name of ['aria-label', 'title', 'placeholder', 'alt', 'aria-description']) {
        if (element.hasAttribute(name)) said.push(element.getAttribute(name));
      }
      for (const node of element.childNodes) {
        if (node.nodeType === Node.TEXT_NODE) said.push(node.data);
      }
    }
    return said;
  });
  return found.map((text) => text.trim()).filter((text) => text !== '');
}

/** Every word is of the script of this language, but for proper names, keys and addresses. */
async function speaks(tab, language) {
  const foreign = language === 'ru' ? /\p{Script=Latin}/u : /\p{Script=Cyrillic}/u;
  const said = await words(tab);
  const proper = /Provod|WebSocket|provod serve|Enter|Shift|Esc|https?:\/\/\S+/g;
  const wrong = said.filter((text) => foreign.test(text.replace(proper, '')));
  assert.deepEqual(wrong, [], `only ${language}`);
  assert.equal(await tab.page.evaluate(() => document.documentElement.lang), language);
  tab.madeNoMistake();
  return said;
}

describe('languages', () => {
  for (const [locale, language] of [
    ['ru-RU', 'ru'], ['ru', 'ru'], ['en-GB', 'en'], ['de-DE', 'en'],
  ]) {
    test(`${locale} is answered in ${language}`, async () => {
      // Names and texts without letters, so that all that are left are the page's own.
      const tab = await join('1', locale);
      const said = await speaks(tab, language);
      assert.ok(said.length > 5, `it says something: ${said}`);
      await tab.rename('101');
      await tab.say('1 + 1 = 2');
      await tab.delivered();
      const other = await join('1', locale, { name: '202' });
      await other.part('text').pressSequentially('…');
      await tab.sees('who came and types', ({ notice, typing }) => (
        notice.includes('202') && typing.includes('202')));
      await speaks(tab, language);
      tabs.pop();
      await other.close();
      await tab.sees('who left', ({ members }) => members.length === 1);
      await speaks(tab, language);
      await tab.part('share').click();
      await speaks(tab, language);
      await crash(server);
      await tab.sees('the countdown', ({ retry, countdown }) => retry && countdown !== '');
      await tab.say('2 + 2 = 4');
      await speaks(tab, language);
    });
  }

  test('a refusal is explained in Russian', async () => {
    const tab = await join('1', 'ru-RU', { name: '101' });
    await tab.part('name').fill('\u202E');
    await tab.part('name').press('Enter');
    await tab.say('1'.repeat(4001));
    await tab.sees('why', ({ error, messages }) => (
      error !== '' || messages.some((m) => m.state === 'refused')));
    await speaks(tab, 'ru');
  });
});

describe('numbers', () => {
  /** How many are here, as it is read out: on the page it may be a number beside a picture. */
  const counted = (tab, people) => tab.sees(`${people} people`,
    ({ count }, people) => new RegExp(`(^|\\D)${people}(\\D|$)`).test(count), people)
    .then(() => tab.part('count').evaluate((element) => (
      element.closest('[aria-label]')?.ariaLabel ?? element.innerText)));

  test('of people, in Russian, take the right form', async () => {
    const tab = await join('many', 'ru-RU');
    const crowd = await open(browser, `http://127.0.0.1:${pages.port}/`);
    for (let people = 1; people <= 22; people += 1) {
      const teen = people >= 11 && people <= 14;
      const few = !teen && [2, 3, 4].includes(people % 10);
      const form = new RegExp(`(^|\\D)${people} ${few ? 'человека' : 'человек'}(\\P{L}|$)`, 'u');
      assert.match(await counted(tab, people), form);
      const socket = await Socket.connect(crowd, `ws://127.0.0.1:${server.port}/many`,
        'provod.room.v1');
      await socket.send('{"type":"hello","name":"гость"}');
    }
  });

  test('of people, in English, too', async () => {
    const tab = await join('pair', 'en-US');
    assert.match(await counted(tab, 1), /\b1 person\b/);
    await join('pair', 'en-US');
    assert.match(await counted(tab, 2), /\b2 people\b/);
  });

  test('of seconds, in Russian', async () => {
    const before = () => { Math.random = () => 0.999; };
    const tab = await join('1', 'ru-RU', { frozen: true, before });
    await crash(server);
    for (const wait of ['1 секунду', '1 секунду', '2 секунды', '4 секунды', '8 секунд']) {
      await tab.sees(wait, ({ countdown }, wait) => new RegExp(`${wait}(\\P{L}|$)`, 'u')
        .test(countdown), wait);
      await tab.pass(parseInt(wait) * 1000);
    }
  });
});
