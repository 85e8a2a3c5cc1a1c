#!/usr/bin/env python3
"""What an idle connection costs `provod serve`, in memory of its process.

    cargo build --release
    python3 packaging/idle_memory.py target/release/provod 9000          # plain clients
    python3 packaging/idle_memory.py target/release/provod 9000 room     # provod.room.v1

Ten clients to a room. What the kernel keeps for each socket comes on top.
"""

import re
import resource
import socket
import subprocess
import sys

HELLO = b'{"type":"hello","name":"somebody"}'


def request(number: int, members: bool) -> bytes:
    offer = "Sec-WebSocket-Protocol: provod.room.v1\r\n" if members else ""
    return (
        f"GET /room-{number // 10} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offer}\r\n"
    ).encode()


def connect(port: int, number: int, members: bool) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port))
    client.sendall(request(number, members))
    assert client.recv(4096).startswith(b"HTTP/1.1 101 ")
    if members:
        # A masking key of zeros changes nothing.
        client.sendall(bytes([0x81, 0x80 | len(HELLO), 0, 0, 0, 0]) + HELLO)
        assert client.recv(4096)
    return client


def resident(pid: int) -> int:
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return int(re.search(r"VmRSS:\s+(\d+) kB", status.read())[1]) * 1024


def main():
    provod, count, members = sys.argv[1], int(sys.argv[2]), "room" in sys.argv[3:]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with subprocess.Popen([provod, "serve", "127.0.0.1:0"], stdout=subprocess.PIPE,
                          text=True) as server:
        try:
            port = int(re.search(r":(\d+)/", server.stdout.readline())[1])
            before = resident(server.pid)
            clients = [connect(port, number, members) for number in range(count)]
            each = (resident(server.pid) - before) // count
            print(f"{len(clients)} connections, {each} bytes each")
        finally:
            server.kill()


if __name__ == "__main__":
    main()
