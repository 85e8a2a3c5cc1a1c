// A network between browsers and a server, with the faults that networks have.

import { once } from 'node:events';
import net from 'node:net';

/**
 * Listens on a port of its own and passes on what comes to `target`, which may change as servers
 * do. `attempts` counts the opening handshakes that were tried.
 */
export class Wire {
  #server;
  #links = new Set();
  #held = { up: false, down: false };

  static async to(target) {
    const wire = new Wire(target);
    await wire.restore();
    return wire;
  }

  constructor(target) {
    this.target = target;
    this.port = 0;
    this.attempts = 0;
    this.webSockets = true;
  }

  /** Listens, after `refuse` on the same port as before. */
  async restore() {
    this.#server = net.createServer({ allowHalfOpen: true }, (client) => this.#join(client));
    this.#server.listen(this.port, '127.0.0.1');
    await once(this.#server, 'listening');
    this.port = this.#server.address().port;
  }

  /** Ends every connection at once; new ones are refused. */
  async refuse() {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.cut();
    await closed;
  }

  /** Ends every connection at once, with what is held; new ones pass. */
  cut() {
    for (const link of this.#links) {
      link.client.destroy();
      link.server.destroy();
    }
  }

  /** Nothing passes any more, and nobody is told: old connections and new ones are silent. */
  stall() {
    this.#hold({ up: true, down: true });
  }

  /** What browsers say passes; what the server says does not arrive. */
  holdAnswers() {
    this.#hold({ up: false, down: true });
  }

  /** All passes again, first what was held. */
  flow() {
    this.#hold({ up: false, down: false });
  }

  close() {
    this.#server.close();
    this.cut();
  }

  #hold(held) {
    this.#held = held;
    for (const link of this.#links) this.#apply(link);
  }

  #apply({ client, server }) {
    for (const [socket, held] of [[client, this.#held.up], [server, this.#held.down]]) {
      if (held) socket.pause();
      else socket.resume();
    }
  }

  #join(client) {
    const server = net.connect({ port: this.target, host: '127.0.0.1', allowHalfOpen: true });
    const link = { client, server };
    this.#links.add(link);
    client.once('data', (head) => {
      if (!/^upgrade: *websocket\r$/im.test(head.toString('latin1'))) return;
      this.attempts += 1;
      if (!this.webSockets) client.destroy();
    });
    for (const [from, to] of [[client, server], [server, client]]) {
      from.setNoDelay();
      from.on('data', (data) => {
        if (!from.destroyed) to.write(data);
      });
      from.on('end', () => to.end());
      from.on('error', () => {}); // Why is of no interest; 'close' comes next.
      from.on('close', (failed) => {
        if (failed || !from.readableEnded) to.destroy();
        this.#links.delete(link);
      });
    }
    this.#apply(link);
  }
}
