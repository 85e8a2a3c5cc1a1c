"""websockets on uvloop: websockets_server.py PORT echo|deflate|broadcast|broadcast-deflate"""

import asyncio
import sys

import uvloop
from websockets.asyncio.server import broadcast, serve

everybody = set()


async def echo(ws):
    async for message in ws:
        await ws.send(message)


async def to_everybody(ws):
    everybody.add(ws)
    try:
        async for message in ws:
            broadcast(everybody, message)
    finally:
        everybody.discard(ws)


async def main(port: int, mode: str):
    handler = to_everybody if mode.startswith("broadcast") else echo
    options = {
        "compression": "deflate" if mode.endswith("deflate") else None,
        "max_size": 64 << 20,
        "ping_interval": None,
        "backlog": 4096,
    }
    async with serve(handler, "127.0.0.1", port, **options):
        await asyncio.get_running_loop().create_future()


uvloop.run(main(int(sys.argv[1]), sys.argv[2]))
