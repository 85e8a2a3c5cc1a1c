// The crate's examples `notifications` and `game`, in Chromium:
// `cargo build --release -p provod --example notifications --example game`.

import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import net from 'node:net';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { Program, built, within } from '../programs.mjs';
import { REPORTS, Socket, launch, open } from './helpers.mjs';

let browser;

before(async () => {
  await mkdir(REPORTS, { recursive: true });
  browser = await launch();
});

after(() => browser?.close());

const part = (page, id) => page.locator(`[data-testid=${id}]`);

/** Waits until the page's connection is in this state, shown in words like these. */
function inState(page, state, words = /./) {
  return page.locator(`[data-testid=state][data-state=${state}]`, { hasText: words }).waitFor();
}

/** Runs `attempt` until it returns something that is true; each attempt waits for something. */
function eventually(attempt, what) {
  let late = false;
  const attempts = (async () => {
    while (!late) {
      if (await attempt()) return;
    }
  })();
  return within(attempts, what).finally(() => { late = true; });
}

describe('notifications', () => {
  const COMMAND = built('examples/notifications', 'PROVOD_NOTIFICATIONS');
  let server;
  let internal;
  let pages;

  async function start(address = '127.0.0.1:0') {
    server = await Program.start(COMMAND, address, '127.0.0.1:0');
    const [, port] = await server.waitForLine(/curl .*:(\d+)\/notify/);
    internal = `http://127.0.0.1:${port}`;
  }

  beforeEach(async () => {
    pages = [];
    await start();
  });

  afterEach(async () => {
    for (const page of pages) await page.close();
    server?.kill();
  });

  async function tab(user) {
    const query = new URLSearchParams({ user });
    const page = await open(browser, `http://127.0.0.1:${server.port}/?${query}`);
    pages.push(page);
    await inState(page, 'open');
    return page;
  }

  const post = (path, body, headers = {}) =>
    fetch(`${internal}${path}`, { method: 'POST', body, headers });

  async function delivered(path, body) {
    const response = await post(path, body);
    assert.equal(response.status, 200);
    return (await response.json()).delivered;
  }

  /** What the page shows, the newest first, once there are so many. */
  async function shown(page, count) {
    const words = part(page, 'notices').locator('p');
    await words.nth(count - 1).waitFor();
    assert.deepEqual(page.mistakes, []);
    return words.allInnerTexts();
  }

  test('each tab of a user gets what is for him, and only that', async () => {
    const [first, second, other] = [await tab('anna'), await tab('anna'), await tab('Борис & Ко')];
    assert.equal(await delivered('/notify/anna', 'Your order has left'), 2);
    assert.equal(await delivered(`/notify/${encodeURIComponent('Борис & Ко')}`, 'Привет 🚚'), 1);
    assert.equal(await delivered('/notify', '<b>All</b> of you'), 3);
    for (const page of [first, second]) {
      assert.deepEqual(await shown(page, 2), ['<b>All</b> of you', 'Your order has left']);
    }
    assert.deepEqual(await shown(other, 2), ['<b>All</b> of you', 'Привет 🚚']);
    await first.screenshot({ path: `${REPORTS}/notifications.png` });
  });

  test('nobody there is no error, also when a user has left', async () => {
    assert.equal(await delivered('/notify/anna', 'hello?'), 0);
    assert.equal(await delivered('/notify', 'anybody?'), 0);
    const page = await tab('anna');
    assert.equal(await delivered('/notify/anna', 'hello'), 1);
    await page.close();
    await eventually(async () => await delivered('/notify/anna', 'bye') === 0, 'anna has left');
  });

  test('what cannot be sent is refused with a reason', async () => {
    const page = await tab('anna');
    const refusals = [
      ['/notify/anna', '', {}, 400, /empty/],
      ['/notify/anna', new Uint8Array([0x68, 0xff]), {}, 400, /utf-?8/i],
      ['/notify/anna', 'x'.repeat(4097), {}, 413, /limit/],
      ['/notify/anna', 'hello', { Origin: 'http://evil.example' }, 403, /pages/],
      ['/elsewhere', 'hello', {}, 404, /^$/],
    ];
    for (const [path, body, headers, status, why] of refusals) {
      const response = await post(path, body, headers);
      assert.equal(response.status, status);
      assert.match(await response.text(), why);
    }
    assert.equal((await fetch(`${internal}/notify`)).status, 405);
    // Order is kept: what was refused would be shown below this.
    assert.equal(await delivered('/notify/anna', 'x'.repeat(4096)), 1);
    assert.deepEqual(await shown(page, 1), ['x'.repeat(4096)]);
  });

  test('a page comes back by itself', async () => {
    const page = await tab('anna');
    const address = `127.0.0.1:${server.port}`;
    await server.end();
    await inState(page, 'closed', /trying again/);
    await start(address);
    await inState(page, 'open');
    assert.equal(await delivered('/notify/anna', 'here again'), 1);
    assert.deepEqual(await shown(page, 1), ['here again']);
  });

  test('without a user the page asks for one', async () => {
    const page = await open(browser, `http://127.0.0.1:${server.port}/`);
    pages.push(page);
    await page.getByLabel('Who are you?').fill('Анна К');
    await page.keyboard.press('Enter');
    await inState(page, 'open');
    assert.equal(await delivered(`/notify/${encodeURIComponent('Анна К')}`, 'hello'), 1);
  });

  test('a port in use is said in one line', async () => {
    const taken = `127.0.0.1:${server.port}`;
    for (const args of [[taken, '127.0.0.1:0'], ['127.0.0.1:0', taken]]) {
      const second = new Program(COMMAND, args);
      assert.deepEqual(await within(second.exited, 'the end'), { code: 1, signal: null });
      assert.equal(second.lines.length, 1);
      assert.match(second.lines[0], new RegExp(`^notifications: cannot listen on ${taken}: `));
    }
  });
});

