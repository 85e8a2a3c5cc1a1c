// A WebSocket that comes back: after a pause that grows, and at once when there is reason to.

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;
/** A connection that lasted this long was a good one: the next pause is short again. */
const GOOD_MS = 5_000;

/**
 * Keeps a WebSocket to `path` on the page's own host open.
 *
 * `onmessage` gets strings and `ArrayBuffer`s; `onstate` gets 'connecting', 'open' or 'closed', and
 * the same in words for people. Where the server is never silent for long, `silence` is the number
 * of seconds after which a silent one is given up: a browser does not notice that a network died.
 *
 * Returns a function that sends a message, and says whether there was a connection to send it on.
 */
export function keepConnected(path, { onmessage, onstate, silence = Infinity }) {
  const url = new URL(path, location.href);
  url.protocol = url.protocol.replace('http', 'ws');
  let ws;
  let retry;
  let idle = 0;
  let pause = FIRST_PAUSE_MS;

  const closed = (why) => onstate('closed', `${why}, trying again`);

  function connect() {
    clearTimeout(retry);
    onstate('connecting', 'connecting');
    idle = 0;
    let opened = Infinity;
    const socket = ws = new WebSocket(url);
    ws.binaryType = 'arraybuffer';
    ws.onopen = () => {
      opened = performance.now();
      onstate('open', 'connected');
    };
    ws.onmessage = ({ data }) => {
      idle = 0;
      onmessage(data);
    };
    ws.onclose = async ({ reason }) => {
      if (performance.now() - opened > GOOD_MS) pause = FIRST_PAUSE_MS;
      // Jitter, so that the clients of a restarted server do not all come back in one moment.
      retry = setTimeout(connect, pause * (0.5 + Math.random()));
      pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
      closed(reason || 'the connection was lost');
      if (opened !== Infinity) return;
      const why = await refusal(path);
      if (ws === socket) closed(why);
    };
  }

  /** Does not wait for the old connection, which may be dead: its closing handshake takes long. */
  function renew() {
    ws.onopen = ws.onmessage = ws.onclose = null;
    ws.close();
    closed('the connection was lost');
    connect();
  }

  addEventListener('online', renew);
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden && ws.readyState === WebSocket.CLOSED) connect();
  });
  // Seconds in which the page ran: one that was asleep must first read what has come meanwhile.
  setInterval(() => {
    if (++idle > silence && ws.readyState !== WebSocket.CLOSED) renew();
  }, 1000);
  connect();

  return (message) => {
    if (ws.readyState !== WebSocket.OPEN) return false;
    ws.send(message);
    return true;
  };
}

/** A browser hides why a WebSocket was refused; the same path, asked for as a page, tells. */
async function refusal(path) {
  try {
    const response = await fetch(path, { headers: { Accept: 'text/plain' } });
    const text = response.headers.get('Content-Type')?.startsWith('text/plain');
    // 426 means that a WebSocket would be welcome now.
    if (response.ok || response.status === 426 || !text) return 'the connection was lost';
    return (await response.text()).trim();
  } catch {
    return 'the server cannot be reached';
  }
}
