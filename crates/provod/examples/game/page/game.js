// The game's page: says where its player goes, draws what the server says. The messages are listed
// at the top of main.rs.

import { keepConnected } from '/reconnect.js';

const [WELCOME, FRAME, GO, PING] = [0, 1, 2, 3];
const TICK_MS = 50;
/** Others arrive where the server says they are this much later, so that ticks may be late. */
const SMOOTH_MS = 70;
const RADIUS = 100;
const DOT_RADIUS = 40;
const DOT_COLOUR = '#d99a1c';
const DIRECTIONS = {
  ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0],
  KeyW: [0, -1], KeyS: [0, 1], KeyA: [-1, 0], KeyD: [1, 0],
};

const part = (id) => document.getElementById(id);
const field = part('field');
const context = field.getContext('2d');

let me; // this player's id
let size = 4000;
let speed = 0;
let place = null; // where this player is: drawn at once, without the way to the server and back
let said = ''; // the place that the server was last told
let dots = [];
let players = new Map();
let ticks = []; // when which tick came, of the last two seconds
const pressed = new Set();
let pointer = null; // where a finger or the mouse is held

const colour = (id) => `hsl(${(id * 137.5 + 10) % 360} 70% 60%)`;

function onmessage(data) {
  const view = new DataView(data);
  const kind = view.getUint8(0);
  if (kind === WELCOME) {
    me = view.getUint8(1);
    size = view.getUint16(2);
    speed = view.getUint16(4);
    said = '';
    ping();
  } else if (kind === FRAME) {
    readFrame(view);
  } else if (kind === PING) {
    const trip = (performance.now() >>> 0) - view.getUint32(1);
    part('trip').textContent = trip < 1 ? '< 1 ms' : `${trip} ms`;
  }
}

/** Nothing is known of the game any more. */
function clear() {
  me = undefined;
  place = null;
  dots = [];
  players.clear();
  ticks = [];
  showScores();
  for (const id of ['count', 'trip', 'rate']) part(id).textContent = '–';
}

function readFrame(view) {
  const now = performance.now();
  let at = 1;
  const u8 = () => view.getUint8(at++);
  const u16 = () => view.getUint16((at += 2) - 2);
  const tick = view.getUint32((at += 4) - 4);
  dots = Array.from({ length: u8() }, () => ({ x: u16(), y: u16() }));
  const before = players;
  players = new Map();
  for (let left = u8(); left > 0; left--) {
    const [id, to, score] = [u8(), { x: u16(), y: u16() }, u16()];
    const known = before.get(id);
    players.set(id, { to, score, from: known ? drawnPlace(known, now) : to, since: now });
  }
  place ??= players.get(me)?.to;
  showNumbers(tick, now);
}

/** Where a player is drawn: on the way from where it was drawn to where it is. */
function drawnPlace({ from, to, since }, now) {
  const share = Math.min((now - since) / SMOOTH_MS, 1);
  return { x: from.x + (to.x - from.x) * share, y: from.y + (to.y - from.y) * share };
}

function showNumbers(tick, now) {
  ticks.push({ tick, now });
  while (now - ticks[0].now > 2000) ticks.shift();
  // Not every tick has a frame, but frames say which tick it is.
  const [first, seconds] = [ticks[0], (now - ticks[0].now) / 1000];
  if (seconds > 0.5) part('rate').textContent = ((tick - first.tick) / seconds).toFixed(1);
  part('count').textContent = players.size;
  showScores();
}

let shownScores = '';
function showScores() {
  const order = [...players].sort(([a, { score: x }], [b, { score: y }]) => y - x || a - b);
  const key = order.map(([id, { score }]) => `${id}:${score}`).join() + `,${me}`;
  if (key === shownScores) return;
  shownScores = key;
  part('scores').replaceChildren(...order.map(([id, { score }]) => {
    const [item, swatch, points] = ['li', 'i', 'b'].map((name) => document.createElement(name));
    swatch.style.background = colour(id);
    points.textContent = score;
    item.append(swatch, id === me ? 'you' : `player ${id}`, points);
    return item;
  }));
}

function move(seconds) {
  let [x, y] = [0, 0];
  for (const code of pressed) {
    x += DIRECTIONS[code][0];
    y += DIRECTIONS[code][1];
  }
  let far = speed * seconds;
  if (pointer && !x && !y) {
    [x, y] = [pointer.x - place.x, pointer.y - place.y];
    far = Math.min(far, Math.hypot(x, y));
  }
  const length = Math.hypot(x, y);
  if (length === 0) return;
  const within = (value) => Math.min(Math.max(value, 0), size);
  place = { x: within(place.x + x / length * far), y: within(place.y + y / length * far) };
}

function disc({ x, y }, radius) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
}

let drawn = performance.now();
function draw(now) {
  requestAnimationFrame(draw);
  // A page that was not drawn for a while goes on from where it was.
  if (place) move(Math.min(now - drawn, 100) / 1000);
  drawn = now;

  const side = Math.round(field.clientWidth * devicePixelRatio);
  if (field.width !== side) field.width = field.height = side;
  // What is drawn may reach over the edge of the world by its radius.
  const scale = side / (size + 2 * RADIUS);
  context.setTransform(scale, 0, 0, scale, RADIUS * scale, RADIUS * scale);
  context.clearRect(-RADIUS, -RADIUS, size + 2 * RADIUS, size + 2 * RADIUS);
  context.fillStyle = DOT_COLOUR;
  for (const dot of dots) {
    disc(dot, DOT_RADIUS);
    context.fill();
  }
  for (const [id, player] of players) {
    disc(id === me && place ? place : drawnPlace(player, now), RADIUS);
    context.fillStyle = colour(id);
    context.fill();
    if (id !== me) continue;
    context.lineWidth = 24;
    context.strokeStyle = getComputedStyle(field).color;
    context.stroke();
  }
}

function ping() {
  send(new Uint8Array([PING, ...bytes(performance.now() >>> 0, 4)]));
}

/** A number as `count` bytes, the most significant first. */
function bytes(number, count) {
  return Array.from({ length: count }, (_, i) => number >>> 8 * (count - 1 - i) & 255);
}

setInterval(() => {
  if (!place) return;
  const [x, y] = [Math.round(place.x), Math.round(place.y)];
  if (said !== `${x},${y}` && send(new Uint8Array([GO, ...bytes(x, 2), ...bytes(y, 2)]))) {
    said = `${x},${y}`;
  }
}, TICK_MS);
setInterval(ping, 2000);

// By the place on the keyboard, whatever letters it has there.
addEventListener('keydown', (event) => {
  if (!(event.code in DIRECTIONS) || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  pressed.add(event.code);
});
addEventListener('keyup', ({ code }) => pressed.delete(code));
addEventListener('blur', () => pressed.clear());

function point({ offsetX, offsetY }) {
  const scale = field.clientWidth / (size + 2 * RADIUS);
  pointer = { x: offsetX / scale - RADIUS, y: offsetY / scale - RADIUS };
}
field.addEventListener('pointerdown', (event) => {
  field.setPointerCapture(event.pointerId);
  point(event);
});
field.addEventListener('pointermove', (event) => {
  if (pointer) point(event);
});
for (const end of ['pointerup', 'pointercancel', 'lostpointercapture']) {
  field.addEventListener(end, () => { pointer = null; });
}

const send = keepConnected('/play', {
  onmessage,
  onstate(state, words) {
    part('state').dataset.state = state;
    part('state').textContent = words;
    if (state === 'closed') clear();
  },
  // The server has something to say each second.
  silence: 5,
});
requestAnimationFrame(draw);
