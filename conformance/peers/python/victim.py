"""A `websockets` that kills itself in the middle of a message: the client of the URL that is given,
or a server where none is."""

import asyncio
import os
import signal
import sys

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve


async def die_midway(ws):
    async def half():
        yield "first half"
        # The first fragment is with the system: the next is asked for after it was written.
        os.kill(os.getpid(), signal.SIGKILL)
        yield "never"
    await ws.send(half())


async def main():
    if len(sys.argv) > 1:
        async with connect(sys.argv[1]) as ws:
            await die_midway(ws)
    else:
        async with serve(die_midway, "127.0.0.1", 0) as server:
            print(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/", flush=True)
            await server.serve_forever()


asyncio.run(main())
