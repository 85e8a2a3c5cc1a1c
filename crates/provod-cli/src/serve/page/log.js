// The messages: one element for each, in the room's order, what is not delivered at the end.

import { dateOf, dayOf, say, timeOf, why } from './words.js';

const MAX_SHOWN = 1000;
/** What one person says within this time stands under one name. */
const ONE_BREATH = 5 * 60 * 1000;
const TONES = 8;
/** How near to the end counts as being there, in pixels. */
const NEAR = 48;

export class Log {
  #list;
  #scroller;
  #newer;
  #actions;
  /** What each element shows. */
  #shown = new Map();
  #elements = new Map();
  #unseen = 0;
  #follow = true;
  #gap = null;

  /**
   * @param {{ list: HTMLElement, scroller: HTMLElement, newer: HTMLElement }} parts
   * @param {Record<'edit' | 'drop', (message) => void>} actions What to do with a refused one.
   */
  constructor({ list, scroller, newer }, actions) {
    this.#list = list;
    this.#scroller = scroller;
    this.#newer = newer;
    this.#actions = actions;
    scroller.addEventListener('scroll', () => {
      this.#follow = this.#atEnd();
      if (this.#follow) this.#seen();
    });
    newer.addEventListener('click', () => this.toEnd());
    // A keyboard that opens, or a composer that grows, must not hide the end.
    new ResizeObserver(() => this.#follow && this.toEnd()).observe(scroller);
  }

  get isEmpty() {
    return this.#elements.size === 0;
  }

  /** Shows `message`, or shows it anew where it is shown already. */
  show(message) {
    const follow = this.#follow || (message.own && !message.past && message.state !== 'delivered');
    const old = this.#elements.get(message.id);
    const element = old ?? document.createElement('li');
    this.#elements.set(message.id, element);
    this.#shown.set(element, message);
    this.#fill(element, message);
    this.#place(element, message);
    this.#tidy(element);
    while (this.#list.childElementCount > MAX_SHOWN) this.#remove(this.#list.firstElementChild);
    if (follow) this.toEnd();
    else if (!old && !message.past) this.#unread();
  }

  remove(message) {
    const element = this.#elements.get(message.id);
    if (element) this.#remove(element);
  }

  /** Messages are missing before the one that comes next. */
  markGap(words) {
    this.#gap = words;
  }

  toEnd() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#follow = true;
    this.#seen();
  }

  #atEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    return scrollHeight - scrollTop - clientHeight < NEAR;
  }

  #unread() {
    this.#unseen += 1;
    this.#newer.textContent = say('newer', this.#unseen);
    this.#newer.hidden = false;
  }

  #seen() {
    this.#unseen = 0;
    this.#newer.hidden = true;
  }

  #remove(element) {
    const next = element.nextElementSibling;
    this.#elements.delete(this.#shown.get(element).id);
    this.#shown.delete(element);
    element.remove();
    if (next) this.#tidy(next);
  }

  /**
   * In the order of `seq`, and never moved without need: a moved element is read out again. A
   * refused one has no place in that order and stays where it was said.
   */
  #place(element, message) {
    if (element.parentElement && message.state !== 'delivered') return;
    let next = null;
    for (let each = this.#list.lastElementChild; each; each = each.previousElementSibling) {
      const other = this.#shown.get(each);
      if (each === element) next = element.nextElementSibling;
      else if (other.state === 'refused') continue;
      else if (goesBefore(message, other)) next = each;
      else break;
    }
    if (element.parentElement && element.nextElementSibling === next) return;
    const left = element.nextElementSibling;
    this.#list.insertBefore(element, next);
    if (left) this.#tidy(left);
  }

  /** Only what has changed: what is put in anew is read out anew. */
  #fill(element, message) {
    if (!element.firstChild) this.#build(element, message);
    const state = { delivered: 'delivered', refused: 'refused' }[message.state] ?? 'sending';
    element.dataset.id = message.id;
    element.dataset.tone = toneOf(message.name);
    const [knot, head] = element.children;
    const [name, time, mark] = head.children;
    write(knot, initialOf(message.name));
    write(name, message.name ?? say('plainName'));
    write(time, timeOf(message.time));
    time.dateTime = new Date(message.time).toISOString();
    time.title = dateOf(message.time);
    if (!message.own) return;
    element.dataset.own = 'true';
    element.dataset.state = state;
    write(mark, state === 'refused' ? '' : say(state));
    if (state === 'refused' && !element.querySelector('.refusal')) {
      element.append(this.#refusal(message));
    }
  }

  #build(element, message) {
    const knot = make('span', 'knot');
    knot.ariaHidden = 'true';
    const head = make('p', 'head');
    head.append(make('bdi', 'name'), make('time', ''), make('span', 'mark'));
    const text = make('p', 'said');
    text.dir = 'auto';
    text.append(...linked(message.text));
    if (message.cut) text.append(make('span', 'cut', ` ${say('cut')}`));
    element.append(knot, head, text);
    if (this.#gap && message.state === 'delivered') {
      element.dataset.gap = this.#gap;
      this.#gap = null;
    }
  }

  #refusal(message) {
    const box = make('p', 'refusal', `${say('refused')}: ${why(message.error)} `);
    for (const action of ['edit', 'drop']) {
      const button = make('button', 'small', say(action));
      button.type = 'button';
      button.addEventListener('click', () => {
        this.remove(message);
        this.#actions[action](message);
      });
      box.append(button);
    }
    return box;
  }

  /** Sets what depends on the element before: whether it begins a day, or goes on. */
  #tidy(element) {
    for (const each of [element, element.nextElementSibling]) {
      if (!each) continue;
      const message = this.#shown.get(each);
      const before = this.#shown.get(each.previousElementSibling);
      const sameDay = before !== undefined && dayOf(before.time) === dayOf(message.time);
      if (sameDay) delete each.dataset.day;
      else each.dataset.day = dayOf(message.time);
      const follows = sameDay && !each.dataset.gap && goesOn(before, message);
      each.toggleAttribute('data-follows', follows);
    }
  }
}

/** Whether `b` is said in one breath with `a`. */
function goesOn(a, b) {
  const sameSpeaker = a.own ? b.own : !b.own && a.from === b.from;
  return sameSpeaker && a.name === b.name && b.time - a.time < ONE_BREATH;
}

/** Whether `a`, new, belongs before `b`, which is shown. */
function goesBefore(a, b) {
  if (a.state !== 'delivered') return false;
  return b.state !== 'delivered' || (b.seq > a.seq && b.epoch === a.epoch);
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function make(tag, className, text = '') {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}

/** The same name has the same colour everywhere. */
export function toneOf(name) {
  let hash = 0;
  for (const character of name ?? '') hash = (hash * 31 + character.codePointAt(0)) % 9973;
  return name === undefined ? 'none' : String(hash % TONES);
}

export function initialOf(name) {
  if (name === undefined) return '›';
  // What a person takes for one letter may be several code points: an emoji, a letter and accents.
  const first = Intl.Segmenter ? [...new Intl.Segmenter().segment(name)][0]?.segment : [...name][0];
  return (first ?? '').toLocaleUpperCase();
}

/** Text with its web addresses as links. All of it goes into the page as text. */
function linked(text) {
  return text.split(/(https?:\/\/[^\s<>"]*[^\s<>".,;:!?)\]}'»])/iu).map((part, index) => {
    if (index % 2 === 0) return part;
    const link = make('a', '', part);
    link.href = part; // Begins with http: or https:, whatever follows.
    link.target = '_blank';
    link.rel = 'noopener noreferrer';
    return link;
  });
}
