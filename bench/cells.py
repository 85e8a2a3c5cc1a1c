"""The rows of the table: what `provod bench` is told, and what the servers do."""

import resource
from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """A row. `options` are those of `provod bench`; `mode` is what servers must offer."""

    name: str
    title: str
    scenario: str
    mode: str
    options: tuple[str, ...]
    # What the processor time is divided by.
    each: str = "message"
    # Whether a plain TCP echo can be measured with the same bytes.
    bare: bool = False
    # Memory does not vary as time does: it needs no more rounds than this.
    most_rounds: int = 1000

    @property
    def is_memory(self) -> bool:
        return self.scenario == "idle"


def echo(name, title, options, mode="echo", bare=True):
    return Cell(name, title, "echo", mode, tuple(options.split()), bare=bare)


def fanout(name, title, options, mode="broadcast"):
    return Cell(name, title, "fanout", mode, tuple(options.split()), each="delivery")


def idle_connections() -> int:
    """As many as the descriptor limit allows, and one address has ports for: 19,900 at most."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 19_900 if hard == resource.RLIM_INFINITY else min(19_900, hard - 100)


JSON = "--size 1024 --content json"
CELLS = (
    echo("e20", "echo, 20 B", "-c 64 --size 20 --content binary"),
    echo("p20", "echo, 20 B, 32 in flight", "-c 64 -k 32 --size 20 --content binary", "batch"),
    echo("p1k", "echo, 1 KiB, 32 in flight", "-c 64 -k 32 --size 1024 --content binary", "batch"),
    echo("t1k", "echo, 1 KiB of text, 32 in flight",
         "-c 64 -k 32 --size 1024 --content text", "batch"),
    echo("e64k", "echo, 64 KiB", "-c 64 --size 64K --content binary"),
    echo("t64k", "echo, 64 KiB of text", "-c 64 --size 64K --content text"),
    echo("e1m", "echo, 1 MiB", "-c 64 --size 1M --content binary"),
    echo("one", "echo, 20 B, one connection", "-c 1 --size 20 --content binary"),
    echo("d1k", "echo, 1 KiB of JSON, compressed", f"-c 64 {JSON} --compress", "deflate", False),
    echo("d1kt", "the same, context takeover asked for", f"-c 64 {JSON} --compress=takeover",
         "takeover", False),
    fanout("f1000", "fan-out to 1,000, 128 B", "-c 1000 --size 128"),
    fanout("f1000k8", "fan-out to 1,000, 128 B, 8 publishes in flight", "-c 1000 -k 8 --size 128"),
    fanout("f10000", "fan-out to 10,000, 128 B", "-c 10000 --size 128"),
    fanout("f1000j", "fan-out to 1,000, 1 KiB of JSON", f"-c 1000 {JSON}"),
    fanout("f1000jd", "the same, compressed", f"-c 1000 {JSON} --compress", "broadcast-deflate"),
    Cell("hs", "opening handshake", "connect", "echo", ("-c", "64"), each="handshake"),
    # Connecting costs the side that connects more than the other: only at a rate its time is known.
    Cell("hs2k", "the same, 2,000 a second", "connect", "echo", ("-c", "256", "--rate", "2000"),
         each="handshake"),
    Cell("idle", f"an idle connection, of {idle_connections():,}", "idle", "echo",
         ("-c", str(idle_connections())), each="connection", bare=True, most_rounds=3),
)
BY_NAME = {cell.name: cell for cell in CELLS}
