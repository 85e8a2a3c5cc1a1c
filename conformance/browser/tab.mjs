// Somebody at the page of `provod serve`. The page is known by its `data-testid`s only.

import assert from 'node:assert/strict';
import { Program, built } from '../programs.mjs';
import { watch } from './helpers.mjs';

const BINARY = built('provod', 'PROVOD_BIN');

/** `provod serve` on a port of its own, or on `port` again. */
export function serve({ port = 0, options = [] } = {}) {
  return Program.start(BINARY, 'serve', `127.0.0.1:${port}`, ...options);
}

/** Ends `server` as a power failure does. */
export async function crash(server) {
  server.kill();
  await server.exited;
}

/** All that can be seen of the page at one moment. Runs in the page. */
function look() {
  const part = (id) => document.querySelector(`[data-testid=${id}]`);
  const shown = (id) => part(id)?.checkVisibility({ visibilityProperty: true }) ?? false;
  const words = (id) => (shown(id) ? part(id).innerText.trim() : '');
  return {
    state: part('state').dataset.state,
    messages: [...part('messages').children].map((item) => ({
      id: item.dataset.id,
      own: item.dataset.own === 'true',
      state: item.dataset.state ?? null,
      text: item.innerText,
    })),
    members: [...part('members').children].map((item) => ({
      id: item.dataset.member,
      you: 'you' in item.dataset,
      name: item.textContent,
    })),
    retry: shown('retry'),
    ...Object.fromEntries(['count', 'plain', 'rtt', 'notice', 'typing', 'error', 'countdown',
      'missed'].map((id) => [id, words(id)])),
  };
}

export class Tab {
  /**
   * A tab in a profile of its own. `frozen` stops the page's clock from the start: no timer of the
   * page rings until `pass` says so. `before` runs in the page ahead of its scripts; what else is
   * given goes to `browser.newContext`.
   */
  static async open(browser, url, { name, frozen = false, before, ...options } = {}) {
    const context = await browser.newContext({ locale: 'en-US', ...options });
    return Tab.in(context, url, { name, frozen, before });
  }

  /** Another tab of the same profile. */
  static async in(context, url, { name, frozen = false, before } = {}) {
    const tab = new Tab(await context.newPage());
    const { talksTo } = await watch(tab.page);
    tab.page.on('websocket', (socket) => talksTo(socket.url().replace(/^ws/, 'http')));
    if (frozen) {
      await tab.page.clock.install({ time: Date.now() });
      await tab.page.clock.pauseAt(Date.now() + 1000);
    }
    if (before) await tab.page.addInitScript(before);
    await tab.page.goto(url);
    await tab.isOpen();
    if (name !== undefined) await tab.rename(name);
    return tab;
  }

  constructor(page) {
    this.page = page;
  }

  part(id) {
    return this.page.locator(`[data-testid=${id}]`);
  }

  /** The tab and its profile are gone; tests say what is to be said about mistakes first. */
  async close() {
    await this.page.context().close();
  }

  look() {
    return this.page.evaluate(look);
  }

  /** Waits until `holds(seen, arg)`, which runs in the page, is true of what can be seen. */
  async sees(what, holds, arg) {
    // A function and not a string, which the page's policy would let nobody evaluate later.
    const condition = new Function('arg', `return (${holds})((${look})(), arg)`);
    try {
      await this.page.waitForFunction(condition, arg);
    } catch (error) {
      const seen = JSON.stringify(await this.look(), null, 1);
      throw new Error(`does not see ${what}, but ${seen}`, { cause: error });
    }
    return this.look();
  }

  isOpen() {
    return this.sees('an open connection', ({ state }) => state === 'open');
  }

  isNotOpen() {
    return this.sees('that there is no connection', ({ state }) => state !== 'open');
  }

  async rename(name) {
    await this.part('name').fill(name);
    await this.part('name').press('Enter');
    await this.sees(`the name ${name}`,
      ({ members }, name) => members.some((m) => m.you && m.name.includes(name)), name);
  }

  async say(...texts) {
    for (const text of texts) {
      await this.part('text').fill(text);
      await this.part('text').press('Enter');
    }
  }

  /** Waits for exactly these messages, in this order, and makes sure of no mistakes. */
  async shows(...texts) {
    const seen = await this.sees(`the messages ${JSON.stringify(texts)}`,
      ({ messages }, texts) => messages.length === texts.length
        && texts.every((text, index) => messages[index].text.includes(text)), texts);
    this.madeNoMistake();
    return seen;
  }

  /** Waits until the server has all that was said here. */
  delivered() {
    return this.sees('all of its own delivered', ({ messages }) => messages.every(
      ({ own, state }) => (own ? state === 'delivered' : state === null)));
  }

  madeNoMistake() {
    assert.deepEqual(this.page.mistakes, []);
  }

  /** Time passes in a frozen tab: timers ring. */
  pass(ms) {
    return this.page.clock.runFor(ms);
  }
}
