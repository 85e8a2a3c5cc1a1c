"""`websockets` as the server of the library's client: the crate's example `echo_client`."""

import asyncio
import signal
import unittest

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from exchange import NO_TAKEOVER, WINDOWS, PeerTest, server_deflate, windows
from programs import VICTIM, Program, echo_client, within

LIMIT = {"max_size": 16 << 20}


class Server(PeerTest):
    async def met(self, handler, flags=(), **settings):
        """Runs `handler` on the connection of a client of ours; returns the client, which has
        ended."""
        done = asyncio.get_running_loop().create_future()

        async def handle(ws):
            try:
                await handler(ws)
                done.set_result(None)
            except BaseException as error:
                done.set_exception(error)

        url = await self.listening(serve(handle, "127.0.0.1", 0, **LIMIT, **settings))
        client = await Program.start(self, echo_client(), url, *flags)
        await asyncio.wait_for(done, 300)
        client.status = await client.ended()
        return client

    def said(self, client, line, status=0):
        """The last line of the client, and its exit status."""
        self.assertEqual(client.out.decode().splitlines()[-1], line, client.told())
        self.assertEqual(client.status, status)

    async def exchange(self, flags, settings, takeover, bits=None, burst=10_000):
        async def handler(ws):
            self.agreed(ws, takeover, bits)
            await self.everything(ws, burst)
        self.said(await self.met(handler, flags, **settings), "closed by the peer: 1000 ")

    async def test_without_compression(self):
        await self.exchange([], {"compression": None}, None)

    async def test_compression_offered_and_declined(self):
        await self.exchange(["--takeover"], {"compression": None}, None, burst=100)

    async def test_own_settings_with_context_takeover(self):
        await self.exchange(["--takeover"], {}, True, 12)

    async def test_own_settings_no_context_takeover(self):
        await self.exchange(["--compress"], {}, False, 12)

    async def test_no_context_takeover_by_the_wish_of_websockets(self):
        await self.exchange(["--takeover"], server_deflate(**NO_TAKEOVER), False)

    async def test_windows_that_websockets_wants(self):
        for bits in WINDOWS:
            with self.subTest(bits=bits):
                await self.exchange(
                    ["--takeover"], server_deflate(**windows(bits)), True, bits, 1000)

    async def test_windows_that_we_offer(self):
        for bits in WINDOWS:
            with self.subTest(bits=bits):
                await self.exchange(
                    ["--takeover", "--window", bits], server_deflate(), True, bits, 1000)

    async def test_subprotocol_and_headers(self):
        async def handler(ws):
            self.assertEqual(ws.request.path, "/chat?x=1")
            self.assertEqual(ws.request.headers["X-Room"], "7")
            self.assertEqual(ws.subprotocol, "v2")
        client = await self.met(
            handler, ["--subprotocol", "v1", "--subprotocol", "v2", "--header", "X-Room: 7"],
            subprotocols=["v2"])
        self.assertIn("open: subprotocol v2", client.told())

    async def test_our_ping_is_answered(self):
        async def handler(ws):
            await ws.send("/ping")
            self.assertEqual(await within(ws.recv()), "pong")
        await self.met(handler)

    async def test_closes_behind_what_it_sent(self):
        for code, reason in [(1000, ""), (3000, "до свидания 👋")]:
            with self.subTest(code=code):
                async def handler(ws):
                    for i in range(100):
                        await ws.send(f"{i}")
                    answers = [await within(ws.recv()) for _ in range(100)]
                    self.assertEqual(answers, [f"{i}" for i in range(100)])
                    await within(ws.close(code, reason))
                    self.assertEqual(ws.close_code, code)
                client = await self.met(handler)
                self.said(client, f"closed by the peer: {code} {reason}")

    async def test_we_close(self):
        for code, reason in [(1000, ""), (3000, "причина"), (4999, "я" * 61)]:
            with self.subTest(code=code):
                async def handler(ws):
                    await ws.send(f"/close {code} {reason}")
                    with self.assertRaises(ConnectionClosed):
                        await within(ws.recv())
                    self.assertEqual((ws.close_code, ws.close_reason), (code, reason))
                client = await self.met(handler)
                self.said(client, f"closed by us, cleanly: {code}")

    async def test_killed_in_the_middle_of_a_message(self):
        victim = await Program.listening(self, *VICTIM)
        client = await Program.start(self, echo_client(), victim.url)
        self.assertEqual(await client.ended(), 1)
        self.assertRegex(client.told(), r"(?m)^lost: ")
        self.assertEqual(await victim.ended(), -signal.SIGKILL)


if __name__ == "__main__":
    unittest.main()
