// What the browser tests share: pages to run scripts in, a browser, what went wrong in a page.

import { once } from 'node:events';
import http from 'node:http';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { PATIENCE_MS, within } from '../programs.mjs';

export const REPORTS = fileURLToPath(new URL('../reports/', import.meta.url));

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
// No request of its own: a test must not depend on, or wait for, what it cannot reach.
const CHROMIUM_FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
  // Pages on mapped names are plain http; the browser is not to try https in their place.
  '--disable-features=HttpsUpgrades,HttpsFirstBalancedModeAutoEnable',
];

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

function launchOptions(names = {}) {
  const rules = Object.entries(names).map(([name, port]) => `MAP ${name} 127.0.0.1:${port}`);
  return {
    executablePath: CHROMIUM,
    headless: true,
    args: [...CHROMIUM_FLAGS, `--host-resolver-rules=${rules.join(',')}`],
    timeout: PATIENCE_MS * 2,
  };
}

/** Chromium, with names mapped to ports of ours: `{ 'evil.example:80': 8080 }`. */
export function launch(names) {
  return chromium.launch(launchOptions(names));
}

/** Chromium with its process, to be killed. */
export async function launchDoomed() {
  const server = await chromium.launchServer(launchOptions());
  return { browser: await chromium.connect(server.wsEndpoint()), process: server.process() };
}

/**
 * Collects in `page.mistakes` what a page must never do: throw, ask, break its own
 * content-security policy, report an error, talk to another host than the one it came from.
 */
export async function watch(page) {
  page.setDefaultTimeout(PATIENCE_MS);
  page.mistakes = [];
  const mistake = (text) => page.mistakes.push(text);
  page.on('pageerror', (error) => mistake(String(error)));
  page.on('dialog', (dialog) => {
    mistake(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on('console', (message) => {
    // A server that is gone is what many tests are about; the browser says so by itself.
    const expected = /^(WebSocket connection to|Failed to load resource: net::)/;
    if (message.type() === 'error' && !expected.test(message.text())) {
      mistake(`console: ${message.text()}`);
    }
  });
  const talksTo = (url) => {
    const { protocol, host } = new URL(url);
    const own = new URL(page.url());
    const starts = own.protocol === 'about:' || own.protocol === 'chrome-error:';
    if (!starts && protocol !== 'data:' && host !== own.host) mistake(`talks to ${url}`);
  };
  page.on('request', (request) => {
    if (!request.isNavigationRequest()) talksTo(request.url());
  });
  await page.exposeBinding('reportViolation', (_, violation) => mistake(violation));
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) => {
      globalThis.reportViolation(`policy violated: ${violatedDirective}, ${blockedURI}`);
    });
  });
  return { talksTo };
}

/** A page at `url`, watched; `options` are those of `browser.newContext`. */
export async function open(browser, url, options) {
  const page = await browser.newPage(options);
  await watch(page);
  await page.goto(url);
  return page;
}

/**
 * A WebSocket inside `page`, made as any script makes one. `received` holds text as strings and
 * binary messages as `{ binary: [bytes] }`.
 */
export class Socket {
  static #count = 0;

  static async connect(page, url, ...protocols) {
    const socket = new Socket(page);
    await page.evaluate(({ name, url, protocols }) => {
      const ws = new WebSocket(url, protocols);
      ws.binaryType = 'arraybuffer';
      const state = window[name] = { ws, received: [], closed: null };
      ws.onmessage = ({ data }) => state.received.push(
        data instanceof ArrayBuffer ? { binary: [...new Uint8Array(data)] } : data);
      ws.onclose = ({ code, wasClean }) => { state.closed = { code, wasClean }; };
      state.settled = new Promise((resolve) => {
        ws.addEventListener('open', resolve);
        ws.addEventListener('close', resolve);
      });
    }, { name: socket.name, url, protocols });
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

  close() {
    return this.page.evaluate((name) => window[name].ws.close(), this.name);
  }

  /** The close event's `{ code, wasClean }`, once there is one. */
  async closed() {
    await this.page.waitForFunction((name) => window[name].closed, this.name,
      { timeout: PATIENCE_MS + 10_000 });
    return this.#read('closed');
  }
}