/** A frame of the game; its messages are listed in the example's main.rs. */
function readFrame({ binary }) {
  const view = new DataView(Uint8Array.from(binary).buffer);
  let at = 1;
  const u8 = () => view.getUint8(at++);
  const u16 = () => view.getUint16((at += 2) - 2);
  const tick = view.getUint32((at += 4) - 4);
  const dots = Array.from({ length: u8() }, () => ({ x: u16(), y: u16() }));
  const players = Array.from({ length: u8() },
    () => ({ id: u8(), x: u16(), y: u16(), score: u16() }));
  assert.equal(at, binary.length);
  return { tick, dots, players };
}

describe('game', () => {
  const COMMAND = built('examples/game', 'PROVOD_GAME');
  const SIZE = 4000;
  const STEP = 90;
  let server;
  let pages;

  beforeEach(async () => {
    pages = [];
    server = await Program.start(COMMAND, '127.0.0.1:0');
  });

  afterEach(async () => {
    for (const page of pages) await page.close();
    server?.kill();
  });

  async function load() {
    const page = await open(browser, `http://127.0.0.1:${server.port}/`);
    pages.push(page);
    return page;
  }

  async function play(players) {
    const page = await load();
    await inState(page, 'open');
    await part(page, 'scores').locator('li').nth(players - 1).waitFor();
    return page;
  }

  /** A page of the server's origin that does not play: its scripts are our own. */
  async function blankPage() {
    const page = await open(browser, `http://127.0.0.1:${server.port}/shared.css`);
    pages.push(page);
    return page;
  }

  const connect = (page) => Socket.connect(page, `ws://127.0.0.1:${server.port}/play`);

  /** The colour in which a page shows its own player. */
  const ownColour = (page) => part(page, 'scores').locator('li', { hasText: 'you' }).locator('i')
    .evaluate((swatch) => getComputedStyle(swatch).backgroundColor.match(/\d+/g).map(Number));

  /** The centre of what is drawn in this colour, in shares of the field; null where nothing is. */
  const centre = (page, colour) => part(page, 'field').evaluate((field, [r, g, b]) => {
    const { width, height } = field;
    const { data } = field.getContext('2d').getImageData(0, 0, width, height);
    let [count, x, y] = [0, 0, 0];
    for (let at = 0; at < data.length; at += 4) {
      const off = Math.abs(data[at] - r) + Math.abs(data[at + 1] - g) + Math.abs(data[at + 2] - b);
      if (off > 6 || data[at + 3] < 255) continue;
      count++;
      x += at / 4 % width;
      y += Math.floor(at / 4 / width);
    }
    return count ? { x: x / count / width, y: y / count / height } : null;
  }, colour);

  /** Waits until the page draws this colour at a place that is as it should be. */
  const sees = (page, colour, isRight, what) => eventually(async () => {
    const at = await centre(page, colour);
    return at && isRight(at);
  }, what);

  test('two tabs see each other move, by keyboard and by mouse', async () => {
    const [a, b] = [await play(1), await play(2)];
    const [red, green] = [await ownColour(a), await ownColour(b)];
    assert.notDeepEqual(red, green);
    await sees(a, green, () => true, 'a sees b');

    await a.keyboard.down('ArrowRight');
    for (const page of [a, b]) await sees(page, red, ({ x }) => x > 0.95, 'red at the right edge');
    await a.keyboard.up('ArrowRight');
    await a.keyboard.down('KeyW');
    for (const page of [a, b]) await sees(page, red, ({ y }) => y < 0.05, 'red at the top');
    await a.keyboard.up('KeyW');

    const box = await part(b, 'field').boundingBox();
    await b.mouse.move(box.x + box.width * 0.2, box.y + box.height * 0.7);
    await b.mouse.down();
    const there = ({ x, y }) => Math.abs(x - 0.2) < 0.02 && Math.abs(y - 0.7) < 0.02;
    for (const page of [a, b]) await sees(page, green, there, 'green where the mouse is');
    await b.mouse.up();

    await part(a, 'trip').filter({ hasText: /\d ms/ }).waitFor();
    await part(a, 'rate').filter({ hasText: /\d/ }).waitFor();
    assert.deepEqual([...a.mistakes, ...b.mistakes], []);
    await a.screenshot({ path: `${REPORTS}/game.png` });
  });

  test('a finger steers on a phone, and nothing is wider than its screen', async () => {
    const context = await browser.newContext(
      { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true });
    const page = await context.newPage();
    pages.push(context);
    await page.goto(`http://127.0.0.1:${server.port}/`);
    await inState(page, 'open');
    const colour = await ownColour(page);
    const box = await part(page, 'field').boundingBox();
    const touch = await context.newCDPSession(page);
    const point = { x: box.x + box.width * 0.9, y: box.y + box.height * 0.2 };
    await touch.send('Input.dispatchTouchEvent', { type: 'touchStart', touchPoints: [point] });
    await sees(page, colour, ({ x, y }) => x > 0.85 && y < 0.25, 'where the finger is');
    await touch.send('Input.dispatchTouchEvent', { type: 'touchEnd', touchPoints: [] });
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
  });

  test('who comes and who goes is seen', async () => {
    const a = await play(1);
    assert.equal(await part(a, 'count').innerText(), '1');
    const b = await play(2);
    const green = await ownColour(b);
    await sees(a, green, () => true, 'a sees b come');
    await b.close();
    await eventually(async () => await centre(a, green) === null, 'a sees b go');
    assert.equal(await part(a, 'count').innerText(), '1');
  });

  test('a player whose network has died is taken out', async () => {
    const page = await play(1);
    // It asks for a WebSocket and then says nothing more, not even a Pong.
    const dead = net.connect(server.port, '127.0.0.1');
    dead.on('error', () => {});
    dead.write('GET /play HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n'
      + 'Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n'
      + 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n');
    await part(page, 'count').filter({ hasText: '2' }).waitFor();
    await part(page, 'count').filter({ hasText: '1' }).waitFor();
    dead.destroy();
  });

  test('a stalled tab slows nobody down, and goes on where the others are', async () => {
    const [a, b, stalled] = [await play(1), await play(2), await play(3)];
    const red = await ownColour(a);
    const atLeft = ({ x }) => x < 0.05;
    const debug = await stalled.context().newCDPSession(stalled);
    await debug.send('Debugger.enable');
    const paused = new Promise((resolve) => { debug.once('Debugger.paused', resolve); });
    await debug.send('Debugger.pause');
    await within(paused, 'the tab stands still');

    await a.keyboard.down('KeyD');
    await sees(b, red, ({ x }) => x > 0.95, 'red at the right edge');
    await a.keyboard.up('KeyD');
    await a.keyboard.down('KeyA');
    await sees(b, red, atLeft, 'red at the left edge');

    await debug.send('Debugger.resume');
    await debug.send('Debugger.disable');
    await sees(stalled, red, atLeft, 'the stalled tab has caught up');
    await inState(stalled, 'open');
  });

  test('the server alone decides how fast and how far a player comes', async () => {
    const socket = await connect(await blankPage());
    const [{ binary: welcome }] = await socket.received(1);
    assert.deepEqual(welcome, [0, welcome[1], SIZE >> 8, SIZE & 255, 1800 >> 8, 1800 & 255]);
    await socket.send([2, 255, 255, 255, 255]);
    let frames;
    await eventually(async () => {
      const messages = await socket.received((frames?.length ?? 0) + 2);
      frames = messages.slice(1).map(readFrame);
      const [{ x, y }] = frames.at(-1).players;
      return x >= SIZE && y >= SIZE;
    }, 'the player is in the corner');
    let before = frames[0];
    for (const frame of frames.slice(1)) {
      const [[from], [to]] = [before.players, frame.players];
      // Places are rounded.
      const most = STEP * (frame.tick - before.tick) + 2;
      assert.ok(Math.hypot(to.x - from.x, to.y - from.y) <= most, JSON.stringify([before, frame]));
      assert.ok(to.x <= SIZE && to.y <= SIZE);
      before = frame;
    }
  });

  test('dots can be collected', async () => {
    const socket = await connect(await blankPage());
    let frames = (await socket.received(2)).slice(1).map(readFrame);
    const { dots: [dot], players: [{ score }] } = frames.at(-1);
    assert.equal(score, 0);
    await socket.send([2, dot.x >> 8, dot.x & 255, dot.y >> 8, dot.y & 255]);
    await eventually(async () => {
      frames = (await socket.received(frames.length + 2)).slice(1).map(readFrame);
      const { dots, players: [player] } = frames.at(-1);
      return player.score > 0 && !dots.some(({ x, y }) => x === dot.x && y === dot.y);
    }, 'the dot is collected');
  });

  test('nothing is sent when nothing moves, but for the heartbeat', async () => {
    const socket = await connect(await blankPage());
    const [, first, ...still] = await socket.received(5);
    assert.equal(readFrame(first).players.length, 1);
    for (const frame of still) assert.equal(readFrame(frame).tick % 20, 0);
  });

  test('a ping comes back to him who sent it, as it was', async () => {
    const socket = await connect(await blankPage());
    await socket.send([3, 1, 2, 3, 4]);
    await eventually(async () => {
      const messages = await socket.received(2);
      return messages.some(({ binary }) => binary.join() === '3,1,2,3,4');
    }, 'the ping is back');
  });

  for (const [what, message, code] of [
    ['text', 'hello', 1003],
    ['an unknown kind', [9, 0, 0, 0, 0], 1008],
    ['a message that is too short', [2, 0, 0, 0], 1008],
    ['a message with something behind it', [2, 0, 0, 0, 0, 0], 1008],
    ['nothing', [], 1008],
    ['more than any message has', Array(65).fill(2), 1009],
  ]) {
    test(`${what} is answered with ${code}, and the game goes on`, async () => {
      const page = await blankPage();
      const socket = await connect(page);
      await socket.send(message);
      assert.deepEqual(await socket.closed(), { code, wasClean: true });
      const next = await connect(page);
      let count = 2;
      await eventually(async () => {
        const frame = (await next.received(count++)).at(-1);
        return readFrame(frame).players.length === 1;
      }, 'the next one plays alone');
    });
  }

  test('when all places are taken the page says so, and gets one that is free again', async () => {
    const others = await blankPage();
    const sockets = [];
    for (let n = 0; n < 32; n++) sockets.push(await connect(others));
    for (const socket of sockets) assert.equal(await socket.isOpen(), true);
    const page = await load();
    await inState(page, 'closed', /all 32 places are taken/);
    assert.equal((await fetch(`http://127.0.0.1:${server.port}/play`)).status, 503);
    await others.close();
    await inState(page, 'open');
  });

  test('a page comes back by itself', async () => {
    const page = await play(1);
    const { port } = server;
    await server.end();
    await inState(page, 'closed', /trying again/);
    server = await Program.start(COMMAND, `127.0.0.1:${port}`);
    await inState(page, 'open');
    await part(page, 'count').filter({ hasText: '1' }).waitFor();
  });
});
