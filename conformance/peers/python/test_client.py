"""`websockets` as the client of `provod listen`."""

import signal
import unittest

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK

from exchange import NO_TAKEOVER, RUSSIAN, WINDOWS, PeerTest, client_deflate, windows
from programs import VICTIM, Program, provod, within

# With context takeover each connection keeps its windows: no larger ones than this.
KEPT_WINDOW = 12
LIMIT = {"max_size": 16 << 20, "proxy": None}


class Client(PeerTest):
    async def server(self, *options):
        return await Program.listening(
            self, provod(), "listen", "127.0.0.1:0", "--compress-threshold", "0", *options)

    async def exchange(self, options, settings, takeover, bits=None, burst=10_000):
        server = await self.server(*options)
        async with connect(server.url, **LIMIT, **settings) as ws:
            self.agreed(ws, takeover, bits)
            await self.everything(ws, burst)
        self.assertEqual(ws.close_code, 1000)
        self.assertEqual(await server.end(), 0)

    async def test_without_compression(self):
        await self.exchange([], {"compression": None}, None)

    async def test_compression_offered_and_declined(self):
        await self.exchange([], {}, None, burst=100)

    async def test_own_settings_with_context_takeover(self):
        await self.exchange(["--compress=takeover"], {}, True)

    async def test_own_settings_no_context_takeover(self):
        await self.exchange(["--compress"], {}, False)

    async def test_no_context_takeover_by_the_wish_of_websockets(self):
        await self.exchange(["--compress=takeover"], client_deflate(**NO_TAKEOVER), False)

    async def test_windows(self):
        for bits in WINDOWS:
            with self.subTest(bits=bits):
                settings = client_deflate(**windows(bits))
                agreed = min(bits, KEPT_WINDOW)
                await self.exchange(["--compress=takeover"], settings, True, agreed, 1000)

    async def test_closes_behind_what_it_sent(self):
        for code, reason in [(1000, ""), (3000, "до свидания 👋"), (4999, "я" * 61)]:
            with self.subTest(code=code):
                server = await self.server()
                async with connect(server.url, **LIMIT) as ws:
                    for i in range(100):
                        await ws.send(f"{i}")
                    answers = [await within(ws.recv()) for _ in range(100)]
                    self.assertEqual(answers, [f"{i}" for i in range(100)])
                    await within(ws.close(code, reason))
                self.assertEqual(ws.close_code, code)
                self.assertEqual(await server.end(), 0)

    async def test_we_close_with_1001_on_sigterm(self):
        server = await self.server()
        async with connect(server.url, **LIMIT) as ws:
            await self.echoed(ws, [RUSSIAN])
            self.assertEqual(await server.end(), 0)
            with self.assertRaises(ConnectionClosedOK):
                await within(ws.recv())
            self.assertEqual(ws.close_code, 1001)

    async def test_killed_in_the_middle_of_a_message_and_we_serve_on(self):
        server = await self.server()
        victim = await Program.start(self, *VICTIM, server.url)
        self.assertEqual(await victim.ended(), -signal.SIGKILL, victim.told())
        async with connect(server.url, **LIMIT) as ws:
            await self.small(ws)
        self.assertEqual(await server.end(), 0)

    async def test_a_message_above_the_limit_is_1009(self):
        server = await self.server("--max-message", "1M")
        async with connect(server.url, **LIMIT) as ws:
            with self.assertRaises(ConnectionClosed):
                await within(ws.send(b"x" * ((1 << 20) + 1)))
                await within(ws.recv())
            self.assertEqual(ws.close_code, 1009)
        self.assertEqual(await server.end(), 0)


if __name__ == "__main__":
    unittest.main()
