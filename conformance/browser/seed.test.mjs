// The client of the text that this project started from, unchanged, against its server rewritten
// with the crate: `cargo build --release -p provod --example seed_server`.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { PATIENCE_MS, Program, built } from '../programs.mjs';
import { launch, open, servePages } from './helpers.mjs';

let server;
let pages;
let browser;

before(async () => {
  const client = await readFile(new URL('seed-client.js', import.meta.url), 'utf8');
  server = await Program.start(built('examples/seed_server', 'PROVOD_SEED_SERVER'), '127.0.0.1:0');
  pages = await servePages({ '/client.js': client });
  // The client's address is fixed, so the name is led to the server instead.
  browser = await launch({ 'example.com:80': server.port });
});

after(async () => {
  await browser?.close();
  pages?.close();
  server?.kill();
});

test('the seed client talks to the seed server', async () => {
  const page = await open(browser, `http://127.0.0.1:${pages.port}/`);
  const said = [];
  page.on('console', (message) => said.push(message.text()));
  const expectSaid = (text) => said.includes(text)
    || page.waitForEvent('console', {
      predicate: (message) => message.text() === text,
      timeout: PATIENCE_MS,
    });

  await page.addScriptTag({ url: '/client.js' });
  await expectSaid('Соединение установлено');
  await expectSaid('Получено: Ответ от сервера');
  await server.waitForLine(/Получено: Привет, сервер!/);

  await server.end();
  await expectSaid('Соединение закрыто');
  assert.deepEqual(said, [
    'Соединение установлено', 'Получено: Ответ от сервера', 'Соединение закрыто',
  ]);
  assert.deepEqual(page.mistakes, []);
});
