// A client of `provod.room.v1`: who is in a room, what is said there, and an outbox that loses
// nothing. Copy this file and `provod-reconnect.js` into your page. The protocol is specified in
// docs/room-protocol.md of Provod, this module described in docs/browser-client.md.

import { Reconnecting } from './provod-reconnect.js';

export const PROTOCOL = 'provod.room.v1';

/** The longest name, in code points. */
const MAX_NAME = 40;
/** Whoever has no name that the server takes. */
const NOBODY = 'guest';
/** Ids of messages that were had, to leave out what comes again: twice what a server remembers. */
const MAX_IDS = 8192;
/** Ids of this tab's own messages, by which it knows them in the history after a reload. */
const MAX_OWN_IDS = 256;
const MAX_OUTBOX = 500;
const MAX_OUTBOX_BYTES = 256 * 1024;
const PING_EVERY = 15_000;
/** The first round trip also measures how busy a page is that has just been opened. */
const PING_SOON = 2_000;
/** The server passes one on every 2 seconds, by a clock and over a way of its own. */
const TYPING_EVERY = 2_100;

/**
 * @typedef {{ id: string, name: string }} Member
 * @typedef {{ code: string, message: string }} Problem A code of the protocol, or `empty`,
 *   `outbox_full`, `too_large` (for the server, close code 1009) or `no_protocol`; and why, in
 *   English.
 *
 * @typedef {object} Message
 * @property {string} id
 * @property {string} text
 * @property {string} [name] What the speaker was called. Plain clients have none.
 * @property {string} [from] The member who said it.
 * @property {string} [epoch] Which numbering of the room,
 * @property {number} [seq] and its place there.
 * @property {number} time Milliseconds since 1970, by the server's clock once it is there.
 * @property {boolean} own Whether this tab said it.
 * @property {boolean} [past] Whether it comes from the history.
 * @property {boolean} [cut] Whether the text was longer: plain clients may say more than members.
 * @property {'waiting' | 'sent' | 'delivered' | 'refused'} state `waiting`: kept here. `sent`: on
 *   its way. `delivered`: it is in the room.
 * @property {Problem} [error] Why it was refused.
 *
 * @typedef {'connecting' | 'open' | 'waiting' | 'offline' | 'replaced' | 'closed'} RoomState
 *   `open` is after the `welcome`. `replaced`: a newer connection of this client took over.
 *
 * @typedef {object} RoomOptions
 * @property {string} [name] What you are called, made fit for the protocol by `cleanName`.
 * @property {Storage} [storage] Where what was not delivered survives a reload: `sessionStorage`.
 *   Not `localStorage`, which all tabs share.
 * @property {import('./provod-reconnect.js').LinkOptions} [link] Times of the connection.
 * @property {any} [host] What to use in place of the global object, `crypto` too.
 * @property {() => number} [random] As `Math.random`.
 */

/**
 * What the protocol allows of a name: no control characters, none that change the direction of
 * text, 40 code points. May be empty.
 *
 * @param {string} name
 */
export function cleanName(name) {
  const allowed = wellFormed(name).replace(/[\p{Cc}\p{Bidi_Control}\u2028\u2029]/gu, '');
  const clean = [...allowed.trim()].slice(0, MAX_NAME).join('').trim();
  return INVISIBLE.test(clean) ? '' : clean;
}

/** A name of nothing but these shows nothing. */
const INVISIBLE = /^[\s\p{Default_Ignorable_Code_Point}\u2800\ufff9-\ufffb]*$/u;

/** Half a surrogate pair has no place in UTF-8. */
function wellFormed(text) {
  return String(text).replace(/\p{Surrogate}/gu, '\ufffd');
}

/**
 * Events, all with `detail`:
 * - `state`: `{ state, code?, reason? }`
 * - `welcome`: `{ room, again, missed }`; `missed` is how many messages were said and are not in
 *   the history that follows, `null` when the server has been restarted and nobody knows
 * - `message`: each `Message` of the room once, own ones too
 * - `delivery`: an own `Message` whose `state` has changed
 * - `members`: `{ members, count, plain }` whenever one of these changes
 * - `joined`, `left`: a `Member`; `renamed`: a `Member` and `was`
 * - `typing`: `{ from, name }`
 * - `rtt`: milliseconds
 * - `binary`: an `ArrayBuffer` that somebody sent to all
 * - `error`: a `Problem` that belongs to no message
 */
