// The page on wide, narrow and zoomed screens, light and dark, with little and with much in it.

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { Socket, launch, open, servePages } from './helpers.mjs';
import { Tab, serve } from './tab.mjs';

const PHONE = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true };
const SCREENS = {
  'a phone of 360 px': PHONE,
  'a phone of 320 px': { ...PHONE, viewport: { width: 320, height: 568 } },
  'a phone with its keyboard open': { ...PHONE, viewport: { width: 360, height: 400 } },
  'a phone on its side': { ...PHONE, viewport: { width: 740, height: 360 } },
  // What zoom does: fewer and larger pixels of CSS.
  'zoomed to 200 %': { viewport: { width: 640, height: 400 }, deviceScaleFactor: 2 },
  'zoomed to 400 %': { viewport: { width: 320, height: 256 }, deviceScaleFactor: 4 },
  'a laptop': { viewport: { width: 1280, height: 800 } },
  'a wide screen': { viewport: { width: 2560, height: 1200 } },
};

let browser;
let pages;
let server;
let tabs;

before(async () => {
  pages = await servePages();
  browser = await launch();
  server = await serve();
});

after(async () => {
  await browser?.close();
  pages?.close();
  server?.kill();
});

beforeEach(() => {
  tabs = [];
});

afterEach(async () => {
  for (const tab of tabs) await tab.close();
});

let rooms = 0;
const newRoom = () => `room-${rooms++}`;

async function join(room, options) {
  const tab = await Tab.open(browser, `http://127.0.0.1:${server.port}/${room}`, options);
  tabs.push(tab);
  return tab;
}

/** Nothing is cut off at the sides, and one can write. */
async function fits(tab) {
  const found = await tab.page.evaluate(() => {
    const { clientWidth, clientHeight } = document.documentElement;
    const inView = (id) => {
      const box = document.querySelector(`[data-testid=${id}]`).getBoundingClientRect();
      return box.width > 0 && box.left >= 0 && box.top >= 0
        && box.right <= clientWidth + 0.5 && box.bottom <= clientHeight + 0.5;
    };
    const name = (e) => `${e.localName}${e.id && `#${e.id}`}.${e.className}`;
    const wider = [...document.querySelectorAll('body, body *')].filter((element) => {
      const { overflowX, textOverflow } = getComputedStyle(element);
      // A line that ends in an ellipsis, and what is only for screen readers, may be cut; lines of
      // code may be scrolled.
      return element.checkVisibility() && element.clientWidth > 1
        && overflowX !== 'visible' && textOverflow !== 'ellipsis'
        && !element.matches('input, textarea, select, pre, svg, svg *')
        && element.scrollWidth > element.clientWidth + 1;
    });
    const outside = [...document.querySelectorAll('body *')].filter((element) => {
      const box = element.getBoundingClientRect();
      return element.checkVisibility({ visibilityProperty: true }) && box.width > 1
        && !element.closest('svg') && box.right > clientWidth + 1;
    });
    return {
      sideways: document.documentElement.scrollWidth - clientWidth,
      zoomedOut: window.innerWidth > clientWidth + 20,
      hidden: ['text', 'send'].filter((id) => !inView(id)),
      wider: wider.map(name),
      outside: outside.map(name),
    };
  });
  assert.equal(found.sideways, 0, 'no horizontal scroll');
  // What a phone does when something is too wide.
  assert.equal(found.zoomedOut, false, 'not zoomed out');
  assert.deepEqual(found.hidden, [], 'the composer is in view');
  assert.deepEqual(found.wider, [], 'nothing scrolls sideways inside');
  assert.deepEqual(found.outside, [], 'nothing lies outside');
}

