// The client module of `provod serve` in Node, with a scripted server, a clock that is turned by
// hand and no network: when it connects, what it says again, what it leaves out.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Room, cleanName } from '../../crates/provod-cli/src/serve/page/provod-room.js';

const URL_OF_ROOM = 'ws://127.0.0.1:8080/chat';

/** What a browser gives a page, as far as the module uses it. Time passes by `pass()` only. */
class Host extends EventTarget {
  now = 0;
  timers = new Map();
  sockets = [];
  listeners = 0;
  navigator = { onLine: true };
  performance = { now: () => this.now };
  crypto = globalThis.crypto;
  #count = 0;

  constructor() {
    super();
    const host = this;
    this.document = Object.assign(new Counting(this), { visibilityState: 'visible' });
    this.WebSocket = class extends Socket {
      constructor(url, protocols) {
        super(url, protocols);
        host.sockets.push(this);
      }
    };
  }

  addEventListener(...args) {
    this.listeners += 1;
    super.addEventListener(...args);
  }

  removeEventListener(...args) {
    this.listeners -= 1;
    super.removeEventListener(...args);
  }

  setTimeout = (action, delay) => {
    this.timers.set(++this.#count, { at: this.now + delay, action });
    return this.#count;
  };

  clearTimeout = (id) => this.timers.delete(id);

  pass(ms) {
    const until = this.now + ms;
    for (;;) {
      const due = [...this.timers].filter(([, { at }]) => at <= until)
        .sort(([, a], [, b]) => a.at - b.at)[0];
      if (!due) break;
      this.timers.delete(due[0]);
      this.now = Math.max(this.now, due[1].at);
      due[1].action();
    }
    this.now = until;
  }

  get socket() {
    return this.sockets.at(-1);
  }
}

/** A target whose listeners count as the host's. */
class Counting extends EventTarget {
  constructor(host) {
    super();
    this.host = host;
  }

  addEventListener(...args) {
    this.host.listeners += 1;
    super.addEventListener(...args);
  }

  removeEventListener(...args) {
    this.host.listeners -= 1;
    super.removeEventListener(...args);
  }
}

/** The server's end is in the methods `accept`, `tell` and `drop`. */
class Socket {
  readyState = 0;
  protocol = '';
  sent = [];
  closed = null;

  constructor(url, protocols) {
    this.url = url;
    this.protocols = protocols;
  }

  send(data) {
    assert.equal(this.readyState, 1);
    this.sent.push(JSON.parse(data));
  }

  close(code, reason) {
    this.readyState = 2;
    this.closed = { code, reason };
  }

  accept(protocol = 'provod.room.v1') {
    this.protocol = protocol;
    this.readyState = 1;
    this.onopen?.({});
  }

  tell(message) {
    this.onmessage?.({ data: JSON.stringify(message) });
  }

  drop(code = 1006, reason = '') {
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }

  said() {
    return this.sent.filter(({ type }) => type === 'say').map(({ text }) => text);
  }

