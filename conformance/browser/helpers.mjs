// What the browser tests share: programs of ours, pages to run scripts in, a browser, waiting.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';
import path from 'node:path';
import readline from 'node:readline';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

export const REPORTS = fileURLToPath(new URL('../reports/', import.meta.url));

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
// No request of its own: a test must not depend on, or wait for, what it cannot reach.
const CHROMIUM_FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
  // Pages on mapped names are plain http; the browser is not to try https in their place.
  '--disable-features=HttpsUpgrades,HttpsFirstBalancedModeAutoEnable',
];

/** The time that a wait may take before it is a failure. Nothing is expected to take long. */
export const PATIENCE_MS = 20_000;

/** Where `cargo build --release` puts `name`; the environment variable `override` goes first. */
export function built(name, override) {
  if (process.env[override]) return process.env[override];
  const repository = fileURLToPath(new URL('../../', import.meta.url));
  const metadata = execFileSync('cargo', ['metadata', '--no-deps', '--format-version', '1'],
    { cwd: repository, maxBuffer: 64 << 20 });
  return path.join(JSON.parse(metadata).target_directory, 'release', name);
}

/** Fails with `what` unless `promise` settles in time. */
export async function within(promise, what, ms = PATIENCE_MS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${ms} ms: ${what}`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** A program of ours, listening. `port` is taken from the line that it prints when it is ready. */
export class Program {
  static async start(command, ...args) {
    const program = new Program(command, args);
    try {
      const match = await program.waitForLine(/:\/\/127\.0\.0\.1:(\d+)\//);
      program.port = Number(match[1]);
      return program;
    } catch (error) {
      program.kill();
      throw error;
    }
  }

  constructor(command, args) {
    this.lines = [];
    this.watchers = new Set();
    this.child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      readline.createInterface({ input: stream }).on('line', (line) => {
        this.lines.push(line);
        for (const watch of this.watchers) watch(line);
      });
    }
    this.exited = new Promise((resolve, reject) => {
      this.child.once('error', reject);
      // 'exit' may come before the last line of output; 'close' never does.
      this.child.once('close', (code, signal) => resolve({ code, signal }));
    });
  }

  output() {
    return this.lines.join('\n');
  }

  /** The match of `pattern` in a line printed already or yet to come. */
  async waitForLine(pattern) {
    for (const line of this.lines) {
      const match = pattern.exec(line);
      if (match) return match;
    }
    let watch;
    const found = new Promise((resolve) => {
      watch = (line) => {
        const match = pattern.exec(line);
        if (match) resolve(match);
      };
      this.watchers.add(watch);
    });
    const ended = this.exited.then(({ code, signal }) => {
      throw new Error(`${this.child.spawnfile} ended with ${signal ?? code}`);
    });
    try {
      return await within(Promise.race([found, ended]), `a line like ${pattern}`);
    } catch (error) {
      throw new Error(`${error.message}; it printed:\n${this.output()}`, { cause: error });
    } finally {
      this.watchers.delete(watch);
    }
  }

  /** Sends `signal` and asserts that the program then ends by itself, with status 0. */
  async end(signal = 'SIGTERM') {
    this.child.kill(signal);
    const exit = await within(this.exited, `end after ${signal}`, PATIENCE_MS + 10_000);
    assert.deepEqual(exit, { code: 0, signal: null }, `exit after ${signal}:\n${this.output()}`);
  }

  /** For the end of a test, whatever became of it. */
  kill() {
    if (this.child.exitCode === null) this.child.kill('SIGKILL');
  }
}

/** A web server on loopback: `scripts` by path, and at every other path an empty page. */
export async function servePages(scripts = {}) {
  const server = http.createServer((request, response) => {
    const script = scripts[request.url];
    const type = script === undefined ? 'text/html' : 'text/javascript';
    response.writeHead(200, { 'Content-Type': `${type}; charset=utf-8` });
    response.end(script ?? '<!doctype html><title>page</title>');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: server.address().port,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** Chromium, with names mapped to ports of ours: `{ 'evil.example:80': 8080 }`. */
export function launch(names = {}) {
  const rules = Object.entries(names).map(([name, port]) => `MAP ${name} 127.0.0.1:${port}`);
  return chromium.launch({
    executablePath: CHROMIUM,
    headless: true,
    args: [...CHROMIUM_FLAGS, `--host-resolver-rules=${rules.join(',')}`],
    timeout: PATIENCE_MS * 2,
  });
}

/** A page at `url`, with the mistakes that its scripts make collected in `page.mistakes`. */
export async function open(browser, url) {
  const page = await browser.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  page.mistakes = [];
  page.on('pageerror', (error) => page.mistakes.push(String(error)));
  page.on('dialog', (dialog) => {
    page.mistakes.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  await page.goto(url);
  return page;
}

/**
 * A WebSocket inside `page`, made as any script makes one. `received` holds text as strings and
 * binary messages as `{ binary: [bytes] }`.
 */
export class Socket {
  static #count = 0;

  static async connect(page, url) {
    const socket = new Socket(page);
    await page.evaluate(({ name, url }) => {
      const ws = new WebSocket(url);
      ws.binaryType = 'arraybuffer';
      const state = window[name] = { ws, received: [], closed: null };
      ws.onmessage = ({ data }) => state.received.push(
        data instanceof ArrayBuffer ? { binary: [...new Uint8Array(data)] } : data);
      ws.onclose = ({ code, wasClean }) => { state.closed = { code, wasClean }; };
      state.settled = new Promise((resolve) => {
        ws.addEventListener('open', resolve);
        ws.addEventListener('close', resolve);
      });
    }, { name: socket.name, url });
    await within(page.evaluate((name) => window[name].settled.then(() => {}), socket.name),
      `${url} opens or fails`);
    return socket;
  }

  constructor(page) {
    this.page = page;
    this.name = `socket${Socket.#count++}`;
  }

  #read(property) {
    return this.page.evaluate(([name, property]) => window[name][property],
      [this.name, property]);
  }

  isOpen() {
    return this.page.evaluate((name) => window[name].ws.readyState === WebSocket.OPEN, this.name);
  }

  extensions() {
    return this.page.evaluate((name) => window[name].ws.extensions, this.name);
  }

  /** Sends every message in one turn; an array of numbers goes as binary. */
  send(...messages) {
    return this.page.evaluate(([name, messages]) => {
      for (const message of messages) {
        window[name].ws.send(Array.isArray(message) ? new Uint8Array(message) : message);
      }
    }, [this.name, messages]);
  }

  /** Everything received, once there are `count` messages. */
  async received(count) {
    try {
      await this.page.waitForFunction(([name, count]) => window[name].received.length >= count,
        [this.name, count]);
    } catch (error) {
      const got = await this.#read('received');
      throw new Error(`${got.length} of ${count} messages came: ${JSON.stringify(got)}`,
        { cause: error });
    }
    return this.#read('received');
  }

  /** The close event's `{ code, wasClean }`, once there is one. */
  async closed() {
    await this.page.waitForFunction((name) => window[name].closed, this.name,
      { timeout: PATIENCE_MS + 10_000 });
    return this.#read('closed');
  }
}
