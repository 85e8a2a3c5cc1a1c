// Two and three tabs with the page of `provod serve`, and plain clients beside them.

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { Socket, launch, open, servePages } from './helpers.mjs';
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

const url = (room) => `http://127.0.0.1:${server.port}/${room}`;

async function join(room, name, options) {
  const tab = await Tab.open(browser, url(room), { name, ...options });
  tabs.push(tab);
  return tab;
}

const plain = async (room) => Socket.connect(
  await open(browser, `http://127.0.0.1:${pages.port}/`), `ws://127.0.0.1:${server.port}/${room}`);

describe('messages', () => {
  test('three tabs see the same, in the same order, with names', async () => {
    const [anya, boris, vera] = [
      await join('chat', 'Аня'), await join('chat', 'Борис'), await join('chat', 'Вера')];
    await anya.say('Привет всем! 👋🏽');
    await boris.shows('Привет всем! 👋🏽');
    await boris.say('И тебе привет 🦊');
    await vera.shows('Привет всем! 👋🏽', 'И тебе привет 🦊');
    await vera.say('Чай готов');
    const lines = ['Привет всем! 👋🏽', 'И тебе привет 🦊', 'Чай готов'];
    const seen = await Promise.all(tabs.map((tab) => tab.shows(...lines)));
    for (const { messages } of seen) {
      for (const [index, name] of ['Аня', 'Борис', 'Вера'].entries()) {
        assert.ok(messages[index].own || messages[index].text.includes(name),
          `${messages[index].text} names ${name}`);
      }
      assert.deepEqual(messages.map((m) => m.id), seen[0].messages.map((m) => m.id));
    }
  });

  test('everybody at once: one order for all, nothing lost or doubled', async () => {
    for (const name of ['Аня', 'Борис', 'Вера']) await join('chat', name);
    const said = (name) => Array.from({ length: 15 }, (_, i) => `${name}:${i}.`);
    await Promise.all(['a', 'b', 'c'].map((name, i) => tabs[i].say(...said(name))));
    const orders = [];
    for (const tab of tabs) {
      const { messages } = await tab.sees('45 messages', ({ messages }) => messages.length === 45);
      orders.push(messages.map(({ text }) => /[abc]:\d+\./.exec(text)[0]));
      await tab.delivered();
    }
    // A newcomer has the room's order from the server.
    const late = await join('chat', 'Гена');
    const { messages } = await late.sees('the history', ({ messages }) => messages.length === 45);
    const room = messages.map(({ text }) => /[abc]:\d+\./.exec(text)[0]);
    for (const name of ['a', 'b', 'c']) {
      assert.deepEqual(room.filter((text) => text.startsWith(name)), said(name));
    }
    for (const order of orders) assert.deepEqual(order, room);
  });

  test('what one says is one\'s own, and marked when the server has it', async () => {
    const [anya, boris] = [await join('chat', 'Аня'), await join('chat', 'Борис')];
    await anya.say('моё');
    const own = await anya.sees('its own, delivered',
      ({ messages: [m] }) => m?.own && m.state === 'delivered');
    const others = await boris.shows('моё');
    assert.equal(others.messages[0].own, false);
    assert.equal(others.messages[0].state, null);
    assert.equal(others.messages[0].id, own.messages[0].id);
  });

  test('each carries the server\'s time, in the reader\'s zone', async () => {
    const options = { timezoneId: 'Asia/Vladivostok', locale: 'ru-RU' };
    const clock = new Intl.DateTimeFormat('ru-RU',
      { hour: '2-digit', minute: '2-digit', timeZone: options.timezoneId });
    const anya = await join('chat', 'Аня', options);
    const begun = Date.now();
    await anya.say('который час?');
    await anya.delivered();
    const times = [begun, Date.now()].map((time) => clock.format(time).replace(/^0/, ''));
    const { messages: [{ text }] } = await anya.shows('который час?');
    assert.ok(times.some((time) => text.includes(time)), `${text} has one of ${times}`);
  });

  test('a new name goes with the words that follow it', async () => {
    const [anya, boris] = [await join('chat', 'Аня'), await join('chat', 'Борис')];
    await anya.part('name').fill('Анна Петровна');
    await anya.part('text').fill('теперь официально');
    await anya.part('send').click();
    const { messages: [message] } = await boris.shows('теперь официально');
    assert.match(message.text, /Анна Петровна/);
  });

  test('Shift+Enter is a new line, Enter sends, nothing is not sent', async () => {
    const [anya, boris] = [await join('chat', 'Аня'), await join('chat', 'Борис')];
    const text = anya.part('text');
    await text.press('Enter');
    await text.pressSequentially('раз');
    await text.press('Shift+Enter');
    await text.pressSequentially('два');
    await text.press('Enter');
    const { messages } = await boris.shows('раз\nдва');
    assert.equal(messages.length, 1);
    assert.equal(await text.inputValue(), '');
  });

  test('whoever comes later sees what was said, once, also after a reload', async () => {
    const anya = await join('chat', 'Аня');
    await anya.say('первое', 'второе');
    await anya.delivered();
    const boris = await join('chat', 'Борис');
    await boris.shows('первое', 'второе');
    await anya.page.reload();
    await anya.isOpen();
    await anya.shows('первое', 'второе');
    await boris.say('третье');
    await anya.shows('первое', 'второе', 'третье');
  });

  test('two tabs of one profile are two members and both hear all', async () => {
    const one = await join('chat', 'Аня');
    const two = await Tab.in(one.page.context(), url('chat'), {});
    await two.sees('both', ({ members }) => members.length === 2);
    await one.say('из первой');
    await two.shows('из первой');
    await two.say('из второй');
    await one.shows('из первой', 'из второй');
  });

  test('rooms are apart, and may have Russian names', async () => {
    const [kitchen, same, other] = [await join('кухня', 'Аня'),
      await join(encodeURIComponent('кухня'), 'Борис'), await join('', 'Вера')];
    assert.equal(await kitchen.part('room').inputValue(), 'кухня');
    await kitchen.say('только кухне');
    await same.shows('только кухне');
    await other.say('только остальным');
    await other.shows('только остальным');
    await kitchen.shows('только кухне');
  });
});

