// What the documents show to browsers: every script can be read, the client of the README talks to
// `provod serve`, and who follows the guide to a chat has one.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import http from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { PATIENCE_MS, Program, built, within } from '../programs.mjs';
import { launch, open, servePages } from './helpers.mjs';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
// What tools put there.
const FOREIGN = new Set([
  '.cache', '.git', '__pycache__', 'artifacts', 'node_modules', 'reports', 'target',
]);
/** The time that a build may take: the first one compiles all that the chat depends on. */
const BUILD_MS = 10 * 60_000;
const BINARY = built('provod', 'PROVOD_BIN');
const run = promisify(execFile);

let browser;
let folder;

before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'provod-docs-'));
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await rm(folder, { recursive: true, force: true });
});

/** The paths of all documents below `below`. */
async function documents(below = ROOT) {
  const found = [];
  for (const entry of await readdir(below, { withFileTypes: true })) {
    const full = path.join(below, entry.name);
    if (entry.isDirectory() && !FOREIGN.has(entry.name)) found.push(...await documents(full));
    else if (entry.name.endsWith('.md')) found.push(full);
  }
  return found;
}

/** The blocks of code in a document, in order: `{ language, text, line }`. */
async function blocks(document) {
  const lines = (await readFile(path.join(ROOT, document), 'utf8')).split('\n');
  const found = [];
  let block = null;
  for (const [i, line] of lines.entries()) {
    const fence = /^\s*```(.*)$/.exec(line)?.[1].trim();
    if (block === null && fence !== undefined) {
      block = { language: fence.split(/[, ]/)[0], text: '', line: i + 1 };
      found.push(block);
    } else if (fence === '') {
      block = null;
    } else if (block !== null) {
      block.text += `${line}\n`;
    }
  }
  return found;
}

async function blocksIn(document, language) {
  const found = (await blocks(document)).filter((block) => block.language === language);
  assert.ok(found.length > 0, `${document} has no ${language}`);
  return found.map((block) => block.text);
}

/** A port that was free a moment ago, for programs whose source names theirs. */
async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

test('every script can be read', async () => {
  let checked = 0;
  for (const document of await documents()) {
    for (const block of await blocks(path.relative(ROOT, document))) {
      if (block.language !== 'js') continue;
      const file = path.join(folder, `block-${checked}.mjs`);
      await writeFile(file, block.text);
      await assert.doesNotReject(run(process.execPath, ['--check', file]),
        `${document}:${block.line}`);
      checked += 1;
    }
  }
  assert.ok(checked >= 3, `only ${checked} scripts were found`);
});

test('the client of the README talks to provod serve', async () => {
  const [client] = await blocksIn('README.md', 'js');
  const server = await Program.start(BINARY, 'serve', '127.0.0.1:0');
  const here = `127.0.0.1:${server.port}`;
  const pages = await servePages();
  try {
    const page = await open(browser, `http://127.0.0.1:${pages.port}/`);
    const said = [];
    page.on('console', (message) => said.push(message.text()));
    const expectSaid = (text) => said.includes(text) || page.waitForEvent('console',
      { predicate: (message) => message.text() === text, timeout: PATIENCE_MS });
    await page.addScriptTag({ content: client.replaceAll('127.0.0.1:8080', here) });
    await expectSaid('Получено: Привет, сервер!');
    await server.end();
    await expectSaid('Соединение закрыто');
    assert.deepEqual(said,
      ['Соединение установлено', 'Получено: Привет, сервер!', 'Соединение закрыто']);
    assert.deepEqual(page.mistakes, []);
  } finally {
    pages.close();
    server.kill();
  }
});

