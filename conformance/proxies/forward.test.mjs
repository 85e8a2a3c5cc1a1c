// `provod connect` on its way out through real proxies, with and without login, to ws and wss.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { LOGIN, dismiss, echo, microsocks, secure, squid, tinyproxy, visit, workplace } from './forward.mjs';

const place = workplace();
const running = {};
const urls = {};
const wrong = `${LOGIN.user}:wrong@`;
const right = `${LOGIN.user}:${LOGIN.password}@`;

before(async () => {
  running.server = await echo();
  running.tls = await secure(place, running.server.port);
  running.open = await tinyproxy(place);
  running.login = await tinyproxy(place, { login: LOGIN });
  running.squid = await squid(place, 'allow');
  running.denying = await squid(place, 'deny');
  running.secure = await secure(place, running.login.port);
  running.socks = await microsocks();
  running.socksLogin = await microsocks({ login: LOGIN });
  urls.ws = `ws://127.0.0.1:${running.server.port}/`;
  urls.wss = `wss://localhost:${running.tls.port}/`;
});

after(async () => {
  await Promise.all([running.squid, running.denying].map(dismiss));
  for (const program of Object.values(running)) program.kill();
  place.close();
});

const at = (scheme, program, login = '') => `${scheme}://${login}127.0.0.1:${running[program].port}`;
const through = (url, proxy, ...options) =>
  visit(urls[url], ['--cacert', place.certificate, '--proxy', proxy, ...options]);

function well({ code, stdout, stderr }) {
  assert.deepEqual({ code, stdout, stderr }, { code: 0, stdout: 'Привет через прокси\n', stderr: '' });
}

function badly(seen, code, ...says) {
  assert.equal(seen.code, code, seen.stderr);
  assert.match(seen.stderr, /^provod: [^\n]*\n$/);
  for (const part of says) assert.ok(seen.stderr.includes(part), seen.stderr);
  assert.ok(!seen.stderr.includes('wrong') && !seen.stderr.includes(LOGIN.password), seen.stderr);
}

for (const url of ['ws', 'wss']) {
  test(`${url} through tinyproxy, without and with a login, and over TLS`, async () => {
    well(await through(url, at('http', 'open')));
    well(await through(url, at('http', 'login', right)));
    well(await through(url, at('https', 'secure', right)));
  });

  test(`${url} through squid`, async () => well(await through(url, at('http', 'squid'))));

  test(`${url} through microsocks, without and with a login`, async () => {
    for (const scheme of ['socks5', 'socks5h']) {
      well(await through(url, at(scheme, 'socks')));
      well(await through(url, at(scheme, 'socksLogin', right)));
    }
  });

  test(`${url}: the environment names the proxy`, async () => {
    const options = ['--cacert', place.certificate];
    const variable = url === 'ws' ? 'http_proxy' : 'HTTPS_PROXY';
    const proxy = at('http', 'login', right);
    const asked = () => running.login.output().split('CONNECT ').length;
    const before = asked();
    well(await visit(urls[url], options, { [variable]: proxy }));
    assert.ok(asked() > before, running.login.output());
    badly(await visit(urls[url], options, { ALL_PROXY: at('http', 'login') }), 3, '407');
    const without = { ALL_PROXY: at('http', 'login'), NO_PROXY: 'localhost,127.0.0.0/8' };
    well(await visit(urls[url], options, without));
  });
}

test('a login that is missing or wrong', async () => {
  badly(await through('ws', at('http', 'login')), 3, 'proxy', '407');
  badly(await through('ws', at('http', 'login', wrong)), 3, 'proxy', '40');
  badly(await through('ws', at('socks5h', 'socksLogin')), 3, 'wants a user and a password');
  badly(await through('ws', at('socks5h', 'socksLogin', wrong)), 3, 'does not take this user');
});

test('a proxy that does not allow it, or does not get there', async () => {
  badly(await through('wss', at('http', 'denying')), 3, '403');
  const nowhere = (proxy) => visit('ws://127.0.0.1:1/', ['-x', proxy]);
  badly(await nowhere(at('http', 'open')), 3, '50');
  badly(await nowhere(at('http', 'squid')), 3, '50');
  badly(await nowhere(at('socks5h', 'socks')), 3, 'refused');
  const nobody = (proxy) => visit('ws://name.invalid/', ['-x', proxy]);
  badly(await nobody(at('http', 'open')), 3, '50');
  badly(await nobody(at('socks5h', 'socks')), 3, 'refused a tunnel to name.invalid');
  badly(await nobody(at('socks5', 'socks')), 4, 'name.invalid');
});

test('one kind of proxy taken for another', async () => {
  // tinyproxy waits for the rest of a line, and the client for an answer.
  badly(await through('ws', at('socks5h', 'open'), '--connect-timeout=1s'), 12, 'proxy', '1s');
  badly(await through('ws', at('http', 'socks')), 3, 'proxy');
  badly(await through('ws', at('https', 'open'), '--connect-timeout=1s'), 12, 'proxy', 'TLS');
  badly(await through('ws', at('http', 'secure')), 3, 'proxy');
});

test('a certificate that the system does not know, inside a tunnel', async () => {
  badly(await visit(urls.wss, ['-x', at('http', 'open')]), 6, 'CA');
  well(await visit(urls.wss, ['-k', '-x', at('http', 'open')]));
});
