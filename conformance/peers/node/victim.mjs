// A `ws` that kills itself in the middle of a message: the client of the URL that is given, or a
// server where none is.

import { once } from 'node:events';
import WebSocket, { WebSocketServer } from 'ws';

/** Half a message, handed to the system; then the end of this process. */
function dieMidway(socket) {
  socket.send('first half', { fin: false }, () => process.kill(process.pid, 'SIGKILL'));
}

const url = process.argv[2];
if (url) {
  const socket = new WebSocket(url);
  await once(socket, 'open');
  dieMidway(socket);
} else {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  server.on('connection', dieMidway);
  await once(server, 'listening');
  console.log(`ws://127.0.0.1:${server.address().port}/`);
}
