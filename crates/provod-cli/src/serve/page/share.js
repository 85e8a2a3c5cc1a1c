// The link of the room: shared, copied, or shown to be copied by hand.

import { say } from './words.js';

const LOOPBACK = /^(localhost|127(\.\d+){3}|\[::1\])$/;

/** @param {Record<'button' | 'label' | 'box' | 'link' | 'hint', HTMLElement>} parts */
export function shareLink({ button, label, box, link, hint }) {
  let shownFor;

  function close() {
    box.hidden = true;
    button.setAttribute('aria-expanded', 'false');
  }

  /** What opens says more than a word on a button could, and can be copied by hand. */
  function open(copied) {
    label.textContent = say(copied ? 'done' : 'share');
    clearTimeout(shownFor);
    shownFor = setTimeout(() => { label.textContent = say('share'); }, 3000);
    link.value = location.href;
    const hints = copied ? [say('copied')] : [];
    if (LOOPBACK.test(location.hostname)) hints.push(say('onlyHere', 0, location.port || '80'));
    hint.textContent = hints.join(' ');
    box.hidden = false;
    button.setAttribute('aria-expanded', 'true');
    if (!copied) {
      link.focus();
      link.select();
    }
  }

  button.addEventListener('click', async () => {
    if (!box.hidden) {
      close();
      return;
    }
    const phone = matchMedia('(pointer: coarse)').matches;
    if (phone && navigator.share) {
      // Refused also when the person thought better of it.
      await navigator.share({ title: document.title, url: location.href }).catch(() => {});
      return;
    }
    try {
      // Not there on a page that came over plain http from another machine.
      await navigator.clipboard.writeText(location.href);
      open(true);
    } catch {
      open(false);
    }
  });
  document.addEventListener('keydown', ({ key }) => {
    if (key !== 'Escape' || box.hidden) return;
    close();
    button.focus();
  });
  document.addEventListener('click', ({ target }) => {
    if (!box.contains(target) && !button.contains(target)) close();
  });
}
