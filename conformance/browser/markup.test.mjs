// Words can never become markup: through the page, from a plain client, and from a client of the
// room protocol that means harm.

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { Socket, launch, open, servePages } from './helpers.mjs';
import { Tab, serve } from './tab.mjs';

// Each would leave a mark: a dialog, a request, a break of the policy, or `pwned`.
const HARM = [
  '<img src=x onerror="pwned=1;alert(1)">',
  '<script>pwned=1;alert(1)</script>',
  '"><svg onload=alert(1)><style>*{display:none}</style>',
  '<iframe srcdoc="<script>parent.pwned=1</script>"></iframe>',
  '</li></ol><h1>hijacked</h1>',
  '&lt;b&gt;&#60;i&#62;',
  '<a href="javascript:alert(1)">click</a> javascript:alert(1)',
  '{{constructor.constructor("alert(1)")()}} ${alert(1)} %3Cimg%20src=x%3E',
];
const REVERSED = '\u202Egnp.exe\u2066\u2067';
// At most 40 code points each.
const HARMFUL_NAMES = [
  '<script>alert(1)</script>', '"><svg onload=alert(1)>', 'javascript:alert(1)', '&lt;b&gt;',
  '<img src=x onerror=alert(1)>',
];

let browser;
let pages;
let server;
let tabs;

before(async () => {
  pages = await servePages();
  browser = await launch();
});

after(async () => {
  await browser?.close();
  pages?.close();
});

beforeEach(async () => {
  server = await serve();
  const url = `http://127.0.0.1:${server.port}/chat`;
  tabs = [await Tab.open(browser, url), await Tab.open(browser, url)];
});

afterEach(async () => {
  for (const tab of tabs) await tab.close();
  server?.kill();
});

/** How many elements of each kind there are outside of lists, which grow, and all kinds in them. */
const anatomy = (tab) => tab.page.evaluate(() => {
  const lists = [...document.querySelectorAll('[data-testid=messages], [data-testid=members]')];
  const kinds = (elements) => [...elements].map((element) => element.localName);
  const outside = {};
  for (const element of document.querySelectorAll('*')) {
    if (lists.some((list) => list !== element && list.contains(element))) continue;
    outside[element.localName] = (outside[element.localName] ?? 0) + 1;
  }
  return {
    outside,
    inside: [...new Set(lists.flatMap((list) => kinds(list.querySelectorAll('*'))))],
  };
});

/** Nothing became an element, a handler, a link that runs, or a mark. */
async function isUnharmed(tab) {
  tab.madeNoMistake();
  const { outside, inside } = await anatomy(tab);
  for (const kind of ['img', 'iframe', 'object', 'embed', 'style', 'base']) {
    assert.equal(outside[kind] ?? 0, 0, `no <${kind}>`);
    assert.ok(!inside.includes(kind), `no <${kind}> in the lists`);
  }
  for (const kind of ['script', 'h1', 'link', 'b', 'i']) {
    assert.ok(!inside.includes(kind), `no <${kind}> in the lists`);
  }
  assert.equal(outside.h1 ?? 0, headings, 'no heading more');
  const found = await tab.page.evaluate(() => ({
    pwned: 'pwned' in window,
    handlers: [...document.querySelectorAll('*')].flatMap((element) => element.getAttributeNames())
      .filter((name) => name.startsWith('on') || name === 'srcdoc'),
    styled: document.querySelectorAll('[data-testid=messages] [style]').length,
    links: [...document.querySelectorAll('[data-testid=messages] a')].map((a) => (
      [a.protocol, a.rel])),
  }));
  assert.equal(found.pwned, false);
  assert.deepEqual(found.handlers, []);
  assert.equal(found.styled, 0);
  for (const [protocol, rel] of found.links) {
    assert.match(protocol, /^https?:$/);
    assert.match(rel, /noopener/);
  }
}

let headings;
beforeEach(async () => {
  headings = (await anatomy(tabs[0])).outside.h1 ?? 0;
});

test('said in the page', async () => {
  await tabs[0].say(...HARM);
  for (const tab of tabs) {
    await tab.shows(...HARM);
    await isUnharmed(tab);
  }
});

test('said by a plain client', async () => {
  const seed = await Socket.connect(
    await open(browser, `http://127.0.0.1:${pages.port}/`),
    `ws://127.0.0.1:${server.port}/chat`);
  await seed.send(...HARM);
  for (const tab of tabs) {
    await tab.shows(...HARM);
    await isUnharmed(tab);
  }
});

test('in the history, for whoever comes later', async () => {
  await tabs[0].say(...HARM);
  await tabs[0].delivered();
  const late = await Tab.open(browser, tabs[0].page.url());
  tabs.push(late);
  await late.shows(...HARM);
  await isUnharmed(late);
});

