// Who is here, who came and went, who is typing; the round trip; the link to share.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { within } from '../programs.mjs';
import { Socket, launch, launchDoomed, open, servePages } from './helpers.mjs';
import { Tab, serve } from './tab.mjs';

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

async function join(name, options) {
  const tab = await Tab.open(browser, `http://127.0.0.1:${server.port}/chat`, { name, ...options });
  tabs.push(tab);
  return tab;
}

/** Waits until `tab` lists exactly these, in whatever order, and itself once. */
const lists = (tab, ...names) => tab.sees(`the members ${names}`, ({ members }, names) => (
  members.length === names.length && members.filter((m) => m.you).length === 1
  && names.every((name) => members.some((m) => m.name.includes(name)))), names);

const notices = (tab, ...words) => tab.sees(`a notice of ${words}`,
  ({ notice }, words) => words.every((word) => notice.includes(word)), words);

describe('members', () => {
  test('whoever comes, is renamed and goes is seen by all', async () => {
    const anya = await join('Аня');
    await lists(anya, 'Аня');
    const boris = await join('Борис');
    await notices(anya, 'Борис');
    for (const tab of tabs) {
      const { count } = await lists(tab, 'Аня', 'Борис');
      assert.match(count, /\b2\b/);
    }
    await boris.rename('Боря');
    await notices(anya, 'Борис', 'Боря');
    for (const tab of tabs) await lists(tab, 'Аня', 'Боря');
    const vera = await join('Вера');
    for (const tab of tabs) await lists(tab, 'Аня', 'Боря', 'Вера');
    tabs.splice(tabs.indexOf(boris), 1);
    await boris.close();
    await notices(anya, 'Боря');
    for (const tab of tabs) await lists(tab, 'Аня', 'Вера');
    anya.madeNoMistake();
    vera.madeNoMistake();
  });

  test('ids are the same for all, and each marks itself', async () => {
    for (const name of ['Аня', 'Борис', 'Вера']) await join(name);
    const seen = [];
    for (const tab of tabs) seen.push((await lists(tab, 'Аня', 'Борис', 'Вера')).members);
    const ids = seen.map((members) => members.map((m) => m.id).toSorted());
    assert.deepEqual(ids[1], ids[0]);
    assert.deepEqual(ids[2], ids[0]);
    const own = seen.map((members) => members.find((m) => m.you).id);
    assert.equal(new Set(own).size, 3);
  });

  test('two of the same name are two', async () => {
    const [one, two] = [await join('Аня'), await join('Аня')];
    for (const tab of tabs) {
      await tab.sees('two of that name', ({ members }) => members.length === 2
        && members.every((m) => m.name.includes('Аня')));
    }
    await one.say('которая?');
    const { messages } = await two.shows('которая?');
    assert.equal(messages[0].own, false);
  });

  test('a tab whose renderer is killed has left', async () => {
    const anya = await join('Аня');
    const boris = await join('Борис');
    await lists(anya, 'Аня', 'Борис');
    const crashed = once(boris.page, 'crash');
    // Never answered: what would answer is gone.
    boris.page.goto('chrome://crash').catch(() => {});
    await within(crashed, 'the renderer crashes');
    await lists(anya, 'Аня');
    await notices(anya, 'Борис');
  });

  test('a browser that is killed has left, with all its tabs', async (t) => {
    const anya = await join('Аня');
    const doomed = await launchDoomed();
    t.after(() => doomed.process.kill('SIGKILL'));
    const url = `http://127.0.0.1:${server.port}/chat`;
    await Tab.open(doomed.browser, url, { name: 'Борис' });
    await Tab.open(doomed.browser, url, { name: 'Вера' });
    await lists(anya, 'Аня', 'Борис', 'Вера');
    doomed.process.kill('SIGKILL');
    await lists(anya, 'Аня');
  });

  test('a room of more than 200 shows how many, and who again when it is smaller', async () => {
    const anya = await join('Аня');
    const crowd = await open(browser, `http://127.0.0.1:${pages.port}/`);
    await crowd.evaluate(async (url) => {
      window.crowd = [];
      for (let i = 0; i < 203; i += 1) {
        const ws = new WebSocket(url, 'provod.room.v1');
        await new Promise((resolve, reject) => {
          ws.onerror = reject;
          ws.onopen = () => ws.send(JSON.stringify({ type: 'hello', name: `гость ${i}` }));
          ws.onmessage = resolve;
        });
        window.crowd.push(ws);
      }
    }, `ws://127.0.0.1:${server.port}/chat`);
    await anya.sees('204 here', ({ count }) => /\b204\b/.test(count));
    await anya.say('как вас много');
    await anya.delivered();
    await crowd.evaluate(() => window.crowd.splice(1).forEach((ws) => ws.close()));
    await lists(anya, 'Аня', 'гость 0');
    anya.madeNoMistake();
  });
});

