// `ws` over TLS, as the client of `provod listen` and as the server of `provod connect`.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import https from 'node:https';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { WebSocket, WebSocketServer } from 'ws';
import { Program, built, within } from '../../programs.mjs';
import { Inbox } from './exchange.mjs';

const PROVOD = built('provod', 'PROVOD_BIN');
const directory = mkdtempSync(path.join(tmpdir(), 'provod-peers-'));
after(() => rmSync(directory, { recursive: true }));

const CERT = path.join(directory, 'cert.pem');
const KEY = path.join(directory, 'key.pem');
execFileSync('openssl', [
  'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes',
  '-days', '2', '-subj', '/CN=localhost', '-addext', 'basicConstraints=critical,CA:FALSE',
  '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', KEY, '-out', CERT,
], { stdio: 'pipe' });
const LONG = 'провод '.repeat(300_000);

for (const compress of ['off', 'takeover']) {
  test(`ws talks to provod listen, compression ${compress}`, async (t) => {
    const flags = ['--cert', CERT, '--key', KEY, `--compress=${compress}`];
    const server = await Program.start(PROVOD, 'listen', '127.0.0.1:0', ...flags);
    t.after(() => server.kill());
    const socket = new WebSocket(`wss://127.0.0.1:${server.port}/`, { ca: readFileSync(CERT) });
    const inbox = new Inbox(socket);
    await within(once(socket, 'open'), 'it opens');
    for (const text of ['', 'да', LONG]) socket.send(text);
    assert.deepEqual(await inbox.take(3), ['', 'да', LONG]);
    socket.close(3000, 'хватит');
    const end = await inbox.end();
    assert.equal(end.code, 3000);
  });

  test(`provod connect talks to ws, compression ${compress}`, async (t) => {
    const web = https.createServer({ cert: readFileSync(CERT), key: readFileSync(KEY) });
    const server = new WebSocketServer({ server: web, perMessageDeflate: compress !== 'off' });
    server.on('connection', (socket) => {
      socket.on('message', (data, binary) => socket.send(data, { binary }));
    });
    web.listen(0, '127.0.0.1');
    await within(once(web, 'listening'), 'listening');
    const url = `wss://localhost:${web.address().port}/`;
    const client = spawn(PROVOD, ['connect', '--cacert', CERT, `--compress=${compress}`, url]);
    t.after(() => {
      client.kill('SIGKILL');
      web.close();
    });
    const out = [];
    client.stdout.on('data', (data) => out.push(data));
    let said = '';
    client.stderr.on('data', (data) => { said += data; });
    client.stdin.end(`да\n${LONG}\n`);
    const [code] = await within(once(client, 'close'), 'it ends');
    assert.deepEqual({ code, said }, { code: 0, said: '' });
    assert.equal(Buffer.concat(out).toString(), `да\n${LONG}\n`);
  });
}