describe('names', () => {
  test('taken in the page', async () => {
    for (const name of HARMFUL_NAMES) {
      await tabs[0].rename(name);
      await tabs[1].sees(`the name ${name} in the list and in the notice`,
        ({ members, notice }, name) => notice.includes(name)
          && members.some((m) => m.name.includes(name)), name);
    }
    await tabs[0].part('text').pressSequentially('t');
    await tabs[1].sees('who types', ({ typing }, name) => typing.includes(name),
      HARMFUL_NAMES.at(-1));
    await tabs[0].say('мои слова');
    await tabs[1].sees('the name of who said it', ({ messages: [m] }, name) => (
      m?.text.includes(name)), HARMFUL_NAMES.at(-1));
    for (const tab of tabs) await isUnharmed(tab);
  });

  test('of the room, in its path', async () => {
    const path = encodeURIComponent('<img src=x onerror=alert(1)>"\'&');
    const tab = await Tab.open(browser, `http://127.0.0.1:${server.port}/${path}`);
    tabs.push(tab);
    assert.equal(await tab.part('room').inputValue(), '<img src=x onerror=alert(1)>"\'&');
    await isUnharmed(tab);
  });

  test('that were kept from earlier', async () => {
    const [tab] = tabs;
    await tab.page.evaluate((harm) => {
      for (const key of Object.keys(localStorage)) localStorage.setItem(key, harm);
      for (const key of Object.keys(sessionStorage)) sessionStorage.setItem(key, harm);
    }, HARM[0]);
    await tab.page.reload();
    await tab.isOpen();
    await isUnharmed(tab);
  });
});

describe('a client of the protocol that means harm', () => {
  let hostile;

  const mallory = HARMFUL_NAMES.at(-1);
  const send = (...messages) => hostile.send(...messages.map((m) => JSON.stringify(m)));

  beforeEach(async () => {
    hostile = await Socket.connect(
      await open(browser, `http://127.0.0.1:${pages.port}/`),
      `ws://127.0.0.1:${server.port}/chat`, 'provod.room.v1');
  });

  test('its names and texts stay text everywhere', async () => {
    await send({ type: 'hello', name: HARMFUL_NAMES[0] });
    for (const name of HARMFUL_NAMES) await send({ type: 'rename', name });
    await send({ type: 'typing' });
    for (const tab of tabs) {
      await tab.sees('who types', ({ typing }, name) => typing.includes(name), mallory);
    }
    await send(...HARM.map((text, index) => (
      { type: 'say', text, id: `"><img/src=x/onerror=alert(1)>${index}`, html: text })));
    for (const tab of tabs) {
      const { messages } = await tab.shows(...HARM);
      assert.ok(messages.every((m) => !m.own));
      await isUnharmed(tab);
    }
    await hostile.close();
    for (const tab of tabs) {
      await tab.sees('that it left', ({ notice }, name) => notice.includes(name), mallory);
      await isUnharmed(tab);
    }
  });

  test('ids that are names of things, or of others\' messages, do no harm', async () => {
    await tabs[0].say('настоящее');
    const { messages: [{ id }] } = await tabs[1].shows('настоящее');
    await send({ type: 'hello', name: 'Мэллори' });
    for (const name of ['__proto__', 'constructor', 'messages', 'toString', 'hasOwnProperty']) {
      await send({ type: 'say', id: name, text: `с ${name}` });
    }
    // An id that the room has had is told to nobody.
    await send({ type: 'say', id, text: 'подмена' }, { type: 'say', id: 'last', text: 'конец' });
    for (const tab of tabs) {
      await tab.shows('настоящее', 'с __proto__', 'с constructor', 'с messages', 'с toString',
        'с hasOwnProperty', 'конец');
      await isUnharmed(tab);
    }
  });

  test('text that turns its direction turns nothing else', async () => {
    await send({ type: 'hello', name: 'Мэллори' }, { type: 'say', text: REVERSED });
    const { messages: [{ id }] } = await tabs[0].shows(REVERSED);
    const isolated = await tabs[0].page.evaluate(([id, text]) => {
      const item = document.querySelector(`[data-id="${CSS.escape(id)}"]`);
      const walker = document.createTreeWalker(item, NodeFilter.SHOW_TEXT);
      while (walker.nextNode() && !walker.currentNode.data.includes(text));
      const own = walker.currentNode.parentElement;
      const { display, unicodeBidi } = getComputedStyle(own);
      // The end of a block or of an isolate ends every embedding that was left open in it.
      return own.textContent === text && own !== item
        && (/isolate|plaintext/.test(unicodeBidi) || /block|flex|grid/.test(display));
    }, [id, REVERSED]);
    assert.ok(isolated, 'the text has a box of its own');
  });

  test('a name that turns direction is nobody\'s', async () => {
    await send({ type: 'hello', name: 'Мэллори\u202E' });
    const [answer] = await hostile.received(1);
    assert.equal(JSON.parse(answer).code, 'bad_name');
    // In the page it is cut out or refused, and the tab stays in the room.
    await tabs[0].part('name').fill('Аня\u202E');
    await tabs[0].part('name').press('Enter');
    await tabs[0].say('я тут');
    const { messages: [{ text }] } = await tabs[1].shows('я тут');
    assert.doesNotMatch(text, /\u202E/);
    for (const tab of tabs) tab.madeNoMistake();
  });
});
