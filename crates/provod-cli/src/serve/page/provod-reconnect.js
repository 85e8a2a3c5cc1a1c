// A WebSocket that comes back. Copy this file and `provod-room.js` into your page, or use this one
// alone under a protocol of your own. Described in docs/browser-client.md of Provod.

/**
 * @typedef {'connecting' | 'open' | 'waiting' | 'offline' | 'closed'} LinkState
 *   `waiting`: for the next try. `offline`: the browser says that there is no network.
 *   `closed`: until `retry()`.
 *
 * @typedef {object} LinkOptions
 * @property {string | string[]} [protocols] Subprotocols to offer.
 * @property {number} [firstDelay] The first wait is random between 0 and this, in milliseconds.
 *   Each try that fails doubles it.
 * @property {number} [maxDelay] It is doubled up to this.
 * @property {number} [stableAfter] A connection that lived this long ends the row of failures.
 * @property {number} [patience] How long an attempt may take, and how long after `expect()` the
 *   server may be silent, in milliseconds.
 * @property {boolean} [confirms] Whether it lives from `confirm()` on, not from its opening.
 * @property {(code: number) => boolean} [isFinal] Whether a close code means: stay away.
 * @property {any} [host] What to use in place of the global object: `WebSocket`, timers,
 *   `performance`, `navigator`, `document` and its events. For tests, and for Node.js.
 * @property {() => number} [random] As `Math.random`.
 */

/**
 * Events, all with `detail`:
 * - `state`: `{ state, code?, reason? }`
 * - `message`: what came, a string or an `ArrayBuffer`
 * - `lost`: `{ code, reason }`, before the `state` that follows from it
 * - `wake`: the network or the page is back and a connection is open, which may be dead: a good
 *   moment to send something that is answered, and to `expect()` it.
 */
export class Reconnecting extends EventTarget {
  #url;
  #options;
  #host;
  /** @type {LinkState} */
  #state = 'connecting';
  #socket = null;
  #ceiling;
  #nextTry = null;
  /** The timers that may run, by what they are for. */
  #timers = new Map();
  #listening = [];
  #ended = false;

