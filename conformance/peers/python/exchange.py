"""What is sent to a program of ours that echoes, and must come back.

`ws` is an open connection of `websockets`, of either side.
"""

import asyncio
import os
import unittest

from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory, ServerPerMessageDeflateFactory)

from programs import within

RUSSIAN = "Съешь же ещё этих мягких французских булок, да выпей чаю 🫖👩‍👩‍👧‍👦\n"
MIB = 1 << 20
WINDOWS = range(9, 16)


class PeerTest(unittest.IsolatedAsyncioTestCase):
    """Checks for what both roles have in common."""

    async def asyncSetUp(self):
        # unittest switches it on: a trace for each task, and a line for each that took 0.1 s.
        asyncio.get_running_loop().set_debug(False)

    async def echoed(self, ws, messages):
        """Sends all of `messages` and expects the same back, in order."""
        async def send():
            for message in messages:
                await ws.send(message)
        sending = asyncio.create_task(send())
        try:
            for i, message in enumerate(messages):
                self.same(await within(ws.recv()), message, f"message {i}")
            await sending
        finally:
            sending.cancel()

    def same(self, answer, message, what):
        """Compares without printing megabytes."""
        self.assertIs(type(answer), type(message), what)
        self.assertEqual(len(answer), len(message), what)
        self.assertTrue(answer == message, f"{what}: its content")

    async def small(self, ws):
        lengths = [0, 1, 2, 125, 126, 127, 1000, 65535, 65536, 65537]
        await self.echoed(ws, [
            "Привет, мир! 👋", RUSSIAN, *("a" * length for length in lengths),
            *map(os.urandom, lengths), *("ж" * length for length in lengths)])

    async def large(self, ws):
        """Above 1 MiB: text that shrinks, bytes that do not, and both in turns."""
        text = RUSSIAN * 20_000
        self.assertGreater(len(text.encode()), 2 * MIB)
        await self.echoed(ws, [
            text, os.urandom(MIB), os.urandom(MIB) + bytes(2 * MIB), text, os.urandom(MIB + 1)])

    async def fragments(self, ws):
        """Fragments of the peer's own, cut inside characters, with a Ping between them."""
        text = RUSSIAN.encode()
        for size in [1, 3, 7, len(text) - 1]:
            for kind in [True, False]:
                async def cut():
                    yield text[:size]
                    await within(await ws.ping())
                    for at in range(size, len(text), size):
                        yield text[at:at + size]
                await ws.send(cut(), text=kind)
                self.same(await within(ws.recv()), RUSSIAN if kind else text, f"pieces of {size}")
        await ws.send(["", "середина", ""])
        self.same(await within(ws.recv()), "середина", "empty fragments")

    async def pings(self, ws):
        for i in range(10):
            await within(await ws.ping(f"{i} да"))

    async def burst(self, ws, count=10_000):
        """Many messages, each told from all others."""
        await self.echoed(ws, [
            f"binary {i} {'Ы' * (i % 50)}".encode() if i % 3 == 0 else f"text {i} {'ы' * (i % 50)}"
            for i in range(count)])

    async def everything(self, ws, burst=10_000):
        await self.small(ws)
        await self.large(ws)
        await self.fragments(ws)
        await self.pings(ws)
        await self.burst(ws, burst)

    def agreed(self, ws, takeover=None, bits=None):
        """That permessage-deflate is as it should be; with `takeover` None it must not be."""
        extensions = ws.protocol.extensions
        if takeover is None:
            self.assertEqual(extensions, [])
            return
        self.assertEqual(len(extensions), 1)
        deflate = extensions[0]
        self.assertEqual(deflate.local_no_context_takeover, not takeover, deflate)
        self.assertEqual(deflate.remote_no_context_takeover, not takeover, deflate)
        if bits is not None:
            self.assertEqual(deflate.local_max_window_bits, bits, deflate)
            self.assertEqual(deflate.remote_max_window_bits, bits, deflate)

    async def listening(self, serve):
        """A server of `websockets` until the end of the test; returns its address."""
        server = await self.enterAsyncContext(serve)
        port = server.sockets[0].getsockname()[1]
        return f"ws://127.0.0.1:{port}/chat?x=1"


# Ours are told to forget the context or to keep it. Of `websockets`, its own settings (which keep
# it, and as a server ask for windows of 12 bits), and that it forgets.
def client_deflate(**options):
    return {"compression": None, "extensions": [ClientPerMessageDeflateFactory(**options)]}


def server_deflate(**options):
    return {"compression": None, "extensions": [ServerPerMessageDeflateFactory(**options)]}


NO_TAKEOVER = {"server_no_context_takeover": True, "client_no_context_takeover": True}


def windows(bits):
    return {"server_max_window_bits": bits, "client_max_window_bits": bits}