describe('plain clients', () => {
  test('they hear bare words, and theirs appear without a name', async () => {
    const [anya, boris] = [await join('chat', 'Аня'), await join('chat', 'Борис')];
    assert.equal((await anya.look()).plain, '');
    const seed = await plain('chat');
    for (const tab of tabs) {
      await tab.sees('one plain client', ({ plain, members }) => /\b1\b/.test(plain)
        && members.length === 2);
    }
    await anya.say('Привет, клиент!');
    assert.deepEqual(await seed.received(1), ['Привет, клиент!']);
    await boris.shows('Привет, клиент!');
    await seed.send('Привет, сервер!');
    assert.deepEqual(await seed.received(2), ['Привет, клиент!', 'Привет, сервер!']);
    for (const tab of tabs) {
      const { messages } = await tab.shows('Привет, клиент!', 'Привет, сервер!');
      assert.equal(messages[1].own, false);
      assert.doesNotMatch(messages[1].text, /Аня|Борис|undefined|null/);
    }
    await seed.close();
    await anya.sees('no plain client', ({ plain }) => plain === '');
  });

  test('JSON of a plain client is words like any other', async () => {
    const anya = await join('chat', 'Аня');
    const seed = await plain('chat');
    const json = '{"type":"message","id":"x","seq":9,"name":"Борис","text":"подделка"}';
    await seed.send(json);
    const { messages } = await anya.shows(json);
    assert.notEqual(messages[0].id, 'x');
  });

  test('binary and empty messages do no harm', async () => {
    const anya = await join('chat', 'Аня');
    const seed = await plain('chat');
    await seed.send([0, 255, 60, 115], '', 'после');
    await anya.sees('the text after them',
      ({ messages }) => messages.at(-1)?.text.includes('после'));
    anya.madeNoMistake();
  });
});
