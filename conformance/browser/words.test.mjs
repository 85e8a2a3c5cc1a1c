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
 * Every word that the page itself has to say, shown or read out, but for its own name, code,
 * addresses and what people have written.
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

/** All words are of this script; `others` are words that people have brought. */
async function speaks(tab, language, ...others) {
  const foreign = language === 'ru' ? /\p{Script=Latin}/u : /\p{Script=Cyrillic}/u;
  const said = await words(tab);
  const wrong = said.map((text) => others.reduce((rest, other) => rest.replaceAll(other, ''), text)
    .replace(/Provod|Enter|Shift|Esc(ape)?|https?:\/\/\S+/g, '')).filter((text) => foreign.test(text));
  assert.deepEqual(wrong, [], `only ${language}`);
  assert.equal(await tab.page.evaluate(() => document.documentElement.lang), language);
  tab.madeNoMistake();
  return said;
}

describe('languages', () => {
  for (const [locale, language] of [['ru-RU', 'ru'], ['ru', 'ru'], ['en-GB', 'en'], ['de-DE', 'en']]) {
    test(`${locale} is answered in ${language}`, async () => {
      // Names and texts without letters, so that all that are left are the page's own.
      const tab = await join('1', locale);
      const said = await speaks(tab, language);
      assert.ok(said.length > 5, `it says something: ${said}`);
      await tab.rename('101');
      await tab.say('1 + 1 = 2');
      await tab.delivered();
      const other = await join('1', 'en-US', { name: '202' });
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
  test('of people, in Russian, take the right form', async () => {
    const tab = await join('many', 'ru-RU');
    const crowd = await open(browser, `http://127.0.0.1:${pages.port}/`);
    const url = `ws://127.0.0.1:${server.port}/many`;
    const forms = {};
    for (let people = 1; people <= 22; people += 1) {
      const { count } = await tab.sees(`${people} people`,
        ({ count }, people) => new RegExp(`(^|\\D)${people}(\\D|$)`).test(count), people);
      forms[people] = count.replace(/\d+/, '').trim();
      const socket = await Socket.connect(crowd, url, 'provod.room.v1');
      await socket.send('{"type":"hello","name":"гость"}');
    }
    const one = forms[1];
    const few = forms[2];
    const many = forms[5];
    assert.notEqual(few, one);
    for (const [people, form] of Object.entries(forms).map(([n, form]) => [Number(n), form])) {
      const teens = people % 100 >= 11 && people % 100 <= 14;
      const expected = teens || people % 10 === 0 || people % 10 > 4 ? many
        : people % 10 === 1 ? one : few;
      assert.equal(form, expected, `${people} ${form}`);
    }
  });

  test('of people, in English, too', async () => {
    const tab = await join('pair', 'en-US');
    const alone = (await tab.sees('one', ({ count }) => /\b1\b/.test(count))).count;
    await join('pair', 'en-US');
    const pair = (await tab.sees('two', ({ count }) => /\b2\b/.test(count))).count;
    assert.match(alone.replace('1', ''), /person|member|participant|user|here|online/);
    assert.notEqual(`${alone}`, `${pair}`);
  });
});
