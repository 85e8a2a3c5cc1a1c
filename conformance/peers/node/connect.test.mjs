// `ws` as the server of `provod connect`.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { WebSocketServer } from 'ws';
import { Program, built, within } from '../../programs.mjs';
import { COMPRESSION, Inbox, RUSSIAN, agreedOn } from './exchange.mjs';

const PROVOD = built('provod', 'PROVOD_BIN');

/** A server of `ws`; `greet` gets each connection. */
async function serving(t, greet, options = {}) {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0, ...options });
  t.after(() => {
    for (const socket of server.clients) socket.terminate();
    server.close();
  });
  server.on('connection', greet);
  await within(once(server, 'listening'), 'listening');
  return `ws://127.0.0.1:${server.address().port}/chat?x=1`;
}

function echo(socket) {
  socket.on('message', (data, binary) => socket.send(data, { binary }));
}

/** `provod connect` with pipes. Input stays open until `end` or `finish`. */
class Connect {
  constructor(t, url, ...flags) {
    this.child = spawn(PROVOD, ['connect', ...flags, url]);
    t.after(() => this.child.kill('SIGKILL'));
    this.out = [];
    this.err = '';
    this.wake = () => {};
    this.child.stdout.on('data', (data) => { this.out.push(data); this.wake(); });
    this.child.stderr.on('data', (data) => { this.err += data; });
    // Where it has gone before it read all of its input.
    this.child.stdin.on('error', () => {});
    this.closed = new Promise((resolve) => {
      this.child.once('close', (code, signal) => resolve({ code, signal }));
    });
  }

  write(text) {
    this.child.stdin.write(text);
  }

  end(text) {
    this.child.stdin.end(text);
  }

  output() {
    return Buffer.concat(this.out);
  }

  /** Waits until it has printed so many bytes. */
  async printed(length) {
    await within((async () => {
      while (this.output().length < length) {
        await new Promise((resolve) => { this.wake = resolve; });
      }
    })(), `${length} bytes of output`);
  }

  /** Waits for its end and checks the exit code; returns what it said on standard error. */
  async ended(code = 0) {
    const exit = await within(this.closed, `the end; it said ${this.err}`, 60_000);
    assert.deepEqual(exit, { code, signal: null }, this.err);
    if (code !== 0) {
      assert.match(this.err, /^[^\n]+\n$/, 'one line says why');
    }
    return this.err;
  }
}

describe('lines go out, messages come back', () => {
  for (const variant of COMPRESSION) {
    test(variant.name, async (t) => {
      let agreed;
      const perMessageDeflate = variant.ws && { ...variant.ws, threshold: 0 };
      const url = await serving(t, (socket) => {
        agreed = agreedOn(socket);
        echo(socket);
      }, { perMessageDeflate });
      const flags = variant.takeover === null
        ? [] : [`--compress=${variant.takeover ? 'takeover' : 'on'}`, '--compress-threshold', '0'];
      const connect = new Connect(t, url, ...flags);
      const lines = Array.from({ length: 10_000 }, (_, i) => `${i} привет 👋 ${'ы'.repeat(i % 50)}`);
      lines.push('', RUSSIAN.trim().repeat(20_000), 'последняя');
      const input = `${lines.join('\n')}\n`;
      connect.end(input);
      await connect.ended();
      assert.equal(agreed !== null, variant.takeover !== null);
      assert.ok(connect.output().equals(Buffer.from(input)), 'what was sent is what came back');
    });
  }

  test('binary, with -b', async (t) => {
    const kinds = new Set();
    const url = await serving(t, (socket) => {
      socket.on('message', (data, binary) => {
        kinds.add(binary);
        socket.send(data, { binary });
      });
    });
    const connect = new Connect(t, url, '-b');
    // A line feed is what ends a message; no other byte means anything.
    const messages = [1, 1000, 1 << 20].map(
      (length) => Buffer.from(randomBytes(length).map((byte) => (byte === 10 ? 11 : byte))));
    connect.end(Buffer.concat(messages.flatMap((message) => [message, Buffer.from('\n')])));
    await connect.ended();
    assert.deepEqual([...kinds], [true]);
    assert.ok(connect.output().equals(Buffer.concat(messages)), 'binary is printed as it is');
  });

  test('fragments, and a Ping between them', async (t) => {
    let pong;
    const text = Buffer.from(RUSSIAN.trim());
    const url = await serving(t, (socket) => {
      pong = once(socket, 'pong');
      for (let at = 0; at < text.length; at += 3) {
        socket.send(text.subarray(at, at + 3), { binary: false, fin: at + 3 >= text.length });
        if (at === 0) socket.ping('между');
      }
    });
    const connect = new Connect(t, url);
    await connect.printed(text.length + 1);
    assert.equal((await within(pong, 'a Pong'))[0].toString(), 'между');
    connect.end();
    await connect.ended();
    assert.equal(connect.output().toString(), RUSSIAN);
  });
});