  /** Answers what was said and is not answered yet, as a room does. */
  answer(seq) {
    for (const { type, id, text } of this.sent.splice(0)) {
      if (type === 'say') this.tell(message({ id, seq: seq++, from: 'm1', name: 'Аня', text }));
    }
  }
}

const message = (fields) => ({ type: 'message', time: 1, ...fields });

const welcome = (fields = {}) => ({
  type: 'welcome', you: 'm1', room: 'chat', epoch: 'e1', seq: 0, time: 0,
  members: [{ id: 'm1', name: 'Аня' }], count: 1, plain: 0, history: [],
  limits: { name: 40, text: 4000, rate: 10, burst: 30 }, ...fields,
});

/** A room with all its events noted, and the host it lives in. */
function enter(options = {}) {
  const host = options.host ?? new Host();
  const room = new Room(URL_OF_ROOM, { name: 'Аня', host, random: () => 1, ...options });
  const events = [];
  for (const type of ['state', 'welcome', 'message', 'delivery', 'members', 'joined', 'left',
    'renamed', 'typing', 'rtt', 'binary', 'error']) {
    room.addEventListener(type, ({ detail }) => events.push({ type, detail }));
  }
  const of = (type) => events.filter((event) => event.type === type).map(({ detail }) => detail);
  return { host, room, of };
}

function join(options, fields) {
  const entered = enter(options);
  entered.host.socket.accept();
  entered.host.socket.tell(welcome(fields));
  return entered;
}

/** As `sessionStorage`. */
class Store {
  map = new Map();
  getItem(key) { return this.map.get(key) ?? null; }
  setItem(key, value) { this.map.set(key, String(value)); }
}

const texts = (messages) => messages.map(({ text }) => text);

test('it says hello with a name and a secret, and is open after the welcome', () => {
  const { host, room } = enter();
  assert.equal(host.socket.url, URL_OF_ROOM);
  assert.equal(host.socket.protocols, 'provod.room.v1');
  host.socket.accept();
  assert.equal(room.state, 'connecting');
  const [{ type, name, client }] = host.socket.sent;
  assert.deepEqual({ type, name }, { type: 'hello', name: 'Аня' });
  assert.match(client, /^[A-Za-z0-9_-]{16,64}$/);
  host.socket.tell(welcome());
  assert.equal(room.state, 'open');
  host.socket.drop();
  host.pass(500);
  host.socket.accept();
  assert.equal(host.socket.sent[0].client, client, 'the same member comes back');
});

test('two rooms have different secrets and ids', () => {
  const [a, b] = [join(), join()];
  assert.notEqual(a.host.socket.sent[0].client, b.host.socket.sent[0].client);
  assert.notEqual(a.room.say('x').id, a.room.say('x').id);
});

test('waits double from 0.5 s to 30 s, and begin anew after a connection of 5 s', () => {
  const { host, room } = enter();
  for (const wait of [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]) {
    host.socket.drop();
    assert.equal(room.state, 'waiting');
    assert.equal(room.retryIn, wait);
    const before = host.sockets.length;
    host.pass(wait - 1);
    assert.equal(host.sockets.length, before);
    host.pass(1);
    assert.equal(host.sockets.length, before + 1);
    assert.equal(room.retryIn, null);
  }
  host.socket.accept();
  host.socket.tell(welcome());
  host.pass(4999);
  host.socket.drop();
  assert.equal(room.retryIn, 30000, 'it was not up for long enough');
  host.pass(30000);
  host.socket.accept();
  host.socket.tell(welcome());
  host.pass(5000);
  host.socket.drop();
  assert.equal(room.retryIn, 500);
});

test('a server that opens and never welcomes is asked ever more seldom', () => {
  const { host, room } = enter();
  for (const wait of [500, 1000, 2000]) {
    host.socket.accept();
    host.pass(10_000);
    assert.equal(room.retryIn, wait);
    host.pass(wait);
  }
});

test('where no WebSocket can be made it goes on trying', () => {
  const { host, room } = enter();
  const { WebSocket } = host;
  host.socket.drop();
  host.WebSocket = class { constructor() { throw new Error('not now'); } };
  host.pass(500);
  assert.equal(room.state, 'waiting');
  host.WebSocket = WebSocket;
  host.pass(1000);
  host.socket.accept();
  host.socket.tell(welcome());
  assert.equal(room.state, 'open');
});

test('each connection has a higher number, so that a late hello replaces no later one', () => {
  const { host } = join();
  host.socket.drop();
  host.pass(500);
  host.socket.accept();
  assert.deepEqual(host.sockets.map(({ sent }) => sent[0].attempt), [1, 2]);
});

test('a name that shows nothing is none', () => {
  for (const name of ['', ' ', '\u2800', '\u3164', '\u200b\u200d', '\ufe0f']) {
    assert.equal(cleanName(name), '');
  }
  assert.equal(cleanName(' 👩‍🚀 '), '👩‍🚀');
});

test('a new name before the welcome is asked for after it', () => {
  const { host, room } = enter();
  host.socket.accept();
  const said = room.say('hello');
  room.rename('Анна');
  assert.equal(said.name, 'Анна');
  host.socket.tell(welcome());
  const sent = host.socket.sent.map(({ type, name, text }) => [type, name ?? text]);
  assert.deepEqual(sent.filter(([type]) => type !== 'ping'),
    [['hello', 'Аня'], ['rename', 'Анна'], ['say', 'hello']]);
});

test('what is said in answer to a delivery is sent once, and in its place', () => {
  const { host, room } = join();
  let answered = false;
  room.addEventListener('delivery', () => {
    if (answered) return;
    answered = true;
    room.say('x');
  });
  host.socket.drop();
  for (const text of ['a', 'b', 'c']) room.say(text);
  host.pass(500);
  host.socket.accept();
  host.socket.tell(welcome());
  assert.deepEqual(host.socket.said(), ['a', 'b', 'c', 'x']);
});

test('1009: it is the message that is the largest on the wire', () => {
  const { host, room, of } = join();
  const escaped = room.say('\n'.repeat(1800));
  const plain = room.say('a'.repeat(3000));
  host.socket.drop(1009);
  assert.equal(escaped.state, 'refused');
  assert.equal(plain.state, 'waiting');
  assert.equal(of('delivery').at(-1).error.code, 'too_large');
});

test('what a storage holds that this module did not write is left out', () => {
  const storage = new Store();
  const { host, room } = join({ storage });
  host.socket.drop();
  room.say('mine');
  const [key, value] = [...storage.map][0];
  const kept = JSON.parse(value);
  const [{ id, text, time }] = kept.unsent;
  kept.unsent = [{ id: 'a b', text, time }, { text, time }, { id, text }, { id, time }, { id, text: '', time },
    { id, text: 'x'.repeat(5000), time }, { id, text, time }];
  storage.map.set(key, JSON.stringify(kept));
  const { room: again } = enter({ storage });
  assert.deepEqual(again.outbox.map((m) => m.text), ['mine']);
});

test('the wait is random between nothing and its ceiling', () => {
  const { host, room } = enter({ random: () => 0.25 });
  host.socket.drop();
  assert.equal(room.retryIn, 125);
});

test('an attempt without an answer, and a hello without a welcome, end after 10 s', () => {
  const { host, room, of } = enter();
  host.pass(10_000);
  assert.equal(room.state, 'waiting');
  assert.notEqual(host.sockets[0].closed, null);
  host.pass(500);
  host.socket.accept();
  host.pass(10_000);
  assert.equal(room.state, 'waiting');
  assert.equal(of('state').at(-1).reason, 'the server is silent');
});

test('retry() tries at once, and not twice', () => {
  const { host, room } = enter();
  host.socket.drop();
  room.retry();
  assert.equal(host.sockets.length, 2);
  room.retry();
  host.pass(1000);
  assert.equal(host.sockets.length, 2);
});

test('without a network it waits for one, with a rare try that costs nothing', () => {
  const { host, room } = enter();
  host.navigator.onLine = false;
  host.socket.drop();
  assert.equal(room.state, 'offline');
  assert.equal(room.retryIn, 30_000);
  host.pass(30_000);
  assert.equal(host.sockets.length, 2);
  host.socket.drop();
  host.document.dispatchEvent(new Event('visibilitychange'));
  assert.equal(host.sockets.length, 2, 'being looked at brings no network');
  host.navigator.onLine = true;
  host.pass(30_000);
  host.socket.drop();
  assert.equal(room.retryIn, 500, 'the tries without a network were no failures');
  host.navigator.onLine = false;
  host.dispatchEvent(new Event('offline'));
  assert.equal(room.state, 'offline');
});

test('when the network returns it tries at once, and with short waits again', () => {
  const { host, room } = enter();
  for (let i = 0; i < 5; i++) {
    host.socket.drop();
    host.pass(room.retryIn);
  }
  host.socket.drop();
  assert.equal(room.retryIn, 16_000);
  const before = host.sockets.length;
  host.dispatchEvent(new Event('online'));
  assert.equal(host.sockets.length, before + 1);
  host.socket.drop();
  assert.equal(room.retryIn, 500);
});

test('a page that is shown again tries at once; one that is hidden waits', () => {
  for (const type of ['visibilitychange', 'resume']) {
    const { host } = enter();
    host.socket.drop();
    host.document.visibilityState = 'hidden';
    host.document.dispatchEvent(new Event(type));
    assert.equal(host.sockets.length, 1);
    host.document.visibilityState = 'visible';
    host.document.dispatchEvent(new Event(type));
    assert.equal(host.sockets.length, 2);
  }
  const { host } = enter();
  host.socket.drop();
  host.dispatchEvent(new Event('pageshow'));
  assert.equal(host.sockets.length, 2);
});

test('a page that wakes asks whether its open connection lives', () => {
  const { host, room } = join();
  host.socket.sent.length = 0;
  host.document.dispatchEvent(new Event('visibilitychange'));
  assert.equal(host.socket.sent[0].type, 'ping');
  host.pass(10_000);
  assert.equal(room.state, 'waiting');
});

test('pings measure the round trip, every 15 s while the page is visible', () => {
  const { host, room, of } = join();
  const pings = () => host.socket.sent.filter(({ type }) => type === 'ping');
  const answer = (after) => {
    host.pass(after);
    host.socket.tell({ type: 'pong', id: pings().at(-1).id, time: 0 });
  };
  answer(7);
  assert.equal(room.rtt, 7);
  host.pass(2000 - 7);
  answer(3);
  assert.deepEqual(of('rtt'), [7, 3]);
  host.pass(15_000 - 3);
  assert.equal(pings().length, 3);
  answer(1);
  host.document.visibilityState = 'hidden';
  host.pass(60_000);
  assert.equal(pings().length, 3);
  assert.equal(room.state, 'open');
});

test('silence after a ping is the death of the connection; any message is life', () => {
  const { host, room } = join();
  host.pass(9_999);
  host.socket.tell({ type: 'members', count: 1, plain: 3 });
  // The third ping is at 17 s.
  host.pass(17_000);
  assert.equal(room.state, 'open');
  const dead = host.socket;
  host.pass(1);
  assert.equal(room.state, 'waiting');
  host.pass(500);
  assert.notEqual(host.socket, dead);
  // What the dead one still had to say does not count.
  dead.drop();
  dead.tell(welcome());
  assert.equal(room.state, 'connecting');
});

test('a later ping gives a dead connection no more time, and only its pong counts', () => {
  const { host, room } = join();
  host.pass(9_999);
  assert.equal(room.state, 'open');
  host.pass(1);
  assert.equal(room.state, 'waiting');
  const other = join();
  const first = other.host.socket.sent.find(({ type }) => type === 'ping');
  other.host.pass(2000);
  other.host.socket.tell({ type: 'pong', id: first.id, time: 0 });
  assert.equal(other.room.rtt, null);
});

test('what is said before there is a connection is said when there is one, in order', () => {
  const { host, room, of } = enter();
  const said = ['one', 'two', 'three'].map((text) => room.say(text));
  assert.deepEqual(said.map(({ state }) => state), ['waiting', 'waiting', 'waiting']);
  host.socket.accept();
  assert.deepEqual(host.socket.said(), []);
  host.socket.tell(welcome());
  assert.deepEqual(host.socket.said(), ['one', 'two', 'three']);
  assert.deepEqual(said.map(({ state }) => state), ['sent', 'sent', 'sent']);
  host.socket.answer(1);
  assert.deepEqual(said.map(({ state }) => state), ['delivered', 'delivered', 'delivered']);
  assert.deepEqual(of('message'), said);
  assert.deepEqual(said.map(({ seq, own }) => [seq, own]), [[1, true], [2, true], [3, true]]);
  assert.deepEqual(room.outbox, []);
});

test('what was not answered is said again with the same id, what was is not', () => {
  const { host, room, of } = join();
  const [one, two, three] = ['one', 'two', 'three'].map((text) => room.say(text));
  host.socket.tell(message({ id: one.id, seq: 1, text: 'one' }));
  host.socket.drop();
  assert.deepEqual([one.state, two.state, three.state], ['delivered', 'waiting', 'waiting']);
  host.pass(500);
  host.socket.accept();
  // It had arrived: the history says so.
  const arrived = message({ id: two.id, seq: 2, from: 'm1', name: 'Аня', text: 'two' });
  host.socket.tell(welcome({ seq: 2, history: [message({ id: one.id, seq: 1 }), arrived] }));
  const again = host.socket.sent.filter(({ type }) => type === 'say');
  assert.deepEqual(again, [{ type: 'say', id: three.id, text: 'three' }]);
  host.socket.answer(3);
  host.socket.tell(arrived);
  assert.deepEqual(of('message'), [one, two, three]);
});

test('a message whose id was had is left out, also with another number', () => {
  const { host, of } = join();
  host.socket.tell(message({ id: 'x', seq: 1, text: 'once' }));
  host.socket.tell(message({ id: 'x', seq: 2, text: 'once' }));
  assert.deepEqual(texts(of('message')), ['once']);
});

test('the ids that it remembers are bounded', () => {
  const { host, of } = join();
  for (let seq = 1; seq <= 8193; seq++) host.socket.tell(message({ id: `i${seq}`, seq, text: '' }));
  host.socket.tell(message({ id: 'i2', seq: 2, text: '' }));
  assert.equal(of('message').length, 8193);
  host.socket.tell(message({ id: 'i1', seq: 1, text: '' }));
  assert.equal(of('message').length, 8194);
});

test('it keeps to the rate of the server', () => {
  const { host, room } = join();
  for (let i = 0; i < 13; i++) room.say(`${i}`);
  // A third of the burst, and the ping of the welcome was one of ten.
  assert.equal(host.socket.said().length, 9);
  host.pass(99);
  assert.equal(host.socket.said().length, 9);
  host.pass(1);
  assert.equal(host.socket.said().length, 10);
});

test('no more is in flight than the server takes at once, whenever it arrives', () => {
  const { host, room } = join();
  for (let i = 0; i < 13; i++) room.say(`${i}`);
  host.pass(1500);
  assert.equal(host.socket.said().length, 10);
  host.socket.answer(1);
  assert.deepEqual(host.socket.said(), ['10', '11', '12']);
});

test('a long silence is no right to a larger burst', () => {
  const { host, room } = join({}, { limits: { name: 40, text: 4000, rate: 10, burst: 15 } });
  host.pass(9000);
  for (let i = 0; i < 8; i++) room.say(`${i}`);
  assert.equal(host.socket.said().length, 5);
});

test('rate 0 is no limit', () => {
  const { host, room } = join({}, { limits: { name: 40, text: 4000, rate: 0, burst: 0 } });
  for (let i = 0; i < 400; i++) room.say(`${i}`);
  assert.equal(host.socket.said().length, 400);
});

test('refused for its rate it waits as long as it is told and says it again', () => {
  const { host, room } = join();
  const said = room.say('patience');
  host.socket.tell({ type: 'error', code: 'rate', message: '', id: said.id, retry_after: 400 });
  assert.equal(said.state, 'waiting');
  host.pass(399);
  assert.equal(host.socket.said().length, 1);
  host.pass(1);
  assert.deepEqual(host.socket.sent.filter(({ type }) => type === 'say').map(({ id }) => id),
    [said.id, said.id]);
});

test('after a refusal for its rate it sends one at a time', () => {
  const { host, room } = join();
  const said = ['a', 'b', 'c'].map((text) => room.say(text));
  for (const { id } of said) {
    host.socket.tell({ type: 'error', code: 'rate', message: '', id, retry_after: 400 });
  }
  host.pass(400);
  assert.deepEqual(host.socket.said(), ['a', 'b', 'c', 'a']);
  host.pass(100);
  assert.deepEqual(host.socket.said(), ['a', 'b', 'c', 'a', 'b']);
});

test('what the server refuses says why, and is not said again', () => {
  const { host, room, of } = join();
  const said = room.say('no');
  host.socket.tell({ type: 'error', code: 'bad_field', message: 'not here', id: said.id });
  assert.equal(said.state, 'refused');
  assert.deepEqual(said.error, { code: 'bad_field', message: 'not here' });
  assert.equal(of('delivery').at(-1), said);
  assert.deepEqual(of('error'), []);
  host.socket.drop();
  host.pass(500);
  host.socket.accept();
  host.socket.tell(welcome());
  assert.deepEqual(host.socket.said(), []);
});

test('1009: the largest in flight was too large; the others are said again', () => {
  const { host, room } = join();
  const [small, large, late] = ['a', 'aaaa', 'aa'].map((text) => room.say(text));
  host.socket.drop(1009);
  assert.deepEqual([small.state, large.state, late.state], ['waiting', 'refused', 'waiting']);
  assert.equal(large.error.code, 'too_large');
  host.pass(500);
  host.socket.accept();
  host.socket.tell(welcome());
  assert.deepEqual(host.socket.said(), ['a', 'aa']);
});

test('4000: it stays away until it is told to come back', () => {
  const { host, room } = join();
  host.socket.drop(4000, 'replaced');
  assert.equal(room.state, 'replaced');
  assert.equal(room.retryIn, null);
  host.pass(3_600_000);
  host.dispatchEvent(new Event('online'));
  assert.equal(host.sockets.length, 1);
  room.retry();
  assert.equal(host.sockets.length, 2);
});

test('a server without the protocol is an error in words', () => {
  const { host, room, of } = enter();
  host.socket.accept('');
  assert.equal(of('error')[0].code, 'no_protocol');
  assert.equal(room.state, 'closed');
  assert.deepEqual(host.socket.sent, []);
  host.pass(3_600_000);
  assert.equal(host.sockets.length, 1);
});

test('after close() no timer, no listener and no connection is left', () => {
  for (const when of ['connecting', 'joining', 'open', 'waiting']) {
    const { host, room } = enter();
    assert.ok(host.listeners > 0 && host.timers.size > 0);
    if (when === 'joining' || when === 'open') host.socket.accept();
    if (when === 'open') host.socket.tell(welcome({ limits: { rate: 1, burst: 1 } }));
    room.typing();
    room.typing();
    room.say('unsent');
    room.typing();
    if (when === 'waiting') host.socket.drop();
    room.close();
    assert.equal(room.state, 'closed', when);
    assert.equal(host.timers.size, 0, when);
    assert.equal(host.listeners, 0, when);
    assert.ok(host.socket.readyState >= 2, when);
    room.retry();
    assert.equal(host.sockets.length, 1, when);
  }
});

test('missed messages are counted by the numbering, while it is the same', () => {
  const cases = [
    // The last one had was 5.
    { back: { seq: 5 }, missed: 0 },
    { back: { seq: 9 }, missed: 4 },
    { back: { seq: 9, history: [message({ id: 'a', seq: 9, text: '' })] }, missed: 3 },
    { back: { seq: 6, history: [5, 6].map((seq) => message({ id: `h${seq}`, seq })) }, missed: 0 },
    { back: { seq: 9, epoch: 'e2' }, missed: null },
  ];
  for (const { back, missed } of cases) {
    const { host, of } = join({}, { seq: 4 });
    host.socket.tell(message({ id: 'h5', seq: 5, text: '' }));
    host.socket.drop();
    host.pass(500);
    host.socket.accept();
    host.socket.tell(welcome(back));
    assert.deepEqual(of('welcome').map(({ again, missed }) => [again, missed]),
      [[false, 0], [true, missed]]);
  }
});

test('what was not delivered survives a reload, with its id, and is not doubled', () => {
  const storage = new Store();
  const before = join({ storage });
  const [had, lost] = [before.room.say('had'), before.room.say('lost')];
  before.host.socket.tell(message({ id: had.id, seq: 1, text: 'had' }));
  before.room.close();

  const { host, room, of } = enter({ storage });
  assert.deepEqual(room.outbox.map(({ id, text, state }) => [id, text, state]),
    [[lost.id, 'lost', 'waiting']]);
  host.socket.accept();
  host.socket.tell(welcome({ seq: 1, history: [message({ id: had.id, seq: 1, text: 'had' })] }));
  assert.deepEqual(of('message').map(({ text, own, past }) => [text, own, past]),
    [['had', true, true]], 'own, though another member said it');
  assert.deepEqual(host.socket.said(), ['lost']);
  host.socket.answer(2);
  assert.equal(JSON.parse([...storage.map.values()][0]).unsent.length, 0);
});

test('a storage that is forbidden, full or full of something else does no harm', () => {
  const forbidden = { getItem() { throw new Error(); }, setItem() { throw new Error(); } };
  const strange = new Store();
  strange.getItem = () => '{"unsent":[{"id":7},null],"own":{}}';
  for (const storage of [forbidden, strange]) {
    const { host, room } = join({ storage });
    room.say('x');
    assert.deepEqual(host.socket.said(), ['x']);
  }
});

test('the outbox is bounded in number and in bytes, and says so', () => {
  const { room } = enter();
  for (let i = 0; i < 500; i++) assert.equal(room.say('x').state, 'waiting');
  const refused = room.say('x');
  assert.equal(refused.state, 'refused');
  assert.equal(refused.error.code, 'outbox_full');
  assert.equal(room.outbox.length, 500);

  const wide = enter().room;
  // 8,000 bytes each.
  for (let i = 0; i < 32; i++) assert.equal(wide.say('я'.repeat(4000)).state, 'waiting');
  assert.equal(wide.say('я'.repeat(4000)).error.code, 'outbox_full');
  assert.equal(wide.say('short').state, 'waiting');

  const { host, room: emptied } = join({}, { limits: { rate: 0, burst: 0 } });
  for (let i = 0; i < 32; i++) emptied.say('я'.repeat(4000));
  host.socket.answer(1);
  assert.equal(emptied.say('я'.repeat(4000)).state, 'sent');
});

test('texts are counted in code points', () => {
  const { room } = join();
  assert.equal(room.say('😀'.repeat(4000)).state, 'sent');
  assert.equal(room.say('😀'.repeat(4001)).error.code, 'too_long');
  assert.equal(room.say('').error.code, 'empty');
  assert.equal(room.say('half \ud83d').text, 'half \ufffd');
});

test('names are made fit for the protocol', () => {
  assert.equal(cleanName('  Аня \n'), 'Аня');
  assert.equal(cleanName('a\u202eb\u0007c\u2066'), 'abc');
  assert.equal([...cleanName('😀'.repeat(50))].length, 40);
  assert.equal(cleanName(' \t'), '');
});

test('a new name goes before what is said after it', () => {
  const { host, room } = join();
  host.socket.sent.length = 0;
  room.rename(' Анна ');
  room.say('x');
  assert.deepEqual(host.socket.sent.map(({ type, name }) => [type, name]),
    [['rename', 'Анна'], ['say', undefined]]);
  assert.equal(room.rename('\n'), 'Анна');
  assert.equal(host.socket.sent.length, 2);
});

test('a name that was refused is taken back; one refused for its rate is said again', () => {
  const { host, room, of } = join();
  room.rename('Бим');
  host.socket.tell({ type: 'error', code: 'bad_name', message: 'no' });
  assert.equal(room.name, 'Аня');
  assert.equal(of('error').length, 1);
  room.rename('Бом');
  host.socket.sent.length = 0;
  host.socket.tell({ type: 'error', code: 'rate', message: '', retry_after: 100 });
  host.pass(100);
  assert.deepEqual(host.socket.sent, [{ type: 'rename', name: 'Бом' }]);
});

test('a hello that was refused for its name is said again with another', () => {
  const { host, room, of } = enter();
  host.socket.accept();
  host.socket.tell({ type: 'error', code: 'bad_name', message: 'no' });
  assert.equal(of('error')[0].code, 'bad_name');
  assert.equal(room.name, 'guest');
  room.rename('Анна');
  host.socket.tell(welcome());
  assert.deepEqual(host.socket.sent.slice(0, 3).map(({ type, name }) => [type, name]),
    [['hello', 'Аня'], ['hello', 'guest'], ['rename', 'Анна']]);
});

test('a hello that is never accepted ends the connection in time', () => {
  const { host, room } = enter();
  host.socket.accept();
  for (let i = 0; i < 3; i++) {
    host.socket.tell({ type: 'error', code: 'bad_name', message: 'no' });
  }
  assert.equal(host.socket.sent.length, 2);
  host.pass(10_000);
  assert.equal(room.state, 'waiting');
});

test('the members are kept up, also when there are too many to know', () => {
  const { host, room, of } = join();
  const names = () => room.members?.map(({ name }) => name);
  const tell = (message) => host.socket.tell(message);
  tell({ type: 'joined', member: { id: 'm2', name: 'Борис' }, count: 2, plain: 1 });
  assert.deepEqual([names(), room.count, room.plain], [['Аня', 'Борис'], 2, 1]);
  tell({ type: 'renamed', member: { id: 'm2', name: 'Боря' }, was: 'Борис' });
  assert.deepEqual(of('renamed'), [{ id: 'm2', name: 'Боря', was: 'Борис' }]);
  assert.deepEqual(names(), ['Аня', 'Боря']);
  tell({ type: 'left', member: { id: 'm2', name: 'Боря' }, count: 1, plain: 1 });
  assert.deepEqual(names(), ['Аня']);
  tell({ type: 'members', count: 1, plain: 4 });
  assert.deepEqual([names(), room.plain], [['Аня'], 4]);
  tell({ type: 'members', members: null, count: 201, plain: 4 });
  assert.deepEqual([names(), room.count], [undefined, 201]);
  tell({ type: 'members', members: [{ id: 'm1', name: 'Аня' }], count: 1, plain: 0 });
  assert.deepEqual(of('members').at(-1),
    { members: [{ id: 'm1', name: 'Аня' }], count: 1, plain: 0 });
});

test('typing is told as often as the server passes it on, the last keys too', () => {
  const { host, room } = join();
  const told = () => host.socket.sent.filter(({ type }) => type === 'typing').length;
  for (let i = 0; i < 10; i++) room.typing();
  assert.equal(told(), 1);
  host.pass(2099);
  assert.equal(told(), 1);
  host.pass(1);
  assert.equal(told(), 2);
  host.pass(5_000);
  assert.equal(told(), 2);
});

test('who has said it is not typing it any more', () => {
  const { host, room } = join();
  room.typing();
  room.typing();
  room.say('x');
  host.pass(5_000);
  assert.equal(host.socket.sent.filter(({ type }) => type === 'typing').length, 1);
});

test('what it does not know is ignored', () => {
  const { host, room, of } = join();
  for (const data of ['not JSON', 'null', '7', '[]', '{}', '{"type":"constructor"}',
    '{"type":"applause","from":"m1"}']) {
    host.socket.onmessage({ data });
  }
  host.socket.tell(message({ id: 'a', seq: 1, text: 'known', colour: 'red' }));
  host.socket.onmessage({ data: new ArrayBuffer(3) });
  assert.deepEqual(texts(of('message')), ['known']);
  assert.equal(of('binary')[0].byteLength, 3);
  assert.equal(room.state, 'open');
});

test('an address may be relative to the page, and of http', () => {
  const host = new Host();
  host.location = { href: 'https://example.com/some/page' };
  new Room('/chat', { host });
  new Room('http://example.com/a%2Fb', { host });
  assert.deepEqual(host.sockets.map(({ url }) => url),
    ['wss://example.com/chat', 'ws://example.com/a%2Fb']);
});
