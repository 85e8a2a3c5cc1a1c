// `provod serve` behind nginx, configured as docs/guide/behind-a-proxy.md says.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { launch } from '../browser/helpers.mjs';
import { configuration } from './page.mjs';
import { NAME, ORIGIN, chat, connect, nginx, serve, serveUnix, status, workplace }
  from './proxies.mjs';
import { openIdle, openRoom, state, traffic } from './traffic.mjs';

const place = workplace();
after(() => place.close());

const ALLOW = ['--allow-origin', ORIGIN];

describe('one server', () => {
  const made = { place };
  let server;

  before(async () => {
    server = await serve(0, ...ALLOW);
    made.proxy = await nginx(place, 'provod.conf', { '127.0.0.1:8080': `127.0.0.1:${server.port}` });
    made.idle = await openIdle(place, made.proxy);
    made.timeouts = [...configuration('provod.conf').matchAll(/_timeout (\d+)s;/g)]
      .map((match) => Number(match[1]));
    made.chromium = await launch({ [`${NAME}:443`]: made.proxy.port });
    made.browser = await made.chromium.newContext({ ignoreHTTPSErrors: true });
  });

  after(async () => {
    await made.chromium?.close();
    made.proxy?.kill();
    server?.kill();
  });

  traffic(() => made);

  test('the server is restarted: 502 meanwhile, and the page comes back', async () => {
    const page = await openRoom(made.browser, '/restart');
    const client = await connect(place, made.proxy.port, '/restart');
    await server.end('SIGINT');
    assert.equal((await client.inbox.end()).code, 1001);
    await state(page, 'closed');
    assert.equal(await status(place, made.proxy.port, '/restart'), 502);
    server = await serve(server.port, ...ALLOW);
    await state(page, 'open');
    const back = await connect(place, made.proxy.port, '/restart');
    back.socket.send('снова здесь');
    await page.getByText('снова здесь').waitFor();
    back.socket.terminate();
    await page.close();
  });
});

test('over a Unix socket the name in Host is enough, and no option is needed', async (t) => {
  const socket = place.at('provod.sock');
  const server = await serveUnix(socket);
  t.after(() => server.kill());
  const proxy = await nginx(place, 'provod.conf', { '127.0.0.1:8080': `unix:${socket}` });
  t.after(() => proxy.kill());
  const [a, b] = [await connect(place, proxy.port, '/chat'),
    await connect(place, proxy.port, '/chat')];
  await chat(a, b, 'через сокет');
  assert.equal(await status(place, proxy.port, '/chat', { origin: 'https://evil.example' }), 403);
  for (const { socket } of [a, b]) socket.terminate();
});

test('below a path of another site, rooms, page and its parts are served', async (t) => {
  const name = 'www.example';
  const origin = `https://${name}`;
  const server = await serve(0, '--allow-origin', origin);
  t.after(() => server.kill());
  const proxy = await nginx(place, 'below-a-path.conf',
    { '127.0.0.1:8080': `127.0.0.1:${server.port}` });
  t.after(() => proxy.kill());
  const chromium = await launch({ [`${name}:443`]: proxy.port });
  t.after(() => chromium.close());
  const context = await chromium.newContext({ ignoreHTTPSErrors: true });
  const page = await context.newPage();
  await page.goto(`${origin}/chat/kitchen`);
  await state(page, 'open');
  const other = await connect(place, proxy.port, '/chat/kitchen', { name });
  other.socket.send('на кухне');
  await page.getByText('на кухне').waitFor();
  assert.equal(await status(place, proxy.port, '/elsewhere', { name }), 404);
  assert.equal(await status(place, proxy.port, '/_provod/metrics', { name }), 404);
  other.socket.terminate();
});

test('with several servers, a room has one: it waits for it rather than move', async (t) => {
  let servers = await Promise.all([serve(0, ...ALLOW), serve(0, ...ALLOW)]);
  t.after(() => servers.forEach((server) => server.kill()));
  const proxy = await nginx(place, 'several.conf', {
    '127.0.0.1:8081': `127.0.0.1:${servers[0].port}`,
    '127.0.0.1:8082': `127.0.0.1:${servers[1].port}`,
  });
  t.after(() => proxy.kill());
  const rooms = Array.from({ length: 8 }, (_, i) => `/комната-${i}`);
  for (const room of rooms) {
    const [a, b] = [await connect(place, proxy.port, encodeURI(room)),
      await connect(place, proxy.port, `${encodeURI(room)}?echo=0`)];
    a.socket.send(room);
    assert.deepEqual(await b.inbox.take(1), [room]);
    for (const { socket } of [a, b]) socket.terminate();
  }
  const statuses = async () => {
    const all = [];
    for (const room of rooms) {
      all.push(await status(place, proxy.port, encodeURI(room), { origin: ORIGIN }));
    }
    return all;
  };
  await servers[0].end('SIGINT');
  const meanwhile = await statuses();
  assert.deepEqual([...new Set(meanwhile)].sort(), [101, 502], `${meanwhile}`);
  servers = [await serve(servers[0].port, ...ALLOW), servers[1]];
  assert.deepEqual(await statuses(), rooms.map(() => 101));
});
