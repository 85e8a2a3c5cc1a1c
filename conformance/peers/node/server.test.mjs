// `ws` as the server of the library's client: the crate's example `echo_client`.

import assert from 'node:assert/strict';
import path from 'node:path';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { WebSocketServer } from 'ws';
import { Program, built, within } from '../../programs.mjs';
import { COMPRESSION, Inbox, RUSSIAN, agreedOn, everything, small } from './exchange.mjs';

const CLIENT = built(path.join('examples', 'echo_client'), 'PROVOD_ECHO_CLIENT');

/** A server of `ws` and a client of ours that connected to it. */
async function met(t, options = {}, ...flags) {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0, ...options });
  t.after(() => {
    for (const socket of server.clients) socket.terminate();
    server.close();
  });
  await within(once(server, 'listening'), 'listening');
  const connection = once(server, 'connection');
  const client = new Program(CLIENT, [`ws://127.0.0.1:${server.address().port}/chat?x=1`, ...flags]);
  t.after(() => client.kill());
  const ended = client.exited.then(() => assert.fail(`no connection: ${client.output()}`));
  const [socket, request] = await within(Promise.race([connection, ended]), 'a connection');
  ended.catch(() => {});
  return { socket, request, client, inbox: new Inbox(socket) };
}

/** The last line of the client, once it has ended with this exit status. */
async function said(client, status = 0) {
  const exit = await within(client.exited, 'the end of the client');
  assert.deepEqual(exit, { code: status, signal: null }, client.output());
  return client.lines.at(-1);
}

describe('what ws sends comes back', () => {
  for (const variant of COMPRESSION) {
    test(variant.name, async (t) => {
      const flags = variant.takeover === null ? [] : [variant.takeover ? '--takeover' : '--compress'];
      const perMessageDeflate = variant.ws && { ...variant.ws, threshold: 0 };
      const { socket, inbox, client } = await met(t, { perMessageDeflate }, ...flags);
      await everything(socket, inbox, variant);
      socket.close(1000);
      assert.equal((await inbox.end()).code, 1000);
      assert.equal(await said(client), 'closed by the peer: 1000 ');
    });
  }

  for (const bits of [9, 10, 11, 12, 13, 14, 15]) {
    test(`windows of ${bits} bits, offered by us`, async (t) => {
      const options = { perMessageDeflate: { threshold: 0 } };
      const { socket, inbox, client } = await met(t, options, '--takeover', '--window', `${bits}`);
      const agreed = bits < 15 ? { takeover: true, bits } : { takeover: true };
      await everything(socket, inbox, agreed);
      socket.close();
      await inbox.end();
      assert.equal(await said(client), 'closed by the peer: 1005 ');
    });
  }

  test('compression that is offered and declined', async (t) => {
    const { socket, inbox } = await met(t, {}, '--takeover');
    assert.equal(agreedOn(socket), null);
    await small(socket, inbox);
  });
});

test('subprotocol, headers and target reach ws, and its choice reaches us', async (t) => {
  const handleProtocols = (offered) => [...offered][1];
  const { socket, request, client } = await met(t, { handleProtocols }, '--subprotocol', 'chat.v1',
    '--subprotocol', 'chat.v2', '--header', 'X-Room: 7', '--header', 'Cookie: a=1; b=2');
  assert.equal(request.url, '/chat?x=1');
  assert.equal(request.headers['x-room'], '7');
  assert.equal(request.headers.cookie, 'a=1; b=2');
  assert.equal(request.headers['sec-websocket-protocol'].replaceAll(' ', ''), 'chat.v1,chat.v2');
  assert.equal(socket.protocol, 'chat.v2');
  assert.ok(await client.waitForLine(/^open: subprotocol chat\.v2$/));
});

test('our Ping is answered by ws', async (t) => {
  const { socket, inbox } = await met(t);
  const ping = within(once(socket, 'ping'), 'a Ping');
  socket.send('/ping');
  await ping;
  assert.deepEqual(await inbox.take(1), ['pong']);
});

describe('the end', () => {
  for (const [what, close, line] of [
    ['1000', [1000], '1000 '],
    ['3000 and a reason', [3000, 'до свидания 👋'], '3000 до свидания 👋'],
    ['no code', [], '1005 '],
  ]) {
    test(`ws closes with ${what}, behind what it sent`, async (t) => {
      const { socket, inbox, client } = await met(t);
      for (let i = 0; i < 100; i += 1) socket.send(`${i} ${RUSSIAN}`);
      socket.close(...close);
      assert.equal((await inbox.end()).code, close[0] ?? 1005);
      assert.equal(inbox.error, undefined);
      assert.equal(inbox.messages.length, 100, 'the answers come before the answer to the Close');
      assert.equal(await said(client), `closed by the peer: ${line}`);
    });
  }

  for (const [code, reason] of [[1000, ''], [3000, 'причина'], [4999, 'я'.repeat(61)]]) {
    test(`we close with ${code}`, async (t) => {
      const { socket, inbox, client } = await met(t);
      socket.send(`/close ${code} ${reason}`);
      assert.deepEqual(await inbox.end(), { code, reason });
      assert.equal(inbox.error, undefined);
      assert.equal(await said(client), `closed by us, cleanly: ${code}`);
    });
  }

  test('ws is killed in the middle of a message: the connection was lost', async (t) => {
    const victim = await Program.start(process.execPath,
      fileURLToPath(new URL('victim.mjs', import.meta.url)));
    t.after(() => victim.kill());
    const client = new Program(CLIENT, [`ws://127.0.0.1:${victim.port}/`]);
    t.after(() => client.kill());
    assert.match(await said(client, 1), /^lost: /);
    assert.equal((await within(victim.exited, 'the end of ws')).signal, 'SIGKILL');
  });
});