test('headers, subprotocols, origin and target', async (t) => {
  let request;
  const url = await serving(t, (socket, got) => { request = got; },
    { handleProtocols: (offered) => [...offered][1] });
  const connect = new Connect(t, url, '-H', 'X-Room: 7', '-H', 'Cookie: a=1', '-s', 'v1', '-s', 'v2',
    '--origin', 'https://example.com');
  connect.end();
  await connect.ended();
  assert.equal(request.url, '/chat?x=1');
  assert.equal(request.headers['x-room'], '7');
  assert.equal(request.headers.cookie, 'a=1');
  assert.equal(request.headers.origin, 'https://example.com');
  assert.equal(request.headers['sec-websocket-protocol'].replaceAll(' ', ''), 'v1,v2');
});

describe('the end', () => {
  test('of input: we close with 1000, and what comes until the answer is printed', async (t) => {
    const messages = Array.from({ length: 1000 }, (_, i) => `${i} ${RUSSIAN.trim()}`);
    let end;
    const url = await serving(t, (socket) => {
      end = new Inbox(socket).closed;
      // All at once, when the line is here and the Close likely behind it.
      socket.on('message', () => { for (const message of messages) socket.send(message); });
    });
    const connect = new Connect(t, url);
    connect.end('давай\n');
    await connect.ended();
    assert.equal(connect.output().toString(), `${messages.join('\n')}\n`);
    assert.equal((await within(end, 'the end')).code, 1000);
  });

  for (const [what, close, code, line] of [
    ['1000', [1000], 0, null],
    ['1001', [1001, 'ухожу'], 0, null],
    ['no code', [], 0, null],
    ['3000 and a reason', [3000, 'до свидания 👋'], 10, /3000.*до свидания/],
    ['1011', [1011], 10, /1011/],
  ]) {
    test(`ws closes with ${what}, behind what it sent`, async (t) => {
      let ended;
      const url = await serving(t, (socket) => {
        ended = new Inbox(socket).closed;
        for (let i = 0; i < 100; i += 1) socket.send(`${i}`);
        socket.close(...close);
      });
      const connect = new Connect(t, url);
      const said = await connect.ended(code);
      if (line) assert.match(said, line);
      assert.equal((await within(ended, 'the end')).code, close[0] ?? 1005);
      assert.equal(connect.output().toString().trim().split('\n').length, 100);
    });
  }

  test('--one: a line, an answer, and 1000', async (t) => {
    let end;
    const url = await serving(t, (socket) => {
      end = new Inbox(socket).closed;
      echo(socket);
    });
    const connect = new Connect(t, url, '--one');
    connect.write('один\nдва\n');
    await connect.ended();
    assert.equal(connect.output().toString(), 'один\n');
    assert.equal((await within(end, 'the end')).code, 1000);
  });

  test('--no-close: what comes after the end of input is printed', async (t) => {
    const url = await serving(t, (socket) => {
      socket.on('message', () => {
        // Nobody who closes at the end of input would still be here after a Ping and its Pong.
        socket.once('pong', () => {
          socket.send('ещё');
          socket.close(1000);
        });
        socket.ping();
      });
    });
    const connect = new Connect(t, url, '--no-close');
    connect.end('строка\n');
    await connect.ended();
    assert.equal(connect.output().toString(), 'ещё\n');
  });

  test('ws is killed in the middle of a message: exit code 11', async (t) => {
    const victim = await Program.start(process.execPath,
      fileURLToPath(new URL('victim.mjs', import.meta.url)));
    t.after(() => victim.kill());
    const connect = new Connect(t, `ws://127.0.0.1:${victim.port}/`);
    await connect.ended(11);
    assert.equal(connect.output().length, 0, 'half a message is none');
    assert.equal((await within(victim.exited, 'the end of ws')).signal, 'SIGKILL');
  });

  test('a refusal: exit code 7, status and body', async (t) => {
    const url = await serving(t, () => {}, {
      verifyClient: (info, done) => done(false, 401, 'сначала войдите', { 'X-Why': 'no token' }),
    });
    const connect = new Connect(t, url);
    const said = await connect.ended(7);
    assert.match(said, /401/);
    assert.match(said, /сначала войдите/);
  });

  test('a web server that knows no WebSocket: exit code 7', async (t) => {
    const server = http.createServer((request, response) => response.end('просто страница'));
    t.after(() => {
      server.close();
      server.closeAllConnections();
    });
    server.listen(0, '127.0.0.1');
    await within(once(server, 'listening'), 'listening');
    const connect = new Connect(t, `ws://127.0.0.1:${server.address().port}/`);
    const said = await connect.ended(7);
    assert.match(said, /200/);
    assert.match(said, /просто страница/);
  });

  test('nobody listens: exit code 5', async (t) => {
    const server = http.createServer();
    server.listen(0, '127.0.0.1');
    await within(once(server, 'listening'), 'listening');
    const { port } = server.address();
    await new Promise((resolve) => { server.close(resolve); });
    await new Connect(t, `ws://127.0.0.1:${port}/`).ended(5);
  });
});