  /**
   * Connects at once. Throws what `new WebSocket` throws for such a URL.
   *
   * @param {string} url
   * @param {LinkOptions} [options]
   */
  constructor(url, options = {}) {
    super();
    this.#url = url;
    this.#options = {
      protocols: [], firstDelay: 500, maxDelay: 30_000, stableAfter: 5_000, patience: 10_000,
      isFinal: () => false, confirms: false, random: Math.random, host: globalThis, ...options,
    };
    this.#host = this.#options.host;
    this.#ceiling = this.#options.firstDelay;
    this.#connect(true);
    this.#listen(this.#host, 'online', () => this.#networkIsBack());
    this.#listen(this.#host, 'offline', () => this.#networkIsGone());
    this.#listen(this.#host, 'pageshow', () => this.#wake());
    this.#listen(this.#host.document, 'visibilitychange', () => this.#wake());
    this.#listen(this.#host.document, 'resume', () => this.#wake());
  }

  get state() { return this.#state; }

  /** The subprotocol that was agreed on; empty when there is none. */
  get protocol() { return this.#socket?.protocol ?? ''; }

  /** Milliseconds until the next try, or `null` when none is planned. */
  get retryIn() {
    return this.#nextTry === null ? null : Math.max(0, this.#nextTry - this.#now());
  }

  /**
   * Hands `data` to an open connection; says whether there was one. It may be lost all the same.
   *
   * @param {string | BufferSource | Blob} data
   */
  send(data) {
    // The server's Close may be in, and its event not yet: what is sent now only makes a warning.
    if (this.#state !== 'open' || this.#socket.readyState !== 1) return false;
    this.#socket.send(data);
    return true;
  }

  /** What was sent is answered: silence for `patience` from now on is the connection's death. */
  expect() {
    if (this.#state !== 'open' || this.#timers.has('silence')) return;
    this.#after('silence', this.#options.patience, () => this.drop('the server is silent'));
  }

  /** The connection is good: when it has been so for `stableAfter`, waits are short again. */
  confirm() {
    if (this.#state !== 'open') return;
    this.#after('stable', this.#options.stableAfter, () => {
      this.#ceiling = this.#options.firstDelay;
    });
  }

  /** Tries now, where it waits or a close code or `halt()` told it to stay away. */
  retry() {
    if (!this.#ended && this.#state !== 'open' && this.#state !== 'connecting') this.#connect();
  }

  /**
   * Takes the connection for dead, and comes back.
   *
   * @param {string} reason
   */
  drop(reason) {
    if (this.#socket) this.#lost(1006, reason);
  }

  /**
   * Ends it for good. No timer and no listener is left.
   *
   * @param {number} [code]
   * @param {string} [reason]
   */
  close(code = 1000, reason = '') {
    this.#ended = true;
    for (const [target, ...listener] of this.#listening) target.removeEventListener(...listener);
    this.#listening = [];
    this.halt(code, reason);
  }

  /**
   * Closes the connection and stays away until `retry()`.
   *
   * @param {number} [code]
   * @param {string} [reason]
   */
  halt(code = 1000, reason = '') {
    this.#abandon(code, reason);
    if (this.#state !== 'closed') this.#become('closed', { code, reason });
  }

  #connect(first = false) {
    this.#stop('retry');
    this.#nextTry = null;
    let socket;
    try {
      socket = new this.#host.WebSocket(this.#url, this.#options.protocols);
    } catch (error) {
      if (first) throw error;
      this.#wait({ code: 1006, reason: String(error) });
      return;
    }
    socket.binaryType = 'arraybuffer';
    this.#socket = socket;
    socket.onopen = () => {
      this.#stop('attempt');
      this.#become('open');
      if (!this.#options.confirms) this.confirm();
    };
    socket.onmessage = ({ data }) => {
      this.#stop('silence');
      this.#tell('message', data);
    };
    socket.onclose = ({ code, reason }) => this.#lost(code, reason);
    this.#after('attempt', this.#options.patience, () => this.drop('no answer'));
    this.#become('connecting');
  }

  #lost(code, reason) {
    this.#abandon();
    this.#tell('lost', { code, reason });
    if (this.#options.isFinal(code)) this.#become('closed', { code, reason });
    else this.#wait({ code, reason });
  }

  /** Full jitter: the clients of a restarted server must not all come in one moment. */
  #wait(why = {}) {
    const { maxDelay, random } = this.#options;
    const offline = this.#host.navigator?.onLine === false;
    // The browser may be wrong about the network (loopback needs none): a rare try all the same,
    // which counts for nothing.
    const delay = offline ? maxDelay : random() * this.#ceiling;
    if (!offline) this.#ceiling = Math.min(this.#ceiling * 2, maxDelay);
    this.#nextTry = this.#now() + delay;
    this.#after('retry', delay, () => this.#connect());
    this.#become(offline ? 'offline' : 'waiting', why);
  }

  #networkIsBack() {
    this.#ceiling = this.#options.firstDelay;
    // A hidden page too: its title tells of what comes.
    if (this.#nextTry !== null) this.#connect();
    else this.#wake();
  }

  #networkIsGone() {
    if (this.#state === 'waiting') this.#wait();
    else this.#wake();
  }

  #wake() {
    if (this.#host.document?.visibilityState === 'hidden') return;
    if (this.#state === 'open') this.#tell('wake');
    else if (this.#nextTry !== null && this.#host.navigator?.onLine !== false) this.#connect();
  }

  /**
   * Lets go of the socket without waiting for its close event, which comes late, or never, when
   * the network is dead.
   */
  #abandon(code, reason) {
    for (const name of [...this.#timers.keys()]) this.#stop(name);
    this.#nextTry = null;
    const socket = this.#socket;
    if (!socket) return;
    this.#socket = null;
    socket.onopen = socket.onmessage = socket.onclose = null;
    if (socket.readyState < 2) socket.close(...(code === undefined ? [] : [code, reason]));
  }

  /** @param {LinkState} state */
  #become(state, why = {}) {
    this.#state = state;
    this.#tell('state', { state, ...why });
  }

  #tell(type, detail = null) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #now() {
    return this.#host.performance.now();
  }

  #after(name, delay, action) {
    this.#stop(name);
    this.#timers.set(name, this.#host.setTimeout(() => {
      this.#timers.delete(name);
      action();
    }, delay));
  }

  #stop(name) {
    this.#host.clearTimeout(this.#timers.get(name));
    this.#timers.delete(name);
  }

  #listen(target, type, handler) {
    if (!target?.addEventListener) return;
    target.addEventListener(type, handler);
    this.#listening.push([target, type, handler]);
  }
}
