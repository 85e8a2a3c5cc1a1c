// The package ws, with both of its native helpers: node ws.mjs PORT MODE
// MODE is echo, deflate, broadcast or broadcast-deflate.
import { WebSocketServer } from 'ws';

const [port, mode = 'echo'] = process.argv.slice(2);
const compress = mode.endsWith('deflate');
const everybody = mode.startsWith('broadcast');

const server = new WebSocketServer({
    host: '127.0.0.1',
    port: Number(port),
    backlog: 4096,
    maxPayload: 64 << 20,
    clientTracking: everybody,
    perMessageDeflate: compress ? { threshold: 0, concurrencyLimit: 1000 } : false,
});

server.on('connection', (ws) => {
    ws.on('error', () => {});
    ws.on('message', (data, binary) => {
        for (const to of everybody ? server.clients : [ws]) to.send(data, { binary });
    });
});
