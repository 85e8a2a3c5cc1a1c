// Writes down, byte for byte, what Chromium sends for a fetch(), an EventSource and a WebSocket:
//
//     node bench/http/testdata/capture.mjs [CHROMIUM]
//
// The page is on 127.0.0.1, which Chromium trusts like https, so that it sends its Sec-Fetch and
// Sec-CH-UA fields, too. The cookies are four: a session, a token against forged requests, and the
// two of a usual counter of visits. A headless Chromium is told to call itself what one with a window
// does. HOST stands for the host and port.
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const program = process.argv[2] ?? 'chromium';
const cookies = [
    'session=s%3AkJ8vQm2Zr5TnX0yLcWq7HbUe3DgFa9Ps.Vt6Rk1oYj4Nx8CzMwEi2QhLd5Bf7Gu0SpAaTvXyZ3rK',
    'csrf=9f86d081884c7d659a2feaa0c55ad015',
    '_ga=GA1.1.1203948576.1795651200',
    '_ga_4QX7ZK2M9B=GS2.1.s1795651200$o7$g1$t1795654800$j52$l0$h0',
];
const page = `<!doctype html><title>x</title><script type="module">
await fetch('/echo', { method: 'POST', body: 'twenty bytes of text' });
await fetch('/poll?after=00000001');
await new Promise((done) => { new EventSource('/events').onerror = done; });
await new Promise((done) => { new WebSocket('ws://' + location.host + '/ws').onerror = done; });
await fetch('/done');
</script>`;
const names = { '/echo': 'post', '/poll': 'poll', '/events': 'events', '/ws': 'websocket' };

const answer = (path) => {
    if (path === '/') {
        return `HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: ${page.length}\r\n`
            + cookies.map((cookie) => `Set-Cookie: ${cookie}; Path=/\r\n`).join('') + '\r\n' + page;
    }
    // 204 ends an EventSource for good (HTML, section 9.2), and refuses a WebSocket.
    return 'HTTP/1.1 204 No Content\r\n\r\n';
};

const directory = mkdtempSync(join(tmpdir(), 'capture-'));
const server = createServer((socket) => {
    let text = '';
    socket.on('error', () => {});
    socket.on('data', (data) => {
        text += data.toString('latin1');
        for (let end; (end = text.indexOf('\r\n\r\n')) >= 0;) {
            const head = text.slice(0, end + 4);
            const length = Number(/^content-length: (\d+)/im.exec(head)?.[1] ?? 0);
            if (text.length < head.length + length) return;
            text = text.slice(head.length + length);
            const path = head.split(' ')[1].split('?')[0];
            const host = `127.0.0.1:${server.address().port}`;
            if (names[path]) {
                const file = new URL(`${names[path]}.http`, import.meta.url);
                writeFileSync(file, head.replaceAll(host, 'HOST'), 'latin1');
            }
            socket.write(answer(path));
            if (path === '/done') browser.kill();
        }
    });
}).listen(0, '127.0.0.1');
await new Promise((listening) => server.once('listening', listening));

const [, major] = / (\d+)\./.exec(execFileSync(program, ['--version'], { encoding: 'utf8' }));
const agent = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) '
    + `Chrome/${major}.0.0.0 Safari/537.36`;
const browser = spawn(program, ['--headless=new', '--no-sandbox', '--no-first-run', '--disable-gpu',
    `--user-data-dir=${directory}`, `--user-agent=${agent}`, '--lang=en-US',
    `http://127.0.0.1:${server.address().port}/`], { stdio: 'ignore' });
browser.on('exit', () => {
    server.close();
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
    process.exit();
});
