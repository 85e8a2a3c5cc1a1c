// Makes the pictures of the page in docs/images, from a conversation of three people with the
// binary as it is built. Look at each before it is committed.
//
//   cargo build --release && node conformance/browser/screenshots.mjs

import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { Socket, launch, open, servePages } from './helpers.mjs';
import { Tab, serve } from './tab.mjs';

const IMAGES = fileURLToPath(new URL('../../docs/images/', import.meta.url));
const LAPTOP = { viewport: { width: 1160, height: 720 } };
const PHONE = {
  viewport: { width: 360, height: 800 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true,
};

/** Not a person: a plain WebSocket client of some program. */
const PROGRAM = 'program';

const ENGLISH = {
  room: 'harbour', names: ['Maren', 'Tomek', 'Ines'], locale: 'en-GB',
  lines: [
    [0, 'The fog has lifted. I can see the lighthouse from the kitchen'],
    [1, 'Then we sail at nine? ⛵'],
    [2, 'Half past. The bread is still in the oven'],
    [0, 'Worth waiting for 🍞'],
    [PROGRAM, 'High water 11:20, low water 17:34'],
    [1, 'See? Half past is fine. https://example.org/tides'],
    [2, 'Bring the red thermos, please. Last time we had four cups and no tea'],
  ],
  typing: 2,
};
const RUSSIAN = {
  room: 'дача', names: ['Аня', 'Борис', 'Вера'], locale: 'ru-RU',
  lines: [
    [0, 'Яблоки поспели! Кто за шарлотку? 🍎'],
    [1, 'Я за. Приеду электричкой в 17:40'],
    [2, 'А я привезу корицу и настольный теннис'],
    [0, 'Ракетки у нас есть, а вот сетку съела собака'],
    [1, 'Вся в хозяйку: тоже любит теннис'],
    [PROGRAM, 'Электричка 17:40 идёт без опозданий'],
    [2, 'А вместо сетки натянем провод'],
  ],
  typing: 2,
};

/**
 * Three people and a program in a room have their conversation. The first one's tab is the one to
 * be seen, and opened last: it has nothing to say about the names that the others took.
 */
async function converse(browser, server, { room, names, locale, lines, typing }, looks) {
  const address = `127.0.0.1:${server.port}/${encodeURIComponent(room)}`;
  const tabs = [];
  for (const index of [1, 2, 0]) {
    const options = { name: names[index], locale, ...(index === 0 ? looks : LAPTOP) };
    tabs[index] = await Tab.open(browser, `http://${address}`, options);
  }
  const program = await Socket.connect(await open(browser, `http://127.0.0.1:${pages.port}/`),
    `ws://${address}`);
  for (const [count, [who, text]] of lines.entries()) {
    if (who === PROGRAM) await program.send(text);
    else await tabs[who].say(text);
    await tabs[0].sees('it, delivered', ({ messages }, count) => messages.length === count
      && messages.every((m) => !m.own || m.state === 'delivered'), count + 1);
  }
  await tabs[0].sees('its round trip', ({ rtt }) => rtt !== '');
  await tabs[typing].part('text').pressSequentially('...', { delay: 900 });
  await tabs[0].sees('who types', ({ typing }) => typing !== '');
  return tabs;
}

async function picture(browser, file, conversation, looks) {
  const server = await serve();
  try {
    const tabs = await converse(browser, server, conversation, looks);
    await tabs[0].page.screenshot({ path: `${IMAGES}${file}`, animations: 'disabled' });
    for (const tab of tabs) await tab.close();
  } finally {
    server.kill();
  }
}

await mkdir(IMAGES, { recursive: true });
const pages = await servePages();
const browser = await launch();
try {
  await picture(browser, 'chat-light.png', ENGLISH, { ...LAPTOP, colorScheme: 'light' });
  await picture(browser, 'chat-dark.png', ENGLISH, { ...LAPTOP, colorScheme: 'dark' });
  await picture(browser, 'chat-phone.png', ENGLISH, { ...PHONE, colorScheme: 'light' });
  await picture(browser, 'chat-ru.png', RUSSIAN, { ...LAPTOP, colorScheme: 'light' });
} finally {
  await browser.close();
  pages.close();
}
