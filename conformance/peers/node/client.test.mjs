// `ws` as the client of `provod listen`.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { describe, test } from 'node:test';
import WebSocket from 'ws';
import { Program, built, within } from '../../programs.mjs';
import { COMPRESSION, Inbox, RUSSIAN, agreedOn, everything, small } from './exchange.mjs';

const PROVOD = built('provod', 'PROVOD_BIN');

/** With context takeover each connection keeps its windows: no larger ones than this. */
const KEPT_WINDOW = 12;

async function listening(t, ...options) {
  const server = await Program.start(PROVOD, 'listen', '127.0.0.1:0', ...options);
  t.after(() => server.kill());
  return server;
}

async function connected(t, port, perMessageDeflate = false, protocols = []) {
  const options = { perMessageDeflate };
  const socket = new WebSocket(`ws://127.0.0.1:${port}/`, protocols, options);
  t.after(() => socket.terminate());
  const inbox = new Inbox(socket);
  await within(once(socket, 'open'), 'open');
  return [socket, inbox];
}

describe('what ws sends comes back', () => {
  for (const variant of COMPRESSION) {
    test(variant.name, async (t) => {
      const flag = variant.takeover === null ? [] : [`--compress=${variant.takeover ? 'takeover' : 'on'}`];
      const server = await listening(t, ...flag, '--compress-threshold', '0');
      const deflate = variant.ws && { ...variant.ws, threshold: 0 };
      const [socket, inbox] = await connected(t, server.port, deflate);
      await everything(socket, inbox, variant, variant.takeover ? KEPT_WINDOW : 15);
      socket.close(1000);
      assert.deepEqual(await inbox.end(), { code: 1000, reason: '' });
      await server.end();
    });
  }

  test('compression that is offered and declined', async (t) => {
    const server = await listening(t);
    const [socket, inbox] = await connected(t, server.port, true);
    assert.equal(agreedOn(socket), null);
    await small(socket, inbox);
    await server.end();
  });
});

describe('the end', () => {
  for (const [what, close, code] of [
    ['1000', [1000], 1000],
    ['3000 and a reason', [3000, 'до свидания 👋'], 3000],
    ['no code', [], 1005],
  ]) {
    test(`ws closes with ${what}, behind what it sent`, async (t) => {
      const server = await listening(t);
      const [socket, inbox] = await connected(t, server.port);
      for (let i = 0; i < 100; i += 1) socket.send(`${i} ${RUSSIAN}`);
      socket.close(...close);
      assert.equal((await inbox.end()).code, code);
      assert.equal(inbox.error, undefined);
      assert.equal(inbox.messages.length, 100, 'the answers come before the answer to the Close');
      await server.end();
    });
  }

  test('we close with 1001 on SIGTERM', async (t) => {
    const server = await listening(t);
    const [socket, inbox] = await connected(t, server.port);
    await small(socket, inbox);
    await server.end();
    assert.equal((await inbox.end()).code, 1001);
  });

  test('ws is killed in the middle of a message, and we serve on', async (t) => {
    const server = await listening(t, '--log', 'debug');
    const victim = new Program(process.execPath, [
      fileURLToPath(new URL('victim.mjs', import.meta.url)), `ws://127.0.0.1:${server.port}/`]);
    t.after(() => victim.kill());
    assert.equal((await within(victim.exited, 'the end of ws')).signal, 'SIGKILL', victim.output());
    const [socket, inbox] = await connected(t, server.port);
    await small(socket, inbox);
    await server.end();
  });
});
