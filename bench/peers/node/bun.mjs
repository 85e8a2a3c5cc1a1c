// Bun, whose server has uWebSockets inside: bun bun.mjs PORT MODE
// MODE is echo, deflate, broadcast or broadcast-deflate.
const [port, mode = 'echo'] = process.argv.slice(2);
const compress = mode.endsWith('deflate');
const everybody = mode.startsWith('broadcast');

const server = Bun.serve({
    hostname: '127.0.0.1',
    port: Number(port),
    fetch(request, server) {
        if (server.upgrade(request)) return undefined;
        return new Response('not a WebSocket', { status: 400 });
    },
    websocket: {
        maxPayloadLength: 64 << 20,
        backpressureLimit: 1 << 30,
        idleTimeout: 960,
        perMessageDeflate: compress,
        open(ws) {
            if (everybody) ws.subscribe('all');
        },
        message(ws, message) {
            if (everybody) server.publish('all', message, compress);
            else ws.send(message, compress);
        },
    },
});
