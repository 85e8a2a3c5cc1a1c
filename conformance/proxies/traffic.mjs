// What must get through any proxy as if it were not there.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import { test } from 'node:test';
import { open } from '../browser/helpers.mjs';
import { within } from '../programs.mjs';
import { NAME, ORIGIN, chat, connect, status } from './proxies.mjs';

/** A Ping comes after 25 s, and needs a moment to get through. */
const SILENCE_S = 25 + 5;

/** `setup()` is what a `before` made: `{ place, proxy, browser, idle, timeouts }`. */
export function traffic(setup) {
  test('two clients chat, kinds and order are kept', async () => {
    const { place, proxy } = setup();
    const [a, b] = [await connect(place, proxy.port, '/chat'),
      await connect(place, proxy.port, '/chat')];
    await chat(a, b, 'Привет через прокси! 👋');
    const sent = Array.from({ length: 200 }, (_, i) => (i % 2 ? Buffer.from(`${i}`) : `${i}`));
    for (const message of sent) a.socket.send(message);
    assert.deepEqual(await b.inbox.take(200), sent);
    a.socket.close(3000, 'до свидания');
    assert.equal((await a.inbox.end()).code, 3000);
    b.socket.terminate();
  });

  test('a message of 15 MiB gets through', async () => {
    const { place, proxy } = setup();
    const a = await connect(place, proxy.port, '/large');
    const bytes = randomBytes(15 << 20);
    a.socket.send(bytes);
    const [back] = await a.inbox.take(1);
    assert.ok(bytes.equals(back));
    a.socket.terminate();
  });

  test('one above the limit is answered with 1009, and the code arrives', async () => {
    const { place, proxy } = setup();
    const a = await connect(place, proxy.port, '/larger');
    // A proxy ends the client's connection as soon as ours ends. What the client is still sending
    // then resets it, and the code may be lost: so nothing is on its way when the limit is passed.
    a.socket.send(randomBytes(16 << 20), { fin: false });
    const pong = once(a.socket, 'pong');
    a.socket.ping();
    await within(pong, 'a Pong behind 16 MiB');
    a.socket.send('!', { fin: true });
    assert.equal((await a.inbox.end()).code, 1009);
  });

  test('compression is agreed on by the two ends', async () => {
    const { place, proxy } = setup();
    const a = await connect(place, proxy.port, '/packed', { perMessageDeflate: true });
    assert.equal(a.socket.extensions, 'permessage-deflate');
    const text = 'Съешь же ещё этих мягких французских булок. '.repeat(50_000);
    a.socket.send(text);
    assert.deepEqual(await a.inbox.take(1), [text]);
    a.socket.terminate();
  });

  test('a page of another site is refused', async () => {
    const { place, proxy } = setup();
    assert.equal(await status(place, proxy.port, '/chat', { origin: 'https://evil.example' }), 403);
    assert.equal(await status(place, proxy.port, '/chat', { origin: ORIGIN }), 101);
  });

  test('the health is public, the numbers are not, however their path is written', async () => {
    const { place, proxy } = setup();
    assert.equal(await status(place, proxy.port, '/_provod/health'), 200);
    for (const target of ['metrics', '%6detrics', 'metrics?x', 'counters', '%63ounters']) {
      assert.equal(await status(place, proxy.port, `/_provod/${target}`), 404, target);
    }
  });

  test('http:// leads to https://', async () => {
    const { proxy } = setup();
    const request = http.get({
      host: '127.0.0.1', port: proxy.plainPort, path: '/chat', agent: false,
      headers: { Host: NAME },
    });
    const [response] = await within(once(request, 'response'), 'an answer');
    response.destroy();
    assert.equal(response.statusCode, 301);
    assert.equal(response.headers.location, `${ORIGIN}/chat`);
  });

  test('the room page chats over wss:// with a plain client', async () => {
    const { place, proxy, browser } = setup();
    const page = await openRoom(browser, '/page');
    const other = await connect(place, proxy.port, '/page');
    other.socket.send('из терминала');
    assert.deepEqual(await other.inbox.take(1), ['из терминала']);
    await page.getByText('из терминала').waitFor();
    await page.getByTestId('text').fill('из браузера');
    await page.getByTestId('send').click();
    const [said] = await other.inbox.take(1);
    assert.match(said, /из браузера$/);
    assert.deepEqual(page.mistakes, []);
    other.socket.terminate();
    await page.close();
  });

  // The last of its file: the connection that waits for it was opened before all other tests.
  test('an idle connection is kept by Pings, which are more frequent than the timeouts',
    async () => {
      const { idle, timeouts } = setup();
      assert.ok(timeouts.length > 0);
      for (const seconds of timeouts) assert.ok(seconds > SILENCE_S, `${seconds} s`);
      await within(idle.pinged, 'a Ping', 30_000);
      idle.socket.send('ещё здесь');
      assert.deepEqual(await idle.inbox.take(1), ['ещё здесь']);
      idle.socket.terminate();
    });
}

/** A connection that says nothing, for the last of the tests above. */
export async function openIdle(place, proxy) {
  const client = await connect(place, proxy.port, '/idle');
  return { ...client, pinged: once(client.socket, 'ping') };
}

/** The page of a room, connected. */
export async function openRoom(browser, room) {
  const page = await open(browser, `${ORIGIN}${room}`);
  await state(page, 'open');
  return page;
}

/** Waits until the page says that its connection is `open`, or anything else than that. */
export function state(page, wanted) {
  const is = wanted === 'open' ? '[data-state=open]' : ':not([data-state=open])';
  return page.locator(`[data-testid=state]${is}`).waitFor({ state: 'attached' });
}
