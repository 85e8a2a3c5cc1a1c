"""Writes the numbers of results.json into docs/websocket-vs-http.md, and its charts.

The page's own words stay: only what is between `<!-- numbers: NAME -->` and `<!-- end -->` is
replaced.
"""

import math
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import charts  # noqa: E402

DOCS = HERE.parent.parent / "docs"
PAGE = DOCS / "websocket-vs-http.md"
DELAY_MS = 25

# In the order of the page: the long name, and one that fits into a chart.
ECHO = {
    ("websocket", "browser"): ("WebSocket", "WebSocket"),
    ("http1", "minimal"): ("HTTP/1.1, only the fields that it needs", "HTTP/1.1, short"),
    ("http1", "browser"): ("HTTP/1.1, a browser's fields", "HTTP/1.1, browser"),
    ("http2", "browser"): ("HTTP/2, a browser's fields", "HTTP/2, browser"),
}
PUSH = {
    ("websocket", "browser"): ("WebSocket", "WebSocket"),
    ("http1-events", "browser"): ("server-sent event, HTTP/1.1", "SSE, HTTP/1.1"),
    ("http2-events", "browser"): ("server-sent event, HTTP/2", "SSE, HTTP/2"),
    ("http1-poll", "minimal"): ("long poll, only the fields that it needs", "long poll, short"),
    ("http1-poll", "browser"): ("long poll, a browser's fields", "long poll, browser"),
    ("http2-poll", "browser"): ("long poll, HTTP/2, a browser's fields", "long poll, HTTP/2"),
}
ROWS = {"echo": ECHO, "push": PUSH, "idle": PUSH}


class Results:
    def __init__(self, results):
        self.made_with = results["made_with"]
        self.cases = results["results"]

    def sizes(self, what):
        return sorted({case["size"] for case in self.cases if case["what"] == what})

    def get(self, what, work, row, size=None):
        """The figures of one row, or None."""
        for case in self.cases:
            if (case["what"], case["work"], case["wire"], case["fields"]) == (what, work, *row):
                if size is None or case["size"] == size:
                    return case["figures"]
        return None

    def must(self, *which):
        figures = self.get(*which)
        if figures is None:
            raise KeyError(which)
        return figures


def size_name(size):
    return f"{size // 1024} KiB" if size >= 1024 else f"{size} B"


def wire_bytes(figures):
    return figures["bytes_up"] + figures["bytes_down"]


def opening_bytes(figures):
    return figures["opening_bytes_up"] + figures["opening_bytes_down"]


def number(value):
    """Bytes: a fraction is that of what is sent now and then, as a window's update."""
    return f"{value:,.1f}" if value < 10 and value != int(value) else f"{value:,.0f}"


