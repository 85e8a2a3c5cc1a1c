// The whole page by keyboard: nothing here touches a mouse, and nothing sets the focus but keys.

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { launch } from './helpers.mjs';
import { Tab, crash, serve } from './tab.mjs';

const PHONE = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true };
/** More keys than the page has places to go to. */
const MANY = 40;

let browser;
let server;
let tabs;

before(async () => {
  browser = await launch();
});

after(() => browser?.close());

beforeEach(async () => {
  server = await serve();
  tabs = [];
});

afterEach(async () => {
  for (const tab of tabs) await tab.close();
  server?.kill();
});

async function join(options) {
  const tab = await Tab.open(browser, `http://127.0.0.1:${server.port}/chat`, options);
  tabs.push(tab);
  return tab;
}

/** What has the focus, and whether that can be seen. Runs in the page. */
function focused() {
  const element = document.activeElement;
  if (!element || element === document.body) return null;
  const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(element);
  const { left, top, right, bottom, width, height } = element.getBoundingClientRect();
  return {
    id: element.dataset.testid ?? null,
    html: element.outerHTML.slice(0, 100),
    marked: (outlineStyle !== 'none' && parseFloat(outlineWidth) >= 1) || boxShadow !== 'none',
    inView: width > 0 && height > 0 && right > 0 && bottom > 0
      && left < innerWidth && top < innerHeight,
  };
}

/** Presses `key` until the focus is on what has this `data-testid`. */
async function goTo(tab, id, key = 'Tab') {
  const passed = [];
  for (let i = 0; i < MANY; i += 1) {
    const at = await tab.page.evaluate(focused);
    if (at?.id === id) {
      assert.ok(at.marked, `the focus on ${id} can be seen`);
      return;
    }
    passed.push(at?.id ?? at?.html ?? 'nothing');
    await tab.page.keyboard.press(key);
  }
  assert.fail(`${key} never comes to ${id}, only to ${passed}`);
}

async function replace(tab, text) {
  await tab.page.keyboard.press('Control+A');
  await tab.page.keyboard.type(text);
}

test('from the opened page to a sent message', async () => {
  const [anya, boris] = [await join(), await join()];
  await goTo(anya, 'text');
  await anya.page.keyboard.type('без мыши');
  await anya.page.keyboard.press('Enter');
  await boris.shows('без мыши');
  // And the next one, from where one is.
  await anya.page.keyboard.type('и ещё');
  await goTo(anya, 'send');
  await anya.page.keyboard.press('Enter');
  await boris.shows('без мыши', 'и ещё');
  anya.madeNoMistake();
});

for (const [kind, options] of [['laptop', {}], ['phone', PHONE]]) {
  test(`another name and another room, on a ${kind}`, async () => {
    const [anya, boris] = [await join(options), await join()];
    await goTo(anya, 'name');
    await replace(anya, 'Аня');
    await anya.page.keyboard.press('Enter');
    await boris.sees('the new name', ({ members }) => members.some((m) => m.name.includes('Аня')));
    await goTo(anya, 'room');
    await replace(anya, 'кухня');
    await anya.page.keyboard.press('Enter');
    await anya.page.waitForURL(`**/${encodeURIComponent('кухня')}`);
    await anya.isOpen();
    assert.equal(await anya.part('room').inputValue(), 'кухня');
    await anya.sees('the same name', ({ members }) => members.length === 1
      && members[0].name.includes('Аня'));
    await boris.sees('that she left', ({ members }) => members.length === 1);
  });
}

test('Escape leaves a name as it was', async () => {
  const anya = await join({ name: 'Аня' });
  await goTo(anya, 'name');
  await replace(anya, 'Не Аня');
  await anya.page.keyboard.press('Escape');
  await anya.say('кто я?');
  await anya.delivered();
  const { members } = await anya.look();
  assert.match(members[0].name, /Аня/);
  assert.doesNotMatch(members[0].name, /Не/);
});

test('the link is copied', async () => {
  const anya = await join();
  await anya.page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  await goTo(anya, 'share');
  await anya.page.keyboard.press('Enter');
  await anya.page.waitForFunction(
    async () => await navigator.clipboard.readText() === location.href);
  // Whatever it has opened is closed by Escape, and the next key is not lost.
  await anya.page.keyboard.press('Escape');
  await goTo(anya, 'text');
});

test('a try to connect', async () => {
  const anya = await join({ frozen: true });
  await crash(server);
  await anya.sees('the button', ({ retry }) => retry);
  server = await serve({ port: server.port });
  await goTo(anya, 'retry');
  await anya.page.keyboard.press('Enter');
  await anya.isOpen();
  // The button is gone; the focus is not left on nothing that is seen.
  await goTo(anya, 'text');
  await anya.page.keyboard.type('снова здесь');
  await anya.page.keyboard.press('Enter');
  await anya.delivered();
});

for (const [kind, options] of [['laptop', {}], ['phone', PHONE]]) {
  test(`Tab comes to every control, and each shows it, on a ${kind}`, async () => {
    const anya = await join({ name: 'Аня', ...options });
    await anya.say('одно', 'другое');
    await anya.delivered();
    await anya.page.evaluate(() => {
      document.activeElement.blur();
      const controls = 'button, input, textarea, select, summary, a[href], [tabindex="0"]';
      window.left = new Set([...document.querySelectorAll(controls)].filter(
        (element) => element.checkVisibility({ visibilityProperty: true }) && !element.disabled));
    });
    for (let i = 0; i < MANY; i += 1) {
      await anya.page.keyboard.press('Tab');
      const at = await anya.page.evaluate(focused);
      if (at) {
        assert.ok(at.marked, `the focus on ${at.html} can be seen`);
        assert.ok(at.inView, `${at.html} is in view`);
      }
      await anya.page.evaluate(() => window.left.delete(document.activeElement));
    }
    const left = await anya.page.evaluate(() => [...window.left].map((e) => e.outerHTML));
    assert.deepEqual(left, [], 'every control was reached');
    const jumps = await anya.page.evaluate(() => document.querySelectorAll(
      '[tabindex]:not([tabindex="0"], [tabindex="-1"])').length);
    assert.equal(jumps, 0, 'the order is that of the document');
    anya.madeNoMistake();
  });
}
