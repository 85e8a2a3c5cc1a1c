import base64
import hashlib
import re
import socketserver
import threading
import unittest

import probe


class Lenient(socketserver.BaseRequestHandler):
    """Echoes whatever looks like a frame, as long as it is no Close."""

    checks: set[str] = set()

    def handle(self):
        head = b""
        while b"\r\n\r\n" not in head:
            head += self.request.recv(4096)
        key = re.search(rb"Sec-WebSocket-Key: (\S+)", head)
        key = key[1] if key else b""
        version = b"Sec-WebSocket-Version: 13\r\n" in head
        right = {"key": key, "key-length": not key or len(key) == 24, "version": version}
        if any(not right[check] for check in self.checks & set(right)):
            self.request.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            return
        accept = base64.b64encode(hashlib.sha1(key + probe.GUID).digest())
        self.request.sendall(b"HTTP/1.1 101 Go\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        while frame := self.frame():
            opcode, masked, payload = frame
            if "mask" in self.checks and not masked:
                self.request.sendall(b"\x88\x02\x03\xea")
                return
            if "utf8" in self.checks and opcode == probe.TEXT:
                return
            if len(payload) < 126:
                self.request.sendall(bytes([0x80 | opcode, len(payload)]) + payload)

    def frame(self):
        head = self.exactly(2)
        if head is None:
            return None
        length = head[1] & 0x7F
        if length == 126:
            length = int.from_bytes(self.exactly(2), "big")
        masked = head[1] >> 7
        key = self.exactly(4) if masked else bytes(4)
        payload = bytes(b ^ key[i % 4] for i, b in enumerate(self.exactly(length)))
        return head[0] & 0x0F, masked, payload

    def exactly(self, n):
        taken = b""
        while len(taken) < n:
            more = self.request.recv(n - len(taken))
            if not more:
                return None
            taken += more
        return taken


def asked(made: set[str]) -> dict[str, bool]:
    handler = type("Handler", (Lenient,), {"checks": made})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            return probe.probe(server.server_address[1])
        finally:
            server.shutdown()


class Marks(unittest.TestCase):
    def test_a_server_that_checks_nothing_is_found_out(self):
        self.assertEqual(asked(set()), dict.fromkeys(probe.CHECKS, False))

    def test_checks_that_are_made_are_seen_one_by_one(self):
        for check in ("key", "key-length", "version", "mask", "utf8"):
            found = asked({check})
            self.assertEqual([name for name, made in found.items() if made], [check])

    def test_frames_are_what_the_protocol_says(self):
        right = probe.frame(probe.TEXT, b"x" * 200)
        self.assertEqual(right[:4], bytes([0x81, 0xFE, 0, 200]))
        self.assertEqual(len(right), 4 + 4 + 200)
        self.assertEqual(probe.frame(probe.BINARY, b"ab", masked=False), b"\x82\x02ab")


if __name__ == "__main__":
    unittest.main()
