// A bare chat over a plain WebSocket: what is sent to /ROOM reaches everybody in /ROOM.

const part = (id) => document.getElementById(id);
const messages = part('messages');
const state = part('state');

/** Uses what the browser keeps for this page, where it keeps anything. */
function kept(use) {
  try {
    return use(localStorage);
  } catch {
    return undefined;
  }
}

function room() {
  const path = location.pathname.slice(1);
  try {
    return decodeURIComponent(path);
  } catch {
    return path; // A lone percent sign is part of the name.
  }
}
part('room').value = room();
part('name').value = kept((storage) => storage.getItem('name')) ?? '';

let ws;
let delay = 500;

function show(name, text = name) {
  state.dataset.state = name;
  state.textContent = text;
}

function connect() {
  show('connecting');
  const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:';
  ws = new WebSocket(`${scheme}//${location.host}${location.pathname}`);
  ws.binaryType = 'arraybuffer';
  ws.onopen = () => {
    delay = 500;
    show('open');
  };
  ws.onmessage = ({ data }) => {
    add(typeof data === 'string' ? data : `(${data.byteLength} bytes of binary data)`);
  };
  ws.onclose = ({ code, reason }) => {
    show('closed', `closed: ${code}${reason && ` ${reason}`}, trying again`);
    // Jitter, so that the clients of a restarted server do not all come back in one moment.
    setTimeout(connect, delay * (0.5 + Math.random()));
    delay = Math.min(delay * 2, 15000);
  };
}

function add(text) {
  const atEnd = messages.parentElement.scrollHeight - messages.parentElement.scrollTop
    - messages.parentElement.clientHeight < 40;
  const item = document.createElement('li');
  // Text, never markup.
  item.textContent = text;
  messages.append(item);
  while (messages.childElementCount > 1000) messages.firstElementChild.remove();
  if (atEnd) item.scrollIntoView();
}

part('name').addEventListener('input', ({ target }) => {
  kept((storage) => storage.setItem('name', target.value));
});

part('enter').addEventListener('submit', (event) => {
  event.preventDefault();
  const wanted = part('room').value;
  if (wanted !== room()) location.assign(`/${encodeURIComponent(wanted)}`);
});

part('say').addEventListener('submit', (event) => {
  event.preventDefault();
  const text = part('text').value;
  if (!text || ws.readyState !== WebSocket.OPEN) return;
  const name = part('name').value.trim();
  ws.send(name ? `${name}: ${text}` : text);
  part('text').value = '';
});

connect();