describe('the page fits', () => {
  for (const [screen, options] of Object.entries(SCREENS)) {
    test(screen, async () => {
      const room = newRoom();
      const tab = await join(room, options);
      await fits(tab);
      await tab.say('Привет!', 'слово '.repeat(60), 'https://example.com/'.padEnd(300, 'x'),
        'Донаудампфшиффартс'.repeat(60));
      await tab.delivered();
      await fits(tab);
      tab.madeNoMistake();
    });
  }

  test('the longest names and texts, on a phone and beside its members', async () => {
    const room = newRoom();
    const wide = 'Ш'.repeat(40);
    const phone = await join(room, PHONE);
    const laptop = await join(room);
    await laptop.rename(wide);
    await laptop.say('W'.repeat(4000), '漢'.repeat(4000), `${'\n'.repeat(50)}конец`,
      `${'a\u0300\u0301\u0302\u0303\u0304\u0305'.repeat(200)}`, '👨‍👩‍👧‍👦'.repeat(100), 'שלום עולם');
    await laptop.delivered();
    await phone.sees('them', ({ messages }, wide) => messages.length === 6
      && messages[0].text.includes(wide), wide);
    // Somebody who has not typed yet: the server passes on one notice in 2 seconds.
    const typist = await Socket.connect(await open(browser, `http://127.0.0.1:${pages.port}/`),
      `ws://127.0.0.1:${server.port}/${room}`, 'provod.room.v1');
    await typist.send(JSON.stringify({ type: 'hello', name: wide }), '{"type":"typing"}');
    await phone.sees('the typing notice', ({ typing }, wide) => typing.includes(wide), wide);
    for (const tab of tabs) await fits(tab);
  });

  test('a room with the longest name', async () => {
    const room = encodeURIComponent('Ж'.repeat(128));
    for (const options of [PHONE, {}]) await fits(await join(room, options));
  });

  test('300 messages and 40 members', async () => {
    const room = newRoom();
    const phone = await join(room, PHONE);
    const laptop = await join(room);
    await laptop.page.evaluate(async (url) => {
      const ready = Array.from({ length: 40 }, (_, i) => new Promise((resolve) => {
        const ws = new WebSocket(url, 'provod.room.v1');
        ws.onopen = () => ws.send(JSON.stringify({ type: 'hello', name: `Участница ${i}` }));
        ws.onmessage = () => resolve(ws);
      }));
      const sockets = window.crowd = await Promise.all(ready);
      for (const [i, ws] of sockets.entries()) {
        for (let n = 0; n < 8; n += 1) {
          ws.send(JSON.stringify({ type: 'say', text: `Слово ${n} от ${i}` }));
        }
      }
    }, `ws://127.0.0.1:${server.port}/${room}`);
    for (const tab of tabs) {
      await tab.sees('all of it', ({ messages, members }) => messages.length === 320
        && members.length === 42);
      await fits(tab);
    }
    // Whoever was at the end stays there.
    for (const tab of tabs) {
      await tab.page.waitForFunction(() => {
        const last = document.querySelector('[data-testid=messages]').lastElementChild
          .getBoundingClientRect();
        const text = document.querySelector('[data-testid=text]').getBoundingClientRect();
        return last.bottom <= text.top + 1 && last.top >= 0;
      });
    }
  });

  test('while it waits for the server, with words about it', async (t) => {
    const gone = await serve();
    t.after(() => gone.kill());
    for (const options of [PHONE, { ...PHONE, locale: 'ru-RU' }, {}]) {
      tabs.push(await Tab.open(browser, `http://127.0.0.1:${gone.port}/chat`, options));
    }
    gone.kill();
    for (const tab of tabs) {
      await tab.sees('the button', ({ retry }) => retry);
      await tab.say('ещё не ушло');
      await fits(tab);
    }
  });
});

describe('touch', () => {
  test('a whole conversation by tapping', async () => {
    const room = newRoom();
    const phone = await join(room, PHONE);
    const laptop = await join(room);
    await phone.part('text').tap();
    await phone.page.keyboard.type('с телефона');
    await phone.part('send').tap();
    await laptop.shows('с телефона');
    await laptop.say('с ноутбука');
    await phone.shows('с телефона', 'с ноутбука');
  });

  test('what is to be tapped is large enough', async () => {
    const phone = await join(newRoom(), PHONE);
    const small = await phone.page.evaluate(() => [...document.querySelectorAll(
      'button, a[href], input, textarea, select, summary')].filter((element) => {
      const { width, height } = element.getBoundingClientRect();
      return element.checkVisibility({ visibilityProperty: true }) && (width < 24 || height < 24);
    }).map((element) => element.outerHTML.slice(0, 120)));
    assert.deepEqual(small, []);
    const box = await phone.part('send').boundingBox();
    assert.ok(box.width >= 40 && box.height >= 40, `send: ${box.width} x ${box.height}`);
  });
});

describe('scrolling', () => {
  test('who reads older messages is left where they are', async () => {
    const room = newRoom();
    const [reader, writer] = [await join(room), await join(room)];
    await writer.say(...Array.from({ length: 25 }, (_, i) => `строка\n${i}\nи ещё`));
    await reader.sees('all', ({ messages }) => messages.length === 25);
    const first = reader.part('messages').locator('> *').first();
    await first.scrollIntoViewIfNeeded();
    await reader.page.waitForFunction(() => {
      const { top } = document.querySelector('[data-testid=messages]').firstElementChild
        .getBoundingClientRect();
      return top >= 0;
    });
    const before = await first.boundingBox();
    await writer.say('новое');
    await reader.sees('it', ({ messages }) => messages.length === 26);
    assert.equal((await first.boundingBox()).y, before.y);
  });
});

describe('schemes', () => {
  const luminance = (tab) => tab.page.evaluate(() => {
    const canvas = document.createElement('canvas').getContext('2d');
    const behind = (element) => {
      for (let e = element; e; e = e.parentElement) {
        const color = getComputedStyle(e).backgroundColor;
        if (!/\/ 0\)|, 0\)$/.test(color)) return color;
      }
      return 'Canvas';
    };
    const light = (color) => {
      canvas.fillStyle = color;
      canvas.fillRect(0, 0, 1, 1);
      const [r, g, b] = canvas.getImageData(0, 0, 1, 1).data;
      return (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255;
    };
    const messages = document.querySelector('[data-testid=messages]');
    return [light(behind(messages)), light(getComputedStyle(messages).color)];
  });

  test('light and dark follow the system, while the page is open', async () => {
    const tab = await join(newRoom(), { colorScheme: 'light' });
    let [ground, text] = await luminance(tab);
    assert.ok(ground > 0.8 && text < 0.3, `light: ${text} on ${ground}`);
    await tab.page.emulateMedia({ colorScheme: 'dark' });
    [ground, text] = await luminance(tab);
    assert.ok(ground < 0.2 && text > 0.7, `dark: ${text} on ${ground}`);
    tab.madeNoMistake();
  });

  test('who wants no motion gets none', async () => {
    const tab = await join(newRoom(), { reducedMotion: 'reduce' });
    await tab.say('спокойно');
    await tab.delivered();
    const moving = await tab.page.evaluate(() => document.getAnimations().filter(
      (animation) => animation.effect.getComputedTiming().duration > 10).length);
    assert.equal(moving, 0);
  });
});
