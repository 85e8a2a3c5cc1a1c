// What axe-core finds in each state of the page: nothing.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { Socket, launch, open, servePages } from './helpers.mjs';
import { Tab, crash, serve } from './tab.mjs';

const PHONE = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true };
const VARIANTS = {
  light: { colorScheme: 'light' },
  dark: { colorScheme: 'dark' },
  phone: { ...PHONE },
  'dark phone': { ...PHONE, colorScheme: 'dark' },
  Russian: { locale: 'ru-RU' },
};

let axe;
let browser;
let pages;
let server;
let tabs;

before(async () => {
  axe = await readFile(new URL(import.meta.resolve('axe-core/axe.min.js')), 'utf8');
  pages = await servePages();
  browser = await launch();
});

after(async () => {
  await browser?.close();
  pages?.close();
});

beforeEach(async () => {
  server = await serve({ options: ['--max-message', '8K'] });
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

async function isClean(tab, state) {
  // What fades in is not there yet to be measured.
  await tab.page.waitForFunction(() => document.getAnimations().every(
    (animation) => animation.playState !== 'running'
      || animation.effect.getComputedTiming().iterations === Infinity));
  if (!await tab.page.evaluate(() => 'axe' in window)) await tab.page.evaluate(axe);
  const { violations, passes } = await tab.page.evaluate(async () => {
    const results = await window.axe.run(document, { resultTypes: ['violations'] });
    const brief = ({ id, impact, help, nodes }) => ({
      id, impact, help, nodes: nodes.map(({ html, failureSummary }) => [html, failureSummary]),
    });
    return { violations: results.violations.map(brief), passes: results.passes.length };
  });
  assert.ok(passes > 10, `axe has looked at the page: ${passes} rules`);
  assert.deepEqual(violations, [], state);
}

for (const [variant, options] of Object.entries(VARIANTS)) {
  test(`${variant}: empty, with messages and people, refused, without a server`, async () => {
    const anya = await join(options);
    await isClean(anya, 'empty');
    await anya.rename('Аня');
    const boris = await join({ name: 'Борис' });
    const seed = await Socket.connect(await open(browser, `http://127.0.0.1:${pages.port}/`),
      `ws://127.0.0.1:${server.port}/chat`);
    await anya.say('Привет!', 'Смотри: https://example.com/');
    await boris.say('Уже смотрю\nи читаю');
    await seed.send('А я простой клиент');
    await anya.sees('all of that', ({ messages }) => messages.length === 4);
    const vera = await Socket.connect(seed.page, `ws://127.0.0.1:${server.port}/chat`,
      'provod.room.v1');
    await vera.send('{"type":"hello","name":"Вера"}', '{"type":"typing"}');
    await anya.sees('who types', ({ typing }) => typing !== '');
    await isClean(anya, 'with messages');
    await anya.part('share').click();
    await isClean(anya, 'shared');
    await anya.say('漢'.repeat(3900));
    await anya.sees('a refusal', ({ messages }) => messages.some((m) => m.state === 'refused'));
    await anya.isOpen();
    await isClean(anya, 'refused');
    await crash(server);
    await anya.sees('the button', ({ retry }) => retry);
    await anya.say('ещё не ушло');
    await isClean(anya, 'waiting');
  });
}

describe('what a screen reader is told', () => {
  test('the parts of the page have roles and names', async () => {
    const anya = await join({ name: 'Аня' });
    await anya.page.getByRole('main').waitFor();
    await anya.page.getByRole('log').waitFor({ state: 'attached' });
    await anya.page.getByRole('heading', { level: 1 }).waitFor({ state: 'attached' });
    for (const id of ['text', 'name', 'room']) {
      const labelled = await anya.part(id).evaluate((field) => (
        (field.labels?.[0]?.textContent ?? field.getAttribute('aria-label') ?? '').trim()));
      assert.notEqual(labelled, '', `${id} has a label`);
    }
  });

  test('new messages are announced, politely and only the new ones', async () => {
    const anya = await join({ name: 'Аня' });
    const live = await anya.part('messages').evaluate((list) => {
      const region = list.closest('[role=log], [aria-live]');
      return region && {
        polite: (region.getAttribute('aria-live') ?? 'polite') === 'polite',
        whole: region.getAttribute('aria-atomic') === 'true',
      };
    });
    assert.deepEqual(live, { polite: true, whole: false });
    for (const id of ['notice', 'error']) {
      const announced = await anya.part(id).evaluate((element) => (
        element.closest('[role=status], [role=alert], [aria-live], output') !== null));
      assert.ok(announced, `${id} is announced`);
    }
  });
});
