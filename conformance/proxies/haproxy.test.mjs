// Two `provod serve` behind HAProxy, configured as docs/guide/behind-a-proxy.md says.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { launch } from '../browser/helpers.mjs';
import { within } from '../programs.mjs';
import { configuration } from './page.mjs';
import { NAME, ORIGIN, ask, chat, connect, freePorts, haproxy, serve, serverIs, workplace }
  from './proxies.mjs';
import { openIdle, state, traffic } from './traffic.mjs';

const place = workplace();
after(() => place.close());

const ALLOW = ['--allow-origin', ORIGIN];

/** Two servers and HAProxy, which has found both well. */
async function start() {
  const servers = await Promise.all([serve(0, ...ALLOW), serve(0, ...ALLOW)]);
  const proxy = await haproxy(place, servers.map((server) => server.port));
  for (const name of ['a', 'b']) await serverIs(proxy, name, 'UP');
  return { servers: { a: servers[0], b: servers[1] }, proxy };
}

/** How many WebSockets HAProxy has open to each server. */
async function open(proxy) {
  const lines = (await ask(proxy, 'show stat')).split('\n').map((line) => line.split(','));
  const column = lines[0].indexOf('scur');
  return Object.fromEntries(['a', 'b'].map(
    (name) => [name, Number(lines.find((line) => line[1] === name)[column])]));
}

describe('traffic', () => {
  const made = { place };
  let servers;

  before(async () => {
    ({ servers, proxy: made.proxy } = await start());
    made.idle = await openIdle(place, made.proxy);
    made.timeouts = [...configuration('haproxy.cfg').matchAll(/timeout (?:client|server|tunnel) +(\d+)s$/gm)]
      .map((match) => Number(match[1]));
    made.chromium = await launch({ [`${NAME}:443`]: made.proxy.port });
    made.browser = await made.chromium.newContext({ ignoreHTTPSErrors: true });
  });

  after(async () => {
    await made.chromium?.close();
    made.proxy?.kill();
    for (const server of Object.values(servers ?? {})) server.kill();
  });

  test('a browser has its WebSocket inside HTTP/2', async () => {
    const page = await made.browser.newPage();
    const devtools = await made.browser.newCDPSession(page);
    await devtools.send('Network.enable');
    const opened = once(devtools, 'Network.webSocketHandshakeResponseReceived');
    await page.goto(`${ORIGIN}/two`);
    const [{ response }] = await within(opened, "the page's WebSocket");
    // HTTP/2 has no 101 (RFC 8441 section 5).
    assert.equal(response.status, 200);
    await state(page, 'open');
    await page.close();
  });

  traffic(() => made);
});
