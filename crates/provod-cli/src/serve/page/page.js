// The page of a room: what a person does goes to `Room`, what happens there is shown.

import { Log } from './log.js';
import { People } from './people.js';
import { Room, cleanName } from './provod-room.js';
import { shareLink } from './share.js';
import { LANGUAGE, guestName, say, translate, why } from './words.js';

const MAX_ROOM_BYTES = 256;
const TYPING_SHOWN = 4_000;
const NOTICE_SHOWN = 20_000;
/** From how many characters before the limit on they are counted. */
const COUNT_FROM = 200;

const part = (id) => document.getElementById(id);
const wsAddress = `${location.origin.replace(/^http/, 'ws')}${location.pathname}`;

translate(document.documentElement);

/** Uses what the browser keeps, where it keeps anything. */
function kept(use) {
  try {
    return use();
  } catch {
    return undefined; // Forbidden by the person.
  }
}

const session = kept(() => sessionStorage);

// --- The room and the name ---

function roomOfPath() {
  const path = location.pathname.slice(1);
  try {
    return decodeURIComponent(path);
  } catch {
    return path; // A lone percent sign is part of the name.
  }
}

const roomName = roomOfPath();
const chosenName = kept(() => localStorage.getItem('provod-name'));
const guest = chosenName ? '' : kept(() => session.getItem('provod-guest')) || guestName();
if (guest) kept(() => session.setItem('provod-guest', guest));

const room = new Room(wsAddress, { name: chosenName || guest, storage: session });

part('room').value = roomName;
part('name').value = room.name;
part('madeUp').hidden = !guest;

part('room').addEventListener('input', () => {
  part('go').hidden = part('room').value === roomName;
});

// The way back from another room, to a page that the browser had kept.
addEventListener('pageshow', () => { part('room').value = roomName; });

part('room').addEventListener('keydown', ({ key }) => {
  if (key !== 'Escape') return;
  part('room').value = roomName;
  part('go').hidden = true;
});

// Whoever goes elsewhere has not gone to another room.
part('enter').addEventListener('focusout', ({ relatedTarget }) => {
  if (part('enter').contains(relatedTarget)) return;
  part('room').value = roomName;
  part('go').hidden = true;
});
// Safari gives a clicked button no focus.
part('go').addEventListener('mousedown', (event) => event.preventDefault());

part('enter').addEventListener('submit', (event) => {
  event.preventDefault();
  const wanted = part('room').value.replace(/\p{Surrogate}/gu, '\ufffd');
  if (wanted === roomName) return;
  if (new TextEncoder().encode(wanted).length > MAX_ROOM_BYTES) showError(say('roomTooLong'));
  // The first belong to the server; a browser takes the others out of an address.
  else if (/^_provod(\/|$)/.test(wanted) || /^\.\.?$/.test(wanted)) showError(say('roomTaken'));
  else location.assign(`/${encodeURIComponent(wanted)}`);
});

/** Before each message too: it must carry the name that stands in the field. */
function takeName() {
  const wanted = part('name').value;
  if (wanted === room.name) return;
  if (!cleanName(wanted)) {
    showError(say('nameEmpty'));
    part('name').value = room.name;
    return;
  }
  showError('');
  part('name').value = room.rename(wanted);
  part('madeUp').hidden = true;
  kept(() => localStorage.setItem('provod-name', room.name));
}

part('name').addEventListener('change', takeName);
part('madeUp').addEventListener('click', () => part('name').select());
part('name').addEventListener('keydown', (event) => {
  if (event.key === 'Escape') part('name').value = room.name;
  if (event.key !== 'Enter' || event.isComposing) return;
  event.preventDefault();
  takeName();
  part('text').focus();
});

// --- What is said ---

const log = new Log({
  list: part('messages'), scroller: part('log'), newer: part('newer'),
}, {
  edit({ text }) {
    const draft = part('text').value;
    part('text').value = draft ? `${text}\n${draft}` : text;
    this.drop();
    fitText();
  },
  drop() {
    part('text').focus();
    showError('');
    showEmpty();
  },
});

function showEmpty() {
  part('empty').hidden = !log.isEmpty || room.state === 'connecting';
}

function send() {
  const text = part('text').value;
  if (!text.trim()) return;
  takeName();
  const message = room.say(text);
  log.show(message);
  showError(message.error ? why(message.error) : '');
  part('text').value = '';
  fitText();
  showEmpty();
  showTrouble();
}

part('say').addEventListener('submit', (event) => {
  event.preventDefault();
  send();
  part('text').focus();
});

part('text').addEventListener('keydown', (event) => {
  // Enter also ends the input of a Chinese or Japanese word.
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  send();
});

part('text').addEventListener('input', () => {
  fitText();
  if (part('text').value) room.typing();
});

/** As high as what is in it, and how much more may be. */
function fitText() {
  const field = part('text');
  field.style.height = 'auto';
  field.style.height = `${field.scrollHeight + field.offsetHeight - field.clientHeight}px`;
  const left = room.limits.text - [...field.value].length;
  part('rest').classList.toggle('over', left < 0);
  if (left > COUNT_FROM) part('rest').textContent = '';
  else part('rest').textContent = say(left < 0 ? 'restTooLong' : 'restLeft', Math.abs(left));
}

room.addEventListener('message', ({ detail: message }) => {
  log.show(message);
  stopsTyping(message.from);
  showEmpty();
  if (document.hidden && !message.own && !message.past) unread += 1;
  showTitle();
});