export class Room extends EventTarget {
  #link;
  #state = /** @type {RoomState} */ ('connecting');
  #host;
  #storage;
  #key;
  #name;
  /** The name that the server knows, and the one that it was last told. */
  #confirmed;
  #told;
  /** This client's secret: the server knows by it that a member has come back. */
  #client;
  #joined = false;
  /** Counts the connections, so that a `hello` that comes late replaces no later one. */
  #attempt = 0;
  /** @type {Map<string, Message>} What is not answered, in the order in which it was said. */
  #outbox = new Map();
  #outboxBytes = 0;
  #ids = new Set();
  #ownIds = new Set();
  #epoch;
  #seq = 0;
  /** @type {Map<string, Member> | null} */
  #members = new Map();
  #pace = new Pace(0, 0, 0);
  #sending;
  #pinging;
  #pings = { count: 0, sent: 0 };
  #typed = -Infinity;
  #typing;

  /** The id of this client among the members. */
  you = '';
  count = 0;
  plain = 0;
  /** The last round trip in milliseconds. */
  rtt = /** @type {number | null} */ (null);
  limits = { name: MAX_NAME, text: 4000, rate: 10, burst: 30 };

  /**
   * Enters the room at once.
   *
   * @param {string | URL} url Of `ws:`, `wss:`, `http:` or `https:`, or relative to the page.
   * @param {RoomOptions} [options]
   */
  constructor(url, { name = '', storage, link = {}, host = globalThis, random } = {}) {
    super();
    this.#host = host;
    this.#storage = storage;
    const address = new URL(url, host.location?.href).href.replace(/^http/, 'ws');
    this.#key = `${PROTOCOL} ${address}`;
    this.#name = cleanName(name) || NOBODY;
    this.#client = this.#newId();
    this.#restore();
    this.#link = new Reconnecting(address, {
      protocols: PROTOCOL, isFinal: (code) => code === 4000, confirms: true, host,
      ...(random && { random }), ...link,
    });
    this.#link.addEventListener('state', (event) => this.#linkIs(event.detail));
    this.#link.addEventListener('message', (event) => this.#receive(event.detail));
    this.#link.addEventListener('lost', (event) => this.#left(event.detail));
    this.#link.addEventListener('wake', () => this.#ping());
  }

  /** @returns {RoomState} */
  get state() { return this.#state; }

  /** Milliseconds until the next try to connect, or `null` when none is planned. */
  get retryIn() { return this.#link.retryIn; }

  get name() { return this.#name; }

  /** Who is here, or `null` in a room of too many. */
  get members() { return this.#members && [...this.#members.values()]; }

  /** What is not delivered yet, in order. */
  get outbox() { return [...this.#outbox.values()]; }

  /**
   * Says `text`, now or as soon as there is a connection. What comes back changes its `state` as
   * it goes; it is `refused` at once when it cannot be kept.
   *
   * @param {string} text
   * @returns {Message}
   */
  say(text) {
    /** @type {Message} */
    const message = {
      id: this.#newId(), text: wellFormed(text), name: this.#name, time: Date.now(), own: true,
      state: 'waiting',
    };
    const error = this.#objection(message.text);
    if (error) return Object.assign(message, { state: 'refused', error });
    this.#stopTyping();
    this.#keep(message);
    this.#save();
    this.#sendWaiting();
    return message;
  }

  /**
   * Takes a new name; what is not sent yet carries it, and what is said from now on. Returns the
   * name as it will be, the old one when nothing of the new is allowed.
   *
   * @param {string} name
   */
  rename(name) {
    this.#name = cleanName(name) || this.#name;
    for (const message of this.#outbox.values()) {
      if (message.state === 'waiting') message.name = this.#name;
    }
    // Before the welcome it waits: what was asked for in the `hello` comes first.
    this.#sendWaiting();
    return this.#name;
  }

  /** Tells the others that you are writing; call it at every key. */
  typing() {
    if (!this.#joined || this.#typing !== undefined) return;
    const now = this.#now();
    const wait = Math.max(this.#typed + TYPING_EVERY - now, this.#pace.wait(now));
    if (wait > 0) {
      // The last keys before a pause must not go unnoticed.
      this.#typing = this.#host.setTimeout(() => {
        this.#typing = undefined;
        this.typing();
      }, wait);
      return;
    }
    this.#typed = now;
    this.#send({ type: 'typing' });
  }

  #stopTyping() {
    this.#host.clearTimeout(this.#typing);
    this.#typing = undefined;
  }

  /** Tries to connect now. */
  retry() { this.#link.retry(); }

  /** Leaves for good; what was not delivered stays in the storage. */
  close() { this.#link.close(); }

  // --- The connection ---

  #linkIs({ state, ...why }) {
    if (state === 'open') {
      if (this.#link.protocol !== PROTOCOL) {
        this.#problem('no_protocol', `there is a WebSocket here that does not speak ${PROTOCOL}`);
        this.#link.halt();
        return;
      }
      this.#attempt += 1;
      this.#hello();
      return;
    }
    if (state === 'closed') this.#left(why);
    this.#become(state === 'closed' && why.code === 4000 ? 'replaced' : state, why);
  }

  #become(state, why = {}) {
    this.#state = state;
    this.#tell('state', { state, ...why });
  }

  #hello() {
    this.#told = this.#name;
    const [name, client, attempt] = [this.#name, this.#client, this.#attempt];
    this.#link.send(JSON.stringify({ type: 'hello', name, client, attempt }));
    this.#link.expect();
  }

  /**
   * Out of the room. Of what is in flight nobody knows whether it arrived: it is said again.
   *
   * @param {{ code?: number }} why
   */
  #left({ code }) {
    this.#joined = false;
    this.#stopTyping();
    this.#host.clearTimeout(this.#sending);
    this.#host.clearTimeout(this.#pinging);
    if (code === 1009) this.#refuseLargest('too_large', 'the message is too large for the server');
    for (const message of this.#outbox.values()) message.state = 'waiting';
  }

  #receive(data) {
    if (typeof data !== 'string') {
      this.#tell('binary', data);
      return;
    }
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return; // Not of this protocol.
    }
    switch (message?.type) {
      case 'welcome': this.#welcome(message); break;
      case 'message': this.#heard(message, false); break;
      case 'joined': case 'left': case 'renamed': case 'members': this.#presence(message); break;
      case 'typing': this.#tell('typing', { from: message.from, name: message.name }); break;
      case 'pong': this.#pong(message); break;
      case 'error': this.#error(message); break;
      default: // A later server may say more.
    }
  }

  #welcome({ you, room, epoch, seq, members, count, plain, history, limits }) {
    const again = this.#epoch !== undefined;
    let missed = 0;
    if (again && this.#epoch !== epoch) missed = null;
    else if (again) missed = Math.max(0, (history[0]?.seq ?? seq + 1) - this.#seq - 1);
    this.#epoch = epoch;
    this.#seq = seq;
    this.you = you;
    this.limits = { ...this.limits, ...limits };
    this.#confirmed = this.#told;
    this.#link.confirm();
    this.#tell('welcome', { room, again, missed });
    for (const message of history) this.#heard(message, true);
    this.#presence({ type: 'members', members, count, plain });
    this.#joined = true;
    this.#pace = new Pace(this.limits.rate, this.#share(), this.#now());
    this.#become('open');
    this.#sendWaiting();
    this.#ping(PING_SOON);
  }

  #heard({ id, seq, time, from, name, text, cut }, past) {
    this.#seq = Math.max(this.#seq, seq);
    if (this.#ids.has(id)) return;
    remember(this.#ids, id, MAX_IDS);
    const fields = { id, epoch: this.#epoch, seq, time, from, name, text, past, cut };
    const own = this.#outbox.get(id);
    if (own) {
      Object.assign(own, fields);
      this.#settle(own, 'delivered');
    }
    const mine = this.#ownIds.has(id);
    this.#tell('message', own ?? { ...fields, own: mine, state: 'delivered' });
  }

  /** @param {any} change */
  #presence({ type, member, members, count, plain, was }) {
    if (members !== undefined) this.#members = members && new Map(members.map((m) => [m.id, m]));
    if (type === 'left') this.#members?.delete(member.id);
    else if (member) this.#members?.set(member.id, member);
    if (type === 'renamed' && member.id === this.you) this.#confirmed = member.name;
    this.count = count ?? this.count;
    this.plain = plain ?? this.plain;
    if (member) this.#tell(type, type === 'renamed' ? { ...member, was } : member);
    this.#tell('members', { members: this.members, count: this.count, plain: this.plain });
  }

  #error({ code, message: why, id, retry_after: pause = 1000 }) {
    const own = this.#outbox.get(id);
    if (code === 'rate') {
      this.#pace.pause(this.#now() + pause);
      if (own) own.state = 'waiting';
      else if (this.#confirmed !== this.#told) this.#told = this.#confirmed;
      this.#sendWaiting();
    } else if (own) {
      this.#settle(own, 'refused', { code, message: why });
    } else if (code !== 'too_long' || !this.#refuseLargest(code, why)) {
      if (code === 'bad_name') this.#nameIsRefused();
      this.#problem(code, why);
    }
    // Until the welcome there is something to wait for.
    if (!this.#joined) this.#link.expect();
  }

  #nameIsRefused() {
    this.#name = this.#joined ? this.#confirmed : NOBODY;
    // Without a name that is taken nobody gets in at all.
    if (!this.#joined && this.#told !== NOBODY) this.#hello();
    this.#told = this.#name;
  }

  // --- The outbox ---

  /** Why `text` cannot be kept, if so. @returns {Problem | undefined} */
  #objection(text) {
    const size = [...text].length;
    if (size === 0) return { code: 'empty', message: 'there is no text' };
    if (size > this.limits.text) {
      const message = `a text has at most ${this.limits.text} characters, this one has ${size}`;
      return { code: 'too_long', message };
    }
    const full = this.#outbox.size >= MAX_OUTBOX
      || this.#outboxBytes + bytes(text) > MAX_OUTBOX_BYTES;
    if (!full) return undefined;
    return { code: 'outbox_full', message: 'too much waits here for the server already' };
  }

  #keep(message) {
    this.#outbox.set(message.id, message);
    this.#outboxBytes += bytes(message.text);
    remember(this.#ownIds, message.id, MAX_OWN_IDS);
  }

  /**
   * How many messages are sent at once, and how many are in flight: a third of what the server
   * takes. So it never has more to take than it will, though a slow network brings all that is in
   * flight in one moment; a message that it refused would fall behind the next.
   */
  #share() {
    return this.limits.rate ? Math.max(1, Math.floor(this.limits.burst / 3)) : Infinity;
  }

  #sendWaiting() {
    this.#host.clearTimeout(this.#sending);
    if (!this.#joined) return;
    // Looked for anew each time: whoever hears of a delivery may say something.
    for (let next; this.#told !== this.#name || (next = this.#next());) {
      const wait = this.#pace.wait(this.#now());
      if (wait > 0) {
        this.#sending = this.#host.setTimeout(() => this.#sendWaiting(), wait);
        return;
      }
      if (this.#told !== this.#name) {
        this.#told = this.#name;
        this.#send({ type: 'rename', name: this.#name });
      } else {
        next.state = 'sent';
        this.#send(say(next));
        this.#tell('delivery', next);
      }
    }
  }

  /** The next message to be sent, if there may be one more in flight. */
  #next() {
    let flying = 0;
    let first;
    for (const message of this.#outbox.values()) {
      if (message.state === 'waiting') first ??= message;
      else flying += 1;
    }
    return flying < this.#share() ? first : undefined;
  }

  #settle(message, state, error) {
    this.#outbox.delete(message.id);
    this.#outboxBytes -= bytes(message.text);
    message.state = state;
    if (error) message.error = error;
    this.#save();
    this.#tell('delivery', message);
    this.#sendWaiting();
  }

  /** If any message in flight was too large, then the largest was. Says whether there was one. */
  #refuseLargest(code, why) {
    const flying = this.outbox.filter(({ state }) => state === 'sent');
    const size = (message) => bytes(JSON.stringify(say(message)));
    flying.sort((a, b) => size(b) - size(a));
    if (flying.length > 0) this.#settle(flying[0], 'refused', { code, message: why });
    return flying.length > 0;
  }

  #save() {
    const unsent = this.outbox.map(({ id, text, time }) => ({ id, text, time }));
    try {
      this.#storage?.setItem(this.#key, JSON.stringify({ unsent, own: [...this.#ownIds] }));
    } catch {
      // Full, or forbidden by the person: then it lives as long as the page.
    }
  }

  #restore() {
    try {
      const { unsent, own } = JSON.parse(this.#storage?.getItem(this.#key) ?? '{}');
      for (const id of own ?? []) remember(this.#ownIds, id, MAX_OWN_IDS);
      for (const { id, text, time } of unsent ?? []) {
        if (typeof id !== 'string' || !/^[\w-]{1,64}$/.test(id) || !Number.isFinite(time)) continue;
        if (typeof text !== 'string' || text !== wellFormed(text) || this.#objection(text)) continue;
        this.#keep({ id, text, name: this.#name, time, own: true, state: 'waiting' });
      }
    } catch {
      // Forbidden, or written by something else.
    }
  }

  // --- Signs of life ---

  #ping(next = PING_EVERY) {
    this.#host.clearTimeout(this.#pinging);
    if (!this.#joined) return;
    this.#pinging = this.#host.setTimeout(() => this.#ping(), next);
    if (this.#host.document?.visibilityState === 'hidden') return;
    this.#pings = { count: this.#pings.count + 1, sent: this.#now() };
    this.#send({ type: 'ping', id: String(this.#pings.count) });
    this.#link.expect();
  }

  #pong({ id }) {
    if (id !== String(this.#pings.count)) return;
    this.rtt = this.#now() - this.#pings.sent;
    this.#tell('rtt', this.rtt);
  }

  // --- Small things ---

  #send(message) {
    this.#pace.take(this.#now());
    this.#link.send(JSON.stringify(message));
  }

  #problem(code, message) { this.#tell('error', { code, message }); }

  #tell(type, detail) { this.dispatchEvent(new CustomEvent(type, { detail })); }

  #now() { return this.#host.performance.now(); }

  /** 128 random bits. Were it guessable, somebody else could use it up first. */
  #newId() {
    const random = this.#host.crypto.getRandomValues(new Uint8Array(16));
    return Array.from(random, (byte) => byte.toString(16).padStart(2, '0')).join('');
  }
}

/** A token bucket as the server has one for this client, so that it need not refuse. */
class Pace {
  #rate;
  #burst;
  #tokens;
  #at;

  /** `rate` is a second, 0 for no limit. */
  constructor(rate, burst, now) {
    this.#rate = rate / 1000;
    this.#burst = burst;
    this.#tokens = burst;
    this.#at = now;
  }

  /** Milliseconds until one more may be sent. */
  wait(now) {
    if (this.#at > now) return this.#at - now; // A pause.
    if (this.#rate === 0) return 0;
    this.#tokens = Math.min(this.#burst, this.#tokens + (now - this.#at) * this.#rate);
    this.#at = now;
    return this.#tokens >= 1 ? 0 : (1 - this.#tokens) / this.#rate;
  }

  take(now) {
    this.wait(now);
    this.#tokens -= 1;
  }

  /** Nothing before `until`; then one at a time. */
  pause(until) {
    this.#at = Math.max(this.#at, until);
    this.#tokens = Math.min(this.#tokens, 1);
  }
}

/** What goes to the server for a message. */
function say({ id, text }) {
  return { type: 'say', id, text };
}

function bytes(text) {
  return new TextEncoder().encode(text).length;
}

/** Adds to a set that forgets the oldest. */
function remember(set, value, max) {
  set.add(value);
  if (set.size > max) set.delete(set.values().next().value);
}
