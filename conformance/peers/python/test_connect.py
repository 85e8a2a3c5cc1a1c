"""`websockets` as the server of `provod connect`."""

import asyncio
import os
import signal
import unittest

from websockets.asyncio.server import serve

from exchange import MIB, NO_TAKEOVER, RUSSIAN, WINDOWS, PeerTest, server_deflate, windows
from programs import VICTIM, Program, provod, within

LIMIT = {"max_size": 16 << 20}


async def echo(ws):
    async for message in ws:
        await ws.send(message)


class Connect(PeerTest):
    async def connected(self, handler, flags=(), **settings):
        """`provod connect` to a server whose connections `handler` gets. `ends` is a queue of
        how those ended, as the server sees it."""
        self.ends = asyncio.Queue()

        async def handle(ws):
            try:
                await handler(ws)
            finally:
                await ws.wait_closed()
                self.ends.put_nowait((ws.close_code, ws.close_reason))

        url = await self.listening(serve(handle, "127.0.0.1", 0, **LIMIT, **settings))
        return await Program.start(self, provod(), "connect", *flags, url)

    async def ended(self, connect, code=0):
        """Waits for its end, checks the exit code, returns what it said on standard error."""
        self.assertEqual(await connect.ended(), code, connect.told())
        said = connect.err.decode()
        if code != 0:
            self.assertRegex(said, r"\A[^\n]+\n\Z", "one line says why")
        return said

    async def typed(self, connect, data, length):
        """Ends the input when `length` bytes came out: `websockets` answers a Close when it reads
        it, and has no way to send what its handler would still have answered."""
        connect.write(data)
        await connect.until(lambda: len(connect.out) >= length)
        connect.finish()
        await self.ended(connect)

    async def exchange(self, flags, settings, takeover, bits=None):
        async def handler(ws):
            self.agreed(ws, takeover, bits)
            await echo(ws)
        connect = await self.connected(
            handler, [*flags, "--compress-threshold", "0"] if flags else [], **settings)
        lines = [f"{i} привет 👋 {'ы' * (i % 50)}" for i in range(10_000)]
        data = "".join(f"{line}\n" for line in [*lines, "", RUSSIAN.strip() * 20_000, "всё"])
        await self.typed(connect, data.encode(), len(data.encode()))
        self.same(bytes(connect.out), data.encode(), "what was sent is what came back")
        self.assertEqual((await within(self.ends.get()))[0], 1000)

    async def test_without_compression(self):
        await self.exchange([], {"compression": None}, None)

    async def test_own_settings_with_context_takeover(self):
        await self.exchange(["--compress=takeover"], {}, True, 12)

    async def test_own_settings_no_context_takeover(self):
        await self.exchange(["--compress"], {}, False, 12)

    async def test_no_context_takeover_by_the_wish_of_websockets(self):
        await self.exchange(["--compress=takeover"], server_deflate(**NO_TAKEOVER), False)

    async def test_windows_that_websockets_wants(self):
        for bits in WINDOWS:
            with self.subTest(bits=bits):
                await self.exchange(
                    ["--compress=takeover"], server_deflate(**windows(bits)), True, bits)

    async def test_binary(self):
        kinds = set()

        async def handler(ws):
            async for message in ws:
                kinds.add(type(message))
                await ws.send(message)
        connect = await self.connected(handler, ["-b"])
        # A line feed is what ends a message; no other byte means anything.
        messages = [os.urandom(n).replace(b"\n", b"\0") for n in [1, 1000, MIB + 1]]
        data = b"".join(message + b"\n" for message in messages)
        await self.typed(connect, data, len(data) - len(messages))
        self.assertEqual(kinds, {bytes})
        self.same(bytes(connect.out), b"".join(messages), "binary is printed as it is")

    async def test_fragments_and_a_ping_between_them(self):
        text = RUSSIAN.strip().encode()

        async def handler(ws):
            async def cut():
                yield text[:5]
                await within(await ws.ping())
                for at in range(5, len(text), 3):
                    yield text[at:at + 3]
            await ws.send(cut(), text=True)
            await ws.close(1000)
        connect = await self.connected(handler)
        await self.ended(connect)
        self.assertEqual(connect.out.decode(), RUSSIAN)

    async def test_headers_subprotocols_and_origin(self):
        seen = {}

        async def handler(ws):
            seen.update(ws.request.headers.raw_items(), path=ws.request.path, chosen=ws.subprotocol)
        connect = await self.connected(
            handler, ["-H", "X-Room: 7", "-s", "v1", "-s", "v2", "--origin", "https://example.com"],
            subprotocols=["v2"], origins=["https://example.com"])
        connect.finish()
        await self.ended(connect)
        self.assertEqual(seen["path"], "/chat?x=1")
        self.assertEqual(seen["X-Room"], "7")
        self.assertEqual(seen["chosen"], "v2")

    async def test_at_the_end_of_input_all_that_still_comes_is_printed(self):
        async def handler(ws):
            await within(ws.recv())
            for i in range(1000):
                await ws.send(f"{i}")
            await ws.close(1000)
        connect = await self.connected(handler, ["--no-close"])
        connect.finish("давай\n".encode())
        await self.ended(connect)
        self.assertEqual(connect.out.decode().split(), [f"{i}" for i in range(1000)])

    async def test_closes_behind_what_it_sent(self):
        for code, reason, status in [
                (1000, "", 0), (1001, "ухожу", 0), (3000, "до свидания 👋", 10), (1011, "", 10)]:
            with self.subTest(code=code):
                async def handler(ws):
                    for i in range(100):
                        await ws.send(f"{i}")
                    await ws.close(code, reason)
                connect = await self.connected(handler)
                said = await self.ended(connect, status)
                if status:
                    self.assertIn(f"{code}", said)
                    self.assertIn(reason, said)
                self.assertEqual(connect.out.decode().split(), [f"{i}" for i in range(100)])
                self.assertEqual((await within(self.ends.get()))[0], code)

    async def test_one(self):
        connect = await self.connected(echo, ["--one"])
        connect.write("один\nдва\n".encode())
        await self.ended(connect)
        self.assertEqual(connect.out.decode(), "один\n")
        self.assertEqual((await within(self.ends.get()))[0], 1000)

    async def test_killed_in_the_middle_of_a_message(self):
        victim = await Program.listening(self, *VICTIM)
        connect = await Program.start(self, provod(), "connect", victim.url)
        await self.ended(connect, 11)
        self.assertEqual(connect.out, b"", "half a message is none")
        self.assertEqual(await victim.ended(), -signal.SIGKILL)

    async def test_a_refusal_is_printed(self):
        def refuse(ws, request):
            return ws.respond(403, "сюда нельзя\n")
        connect = await self.connected(echo, process_request=refuse)
        said = await self.ended(connect, 7)
        self.assertIn("403", said)
        self.assertIn("сюда нельзя", said)


if __name__ == "__main__":
    unittest.main()