room.addEventListener('delivery', ({ detail: message }) => {
  log.show(message);
  if (message.error) showError(why(message.error));
  showTrouble();
});

room.addEventListener('binary', ({ detail }) => showNotice(say('binary', detail.byteLength)));

for (const message of room.outbox) log.show(message);

// --- Who is here ---

const people = new People({
  list: part('members'), tooMany: part('tooMany'), plain: part('plain'), count: part('count'),
  toggle: part('peopleToggle'), panel: part('people'),
});
part('plain').title = say('plainHint');

room.addEventListener('members', ({ detail }) => people.show(detail, room.you));
room.addEventListener('joined', ({ detail }) => showNotice(say('joined', 0, detail.name)));
room.addEventListener('left', ({ detail }) => {
  stopsTyping(detail.id);
  showNotice(say('left', 0, detail.name));
});
room.addEventListener('renamed', ({ detail }) => {
  if (detail.id !== room.you) showNotice(say('renamed', 0, detail.was, detail.name));
});

let noticeEnds;
function showNotice(words) {
  part('notice').textContent = words;
  clearTimeout(noticeEnds);
  noticeEnds = setTimeout(() => { part('notice').textContent = ''; }, NOTICE_SHOWN);
}

/** Who is writing: a name and a timer for each. */
const writing = new Map();

room.addEventListener('typing', ({ detail: { from, name } }) => {
  stopsTyping(from);
  writing.set(from, { name, timer: setTimeout(() => stopsTyping(from), TYPING_SHOWN) });
  showTyping();
});

function stopsTyping(id) {
  clearTimeout(writing.get(id)?.timer);
  if (writing.delete(id)) showTyping();
}

function showTyping() {
  const [first] = writing.values();
  if (writing.size > 1) part('typing').textContent = say('typingMany', writing.size);
  else part('typing').textContent = first ? say('typing', 0, first.name) : '';
}

// --- The connection ---

let wasOpen = false;
let failed = false;
let countdown;

room.addEventListener('welcome', ({ detail: { again, missed } }) => {
  // The history is no news, to be read out; what comes in a second after it is.
  part('log').ariaBusy = 'true';
  setTimeout(() => { part('log').ariaBusy = 'false'; }, 1000);
  part('missed').hidden = !missed;
  part('missed').textContent = missed ? say('missed', missed) : '';
  if (missed) log.markGap(say('missed', missed));
  if (again && missed === null) showNotice(say('restarted'));
});

room.addEventListener('state', ({ detail: { state } }) => {
  if (state === 'open') {
    wasOpen = true;
    failed = false;
    showError('');
  } else if (state !== 'connecting') {
    failed = true;
    part('rtt').textContent = '';
    for (const id of [...writing.keys()]) stopsTyping(id);
  }
  showState(state);
  showTrouble();
  showEmpty();
});

function showState(state) {
  const shown = state === 'open' || state === 'connecting' ? state : 'closed';
  part('state').textContent = say(shown);
  part('state').dataset.state = shown;
}

/** The strip below the header: what is wrong, when it is tried again, what waits. */
function showTrouble() {
  const { state } = room;
  part('strip').hidden = !failed;
  part('retry').hidden = !failed || state === 'connecting';
  clearInterval(countdown);
  part('countdown').textContent = '';
  if (!failed) return;
  if (state !== 'connecting') {
    const reason = state === 'waiting' && !wasOpen ? 'unreachable' : state;
    const waiting = room.outbox.length;
    const meanwhile = waiting ? say('kept', waiting) : say('keptNone');
    const words = `${say(reason === 'closed' ? 'ended' : reason)} ${meanwhile}`;
    // A live region is read out anew whenever it is set.
    if (part('trouble').textContent !== words) part('trouble').textContent = words;
  }
  if (room.retryIn === null) return;
  const tick = () => {
    part('countdown').textContent = say('countdown', Math.ceil(room.retryIn / 1000));
  };
  tick();
  countdown = setInterval(tick, 250);
}

part('retry').addEventListener('click', () => {
  room.retry();
  part('text').focus();
});

room.addEventListener('rtt', ({ detail }) => {
  part('rtt').textContent = say('rtt', Math.max(1, Math.round(detail)));
});
part('rtt').title = say('rttHint');

room.addEventListener('error', ({ detail }) => {
  showError(why(detail));
  if (detail.code !== 'bad_name') return;
  part('name').value = room.name;
  kept(() => localStorage.removeItem('provod-name'));
});

function showError(words) {
  part('error').textContent = words;
}

// --- The rest ---

let unread = 0;

function showTitle() {
  const name = roomName || say('mainRoom');
  document.title = `${unread ? `(${unread}) ` : ''}${name} · Provod`;
}

document.addEventListener('visibilitychange', () => {
  if (document.hidden) return;
  unread = 0;
  showTitle();
});

shareLink({
  button: part('share'), label: part('shareLabel'), box: part('shareBox'), link: part('shareLink'),
  hint: part('shareHint'),
});

part('program').textContent = `ws = new WebSocket('${wsAddress}')\n`
  + 'ws.onmessage = ({ data }) => console.log(data)\n'
  + `ws.onopen = () => ws.send('${LANGUAGE === 'ru' ? 'Привет!' : 'Hello!'}')`;
part('shell').textContent = `provod connect ${wsAddress}`;

showState(room.state);
showTitle();
showEmpty();
