"""Asks a server which of the protocol's checks it makes: breaks a rule, and looks what comes back.

A check is made where the server refuses: no 101, a Close, or the end of the connection. It is left
out where the server goes on: it answers 101, or still echoes what is sent after the bad frame.
"""

import base64
import hashlib
import os
import socket
import struct

PATIENCE = 2.0  # seconds
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CONTINUATION, TEXT, BINARY, CLOSE, PING = 0, 1, 2, 8, 9

# Name, and the section of RFC 6455 that demands it.
CHECKS = {
    "key": "`Sec-WebSocket-Key` is there (4.2.1)",
    "key-length": "its value is 16 bytes in base64 (4.2.1)",
    "version": "`Sec-WebSocket-Version` is 13 (4.2.2)",
    "mask": "a client's frame is masked (5.1)",
    "utf8": "text is UTF-8 (8.1)",
    "reserved": "reserved bits are 0 (5.2)",
    "opcode": "opcodes are known (5.2)",
    "control": "control frames are short and whole (5.5)",
    "fragments": "fragments are in order (5.4)",
}
# A server that leaves one of these out is marked: all but one that costs nothing, and that guards
# against nothing but a broken client.
MARKED = [check for check in CHECKS if check != "key-length"]


def request(port: int, key: str | None, version: str | None = "13") -> bytes:
    lines = ["GET / HTTP/1.1", f"Host: 127.0.0.1:{port}", "Upgrade: websocket",
             "Connection: Upgrade"]
    lines += [f"Sec-WebSocket-Key: {key}"] * (key is not None)
    lines += [f"Sec-WebSocket-Version: {version}"] * (version is not None)
    return "\r\n".join([*lines, "", ""]).encode()


def frame(opcode: int, payload: bytes, masked=True, fin=True, reserved=0) -> bytes:
    """A client's frame, right or wrong."""
    first = fin << 7 | reserved << 4 | opcode
    length = len(payload)
    head = bytes([first, masked << 7 | min(length, 126)])
    if length >= 126:
        head += struct.pack(">H", length)
    if not masked:
        return head + payload
    key = os.urandom(4)
    return head + key + bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))


BAD_FRAMES = {
    "mask": frame(BINARY, b"not masked", masked=False),
    "utf8": frame(TEXT, b"ab\xc3\x28cd"),
    "reserved": frame(BINARY, b"reserved", reserved=0b010),
    "opcode": frame(3, b"opcode 3"),
    "control": frame(PING, b"p" * 126),
    "fragments": frame(CONTINUATION, b"of nothing"),
}


class Talk:
    """A connection that is read with patience."""

    def __init__(self, port: int):
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.socket.settimeout(PATIENCE)
        self.held = b""

    def close(self):
        self.socket.close()

    def read(self, n: int) -> bytes | None:
        """So many bytes; None where the connection ends before. Raises TimeoutError."""
        while len(self.held) < n:
            try:
                more = self.socket.recv(65_536)
            except ConnectionError:
                return None
            if not more:
                return None
            self.held += more
        taken, self.held = self.held[:n], self.held[n:]
        return taken

    def status(self) -> tuple[int, bytes]:
        """Of the answer to a request, with its head; 0 where there is none."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = self.read(1)
            if byte is None:
                return 0, head
            head += byte
        return int(head.split(b" ", 2)[1]), head

    def frame(self) -> tuple[int, bytes] | None:
        """Opcode and payload of the next frame; None where there is none any more."""
        head = self.read(2)
        if head is None:
            return None
        length = head[1] & 0x7F
        if length >= 126:
            more = self.read(2 if length == 126 else 8)
            if more is None:
                return None
            length = int.from_bytes(more, "big")
        payload = self.read(length)
        return None if payload is None else (head[0] & 0x0F, payload)


def key() -> str:
    return base64.b64encode(os.urandom(16)).decode()


def handshake(port: int, content: bytes) -> bool:
    """Whether a request is refused; silence is no refusal."""
    talk = Talk(port)
    try:
        talk.socket.sendall(content)
        return talk.status()[0] != 101
    except TimeoutError:
        return False
    finally:
        talk.close()


def upgraded(port: int) -> Talk:
    """An open connection; the server must prove that it has read the key."""
    talk, mine = Talk(port), key()
    talk.socket.sendall(request(port, mine))
    status, head = talk.status()
    expected = base64.b64encode(hashlib.sha1(mine.encode() + GUID).digest())
    if status != 101 or expected not in head:
        talk.close()
        raise ConnectionError(f"a right request is answered with {status}")
    return talk


def refuses(port: int, bad: bytes) -> bool:
    """Whether the connection ends after a bad frame; a right message shows that it goes on."""
    talk = upgraded(port)
    after = b"goes on"
    try:
        talk.socket.sendall(bad + frame(BINARY, after))
        while (got := talk.frame()) is not None and got[0] != CLOSE:
            if got == (BINARY, after):
                return False
        return True
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    finally:
        talk.close()


def probe(port: int) -> dict[str, bool]:
    """Each check, and whether the server makes it. Raises OSError where nothing works at all."""
    upgraded(port).close()
    made = {
        "key": handshake(port, request(port, None)),
        "key-length": handshake(port, request(port, "c2hvcnQ=")),
        "version": handshake(port, request(port, key(), "12"))
        and handshake(port, request(port, key(), None)),
    }
    for name, bad in BAD_FRAMES.items():
        made[name] = refuses(port, bad)
    return made
