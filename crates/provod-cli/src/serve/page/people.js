// Who is here.

import { initialOf, make, toneOf } from './log.js';
import { say } from './words.js';

export class People {
  #parts;
  #open = false;

  /**
   * @typedef {'list' | 'tooMany' | 'plain' | 'count' | 'toggle' | 'panel'} Part
   * @param {Record<Part, HTMLElement>} parts
   */
  constructor(parts) {
    this.#parts = parts;
    const { toggle, panel } = parts;
    // At the side of a wide window it is always there; on a narrow one it covers the messages.
    const wide = matchMedia('(min-width: 56rem)');
    wide.addEventListener('change', () => this.#set(wide.matches));
    this.#set(wide.matches);
    toggle.addEventListener('click', () => this.#set(!this.#open));
    document.addEventListener('keydown', (event) => {
      if (event.key === 'Escape' && this.#open && !wide.matches) this.#close();
    });
    document.addEventListener('click', ({ target }) => {
      if (!this.#open || wide.matches || panel.contains(target) || toggle.contains(target)) return;
      this.#set(false);
    });
  }

  show({ members, count, plain }, you) {
    const { list, tooMany } = this.#parts;
    const wanted = new Map((members ?? []).map((member) => [member.id, member]));
    for (const row of [...list.children]) {
      if (!wanted.has(row.dataset.member)) row.remove();
    }
    const rows = new Map([...list.children].map((row) => [row.dataset.member, row]));
    for (const { id, name } of wanted.values()) {
      const row = rows.get(id) ?? list.appendChild(make('li', ''));
      if (row.dataset.name === name && row.hasAttribute('data-you') === (id === you)) continue;
      row.dataset.member = id;
      row.dataset.name = name;
      row.dataset.tone = toneOf(name);
      row.toggleAttribute('data-you', id === you);
      const knot = make('span', 'knot', initialOf(name));
      knot.ariaHidden = 'true';
      row.replaceChildren(knot, make('bdi', 'name', name));
      if (id === you) row.append(make('span', 'me', say('me')));
    }
    list.hidden = wanted.size === 0;
    tooMany.hidden = members !== null;
    this.#count(count, plain);
  }

  #count(count, plain) {
    const { plain: programs, count: number, toggle } = this.#parts;
    programs.hidden = plain === 0;
    programs.textContent = say('plain', plain);
    number.textContent = String(count);
    toggle.setAttribute('aria-label', `${say('here', count)}. ${say('people')}`);
    toggle.title = say('here', count);
  }

  #close() {
    this.#set(false);
    this.#parts.toggle.focus();
  }

  #set(open) {
    this.#open = open;
    this.#parts.panel.hidden = !open;
    this.#parts.toggle.setAttribute('aria-expanded', String(open));
  }
}
