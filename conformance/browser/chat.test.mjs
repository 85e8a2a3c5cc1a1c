// `provod serve` as browsers meet it: its own page in two tabs, and plain `new WebSocket(url)`.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import http from 'node:http';
import { after, before, beforeEach, afterEach, describe, test } from 'node:test';
import { Program, built } from '../programs.mjs';
import { REPORTS, Socket, launch, open, servePages } from './helpers.mjs';

const BINARY = built('provod', 'PROVOD_BIN');
const FOREIGN = 'http://evil.example';

let pages;
let browser;

before(async () => {
  pages = await servePages();
  browser = await launch({ 'evil.example:80': pages.port });
});

after(async () => {
  await browser?.close();
  pages?.close();
});

const serve = (...options) => Program.start(BINARY, 'serve', '127.0.0.1:0', ...options);
const blankPage = () => open(browser, `http://127.0.0.1:${pages.port}/`);

/** The status of the answer to an opening handshake with these headers. */
async function handshakeStatus(port, headers) {
  const request = http.get({
    host: '127.0.0.1', port, path: '/chat', agent: false,
    headers: {
      'Connection': 'Upgrade', 'Upgrade': 'websocket', 'Sec-WebSocket-Version': '13',
      'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==', ...headers,
    },
  });
  const upgraded = once(request, 'upgrade').then(([response, socket]) => {
    socket.destroy();
    return response.statusCode;
  });
  const refused = once(request, 'response').then(([response]) => {
    response.resume();
    return response.statusCode;
  });
  // Whichever does not happen stays pending or fails with the connection; it has no news.
  return Promise.any([upgraded, refused]);
}

describe('the page', () => {
  let server;
  let tabs;

  beforeEach(async () => {
    server = await serve();
    tabs = await Promise.all(['Аня', 'Борис'].map(async (name) => {
      const page = await open(browser, `http://127.0.0.1:${server.port}/chat`);
      const part = (id) => page.locator(`[data-testid=${id}]`);
      await page.locator('[data-testid=state][data-state=open]').waitFor({ state: 'attached' });
      await part('name').fill(name);
      return { page, part };
    }));
  });

  afterEach(async () => {
    for (const { page } of tabs ?? []) await page.close();
    server?.kill();
  });

  async function say(tab, text) {
    await tab.part('text').fill(text);
    await tab.part('send').click();
  }

  /** Waits until each tab shows exactly these messages; returns nothing. */
  async function expectShown(texts) {
    for (const { page, part } of tabs) {
      const messages = part('messages').locator('> *');
      await messages.nth(texts.length - 1).waitFor();
      const shown = await messages.allInnerTexts();
      assert.equal(shown.length, texts.length, `shown: ${JSON.stringify(shown)}`);
      for (const [index, text] of texts.entries()) {
        assert.ok(shown[index].includes(text), `${JSON.stringify(shown[index])} holds ${text}`);
      }
      assert.deepEqual(page.mistakes, []);
    }
  }

  test('two tabs chat, in Russian and with emoji, and see the same', async () => {
    await say(tabs[0], 'Привет, Борис! 👋🏽');
    await expectShown(['Привет, Борис! 👋🏽']);
    await say(tabs[1], 'И тебе привет, Аня 🦊');
    await expectShown(['Привет, Борис! 👋🏽', 'И тебе привет, Аня 🦊']);
    await mkdir(REPORTS, { recursive: true });
    await tabs[0].page.screenshot({ path: `${REPORTS}/chat.png` });
  });

  test('markup in a message stays text', async () => {
    const markup = '<img src=x onerror=alert(1)>';
    await say(tabs[0], markup);
    // The second message comes after the time in which the first could have done harm.
    await say(tabs[0], 'и дальше');
    await expectShown([markup, 'и дальше']);
    for (const { part } of tabs) {
      assert.equal(await part('messages').locator('img').count(), 0);
    }
  });

  test('the state says that the server is gone', async () => {
    await server.end();
    for (const { page } of tabs) {
      await page.locator('[data-testid=state]:not([data-state=open])')
        .waitFor({ state: 'attached' });
    }
  });
});

