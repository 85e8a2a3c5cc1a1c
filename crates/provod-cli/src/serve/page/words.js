// The page's words, in the language of the browser.

const ENGLISH = {
  room: 'Room', mainRoom: 'main room', go: 'Go', share: 'Share', people: 'People here',
  you: 'You are', madeUp: 'Change name', text: 'Message', send: 'Send',
  log: 'Messages', newer: { one: '# new message', other: '# new messages' },
  here: { one: '# person here', other: '# people here' },
  plain: { one: '# unnamed program', other: '# unnamed programs' }, plainName: 'unnamed program',
  plainHint: 'Programs that hear and say bare text, without names.',
  tooMany: 'Too many to list them.', me: 'you',

  connection: 'Connection', connecting: 'connecting…', open: 'connected', closed: 'no connection', rtt: '# ms',
  rttHint: 'round trip to the server and back',
  waiting: 'The connection is lost.', unreachable: 'The server does not answer.',
  offline: 'This device is offline.',
  replaced: 'A newer connection took this one’s place.',
  ended: 'The connection is closed.',
  kept: {
    one: '# message waits here and is sent when the connection is back.',
    other: '# messages wait here and are sent when the connection is back.',
  },
  keptNone: 'What you write meanwhile is kept, and sent later.',
  countdown: { one: 'Next try in # second.', other: 'Next try in # seconds.' }, retry: 'Try now',
  restarted: 'The server was restarted.',
  missed: {
    one: '# message was said meanwhile that the server no longer has.',
    other: '# messages were said meanwhile that the server no longer has.',
  },

  joined: '@ joined', left: '@ left', renamed: '@ is now @', typing: '@ is typing…',
  typingMany: { one: '# person is typing…', other: '# people are typing…' },

  cut: '… (the rest is left out)',
  sending: 'sending', delivered: 'delivered', refused: 'not sent', edit: 'Edit', drop: 'Discard',
  binary: {
    one: 'Somebody sent # byte of binary data.', other: 'Somebody sent # bytes of binary data.',
  },
  restTooLong: { one: '# character too many', other: '# characters too many' },
  restLeft: { one: '# character left', other: '# characters left' },

  emptyTitle: 'Nobody has said anything here yet',
  emptyShare: 'Send the link of this page to somebody, or open it in a second tab.',
  emptyProgram: 'Any WebSocket is welcome too. In the console of a browser:',
  emptyShell: 'Or in a terminal:',
  done: 'Copied', copied: 'The link is copied.', shareThis: 'The link of this room',
  onlyHere: 'It opens on this computer only. For others, start the server with an address of your '
    + 'network: provod serve 0.0.0.0:@',

  roomTooLong: 'The name of a room has at most 256 bytes; this one is longer.',
  roomTaken: 'A room cannot have this name.',
  nameEmpty: 'A name has at least one letter: the old one stays.',
  errors: {}, // The server's words are English.
  guest: ['Quiet', 'Swift', 'Bright', 'Merry', 'Brave', 'Gentle', 'Clever', 'Sunny'],
  animals: ['Badger', 'Heron', 'Otter', 'Raven', 'Hedgehog', 'Beaver', 'Lynx', 'Falcon'],
};

