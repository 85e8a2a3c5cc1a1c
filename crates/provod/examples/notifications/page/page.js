// Shows what the server tells this user, the newest first.

import { keepConnected } from '/reconnect.js';

const MOST_SHOWN = 100;
const part = (id) => document.getElementById(id);
const user = new URLSearchParams(location.search).get('user');
let unseen = 0;

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
  part('user').select();
}
