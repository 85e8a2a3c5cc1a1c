// What goes wrong when a line of the configuration is missing: the table of symptoms in
// docs/guide/behind-a-proxy.md, each made here on purpose.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { ORIGIN, connect, nginx, serve, serveUnix, status, workplace } from './proxies.mjs';

const place = workplace();
after(() => place.close());

/** The statuses of a handshake and of the room's page through nginx. */
async function answers(t, upstream, missing) {
  const changes = missing ? { [`${missing};`]: '' } : {};
  const proxy = await nginx(place, 'provod.conf', { '127.0.0.1:8080': upstream, ...changes });
  t.after(() => proxy.kill());
  return {
    socket: await status(place, proxy.port, '/chat', { origin: ORIGIN }),
    page: await status(place, proxy.port, '/chat'),
  };
}

for (const [what, missing, options, expected] of [
  ['nothing is missing', '', ['--allow-origin', ORIGIN], { socket: 101, page: 200 }],
  ['no --allow-origin', '', [], { socket: 403, page: 403 }],
  ['no Host', 'proxy_set_header Host       $http_host', ['--allow-origin', ORIGIN],
    { socket: 403, page: 403 }],
  ['no Upgrade', 'proxy_set_header Upgrade    $http_upgrade', ['--allow-origin', ORIGIN],
    { socket: 426, page: 200 }],
  ['no Connection', 'proxy_set_header Connection $connection_upgrade', ['--allow-origin', ORIGIN],
    { socket: 400, page: 200 }],
  ['HTTP/1.0', 'proxy_http_version 1.1', ['--allow-origin', ORIGIN], { socket: 400, page: 200 }],
]) {
  test(`${what}: ${expected.socket} to a WebSocket, ${expected.page} to a page`, async (t) => {
    const server = await serve(0, ...options);
    t.after(() => server.kill());
    assert.deepEqual(await answers(t, `127.0.0.1:${server.port}`, missing), expected);
  });
}

test('no Host over a Unix socket: the page is there, its WebSocket gets 403', async (t) => {
  const socket = place.at('provod.sock');
  const server = await serveUnix(socket);
  t.after(() => server.kill());
  assert.deepEqual(await answers(t, `unix:${socket}`, 'proxy_set_header Host       $http_host'),
    { socket: 403, page: 200 });
});

test('a full server is 503', async (t) => {
  const server = await serve(0, '--allow-origin', ORIGIN, '--max-connections', '1');
  t.after(() => server.kill());
  const proxy = await nginx(place, 'provod.conf',
    { '127.0.0.1:8080': `127.0.0.1:${server.port}` });
  t.after(() => proxy.kill());
  const only = await connect(place, proxy.port, '/chat');
  assert.equal(await status(place, proxy.port, '/chat', { origin: ORIGIN }), 503);
  only.socket.terminate();
});

test('a timeout below 25 s ends an idle connection, without a Close', async (t) => {
  const server = await serve(0, '--allow-origin', ORIGIN);
  t.after(() => server.kill());
  const proxy = await nginx(place, 'provod.conf', {
    '127.0.0.1:8080': `127.0.0.1:${server.port}`,
    'proxy_read_timeout 60s': 'proxy_read_timeout 1s',
  });
  t.after(() => proxy.kill());
  const { inbox } = await connect(place, proxy.port, '/chat');
  assert.equal((await inbox.end()).code, 1006);
});