test('the page of the client for browsers chats', async () => {
  const [html] = await blocksIn('docs/browser-client.md', 'html');
  const modules = path.join(ROOT, 'crates/provod-cli/src/serve/page');
  const server = await Program.start(BINARY, 'serve', '127.0.0.1:0');
  const page = html.replaceAll('127.0.0.1:8080', `127.0.0.1:${server.port}`);
  assert.notEqual(page, html, 'the page names its server');
  const files = http.createServer(async (request, response) => {
    const module = /^\/(provod-[a-z]+\.js)$/.exec(request.url)?.[1];
    const type = module === undefined ? 'text/html' : 'text/javascript';
    response.writeHead(200, { 'Content-Type': `${type}; charset=utf-8` });
    response.end(module === undefined ? page : await readFile(path.join(modules, module)));
  });
  files.listen(0, '127.0.0.1');
  await once(files, 'listening');
  try {
    const url = `http://127.0.0.1:${files.address().port}/`;
    const tabs = await Promise.all([1, 2].map(() => open(browser, url)));
    await tabs[0].locator('input').fill('<b>hello</b>');
    await tabs[0].keyboard.press('Enter');
    await Promise.all(tabs.map((tab) =>
      tab.locator('li', { hasText: '<b>hello</b>' }).waitFor()));
    await tabs[0].locator('li', { hasText: '(delivered)' }).waitFor();
    assert.deepEqual(tabs.map((tab) => tab.mistakes), [[], []]);
  } finally {
    files.closeAllConnections();
    files.close();
    server.kill();
  }
});

/** A tab of the guide's chat, that gives `name` when it is asked. */
async function tab(url, name) {
  const page = await browser.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  page.on('dialog', (dialog) => dialog.accept(name));
  await page.goto(url);
  await page.waitForFunction(() => ws.readyState === WebSocket.OPEN);
  return {
    async say(text) {
      await page.getByLabel('Message').fill(text);
      await page.keyboard.press('Enter');
    },
    hears: (text) => page.locator('p', { hasText: text }).first().waitFor(),
    close: () => page.close(),
  };
}

test('who follows the guide to a chat has one', async (t) => {
  const guide = 'docs/guide/chat.md';
  const [dependencies] = await blocksIn(guide, 'toml');
  const [first, named] = await blocksIn(guide, 'rust');
  const [html] = await blocksIn(guide, 'html');
  const [greeting] = await blocksIn(guide, 'js');

  const chat = path.join(folder, 'chat');
  const write = (name, text) => writeFile(path.join(chat, name), text);
  const port = await freePort();
  const program = async (source) => {
    await write('src/main.rs', source.replaceAll('127.0.0.1:8080', `127.0.0.1:${port}`));
    const target = path.join(ROOT, 'target', 'docs');
    // With the repository's versions of all crates, which are there already.
    const env = { ...process.env, CARGO_TARGET_DIR: target, CARGO_PROFILE_DEV_DEBUG: '0' };
    const build = run('cargo', ['build', '--offline'], { cwd: chat, env, timeout: BUILD_MS });
    await within(build, 'the chat is built', BUILD_MS);
    process.chdir(chat); // where the program looks for its page
    const started = await Program.start(path.join(target, 'debug', 'chat'));
    assert.equal(started.port, port);
    return started;
  };
  await mkdir(path.join(chat, 'src'), { recursive: true });
  const elsewhere = '../provod/crates/provod';
  assert.ok(dependencies.includes(elsewhere), dependencies);
  await write('Cargo.toml', '[package]\nname = "chat"\nversion = "0.1.0"\nedition = "2024"\n\n'
    + dependencies.replace(elsewhere, path.join(ROOT, 'crates', 'provod')));
  await copyFile(path.join(ROOT, 'Cargo.lock'), path.join(chat, 'Cargo.lock'));

  await t.test('in two tabs', async () => {
    await write('page.html', html);
    const server = await program(first);
    try {
      const tabs = await Promise.all([1, 2].map(() => tab(`http://127.0.0.1:${port}/`)));
      await tabs[0].say('<b>hello</b>');
      await Promise.all(tabs.map((one) => one.hears('<b>hello</b>')));
      server.kill();
      await tabs[1].hears('The connection is closed');
    } finally {
      server.kill();
      await server.exited;
    }
  });

  await t.test('with names', async () => {
    const line = /^.*const ws = .*\n/m;
    assert.match(html, line);
    await write('page.html', html.replace(line, (line) => line + greeting));
    const server = await program(named);
    try {
      const anna = await tab(`http://127.0.0.1:${port}/`, 'Аня');
      await anna.hears('Аня is here');
      const boris = await tab(`http://127.0.0.1:${port}/`, 'Борис');
      await anna.hears('Борис is here');
      await boris.say('Привет!');
      await anna.hears('Борис: Привет!');
      await boris.close();
      await anna.hears('Борис has left');
    } finally {
      server.kill();
      await server.exited;
    }
  });
});
