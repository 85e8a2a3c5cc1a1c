// The server or the network is gone for a while: what the page says and does.

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { launch } from './helpers.mjs';
import { Tab, crash, serve } from './tab.mjs';
import { Wire } from './wire.mjs';

let browser;
let server;
let wire;
let tabs;

before(async () => {
  browser = await launch();
});

after(() => browser?.close());

beforeEach(async () => {
  server = await serve();
  wire = await Wire.to(server.port);
  tabs = [];
});

afterEach(async () => {
  for (const tab of tabs) await tab.close();
  wire?.close();
  server?.kill();
});

/** Through the wire; `direct` past it. */
async function join(name, { direct = false, ...options } = {}) {
  const port = direct ? server.port : wire.port;
  const tab = await Tab.open(browser, `http://127.0.0.1:${port}/chat`, { name, ...options });
  tabs.push(tab);
  return tab;
}

/** Another server where the last one was. */
async function again(options) {
  server = await serve({ port: server.port, options });
}

/** Lets a frozen tab come to its next try, and no further: that takes its own time. */
async function nextTry(tab) {
  const { countdown } = await waits(tab);
  await tab.pass(Number(/\d+/.exec(countdown)[0]) * 1000);
}

const waits = (tab) => tab.sees('the time of the next try, and a way to try now',
  ({ state, countdown, retry }) => state !== 'open' && /\d/.test(countdown) && retry);

describe('the server is killed', () => {
  test('the page counts down, and comes back by itself', async () => {
    const anya = await join('Аня', { direct: true });
    await crash(server);
    await waits(anya);
    await again();
    const seen = await anya.isOpen();
    assert.equal(seen.countdown, '');
    assert.equal(seen.retry, false);
    assert.equal(seen.error, '');
    anya.madeNoMistake();
  });

  test('the countdown counts, each wait is longer, and it ends with a try', async () => {
    // The most that jitter can do, each time.
    const before = () => { Math.random = () => 0.999; };
    const anya = await join('Аня', { frozen: true, before });
    await wire.refuse();
    const waited = [];
    for (let i = 0; i < 5; i += 1) {
      const { countdown } = await waits(anya);
      const seconds = Number(/\d+/.exec(countdown)[0]);
      waited.push(seconds);
      if (seconds > 2) {
        await anya.pass(1000);
        await anya.sees('one second less', ({ countdown }, seconds) => (
          Number(/\d+/.exec(countdown)?.[0]) === seconds - 1), seconds);
      }
      await nextTry(anya);
    }
    for (let i = 1; i < waited.length; i += 1) {
      assert.ok(waited[i] >= waited[i - 1], `waits of ${waited} seconds`);
    }
    assert.ok(waited.at(-1) >= 4 && waited.at(-1) <= 30, `waits of ${waited} seconds`);
    // The last try must have been refused: one that is still on its way would pass now.
    await waits(anya);
    await wire.restore();
    await nextTry(anya);
    await anya.isOpen();
  });

  test('"try now" tries now', async () => {
    const anya = await join('Аня', { frozen: true });
    await crash(server);
    await waits(anya);
    await again();
    // No time passes in the page: nothing but the button can be the reason.
    await anya.part('retry').click();
    await anya.isOpen();
    assert.equal((await anya.look()).retry, false);
  });

  test('what had been said stays on the page', async () => {
    const anya = await join('Аня', { direct: true });
    const boris = await join('Борис', { direct: true });
    await anya.say('до');
    await boris.shows('до');
    await crash(server);
    await again();
    for (const tab of tabs) await tab.isOpen();
    await boris.say('после');
    for (const tab of tabs) {
      await tab.shows('до', 'после');
      await tab.sees('both members', ({ members }) => members.length === 2);
    }
  });

  test('the drain of SIGTERM is no error, and all come back', async () => {
    for (const name of ['Аня', 'Борис', 'Вера']) await join(name, { direct: true });
    await server.end('SIGTERM');
    for (const tab of tabs) await waits(tab);
    await again();
    for (const tab of tabs) {
      await tab.isOpen();
      await tab.sees('all three', ({ members }) => members.length === 3);
      tab.madeNoMistake();
    }
  });
});