const RUSSIAN = {
  room: 'Комната', mainRoom: 'общая комната', go: 'Перейти', share: 'Поделиться',
  people: 'Кто здесь', you: 'Вы', madeUp: 'Сменить имя', text: 'Сообщение',
  send: 'Отправить', log: 'Сообщения',
  newer: { one: '# новое сообщение', few: '# новых сообщения', other: '# новых сообщений' },
  here: { one: 'Здесь # человек', few: 'Здесь # человека', other: 'Здесь # человек' },
  plain: { one: '# программа без имени', few: '# программы без имени', other: '# программ без имени' },
  plainName: 'программа без имени',
  plainHint: 'Программы, которые слышат и передают просто текст, без имён.',
  tooMany: 'Слишком много, чтобы перечислить.', me: 'это вы',

  connection: 'Соединение', connecting: 'соединение…', open: 'на связи', closed: 'нет связи', rtt: '# мс',
  rttHint: 'путь до сервера и обратно',
  waiting: 'Соединение прервалось.', unreachable: 'Сервер не отвечает.',
  offline: 'Это устройство не в сети.',
  replaced: 'Вместо этого соединения открылось более новое.',
  ended: 'Соединение закрыто.',
  kept: {
    one: '# сообщение ждёт здесь и уйдёт, когда связь вернётся.',
    few: '# сообщения ждут здесь и уйдут, когда связь вернётся.',
    other: '# сообщений ждут здесь и уйдут, когда связь вернётся.',
  },
  keptNone: 'Всё, что вы напишете, сохранится и уйдёт потом.',
  countdown: {
    one: 'Новая попытка через # секунду.', few: 'Новая попытка через # секунды.',
    other: 'Новая попытка через # секунд.',
  },
  retry: 'Повторить', restarted: 'Сервер был перезапущен.',
  missed: {
    one: 'Тем временем прошло # сообщение, которого у сервера больше нет.',
    few: 'Тем временем прошли # сообщения, которых у сервера больше нет.',
    other: 'Тем временем прошло # сообщений, которых у сервера больше нет.',
  },

  joined: '@ входит в комнату', left: '@ покидает комнату', renamed: '@ теперь @',
  typing: '@ пишет…',
  typingMany: { one: 'Пишет # человек…', few: 'Пишут # человека…', other: 'Пишут # человек…' },

  cut: '… (остальное опущено)',
  sending: 'отправляется', delivered: 'доставлено', refused: 'не отправлено', edit: 'Изменить',
  drop: 'Убрать',
  binary: {
    one: 'Пришёл # байт двоичных данных.', few: 'Пришли # байта двоичных данных.',
    other: 'Пришло # байт двоичных данных.',
  },
  restTooLong: { one: '# лишний знак', few: '# лишних знака', other: '# лишних знаков' },
  restLeft: { one: 'остался # знак', few: 'осталось # знака', other: 'осталось # знаков' },

  emptyTitle: 'Здесь пока ничего не сказано',
  emptyShare: 'Отправьте кому-нибудь ссылку на эту страницу или откройте её во второй вкладке.',
  emptyProgram: 'Подойдёт и любой WebSocket. В консоли браузера:',
  emptyShell: 'Или в терминале:',
  done: 'Готово', copied: 'Ссылка скопирована.', shareThis: 'Ссылка на эту комнату',
  onlyHere: 'Она откроется только на этом компьютере. Для других запустите сервер на адресе вашей '
    + 'сети: provod serve 0.0.0.0:@',

  roomTooLong: 'Имя комнаты занимает не больше 256 байт, а это длиннее.',
  roomTaken: 'Так комнату назвать нельзя.',
  nameEmpty: 'В имени нужна хотя бы одна буква: осталось прежнее.',
  errors: {
    too_long: 'сообщение слишком длинное', too_large: 'сообщение слишком велико для сервера',
    outbox_full: 'слишком много сообщений уже ждёт отправки', bad_name: 'такое имя не подходит',
    rate: 'слишком много сообщений подряд', no_protocol: 'сервер не говорит на языке этой страницы',
    bad_field: 'сервер не принял сообщение', bad_json: 'сервер не понял сообщение',
  },
  guest: ['Тихий', 'Быстрый', 'Ясный', 'Весёлый', 'Смелый', 'Добрый', 'Мудрый', 'Солнечный'],
  animals: ['Барсук', 'Дрозд', 'Енот', 'Ворон', 'Ёжик', 'Бобр', 'Кот', 'Сокол'],
};

const DICTIONARIES = { en: ENGLISH, ru: RUSSIAN };

const languageOf = (tag) => tag.toLowerCase().split('-')[0];

/** The first language of the browser that we have, as it is spoken there: times differ. */
const LOCALE = (navigator.languages ?? [navigator.language])
  .find((tag) => languageOf(tag) in DICTIONARIES) ?? 'en';

export const LANGUAGE = languageOf(LOCALE);

const words = DICTIONARIES[LANGUAGE];
const plurals = new Intl.PluralRules(LANGUAGE);
const numbers = new Intl.NumberFormat(LOCALE);

/** `key` in words; `#` is the number, each `@` the next of `names`. */
export function say(key, number, ...names) {
  let phrase = words[key];
  if (typeof phrase === 'object') phrase = phrase[plurals.select(number)] ?? phrase.other;
  return phrase.replace('#', () => numbers.format(number))
    .replace(/@/g, () => isolated(names.shift()));
}

/** Why something was refused; the server's own words where there are none of ours. */
export function why({ code, message }) {
  return words.errors[code] ?? message;
}

/** A name from right to left must not turn the phrase around it. */
function isolated(name) {
  return /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/.test(name) ? `\u2068${name}\u2069` : name;
}

/** A name for somebody who has none yet. */
export function guestName() {
  const [first, second] = crypto.getRandomValues(new Uint32Array(2));
  const { guest, animals } = words;
  return `${guest[first % guest.length]} ${animals[second % animals.length]}`;
}

const clock = new Intl.DateTimeFormat(LOCALE, { hour: 'numeric', minute: '2-digit' });
const day = new Intl.DateTimeFormat(LOCALE, { weekday: 'long', day: 'numeric', month: 'long' });
const full = new Intl.DateTimeFormat(LOCALE, { dateStyle: 'full', timeStyle: 'medium' });
export const timeOf = (ms) => clock.format(ms);
export const dayOf = (ms) => day.format(ms);
export const dateOf = (ms) => full.format(ms);

/** Puts words where `data-say` (text), `data-label` or `data-hint` names them. */
export function translate(root) {
  root.lang = LANGUAGE;
  for (const element of root.querySelectorAll('[data-say]')) {
    element.textContent = say(element.dataset.say);
  }
  for (const element of root.querySelectorAll('[data-label]')) {
    element.setAttribute('aria-label', say(element.dataset.label));
  }
  for (const element of root.querySelectorAll('[data-hint]')) {
    element.setAttribute('placeholder', say(element.dataset.hint));
  }
}
