// What the tests of proxies share: real nginx and HAProxy with the configurations of the page, a
// certificate made for the day, and clients that come through them.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import https from 'node:https';
import { createRequire } from 'node:module';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Inbox } from '../peers/node/exchange.mjs';
import { Program, atFreePorts, built, within } from '../programs.mjs';
import { changed, configuration } from './page.mjs';

const WebSocket = createRequire(new URL('../peers/node/package.json', import.meta.url))('ws');
const BINARY = built('provod', 'PROVOD_BIN');

/** The name in the page's configurations. Nothing resolves it: clients are told the address. */
export const NAME = 'chat.example';
export const ORIGIN = `https://${NAME}`;

/** A directory for one test file, with a certificate for `NAME`; `close` removes it. */
export function workplace() {
  const directory = mkdtempSync(path.join(tmpdir(), 'provod-proxies-'));
  const at = (name) => path.join(directory, name);
  execFileSync('openssl', [
    'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes',
    '-days', '2', '-subj', `/CN=${NAME}`,
    '-addext', `subjectAltName=DNS:${NAME},DNS:www.example`,
    '-keyout', at('privkey.pem'), '-out', at('fullchain.pem'),
  ], { stdio: 'pipe' });
  const certificate = readFileSync(at('fullchain.pem'));
  writeFileSync(at('haproxy.pem'), Buffer.concat([certificate, readFileSync(at('privkey.pem'))]));
  return { at, certificate, close: () => rmSync(directory, { recursive: true }) };
}

/** `provod serve`, at a port of its own unless one is given. */
export const serve = (port = 0, ...options) =>
  Program.start(BINARY, 'serve', `127.0.0.1:${port}`, ...options);

/** `provod serve` on a Unix socket. */
export async function serveUnix(socket) {
  const program = new Program(BINARY, ['serve', `unix:${socket}`]);
  await program.waitForLine(/listening on unix:/);
  return program;
}

/** nginx with a block of the page, further `changes` to it, and the port where it has TLS. */
export function nginx(place, block, changes) {
  const text = configuration(block);
  // nginx says so once it listens.
  return atFreePorts(/getrlimit\(RLIMIT_NOFILE\)/, (port, plainPort) => {
    const page = changed(text, {
      'listen 443': `listen 127.0.0.1:${port}`,
      '/etc/ssl/chat.example/fullchain.pem': place.at('fullchain.pem'),
      '/etc/ssl/chat.example/privkey.pem': place.at('privkey.pem'),
      ...(text.includes('listen 80;') && { 'listen 80;': `listen 127.0.0.1:${plainPort};` }),
      ...changes,
    });
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
      .map((kind) => `${kind}_temp_path ${place.at(`nginx-${port}-${kind}`)};`);
    const file = place.at(`nginx-${port}.conf`);
    const pid = place.at(`nginx-${port}.pid`);
    // One process, so that killing it leaves none behind.
    writeFileSync(file, `
      daemon off; master_process off; error_log stderr notice; pid ${pid};
      events {}
      http { access_log off; ${temporary.join(' ')}
      ${page} }`);
    return new Program('nginx', ['-c', file]);
  });
}

/** HAProxy with the page's configuration, and further `changes` to it, in front of servers at these two ports. */
export function haproxy(place, [a, b], changes = {}) {
  return atFreePorts(/Loading success/, (port, plainPort) => {
    const socket = place.at(`haproxy-${port}.sock`);
    const file = place.at(`haproxy-${port}.cfg`);
    writeFileSync(file, changed(configuration('haproxy.cfg'), {
      'bind :80\n': `bind 127.0.0.1:${plainPort}\n`,
      'bind :443': `bind 127.0.0.1:${port}`,
      '/etc/ssl/chat.example/haproxy.pem': place.at('haproxy.pem'),
      '/run/haproxy/admin.sock': socket,
      '127.0.0.1:8081': `127.0.0.1:${a}`,
      '127.0.0.1:8082': `127.0.0.1:${b}`,
      ...changes,
    }));
    // Its worker ends with the master, however that ends.
    return Object.assign(new Program('haproxy', ['-W', '-f', file]), { socket });
  });
}

/** A column of HAProxy's statistics for `server`, once it is `wanted` where that is given. */
export async function column(proxy, server, name, wanted) {
  let value;
  await within((async () => {
    do {
      const lines = (await ask(proxy, 'show stat')).split('\n').map((line) => line.split(','));
      value = lines.find((line) => line[1] === server)?.[lines[0].indexOf(name)];
    } while (wanted !== undefined && value !== wanted);
  })(), `${name} of server ${server} is ${wanted}`);
  return value;
}

/** What HAProxy says to `command` on its administration socket. */
async function ask(proxy, command) {
  const socket = net.connect(proxy.socket);
  socket.end(`${command}\n`);
  let answer = '';
  for await (const part of socket) answer += part;
  return answer;
}

/** How clients of Node.js reach `NAME` at a proxy. */
const through = (place, port, name = NAME) =>
  ({ host: '127.0.0.1', port, ca: place.certificate, servername: name, headers: { Host: name } });

/** A WebSocket of `ws`, open, with its inbox. */
export async function connect(place, port, room, options = {}) {
  const { ca, servername, headers } = through(place, port, options.name);
  const socket = new WebSocket(`wss://127.0.0.1:${port}${room}`, {
    ca, servername, headers, origin: `https://${servername}`, perMessageDeflate: false, ...options,
  });
  const inbox = new Inbox(socket);
  const open = once(socket, 'open');
  await within(open, `wss://${servername}${room} opens`);
  return { socket, inbox };
}

/** The status of the answer to a request: of plain HTTP, or for a WebSocket from `origin`. */
export async function status(place, port, target, { origin, name } = {}) {
  const options = { ...through(place, port, name), path: target, agent: false };
  if (!origin) options.headers.Accept = 'text/html';
  else {
    Object.assign(options.headers, {
      'Origin': origin, 'Connection': 'Upgrade', 'Upgrade': 'websocket',
      'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
    });
  }
  const request = https.get(options);
  const answer = Promise.race([
    once(request, 'response').then(([response]) => [response, response]),
    once(request, 'upgrade'),
  ]);
  const [response, stream] = await within(answer, `an answer to ${target}`);
  stream.destroy();
  return response.statusCode;
}

/** That what `a` sends arrives at `b` and comes back to `a`. */
export async function chat(a, b, text) {
  a.socket.send(text);
  for (const { inbox } of [a, b]) assert.deepEqual(await inbox.take(1), [text]);
}
