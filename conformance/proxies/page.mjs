// The configurations of docs/guide/behind-a-proxy.md, as these tests run them: what stands on the
// page, with the ports and files of this machine in the place of the page's.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

const PAGE = new URL('../../docs/guide/behind-a-proxy.md', import.meta.url);

/** The fenced block with this file name behind its language. */
export function configuration(name) {
  const blocks = [...readFileSync(PAGE, 'utf8').matchAll(/^```\w+ (\S+)\n(.*?)^```$/gms)];
  const found = blocks.filter((block) => block[1] === name);
  assert.equal(found.length, 1, `one block named ${name} on the page`);
  return found[0][2];
}

/** `text` with every key of `changes` replaced. One that is not there is a mistake. */
export function changed(text, changes) {
  for (const [from, to] of Object.entries(changes)) {
    assert.ok(text.includes(from), `${JSON.stringify(from)} is in:\n${text}`);
    text = text.replaceAll(from, to);
  }
  return text;
}
