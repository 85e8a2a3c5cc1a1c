"""`websockets` over TLS, as the client of `provod listen` and as the server of `provod connect`."""

import pathlib
import ssl
import subprocess
import tempfile
import unittest

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

from exchange import RUSSIAN, PeerTest
from programs import Program, provod, within

LIMIT = {"max_size": 16 << 20}


class Tls(PeerTest):
    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(directory.cleanup)
        cls.cert, cls.key = (pathlib.Path(directory.name) / name for name in ["cert", "key"])
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
             "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost",
             "-addext", "basicConstraints=critical,CA:FALSE",
             "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
             "-keyout", cls.key, "-out", cls.cert],
            check=True, capture_output=True)

    async def test_a_client_of_provod_listen(self):
        server = await Program.start(
            self, provod(), "listen", "127.0.0.1:0", "--compress=takeover",
            "--cert", self.cert, "--key", self.key)
        url = (await server.line(r"wss://127\.0\.0\.1:\d+/")).group()
        trust = ssl.create_default_context(cafile=self.cert)
        for compression in ["deflate", None]:
            async with connect(url, ssl=trust, compression=compression, **LIMIT) as ws:
                await self.small(ws)
                await self.large(ws)
                await ws.close(3000, "хватит")
                self.assertEqual(ws.close_code, 3000)

    async def test_a_server_of_provod_connect(self):
        async def echo(ws):
            async for message in ws:
                await ws.send(message)
        own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        own.load_cert_chain(self.cert, self.key)
        async with serve(echo, "127.0.0.1", 0, ssl=own, **LIMIT) as server:
            port = server.sockets[0].getsockname()[1]
            client = await Program.start(
                self, provod(), "connect", "--cacert", self.cert, "--compress=takeover",
                f"wss://localhost:{port}/")
            said = f"да\n{RUSSIAN.strip() * 20_000}\n".encode()
            client.write(said)
            # `websockets` answers a Close when it reads it: all must have come before.
            await client.until(lambda: len(client.out) >= len(said))
            client.finish()
            self.assertEqual(await within(client.ended()), 0, client.told())
            self.assertTrue(bytes(client.out) == said)


if __name__ == "__main__":
    unittest.main()
