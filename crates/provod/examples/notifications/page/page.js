// Shows what the server tells this user, the newest first.

import { keepConnected } from '/reconnect.js';

const MOST_SHOWN = 100;
/** The longest name that the server takes, in bytes. */
const MOST_NAME = 64;
const part = (id) => document.getElementById(id);
const asked = new URLSearchParams(location.search).get('user') ?? '';
const user = objection(asked) ? '' : asked;
let unseen = 0;

/** What is wrong with this name, if anything. A field's `maxlength` does not count bytes. */
function objection(name) {
  const size = new TextEncoder().encode(name).length;
  return size <= MOST_NAME ? ''
    : `This name is too long: it has ${size} bytes, and at most ${MOST_NAME} fit.`;
}

function showTitle() {
  document.title = unseen > 0 ? `(${unseen}) Notifications` : 'Notifications';
}

function showState(state, words) {
  part('state').dataset.state = state;
  part('state').textContent = words;
}

function showNotice(text) {
  const now = new Date();
  const time = document.createElement('time');
  time.dateTime = now.toISOString();
  time.textContent = now.toLocaleTimeString();
  const words = document.createElement('p');
  words.textContent = text; // text, never markup
  const item = document.createElement('li');
  item.append(words, time);

  const notices = part('notices');
  notices.prepend(item);
  while (notices.childElementCount > MOST_SHOWN) notices.lastElementChild.remove();
  part('empty').hidden = true;
  if (document.hidden) unseen++;
  showTitle();
}

document.addEventListener('visibilitychange', () => {
  if (!document.hidden) unseen = 0;
  showTitle();
});

if (user) {
  part('whose').textContent = ` for ${user}`;
  part('state').hidden = false;
  part('empty').hidden = false;
  keepConnected(`/?${new URLSearchParams({ user })}`, {
    onmessage: showNotice,
    onstate: showState,
  });
} else {
  part('enter').hidden = false;
  const field = part('user');
  const check = () => field.setCustomValidity(objection(field.value));
  if (asked) field.value = asked;
  field.addEventListener('input', check);
  check();
  field.select();
  // A name that came with the address was sent already.
  field.reportValidity();
}
