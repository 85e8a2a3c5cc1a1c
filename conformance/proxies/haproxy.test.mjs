// Two `provod serve` behind HAProxy, configured as docs/guide/behind-a-proxy.md says.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { after, before, describe, test } from 'node:test';
import { launch } from '../browser/helpers.mjs';
import { within } from '../programs.mjs';
import { configuration } from './page.mjs';
import { NAME, ORIGIN, column, connect, haproxy, serve, workplace } from './proxies.mjs';
import { openIdle, openRoom, state, traffic } from './traffic.mjs';

const place = workplace();
after(() => place.close());

const ALLOW = ['--allow-origin', ORIGIN];

/** Two servers and HAProxy, which has found both well. */
async function start(...options) {
  const servers = await Promise.all([1, 2].map(() => serve(0, ...ALLOW, ...options)));
  const proxy = await haproxy(place, servers.map((server) => server.port));
  for (const name of ['a', 'b']) await column(proxy, name, 'check_status', 'L7OK');
  return { servers: { a: servers[0], b: servers[1] }, proxy };
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

test('a server is restarted: health first, then the closes, and its rooms have moved', async (t) => {
  // Longer than all that is done meanwhile; a second signal ends it.
  const { servers, proxy } = await start('--drain-notice', '60s');
  t.after(() => [proxy, ...Object.values(servers)].forEach((program) => program.kill()));
  const chromium = await launch({ [`${NAME}:443`]: proxy.port });
  t.after(() => chromium.close());
  const page = await openRoom(await chromium.newContext({ ignoreHTTPSErrors: true }), '/moving');
  const old = await connect(place, proxy.port, '/moving');
  const home = await busy(proxy);
  const other = home === 'a' ? 'b' : 'a';

  servers[home].child.kill('SIGTERM');
  await proxy.waitForLine(new RegExp(`Server provod/${home} is DOWN.* 503`));
  assert.equal(old.socket.readyState, old.socket.OPEN);
  const early = await connect(place, proxy.port, '/moving');
  early.socket.send('первый на новом месте');
  assert.deepEqual(await early.inbox.take(1), ['первый на новом месте']);
  old.socket.send('последний на старом');
  assert.deepEqual(await old.inbox.take(1), ['последний на старом']);

  const ended = servers[home].end('SIGTERM');
  assert.equal((await old.inbox.end()).code, 1001);
  await ended;
  // The page and whoever was early: it may not have known yet that its connection is closed.
  await column(proxy, other, 'scur', '2');
  assert.equal(await busy(proxy), other);
  await state(page, 'open');
  early.socket.send('страница тоже здесь');
  await page.getByText('страница тоже здесь').waitFor();

  servers[home] = await serve(servers[home].port, ...ALLOW);
  await proxy.waitForLine(new RegExp(`Server provod/${home} is UP`));
  const late = await connect(place, proxy.port, '/moving');
  late.socket.send('и не возвращаются');
  await page.getByText('и не возвращаются').waitFor();
  for (const { socket } of [early, late]) socket.terminate();
});

test('a server is killed: its rooms have another one as soon as HAProxy knows', async (t) => {
  const { servers, proxy } = await start();
  t.after(() => [proxy, ...Object.values(servers)].forEach((program) => program.kill()));
  const client = await connect(place, proxy.port, '/lost');
  const home = await busy(proxy);
  servers[home].kill();
  assert.equal((await client.inbox.end()).code, 1006);
  await proxy.waitForLine(new RegExp(`Server provod/${home} is DOWN`));
  const back = await connect(place, proxy.port, '/lost');
  assert.notEqual(await busy(proxy), home);
  back.socket.terminate();
});

test('HAProxy says who the client is, and nobody else may', async (t) => {
  const options = [...ALLOW, '--proxy-protocol', '127.0.0.1', '--log', 'debug'];
  const servers = await Promise.all([1, 2].map(() => serve(0, ...options)));
  t.after(() => servers.forEach((server) => server.kill()));
  const proxy = await haproxy(place, servers.map((server) => server.port), {
    'default-server check': 'default-server send-proxy-v2 check check-send-proxy',
  });
  t.after(() => proxy.kill());
  // The checks, which HAProxy makes for itself, are answered.
  for (const name of ['a', 'b']) await column(proxy, name, 'check_status', 'L7OK');
  const client = await connect(place, proxy.port, '/named', { localAddress: '127.0.0.9' });
  client.socket.send('кто я?');
  assert.deepEqual(await client.inbox.take(1), ['кто я?']);
  await within(Promise.any(servers.map((server) => server.waitForLine(/opened.*127\.0\.0\.9:\d+/))),
    'the log of a server names the client');
  client.socket.terminate();
  // Without the header there is no answer.
  const direct = net.connect(servers[0].port, '127.0.0.1');
  t.after(() => direct.destroy());
  // A reset is an end, too.
  direct.on('error', () => {});
  const closed = new Promise((resolve) => direct.on('close', resolve));
  direct.write('GET /_provod/health HTTP/1.1\r\nHost: localhost\r\n\r\n');
  let answer = '';
  direct.on('data', (part) => { answer += part; });
  await within(closed, 'the server hangs up');
  assert.equal(answer, '');
});

/** The server that has WebSockets open, if one alone has. */
async function busy(proxy) {
  const open = {};
  for (const name of ['a', 'b']) open[name] = Number(await column(proxy, name, 'scur'));
  const names = Object.keys(open).filter((name) => open[name] > 0);
  assert.equal(names.length, 1, JSON.stringify(open));
  return names[0];
}
