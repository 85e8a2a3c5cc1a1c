// HTTP/2 (RFC 8441) on both sides of somebody else: `provod connect`, HAProxy, `provod listen`.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { echo, http2, visit, workplace } from './forward.mjs';

const place = workplace();
const running = {};

before(async () => {
  running.server = await echo();
  running.proxy = await http2(place, running.server.port);
});

after(() => {
  for (const program of Object.values(running)) program.kill();
  place.close();
});

const ask = (...options) =>
  visit(`wss://localhost:${running.proxy.port}/`, ['--cacert', place.certificate, ...options]);

for (const options of [[], ['--compress'], ['--compress=takeover', '--compress-threshold=0']]) {
  test(`a message comes back: ${options.join(' ') || 'plain'}`, async () => {
    const seen = await ask('--http2', ...options);
    assert.deepEqual(seen, { code: 0, stdout: 'Привет через прокси\n', stderr: '' });
  });
}

test('HTTP/1.1 finds nobody there, so it was HTTP/2', async () => {
  const seen = await ask('--http1.1');
  assert.notEqual(seen.code, 0);
  assert.match(seen.stderr, /^provod: [^\n]*\n$/);
});