describe('typing', () => {
  test('the notice comes, and goes with the message', async () => {
    const [anya, boris] = [await join('Аня'), await join('Борис')];
    await boris.part('text').pressSequentially('сейчас допи');
    await anya.sees('that Борис is typing', ({ typing }) => typing.includes('Борис'));
    assert.equal((await boris.look()).typing, '');
    await boris.part('text').press('Enter');
    await anya.sees('that nobody types', ({ typing }) => typing === '');
    await anya.shows('сейчас допи');
  });

  test('it goes by itself when nothing comes', async () => {
    const [anya, boris] = [await join('Аня', { frozen: true }), await join('Борис')];
    await boris.part('text').pressSequentially('передума');
    await anya.sees('that Борис is typing', ({ typing }) => typing.includes('Борис'));
    await anya.pass(6000);
    await anya.sees('that nobody types', ({ typing }) => typing === '');
    assert.deepEqual((await anya.look()).messages, []);
  });

  test('it goes when the one who types is gone', async () => {
    const [anya, boris] = [await join('Аня', { frozen: true }), await join('Борис')];
    await boris.part('text').pressSequentially('ой');
    await anya.sees('that Борис is typing', ({ typing }) => typing.includes('Борис'));
    tabs.pop();
    await boris.close();
    await anya.sees('that nobody types', ({ typing }) => typing === '');
  });
});

describe('the round trip', () => {
  test('is shown, in the words of the page', async () => {
    const [anya, boris] = [await join('Anya'), await join('Борис', { locale: 'ru-RU' })];
    await anya.sees('its round trip', ({ rtt }) => /^\D*\d+([.,]\d+)?\s*ms$/.test(rtt));
    await boris.sees('its round trip', ({ rtt }) => /^\D*\d+([.,]\d+)?\s*мс$/.test(rtt));
  });
});

describe('share', () => {
  const link = () => `http://127.0.0.1:${server.port}/chat`;

  test('copies the link of the room, and says so', async () => {
    const anya = await join('Аня');
    await anya.page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
    const label = await anya.part('share').innerText();
    const before = await anya.page.locator('body').innerText();
    await anya.part('share').click();
    await anya.page.waitForFunction((before) => document.body.innerText !== before, before);
    assert.equal(await anya.page.evaluate(() => navigator.clipboard.readText()), link());
    assert.notEqual(label, '');
    anya.madeNoMistake();
  });

  test('without a clipboard the link is there to be copied by hand', async () => {
    // As on plain http from another machine.
    const anya = await join('Аня', {
      before: () => Object.defineProperty(Navigator.prototype, 'clipboard', { value: undefined }),
    });
    await anya.part('share').click();
    await anya.page.waitForFunction((link) => [...document.querySelectorAll('body *')].some(
      (element) => element.checkVisibility({ visibilityProperty: true })
        && (element.value === link || element.textContent === link)), link());
    anya.madeNoMistake();
  });

  test('whoever opens the link is in the room', async () => {
    const anya = await join('Аня');
    await anya.page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
    await anya.part('share').click();
    await anya.page.waitForFunction(async () => (await navigator.clipboard.readText()) !== '');
    const copied = await anya.page.evaluate(() => navigator.clipboard.readText());
    tabs.push(await Tab.open(browser, copied, { name: 'Борис' }));
    await lists(anya, 'Аня', 'Борис');
  });
});
