// The client compiled for the browser, in Chromium: `conformance/wasm/build`, and
// `cargo build --release`.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import { after, before, test } from 'node:test';
import { launch, open } from '../browser/helpers.mjs';
import { PATIENCE_MS, Program, built, within } from '../programs.mjs';

const PAGE = new URL('../.cache/wasm/page/', import.meta.url);
const TYPES = { js: 'text/javascript', wasm: 'application/wasm' };

let server;
let pages;
let browser;

/** Serves what the build has made. */
async function servePage() {
  const files = http.createServer(async (request, response) => {
    const name = /^\/(provod_wasm_tests(?:_bg)?\.(js|wasm))$/.exec(request.url);
    response.writeHead(200, { 'Content-Type': name ? TYPES[name[2]] : 'text/html' });
    response.end(name ? await readFile(new URL(name[1], PAGE)) : '<!doctype html><title>page</title>');
  });
  files.listen(0, '127.0.0.1');
  await once(files, 'listening');
  return files;
}

/** A page in which `call` calls the module's functions. */
async function openModule(page) {
  page = await open(browser, `http://127.0.0.1:${pages.address().port}/`);
  await page.evaluate(async () => {
    const module = await import('/provod_wasm_tests.js');
    await module.default({ module_or_path: '/provod_wasm_tests_bg.wasm' });
    window.module = module;
  });
  page.call = (name, ...args) => within(page.evaluate(async ([name, args]) => {
    try {
      return { value: await window.module[name](...args) };
    } catch (error) {
      return { error: String(error) };
    }
  }, [name, args]).then(({ value, error }) => {
    assert.equal(error, undefined, `${name}: ${error}`);
    return value;
  }), name, PATIENCE_MS * 2);
  return page;
}

/** The page's title becomes `ready` when the module says so. */
function watchReady(page) {
  return page.evaluate(() => {
    document.title = 'waiting';
    window.onReady = () => { document.title = 'ready'; };
  });
}

before(async () => {
  server = await Program.start(built('provod', 'PROVOD_BIN'), 'listen', '127.0.0.1:0');
  pages = await servePage();
  browser = await launch();
});

after(async () => {
  await browser?.close();
  pages?.closeAllConnections();
  pages?.close();
  server?.kill();
});

const url = () => `ws://127.0.0.1:${server.port}/`;

for (const name of ['echoes', 'handles', 'bounded_queue', 'bounded_inbox']) {
  test(name.replace('_', ' '), async () => {
    const page = await openModule();
    await page.call(name, url());
    assert.deepEqual(page.mistakes.filter((text) => !text.startsWith('talks to ws:')), []);
    await page.close();
  });
}

test('refusals', async () => {
  const nobody = http.createServer();
  nobody.listen(0, '127.0.0.1');
  await once(nobody, 'listening');
  const { port } = nobody.address();
  nobody.close();
  const page = await openModule();
  await page.call('refusals', url(), `ws://127.0.0.1:${port}/path`);
  await page.close();
});

test('it connects again when the server has come back', async () => {
  const page = await openModule();
  let doomed = await Program.start(built('provod', 'PROVOD_BIN'), 'listen', '127.0.0.1:0');
  const { port } = doomed;
  try {
    await watchReady(page);
    const story = page.call('reconnects', `ws://127.0.0.1:${port}/`);
    await page.waitForFunction(() => document.title === 'ready');
    doomed.child.kill('SIGKILL');
    await doomed.exited;
    doomed = await Program.start(built('provod', 'PROVOD_BIN'), 'listen', `127.0.0.1:${port}`);
    assert.equal(await story, 'open, message hello, message early, lost, '
      + 'open, message hello, message late, closed by this end');
  } finally {
    doomed.kill();
  }
  await page.close();
});

test('the end that a server brings about', async () => {
  const page = await openModule();
  for (const [signal, expected] of [['SIGINT', 'closed 1001 Peer'], ['SIGKILL', 'lost 1006 Lost']]) {
    const doomed = await Program.start(built('provod', 'PROVOD_BIN'), 'listen', '127.0.0.1:0');
    try {
      await watchReady(page);
      const ended = page.call('ended', `ws://127.0.0.1:${doomed.port}/`);
      await page.waitForFunction(() => document.title === 'ready');
      doomed.child.kill(signal);
      assert.equal(await ended, expected);
    } finally {
      doomed.kill();
    }
  }
  await page.close();
});

/** A server that opens each WebSocket, and then leaves it to `serve`. */
async function raw(serve) {
  const listening = http.createServer();
  listening.on('upgrade', (request, socket) => {
    const key = `${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
    const accept = createHash('sha1').update(key).digest('base64');
    socket.on('error', () => {});
    socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
      + `Sec-WebSocket-Accept: ${accept}\r\n\r\n`);
    serve(socket);
  });
  listening.listen(0, '127.0.0.1');
  await once(listening, 'listening');
  return listening;
}

test('a flood of empty messages', async () => {
  const page = await openModule();
  const listening = await raw((socket) => {
    socket.resume();
    socket.end(Buffer.concat([...Array(20_000).fill(Buffer.from([0x81, 0])), Buffer.from([0x88, 0])]));
  });
  try {
    await page.call('bounded_flood', `ws://127.0.0.1:${listening.address().port}/`);
  } finally {
    listening.closeAllConnections();
    listening.close();
  }
  await page.close();
});

test('one that connects again closes when it is dropped', async () => {
  const page = await openModule();
  let tell;
  const closed = new Promise((resolve) => { tell = resolve; });
  const listening = await raw((socket) => {
    // A Close with a code comes in one piece: its head, its mask, the code.
    socket.on('data', (data) => {
      const frame = data.subarray(-8);
      if (frame[0] !== 0x88 || frame[1] !== 0x82) return;
      tell(((frame[6] ^ frame[2]) << 8) | (frame[7] ^ frame[3]));
      socket.end(Buffer.from([0x88, 0]));
    });
  });
  try {
    await page.call('drops', `ws://127.0.0.1:${listening.address().port}/`);
    assert.equal(await within(closed, 'the Close', PATIENCE_MS), 1000);
  } finally {
    listening.closeAllConnections();
    listening.close();
  }
  await page.close();
});

test('closing ends in time, and what the browser may still send is in doubt', async () => {
  const page = await openModule();
  const sockets = [];
  const listening = await raw((socket) => sockets.push(socket.pause()));
  try {
    const fates = await page.call('closes_in_time', `ws://127.0.0.1:${listening.address().port}/`);
    assert.equal(fates, 'in doubt');
  } finally {
    sockets.forEach((socket) => socket.destroy());
    listening.close();
  }
  await page.close();
});
