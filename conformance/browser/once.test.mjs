// Nothing that is typed is lost, and nobody sees anything twice: the server is killed, answers are
// lost, pages are reloaded.

import assert from 'node:assert/strict';
import { setTimeout as elapsed } from 'node:timers/promises';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { launch } from './helpers.mjs';
import { Tab, crash, serve } from './tab.mjs';
import { Wire } from './wire.mjs';

const NAMES = ['Аня', 'Борис', 'Вера'];

let browser;
let server;
let wires;
let tabs;

before(async () => {
  browser = await launch();
});

after(() => browser?.close());

/** Each tab has a wire of its own, so that the faults of one are not those of the others. */
beforeEach(async () => {
  server = await serve();
  wires = [];
  tabs = [];
  for (const name of NAMES) {
    const wire = await Wire.to(server.port);
    wires.push(wire);
    tabs.push(await Tab.open(browser, `http://127.0.0.1:${wire.port}/chat`, { name }));
  }
});

afterEach(async () => {
  for (const tab of tabs) await tab.close();
  for (const wire of wires) wire.close();
  server?.kill();
});

async function again() {
  server = await serve({ port: server.port });
}

/** The tabs' waits may be long by now; this is what the browser says when a network comes. */
const networkCame = () => Promise.all(
  tabs.map((tab) => tab.page.evaluate(() => dispatchEvent(new Event('online')))));

/** What each has said, as `name:number.`, to be found again in what is shown. */
class Talk {
  #count = 0;
  said = [];

  async say(tab, name) {
    const text = `${name}:${this.#count++}.`;
    this.said.push(text);
    await tab.say(text);
  }

  /** Everybody sees everything exactly once, each speaker's words in the order of speaking. */
  async hasArrived() {
    for (const tab of tabs) await tab.delivered();
    // Whatever was said twice comes before these.
    for (const [index, name] of NAMES.entries()) await this.say(tabs[index], name);
    const found = tabs.map(async (tab, index) => {
      await tab.sees(`${this.said.length} messages`,
        ({ messages }, count) => messages.length >= count, this.said.length);
      await tab.delivered();
      const { messages } = await tab.look();
      const shown = messages.map(({ text }) => /\p{L}+:\d+\./u.exec(text)[0]);
      for (const name of NAMES) {
        const of = (texts) => texts.filter((text) => text.startsWith(`${name}:`));
        assert.deepEqual(of(shown), of(this.said), `${name}'s words at ${NAMES[index]}`);
      }
      assert.equal(shown.length, this.said.length);
      tab.madeNoMistake();
    });
    await Promise.all(found);
  }
}

describe('the server is killed and started again', () => {
  test('what three people type meanwhile arrives at everybody', async () => {
    const talk = new Talk();
    const typing = async (index, count) => {
      for (let i = 0; i < count; i += 1) await talk.say(tabs[index], NAMES[index]);
    };
    const all = (count) => Promise.all(NAMES.map((_, index) => typing(index, count)));
    await all(2);
    const killed = crash(server);
    await all(3);
    await killed;
    for (const tab of tabs) await tab.isNotOpen();
    await all(2);
    const starts = again();
    await all(2);
    await starts;
    await talk.hasArrived();
  });

  test('twelve times, in the very moment of sending', async () => {
    const talk = new Talk();
    for (let round = 0; round < 12; round += 1) {
      for (const tab of tabs) await tab.isOpen();
      const said = NAMES.map((name, index) => talk.say(tabs[index], name));
      // Another moment in each round: before, between, and after the words reach the server.
      await Promise.all([...said, elapsed(round * 4).then(() => crash(server))]);
      await again();
      await networkCame();
    }
    await talk.hasArrived();
  });

  test('a drain loses nothing either', async () => {
    const talk = new Talk();
    for (let round = 0; round < 3; round += 1) {
      for (const tab of tabs) await tab.isOpen();
      const ended = server.end('SIGTERM');
      for (const [index, name] of NAMES.entries()) await talk.say(tabs[index], name);
      await ended;
      await again();
      await networkCame();
    }
    await talk.hasArrived();
  });
});