describe('plain WebSockets', () => {
  let server;
  let page;
  let other;

  before(async () => {
    server = await serve();
    [page, other] = await Promise.all([blankPage(), blankPage()]);
  });

  after(() => server?.kill());

  const join = (page, room) => Socket.connect(page, `ws://127.0.0.1:${server.port}${room}`);

  test('text arrives as text and binary as binary, at the sender too', async () => {
    const [a, b] = [await join(page, '/kinds'), await join(other, '/kinds')];
    await a.send('Привет, сервер! 🦊', [0, 1, 128, 255], '');
    const expected = ['Привет, сервер! 🦊', { binary: [0, 1, 128, 255] }, ''];
    assert.deepEqual(await a.received(3), expected);
    assert.deepEqual(await b.received(3), expected);
  });

  test('200 messages from two senders come in one order for both', async () => {
    const [a, b] = [await join(page, '/order'), await join(other, '/order')];
    const own = (name) => Array.from({ length: 100 }, (_, i) => `${name} ${i}`);
    await Promise.all([a.send(...own('a')), b.send(...own('b'))]);
    const seen = await a.received(200);
    assert.deepEqual(await b.received(200), seen);
    for (const name of ['a', 'b']) {
      assert.deepEqual(seen.filter((text) => text.startsWith(name)), own(name));
    }
  });

  test('?echo=0 leaves the sender out', async () => {
    const [quiet, b] = [await join(page, '/quiet?echo=0'), await join(other, '/quiet')];
    await quiet.send('one way');
    assert.deepEqual(await b.received(1), ['one way']);
    // Rooms keep order: an echo of the first would have come before this.
    await b.send('back');
    assert.deepEqual(await quiet.received(1), ['back']);
  });

  test('another room hears nothing', async () => {
    const [a, b] = [await join(page, '/one'), await join(page, '/one')];
    const [stranger, neighbour] = [await join(other, '/two'), await join(other, '/two')];
    await a.send('for one');
    assert.deepEqual(await b.received(1), ['for one']);
    await neighbour.send('for two');
    assert.deepEqual(await stranger.received(1), ['for two']);
  });

  test('a room may have a Russian name', async () => {
    const [a, b] = [await join(page, '/чат'), await join(other, `/${encodeURIComponent('чат')}`)];
    await a.send('здесь');
    assert.deepEqual(await b.received(1), ['здесь']);
  });
});

describe('the end', () => {
  for (const signal of ['SIGTERM', 'SIGINT']) {
    test(`${signal} closes connections with 1001 and the process exits 0`, async (t) => {
      const server = await serve();
      t.after(() => server.kill());
      const page = await blankPage();
      const sockets = [
        await Socket.connect(page, `ws://127.0.0.1:${server.port}/chat`),
        await Socket.connect(page, `ws://127.0.0.1:${server.port}/other`),
      ];
      const ended = server.end(signal);
      for (const socket of sockets) {
        assert.deepEqual(await socket.closed(), { code: 1001, wasClean: true });
      }
      await ended;
    });
  }
});

describe('origins', () => {
  test('a page of another site is refused, and let in by --allow-origin', async (t) => {
    const servers = await Promise.all([serve(), serve('--allow-origin', FOREIGN)]);
    t.after(() => servers.forEach((server) => server.kill()));
    const page = await open(browser, `${FOREIGN}/`);
    const [refused, allowed] = await Promise.all(servers.map(
      ({ port }) => Socket.connect(page, `ws://127.0.0.1:${port}/chat`)));
    assert.equal(await refused.isOpen(), false);
    assert.deepEqual(await refused.closed(), { code: 1006, wasClean: false });
    assert.equal(await allowed.isOpen(), true);
    // The browser hides why; the answer itself says that it was the origin.
    assert.equal(await handshakeStatus(servers[0].port, { Origin: FOREIGN }), 403);
    assert.equal(await handshakeStatus(servers[0].port, {}), 101);
  });

  test('on loopback a name that only resolves there is refused', async (t) => {
    const server = await serve();
    t.after(() => server.kill());
    // DNS rebinding: page and server are of one origin, so only the name in Host tells.
    const host = `evil.example:${server.port}`;
    const status = await handshakeStatus(server.port, { Host: host, Origin: `http://${host}` });
    assert.ok(status >= 400 && status < 500, `status ${status}`);
  });
});

describe('compression', () => {
  test('permessage-deflate is agreed on with --compress', async (t) => {
    const server = await serve('--compress');
    t.after(() => server.kill());
    const socket = await Socket.connect(await blankPage(), `ws://127.0.0.1:${server.port}/chat`);
    assert.match(await socket.extensions(), /^permessage-deflate\b/);
    const long = 'Привет, сервер! '.repeat(5000);
    await socket.send(long, 'short');
    assert.deepEqual(await socket.received(2), [long, 'short']);
  });
});