def table(head, lines):
    rows = [head, ["---"] + ["--:"] * (len(head) - 1), *lines]
    return "\n".join("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows)


def sent(results, work):
    """What one message sends: a line for each transport, a column for each size."""
    sizes = results.sizes("busy")
    lines = []
    for row, (name, _) in ROWS[work].items():
        all_sizes = [results.must("busy", work, row, size) for size in sizes]
        cells = [f"{of['bytes_up']:,.0f} + {of['bytes_down']:,.0f}" for of in all_sizes]
        lines.append([name, *cells, f"{all_sizes[0]['segments']:.1f}"])
    return table(["bytes up + down", *map(size_name, sizes), "segments"], lines)


def spent(results, work):
    """What one message takes: the server's time at each size, and its own at the smallest."""
    sizes = results.sizes("busy")
    lines = []
    for row, (name, _) in ROWS[work].items():
        cells = [f"{results.must('busy', work, row, size)['server_us']:.1f}" for size in sizes]
        latency = results.must("alone", work, row, sizes[0])["latency_us"]
        lines.append([name, *cells, f"{latency['p50']:,.0f}", f"{latency['p99']:,.0f}"])
    small = size_name(sizes[0])
    head = ["µs of the server's processor", *map(size_name, sizes)]
    return table([*head, f"p50 at {small}, µs", "p99"], lines)


def far(results):
    lines = []
    for row, (name, _) in PUSH.items():
        latency = results.must("far", "push", row)["latency_us"]
        lines.append([name, *(f"{latency[key] / 1000:.1f}" for key in ("mean", "p50", "p99"))])
    return table(["", "mean, ms", "p50", "p99"], lines)


def memory(results):
    lines = []
    for row, (name, _) in PUSH.items():
        if figures := results.get("idle", "idle", row):
            lines.append([name, number(figures["resident"])])
    return table(["", "bytes of the server's memory for each connection"], lines)


def break_even(results, row, size):
    """After how many messages the WebSocket's handshake has been earned back, in bytes."""
    websocket = results.must("busy", "echo", ("websocket", "browser"), size)
    # Without a browser's fields the handshake is shorter, too, but the server is not asked for it:
    # the longer one is charged.
    saved = wire_bytes(results.must("busy", "echo", row, size)) - wire_bytes(websocket)
    return max(1, math.ceil(opening_bytes(websocket) / saved))


def answer(results):
    websocket, http, http2 = (
        results.must("busy", "echo", row, 20)
        for row in (("websocket", "browser"), ("http1", "browser"), ("http2", "browser"))
    )
    event = results.must("busy", "push", ("websocket", "browser"), 20)
    sse = results.must("busy", "push", ("http1-events", "browser"), 20)
    poll = results.must("busy", "push", ("http1-poll", "browser"), 20)

    def late(wire):
        return results.must("far", "push", (wire, "browser"))["latency_us"]["mean"] / 1000

    return sentences(
        f"A word of 20 bytes and its answer cost {number(wire_bytes(websocket))} bytes and"
        f" {websocket['server_us']:.0f} µs of the server's processor as WebSocket frames,"
        f" {number(wire_bytes(http))} bytes and {http['server_us']:.0f} µs as a browser's HTTP/1.1"
        f" request on a connection that stays open, {number(wire_bytes(http2))} bytes and"
        f" {http2['server_us']:.0f} µs as a stream of HTTP/2.",
        f"An event from the server costs {number(wire_bytes(event))} bytes and"
        f" {event['server_us']:.0f} µs as a frame, {number(wire_bytes(sse))} bytes and"
        f" {sse['server_us']:.0f} µs as a server-sent event, {number(wire_bytes(poll))} bytes and"
        f" {poll['server_us']:.0f} µs as a long poll, which also comes late: at {DELAY_MS} ms one"
        f" way its events take {late('http1-poll'):.0f} ms on average instead of"
        f" {late('websocket'):.0f}.",
        "If one side only listens, server-sent events are nearly as good; if both speak, or often,"
        " it is the WebSocket; if somebody asks once, and the answer may come from a cache, it is"
        " plain HTTP.",
    )


def handshake(results):
    figures = results.must("busy", "echo", ("websocket", "browser"), 20)
    up, down = figures["opening_bytes_up"], figures["opening_bytes_down"]
    return sentences(
        f"Chromium's WebSocket handshake takes {number(up)} bytes, and its answer {number(down)}."
        " Against HTTP/1.1 with a browser's fields that is earned back with message"
        f" {break_even(results, ('http1', 'browser'), 20)}, against the shortest fields with message"
        f" {break_even(results, ('http1', 'minimal'), 20)}, and against a connection of HTTP/2 that"
        f" is open already with message {break_even(results, ('http2', 'browser'), 20)} (20 bytes"
        " each way)."
    )


def polling(results):
    """Computed, not measured: what asking once a second costs."""
    figures = results.must("busy", "push", ("http1-poll", "browser"), 20)
    # The measured answer has the event's number, a line feed and the event.
    empty = figures["bytes_up"] + figures["bytes_down"] - 20 - len("00000001\n")
    return sentences(
        "Asking once a second, by arithmetic: an event waits 0.5 s on average, and 1 s at worst, for"
        f" the next request; each request without news costs {number(empty)} bytes, so that an event"
        f" every ten seconds costs {number(10 * empty + 20)} bytes, and a client without events"
        f" {number(empty * 86400 / 1e6)} MB a day."
    )


def how(results):
    made = results.made_with
    crates = ", ".join(f"{name} {version}" for name, version in made["crates"].items())
    return sentences(
        f"The numbers above are medians of {made['rounds']} rounds of {made['time_ms']} ms for each"
        f" row, on {made['processor']} ({made['system']}), with Rust {made['rustc']}, {crates}."
    )


def sentences(*texts):
    """Text in lines of at most 120 columns."""
    lines = [""]
    for word in " ".join(texts).split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > 120:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + word
    return "\n".join(lines)


def style(row):
    return charts.OURS if row[0] == "websocket" else charts.PEER


def chart(title, unit, results, value, note):
    """Both kinds of work at 20 bytes, one group each."""
    groups = []
    for work, label in (("echo", "A request and its reply"), ("push", "An event from the server")):
        rows = [
            (short, value(results.must("busy", work, row, 20)), style(row))
            for row, (_, short) in ROWS[work].items()
        ]
        groups.append((label, rows))
    return charts.groups(title, unit, groups, note=note)


def images(results):
    delay = [
        (short, results.must("far", "push", row)["latency_us"]["mean"] / 1000, style(row))
        for row, (_, short) in PUSH.items()
    ]
    return {
        "bytes": chart(
            "20 bytes on the wire",
            "bytes in both directions",
            results,
            wire_bytes,
            "Payload of TCP; each segment has 52 bytes of headers in addition.",
        ),
        "cpu": chart(
            "The server's work for 20 bytes",
            "µs of processor time",
            results,
            lambda figures: figures["server_us"],
            "64 connections, Provod and axum, one thread each.",
        ),
        "delay": charts.bars(
            f"An event's way, {DELAY_MS} ms long",
            "ms from the event to the client, mean",
            delay,
            note="100 events a second. Who asks again after each answer hears of what happened"
            " meanwhile a round trip later.",
        ),
    }


def render(results):
    """The page's numbers and the charts, by name."""
    results = Results(results)
    numbers = {
        "answer": answer(results),
        "request_bytes": sent(results, "echo"),
        "request_time": spent(results, "echo"),
        "handshake": handshake(results),
        "event_bytes": sent(results, "push"),
        "event_time": spent(results, "push"),
        "polling": polling(results),
        "far": far(results),
        "memory": memory(results),
        "how": how(results),
    }
    return numbers, images(results)


def filled(text, numbers):
    """The page with these numbers; a name that it has not, or has too much, is an error."""
    unused = set(numbers)

    def fill(match):
        unused.discard(match[2])
        return f"{match[1]}\n{numbers[match[2]]}\n{match[3]}"

    text = re.sub(r"(<!-- numbers: (\w+) -->)\n.*?(<!-- end -->)", fill, text, flags=re.DOTALL)
    if unused:
        raise KeyError(f"{PAGE.name} has no place for {', '.join(sorted(unused))}")
    return text


def check(results):
    """Makes everything, and keeps nothing."""
    numbers, _ = render(results)
    filled(PAGE.read_text(encoding="utf-8"), numbers)


def write(results):
    numbers, drawn = render(results)
    text = filled(PAGE.read_text(encoding="utf-8"), numbers)
    PAGE.write_text(text, encoding="utf-8")
    for name, svg in drawn.items():
        path = DOCS / "images" / f"websocket-vs-http-{name}.svg"
        path.write_text(svg, encoding="utf-8")
