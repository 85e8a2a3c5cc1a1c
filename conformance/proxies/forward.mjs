// Proxies on a client's way out: real tinyproxy, squid and microsocks, and HAProxy for the TLS that
// none of them and no server of these tests has.

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Program, atFreePorts, built, within } from '../programs.mjs';

const BINARY = built('provod', 'PROVOD_BIN');
export const LOGIN = { user: 'me', password: 'open-sesame' };

/** A directory with a certificate for this machine; `close` removes it. */
export function workplace() {
  const directory = mkdtempSync(path.join(tmpdir(), 'provod-forward-'));
  const at = (name) => path.join(directory, name);
  execFileSync('openssl', [
    'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes',
    '-days', '2', '-subj', '/CN=localhost', '-addext', 'basicConstraints=critical,CA:FALSE',
    '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1',
    '-keyout', at('both.pem.key'), '-out', at('both.pem'),
  ], { stdio: 'pipe' });
  return { at, certificate: at('both.pem'), close: () => rmSync(directory, { recursive: true }) };
}

/** `provod listen`, which echoes. */
export const echo = () => Program.start(BINARY, 'listen', '127.0.0.1:0', '--workers=1');

/** TLS in front of what listens at `to`; bytes pass unchanged. */
export function secure(place, to) {
  return atFreePorts(/Loading success/, (port) => {
    const file = place.at(`haproxy-${port}.cfg`);
    writeFileSync(file, `
defaults
  mode tcp
  timeout connect 10s
  timeout client 60s
  timeout server 60s
frontend tls
  bind 127.0.0.1:${port} ssl crt ${place.certificate}
  default_backend plain
backend plain
  server plain 127.0.0.1:${to}
`);
    return new Program('haproxy', ['-W', '-f', file]);
  });
}

/** HAProxy that speaks HTTP/2 and nothing else, over TLS to its clients and without to what listens at `to`. */
export function http2(place, to) {
  return atFreePorts(/Loading success/, (port) => {
    const file = place.at(`haproxy-${port}.cfg`);
    writeFileSync(file, `
defaults
  mode http
  timeout connect 10s
  timeout client 60s
  timeout server 60s
  timeout tunnel 60s
frontend tls
  bind 127.0.0.1:${port} ssl crt ${place.certificate} alpn h2 proto h2
  default_backend plain
backend plain
  server plain 127.0.0.1:${to} proto h2
`);
    return new Program('haproxy', ['-W', '-f', file]);
  });
}

export function tinyproxy(place, { login } = {}) {
  return atFreePorts(/Accepting connections/, (port) => {
    const file = place.at(`tinyproxy-${port}.conf`);
    const auth = login ? `BasicAuth ${login.user} ${login.password}` : '';
    writeFileSync(file, `Port ${port}\nListen 127.0.0.1\nTimeout 600\nLogLevel Info\n${auth}\n`);
    return new Program('tinyproxy', ['-d', '-c', file]);
  });
}

/** squid, which lets in whom `rule` says. */
export function squid(place, rule) {
  return atFreePorts(/Accepting HTTP Socket connections/, (port) => {
    const file = place.at(`squid-${port}.conf`);
    writeFileSync(file, `
http_port 127.0.0.1:${port}
http_access ${rule} all
cache deny all
access_log none
cache_log stdio:/dev/stderr
pid_filename none
netdb_filename none
pinger_enable off
visible_hostname localhost
shutdown_lifetime 0 seconds
`);
    // Each has a name of its own, after which its shared memory is called.
    return new Program('squid', ['-N', '-d', '1', '-n', `provod${port}`, '-f', file]);
  });
}

/** Ends squid so that it can remove its shared memory. */
export async function dismiss(program) {
  program?.child.kill('SIGTERM');
  await within(program?.exited, 'squid ends').finally(() => program?.kill());
}

/** microsocks, which does not say when it is ready. */
export async function microsocks({ login } = {}) {
  const auth = login ? ['-u', login.user, '-P', login.password] : [];
  for (let left = 3; ; left--) {
    const server = net.createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address();
    await once(server.close(), 'close');
    const program = new Program('microsocks', ['-i', '127.0.0.1', '-p', `${port}`, ...auth]);
    try {
      await within(reached(program, port), 'microsocks listens');
      return Object.assign(program, { port });
    } catch (error) {
      program.kill();
      if (left === 1) throw error;
    }
  }
}

async function reached(program, port) {
  for (;;) {
    if (program.child.exitCode !== null) throw new Error(`microsocks: ${program.output()}`);
    const socket = net.connect(port, '127.0.0.1');
    const connected = await once(socket, 'connect').then(() => true, () => false);
    socket.destroy();
    if (connected) return;
  }
}

/** Runs `provod connect` with one line of input; how it ended, and what it printed. */
export async function visit(url, options, environment = {}) {
  const clean = Object.entries(process.env).filter(([name]) => !/_proxy$/i.test(name));
  const child = spawn(BINARY, ['connect', '--one', ...options, url],
    { env: { ...Object.fromEntries(clean), ...environment } });
  child.stdin.on('error', () => {});
  child.stdin.end('Привет через прокси\n');
  const printed = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr']) {
    child[name].setEncoding('utf8').on('data', (text) => { printed[name] += text; });
  }
  const [code] = await within(once(child, 'close'), `provod connect ${url} ends`);
  return { code, ...printed };
}