describe('in doubt: others have heard it, and the answer is lost', () => {
  for (const history of [50, 0]) test(`the server is alive, its history ${history}`, async () => {
    await crash(server);
    for (const tab of tabs) await tab.isNotOpen();
    server = await serve({ port: server.port, options: ['--history', String(history)] });
    await networkCame();
    for (const tab of tabs) await tab.isOpen();
    const talk = new Talk();
    for (let round = 0; round < 3; round += 1) {
      wires[0].holdAnswers();
      await talk.say(tabs[0], 'Аня');
      for (const tab of tabs.slice(1)) {
        await tab.sees('her words', ({ messages }, count) => messages.length === count, round + 1);
      }
      await tabs[0].sees('that they are on their way',
        ({ messages }) => messages.at(-1).state === 'sending');
      wires[0].cut();
      wires[0].flow();
      await tabs[0].isNotOpen();
      await networkCame();
      await tabs[0].delivered();
    }
    await talk.hasArrived();
  });

  test('and the server that knew is killed', async () => {
    const talk = new Talk();
    for (let round = 0; round < 3; round += 1) {
      wires[0].holdAnswers();
      await talk.say(tabs[0], 'Аня');
      await talk.say(tabs[0], 'Аня');
      for (const tab of tabs.slice(1)) {
        await tab.sees('her words', ({ messages }, count) => messages.length === count,
          talk.said.length);
      }
      await crash(server);
      wires[0].cut();
      wires[0].flow();
      for (const tab of tabs) await tab.isNotOpen();
      await again();
      await networkCame();
      for (const tab of tabs) await tab.isOpen();
      await tabs[0].delivered();
      // Comes after her repeated words, wherever they went.
      await talk.say(tabs[1], 'Борис');
      for (const tab of tabs) {
        await tab.sees('all', ({ messages }, count) => messages.length >= count, talk.said.length);
      }
    }
    await talk.hasArrived();
  });
});

describe('the page is reloaded', () => {
  /** New documents load, connections do not come to be. */
  async function isolate() {
    wires[0].webSockets = false;
    wires[0].cut();
    await tabs[0].isNotOpen();
  }

  async function reunite() {
    wires[0].webSockets = true;
    await networkCame();
    await tabs[0].isOpen();
  }

  test('what was unsent is kept, and sent once', async () => {
    const talk = new Talk();
    await talk.say(tabs[0], 'Аня');
    await tabs[0].delivered();
    await isolate();
    for (let i = 0; i < 3; i += 1) await talk.say(tabs[0], 'Аня');
    for (let i = 0; i < 2; i += 1) {
      await tabs[0].page.reload();
      await tabs[0].sees('three unsent', ({ messages }) => (
        messages.filter((m) => m.own && m.state === 'sending').length === 3));
    }
    await reunite();
    await talk.hasArrived();
    // What is delivered is not kept: another reload sends nothing again.
    await tabs[0].page.reload();
    await tabs[0].isOpen();
    await talk.say(tabs[0], 'Аня');
    await talk.hasArrived();
  });

  test('what was in doubt is sent again as the same', async () => {
    const talk = new Talk();
    wires[0].holdAnswers();
    await talk.say(tabs[0], 'Аня');
    await tabs[1].sees('her words', ({ messages }) => messages.length === 1);
    wires[0].cut();
    wires[0].flow();
    await tabs[0].page.reload();
    await tabs[0].isOpen();
    await talk.hasArrived();
  });

  test('a duplicate of the tab, with what was unsent, doubles nothing', async () => {
    const talk = new Talk();
    await isolate();
    await talk.say(tabs[0], 'Аня');
    const [page] = await Promise.all([
      tabs[0].page.waitForEvent('popup'),
      tabs[0].page.evaluate(() => { window.open(location.href); }),
    ]);
    const duplicate = new Tab(page);
    await duplicate.sees('the unsent one', ({ messages }) => messages.length === 1);
    await reunite();
    await page.evaluate(() => dispatchEvent(new Event('online')));
    await duplicate.isOpen();
    await talk.say(tabs[1], 'Борис');
    await talk.hasArrived();
    const { messages } = await duplicate.sees('all, once',
      ({ messages }, count) => messages.length === count, talk.said.length);
    assert.deepEqual(messages.map((m) => /\p{L}+:\d+\./u.exec(m.text)[0]), talk.said);
  });

  test('another room does not get what was meant for this one', async () => {
    await isolate();
    await tabs[0].say('только для chat');
    const stranger = await Tab.open(browser, `http://127.0.0.1:${server.port}/elsewhere`);
    tabs.push(stranger);
    await tabs[0].page.goto(`http://127.0.0.1:${wires[0].port}/elsewhere`);
    wires[0].webSockets = true;
    await tabs[0].page.evaluate(() => dispatchEvent(new Event('online')));
    await tabs[0].isOpen();
    await tabs[0].say('здесь');
    await stranger.shows('здесь');
    await tabs[0].page.goto(`http://127.0.0.1:${wires[0].port}/chat`);
    await tabs[1].shows('только для chat');
  });
});
