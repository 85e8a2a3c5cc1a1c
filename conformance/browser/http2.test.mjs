// Chromium over https at a server of ours: the page comes over HTTP/2, and its WebSocket is a
// stream of the same connection (RFC 8441).

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { Program, built, within } from '../programs.mjs';
import { Socket, launch, open } from './helpers.mjs';

let server;
let browser;
let page;
let origin;

before(async () => {
  const binary = built('provod', 'PROVOD_BIN');
  server = await Program.start(binary, 'serve', '127.0.0.1:0', '--cert', 'auto');
  origin = `https://127.0.0.1:${server.port}`;
  browser = await launch();
});

after(async () => {
  await browser?.close();
  server?.kill();
});

/** What the server has counted. */
async function counters() {
  const answer = await page.context().request.get(`${origin}/_provod/counters`);
  return answer.json();
}

test('a socket of a page is a stream of the connection that the page came over', async () => {
  page = await open(browser, `${origin}/chat`, { ignoreHTTPSErrors: true });
  const devtools = await page.context().newCDPSession(page);
  await devtools.send('Network.enable');
  const shown = once(devtools, 'Network.responseReceived');
  const opened = once(devtools, 'Network.webSocketHandshakeResponseReceived');
  await page.reload();
  assert.equal((await within(shown, 'the page'))[0].response.protocol, 'h2');
  // HTTP/2 has no 101 (RFC 8441 section 5).
  assert.equal((await within(opened, "the page's WebSocket"))[0].response.status, 200);
  const first = await counters();
  assert.ok(first.opened_http2 > 0, JSON.stringify(first));
  assert.equal(first.opened_http2, first.opened);

  // Many more on the same connection: the request for the counters has one of its own.
  const sockets = [];
  for (let n = 0; n < 10; n++) {
    sockets.push(await Socket.connect(page, `${origin.replace('https', 'wss')}/room-${n}`));
  }
  const second = await counters();
  assert.equal(second.opened_http2, first.opened_http2 + sockets.length);
  assert.ok(second.accepted <= first.accepted + 1, JSON.stringify({ first, second }));
  const texts = ['Привет', '', 'x'.repeat(300_000)];
  await Promise.all(sockets.map(async (socket) => {
    await socket.send(...texts);
    assert.deepEqual(await socket.received(texts.length), texts);
  }));
});
