// What is sent to a program of ours that echoes, and must come back. `socket` is an open WebSocket
// of `ws`, of either side.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { within } from '../../programs.mjs';

export const RUSSIAN = 'Съешь же ещё этих мягких французских булок, да выпей чаю 🫖👩‍👩‍👧‍👦\n';
const MIB = 1 << 20;

/** The messages and the end of a WebSocket, to be waited for. */
export class Inbox {
  constructor(socket) {
    this.socket = socket;
    this.messages = [];
    this.wake = () => {};
    socket.on('message', (data, isBinary) => {
      this.messages.push(isBinary ? data : data.toString());
      this.wake();
    });
    this.closed = new Promise((resolve) => {
      socket.on('close', (code, reason) => resolve({ code, reason: reason.toString() }));
    });
    // It is followed by 'close'.
    socket.on('error', (error) => { this.error = error; });
    this.closed.then(() => this.wake());
  }

  /** The next `count` messages. */
  async take(count) {
    await within((async () => {
      while (this.messages.length < count) {
        assert.equal(this.socket.readyState, 1, `open until ${count} came: ${this.error}`);
        await new Promise((resolve) => { this.wake = resolve; });
      }
    })(), `${count} messages; ${this.messages.length} came`, 60_000);
    return this.messages.splice(0, count);
  }

  async end() {
    return within(this.closed, 'the end of the connection');
  }
}

/** Sends all of `messages` and expects the same back, in order. */
async function echoed(socket, inbox, messages) {
  for (const message of messages) socket.send(message);
  const answers = await inbox.take(messages.length);
  for (const [i, message] of messages.entries()) same(answers[i], message, `message ${i}`);
}

/** Compares without printing megabytes. */
function same(answer, message, what) {
  assert.equal(typeof answer, typeof message, `${what}: its kind`);
  assert.equal(answer.length, message.length, `${what}: its length`);
  const equal = typeof message === 'string' ? answer === message : message.equals(answer);
  assert.ok(equal, `${what}: its content`);
}

function repeated(text, length) {
  return text.repeat(Math.ceil(length / text.length)).slice(0, length);
}

export async function small(socket, inbox) {
  const lengths = [0, 1, 2, 125, 126, 127, 1000, 65535, 65536, 65537];
  await echoed(socket, inbox, [
    'Привет, мир! 👋', RUSSIAN,
    ...lengths.map((length) => repeated('abcdefg', length)),
    ...lengths.map((length) => randomBytes(length)),
    ...lengths.map((length) => Buffer.alloc(length, 'Ж')),
  ]);
}

/** Above 1 MiB: text that shrinks, bytes that do not, and both in turns. */
export async function large(socket, inbox) {
  const text = RUSSIAN.repeat(20_000);
  assert.ok(Buffer.byteLength(text) > 2 * MIB);
  await echoed(socket, inbox, [
    text, randomBytes(MIB), Buffer.concat([randomBytes(MIB), Buffer.alloc(2 * MIB, 'абв')]), text,
    randomBytes(MIB + 1),
  ]);
}

/** Fragments of the peer's own, cut inside characters, with a Ping between them. */
export async function fragments(socket, inbox) {
  const text = Buffer.from(RUSSIAN);
  const sent = [];
  for (const size of [1, 3, 7, text.length - 1]) {
    for (const binary of [false, true]) {
      for (let at = 0; at < text.length; at += size) {
        const fin = at + size >= text.length;
        socket.send(text.subarray(at, at + size), { binary, fin });
        if (at === 0) await pong(socket);
      }
      sent.push(binary ? text : RUSSIAN);
    }
  }
  // An empty first and an empty last fragment.
  socket.send('', { fin: false });
  socket.send('середина', { fin: false });
  socket.send('', { fin: true });
  sent.push('середина');
  const answers = await inbox.take(sent.length);
  for (const [i, message] of sent.entries()) same(answers[i], message, `fragmented message ${i}`);
}

async function pong(socket) {
  const payload = randomBytes(8);
  const answer = new Promise((resolve) => { socket.once('pong', resolve); });
  socket.ping(payload);
  assert.ok(payload.equals(await within(answer, 'a Pong')), 'the Pong holds what the Ping held');
}

export async function pings(socket) {
  for (let i = 0; i < 10; i += 1) await pong(socket);
}

/** Many messages that nobody waits for, each told from all others. */
export async function burst(socket, inbox, count = 10_000) {
  await echoed(socket, inbox, Array.from({ length: count }, (_, i) => (
    i % 3 === 0 ? Buffer.from(`binary ${i} ${'Ы'.repeat(i % 50)}`) : `text ${i} ${'ы'.repeat(i % 50)}`
  )));
}

/** What both sides of `ws` can be told about permessage-deflate, and what we are told to do:
 * `--takeover` is for the library's client, the server has a flag of its own. */
export const COMPRESSION = [
  { name: 'no compression', ws: false, takeover: null },
  { name: "ws's own settings, context takeover", ws: {}, takeover: true },
  { name: "ws's own settings, no context takeover", ws: {}, takeover: false },
  {
    name: 'no context takeover, by the wish of ws',
    ws: { serverNoContextTakeover: true, clientNoContextTakeover: true },
    takeover: true,
    noTakeover: true,
  },
  ...[9, 10, 11, 12, 13, 14, 15].map((bits) => ({
    name: `windows of ${bits} bits`,
    ws: { serverMaxWindowBits: bits, clientMaxWindowBits: bits },
    takeover: true,
    bits,
  })),
];

/** The parameters of permessage-deflate, or null. `ws` itself shows only the extension's name. */
export function agreedOn(socket) {
  return socket._extensions['permessage-deflate']?.params ?? null;
}

/**
 * All of the above on one connection, and that what was agreed is what happened; `most` is the
 * largest window, as a power of two, that our end agrees to.
 */
export async function everything(socket, inbox, variant, most = 15) {
  const agreed = agreedOn(socket);
  assert.equal(agreed !== null, variant.takeover !== null);
  if (agreed) {
    const forget = !variant.takeover || variant.noTakeover || undefined;
    const bits = Math.min(variant.bits ?? 15, most);
    assert.equal(agreed.server_no_context_takeover, forget);
    assert.equal(agreed.client_no_context_takeover, forget);
    assert.equal(agreed.server_max_window_bits ?? 15, bits);
    assert.equal(agreed.client_max_window_bits ?? 15, bits);
  }
  await small(socket, inbox);
  await large(socket, inbox);
  await fragments(socket, inbox);
  await pings(socket);
  await burst(socket, inbox, variant.bits === undefined ? 10_000 : 1000);
  await compressed(socket, inbox, variant.takeover !== null);
}

/** Whether a message that shrinks takes less on the wire, both ways. */
async function compressed(socket, inbox, expected) {
  // Of the socket below: nothing else tells how many bytes there were.
  const { bytesRead, bytesWritten } = socket._socket;
  await echoed(socket, inbox, [RUSSIAN.repeat(1000)]);
  const length = Buffer.byteLength(RUSSIAN) * 1000;
  for (const [way, bytes] of [
    ['by us', socket._socket.bytesRead - bytesRead],
    ['by ws', socket._socket.bytesWritten - bytesWritten],
  ]) {
    assert.ok(expected ? bytes < length / 4 : bytes > length, `${bytes} bytes were sent ${way}`);
  }
}