describe('the network goes and comes back', () => {
  test('no tries while the browser is offline, one at once when it is online', async () => {
    const anya = await join('Аня', { frozen: true });
    await anya.page.context().setOffline(true);
    await wire.refuse();
    await anya.isNotOpen();
    await anya.say('из туннеля');
    await wire.restore();
    const { attempts } = wire;
    await anya.pass(120_000);
    assert.equal(wire.attempts, attempts);
    await anya.isNotOpen();
    await anya.page.context().setOffline(false);
    await anya.isOpen();
    await anya.delivered();
    assert.equal(wire.attempts, attempts + 1);
    await anya.shows('из туннеля');
  });

  // No tab of a headless browser sleeps or is hidden, so the events are made.
  for (const [target, type] of [
    ['document', 'visibilitychange'], ['document', 'resume'], ['window', 'pageshow'],
  ]) {
    test(`a page that wakes up (${type}) tries at once`, async () => {
      const anya = await join('Аня', { frozen: true });
      await wire.refuse();
      await waits(anya);
      await wire.restore();
      await anya.page.evaluate(([target, type]) => {
        window[target].dispatchEvent(new Event(type));
      }, [target, type]);
      await anya.isOpen();
    });
  }

  test('a connection that has gone silent is noticed by the ping, and replaced', async () => {
    const anya = await join('Аня', { frozen: true });
    const boris = await join('Борис', { direct: true });
    await anya.say('слышно?');
    await anya.delivered();
    wire.stall();
    await anya.say('а теперь?');
    await anya.pass(40_000);
    await anya.isNotOpen();
    await boris.say('что-то тихо');
    // Refused, not only cut: a try that is on its way in this moment would pass.
    await wire.refuse();
    await waits(anya);
    wire.flow();
    await wire.restore();
    await nextTry(anya);
    await anya.isOpen();
    await anya.delivered();
    await boris.shows('слышно?', 'что-то тихо', 'а теперь?');
    const { messages } = await anya.sees('all three', ({ messages }) => messages.length === 3);
    assert.ok(messages.some((m) => m.text.includes('что-то тихо')));
    // It took the place of its own old connection, and is one member.
    for (const tab of tabs) await tab.sees('two members', ({ members }) => members.length === 2);
    anya.madeNoMistake();
  });

  test('a connection that answers is left alone', async () => {
    const anya = await join('Аня', { frozen: true });
    for (let i = 0; i < 5; i += 1) {
      await anya.pass(9_000);
      // What comes back after that shows that the answer to a ping has come, too.
      await anya.say(`слово ${i}`);
      await anya.delivered();
    }
    assert.equal(wire.attempts, 1);
    await anya.isOpen();
  });

  test('a connection that is never made is given up, and tried again', async () => {
    const anya = await join('Аня', { frozen: true });
    wire.stall();
    wire.cut();
    await anya.isNotOpen();
    await anya.pass(120_000);
    // Refused, not only cut: a try that is on its way in this moment would pass.
    await wire.refuse();
    await waits(anya);
    wire.flow();
    await wire.restore();
    await nextTry(anya);
    await anya.isOpen();
  });
});

describe('what was missed', () => {
  test('is counted when the history does not hold it', async () => {
    server.kill();
    server = await serve({ options: ['--history', '3'] });
    wire.target = server.port;
    const anya = await join('Аня', { frozen: true });
    const boris = await join('Борис', { direct: true });
    await boris.say('с тобой');
    await anya.shows('с тобой');
    await wire.refuse();
    await anya.isNotOpen();
    await boris.say(...Array.from({ length: 8 }, (_, i) => `без тебя ${i}`));
    await boris.delivered();
    await wire.restore();
    await nextTry(anya);
    await anya.isOpen();
    await anya.sees('that five are missing', ({ missed }) => /\b5\b/.test(missed));
    await anya.shows('с тобой', 'без тебя 5', 'без тебя 6', 'без тебя 7');
  });

  test('is nothing when the history holds it all, or the server is a new one', async () => {
    const anya = await join('Аня', { frozen: true });
    const boris = await join('Борис', { direct: true });
    await boris.say('раз');
    await anya.shows('раз');
    await wire.refuse();
    await anya.isNotOpen();
    await boris.say('два');
    await boris.delivered();
    await wire.restore();
    await nextTry(anya);
    await anya.isOpen();
    assert.equal((await anya.shows('раз', 'два')).missed, '');
    await crash(server);
    await again();
    await anya.isNotOpen();
    await nextTry(anya);
    await anya.isOpen();
    assert.equal((await anya.shows('раз', 'два')).missed, '');
  });
});

describe('what is refused', () => {
  test('a message above the server\'s limit is marked, explained and not sent again', async () => {
    server.kill();
    server = await serve({ options: ['--max-message', '1K'] });
    wire.target = server.port;
    const [anya, boris] = [await join('Аня'), await join('Борис')];
    await anya.say('а'.repeat(2000));
    const { messages, error } = await anya.sees('that it was refused',
      ({ messages: [m] }) => m?.state === 'refused');
    assert.ok(error !== '' || messages[0].text.length > 2010, 'says why');
    await anya.isOpen();
    await anya.say('короче');
    await boris.shows('короче');
    const { attempts } = wire;
    await anya.say('и ещё');
    await boris.shows('короче', 'и ещё');
    assert.equal(wire.attempts, attempts);
    anya.madeNoMistake();
  });

  test('a text that is too long is never lost without a word', async () => {
    const [anya, boris] = [await join('Аня'), await join('Борис')];
    const long = 'ы'.repeat(4001);
    await anya.say(long);
    const { messages } = await anya.sees('why', ({ messages, error }) => (
      error !== '' || messages.some((m) => m.state === 'refused')));
    const left = await anya.part('text').inputValue();
    assert.ok(left === long || messages[0]?.text.includes(long), 'the text is still there');
    await anya.part('text').fill('');
    await anya.say('ы'.repeat(4000));
    await boris.shows('ы'.repeat(4000));
  });

  test('faster than the rate: nothing is refused in the end, it only takes longer', async () => {
    const [anya, boris] = [await join('Аня'), await join('Борис')];
    const texts = Array.from({ length: 45 }, (_, i) => `быстро ${i}.`);
    await anya.page.evaluate(([texts]) => {
      const text = document.querySelector('[data-testid=text]');
      for (const said of texts) {
        text.value = said;
        text.dispatchEvent(new Event('input', { bubbles: true }));
        document.querySelector('[data-testid=send]').click();
      }
    }, [texts]);
    await boris.shows(...texts);
    await anya.shows(...texts);
    await anya.delivered();
  });
});
