"""Makes `docs/performance.md` and its charts out of a results file."""

from pathlib import Path

import charts
from cells import BY_NAME
from probe import CHECKS
from results import FLOOR, OURS, Results

HERE = Path(__file__).resolve().parent
TEMPLATE = HERE / "page.template"
DAGGER = "†"
TIME, MEMORY = "cpu_us", "bytes"

# Name, title, rows: one chart each.
CHARTS = (
    ("short", "Echo of short messages", ("e20", "p20", "p1k", "t1k")),
    ("long", "Echo of long messages", ("e64k", "t64k", "e1m")),
    ("compressed", "Echo with permessage-deflate", ("d1k", "d1kt")),
    ("fanout", "One message to many", ("f1000", "f1000k8", "f10000", "f1000j", "f1000jd")),
    ("connections", "Connections", ("hs", "hs2k")),
    ("memory", "Memory of an idle connection", ("idle",)),
)
# A page of fewer rounds says so.
ENOUGH = 5
# A bar beyond so many times the shortest is cut.
CUT = 6


def key(cell: str) -> str:
    return MEMORY if BY_NAME[cell].is_memory else TIME


def number(value: float | None) -> str:
    return "–" if value is None else charts.number(value)


def times(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.2f}"


def label(results: Results, server: str) -> str:
    name = results.servers[server]["label"]
    return name + (DAGGER if results.skipped(server) else "")


def short(why: str) -> str:
    """A reason that fits into a table."""
    if "others used" in why or "waited for a processor" in why:
        return "cores were not free"
    if "generator was the limit" in why:
        return "generator was the limit"
    if "rate was not reached" in why:
        return "does not keep up"
    return "failed"


def table(head: list[str], rows: list[list[str]], left=1) -> str:
    rule = ["---"] * left + ["---:"] * (len(head) - left)
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, rule, *rows])


def summary(results: Results) -> str:
    """One line for each row: Provod beside the bare echo, the best that checks, and the best."""
    lines = []
    for cell in results.cells():
        what = key(cell)

        def beside(server: str | None) -> str:
            if server is None:
                return "–"
            value = number(results.median(cell, server, what))
            return f"{value} ({label(results, server)})"

        best, checking = results.best(cell, what), results.best(cell, what, checking=True)
        why = results.why_not(cell, "provod")
        lines.append([
            BY_NAME[cell].title,
            short(why) if why else f"**{number(results.median(cell, 'provod', what))}**",
            number(results.median(cell, "provod-plain", what)),
            times(results.ratio(cell, "provod", "bare-epoll", what)),
            beside(checking),
            times(checking and results.ratio(cell, "provod", checking, what)),
            beside(best) if best != checking else "the same",
            times(best and results.ratio(cell, "provod", best, what)),
        ])
    head = ["work", "Provod", "plain build", "÷ bare echo", "best that checks all", "÷ it",
            "best of all", "÷ it"]
    return table(head, lines)


def details(results: Results) -> str:
    return "\n\n".join(one_cell(results, cell) for cell in results.cells())


def one_cell(results: Results, name: str) -> str:
    cell, what = BY_NAME[name], key(name)
    best = results.best(name, what)
    servers = results.measured(name)
    servers.sort(key=lambda s: results.median(name, s, what) or float("inf"))
    compressed = any(results.median(name, s, "wire_bytes") for s in servers)
    rows = [line(results, name, server, best, compressed) for server in servers]
    unit = "bytes" if cell.is_memory else f"µs/{cell.each}"
    head = ["server", unit, "÷ bare echo", "÷ best peer"]
    if not cell.is_memory:
        head += ["p50 µs", "p99 µs", "a second"]
    if compressed:
        head.append("bytes on the wire")
    head.append("rounds")
    title = f"### {cell.title[0].upper()}{cell.title[1:]}"
    command = f"`provod bench {cell.scenario} {' '.join(cell.options)}`"
    return f"{title}\n\n{command}\n\n{table(head, rows)}"


def line(results: Results, cell: str, server: str, best: str | None, compressed: bool) -> list[str]:
    what = key(cell)
    name = label(results, server)
    name = f"**{name}**" if results.kind(server) == OURS else name
    why = results.why_not(cell, server)
    rounds = str(len(results.valid(cell, server)))
    rest = (0 if BY_NAME[cell].is_memory else 3) + compressed
    if why:
        return [name, short(why), *["–"] * (2 + rest), rounds]
    line = [
        name,
        number(results.median(cell, server, what)),
        times(results.ratio(cell, server, "bare-epoll", what)),
        times(best and results.ratio(cell, server, best, what)),
    ]
    if not BY_NAME[cell].is_memory:
        line += [number(results.median(cell, server, "p50_us")),
                 number(results.median(cell, server, "p99_us")),
                 number(results.median(cell, server, "rate"))]
    if compressed:
        line.append(number(results.median(cell, server, "wire_bytes")))
    return [*line, rounds]


def checks(results: Results) -> str:
    """Who makes which check, as asked."""
    probed = [name for name in results.servers if name in results.data["probes"]]
    head = ["server", *(name.replace("-", " ") for name in CHECKS)]
    rows = []
    for name in probed:
        answers = results.data["probes"][name]
        marks = ["yes" if answers.get(check) else "**no**" for check in CHECKS]
        rows.append([label(results, name), *marks])
    legend = "; ".join(f"{name.replace('-', ' ')}: {what}" for name, what in CHECKS.items())
    return f"{table(head, rows)}\n\n{wrap(legend + '.')}"


def doubts(results: Results) -> str:
    """What a reader should know before any number."""
    rounds = max((row["round"] + 1 for row in results.data["measurements"]), default=0)
    if rounds >= ENOUGH and results.data["settings"]["server_core"] is not None:
        return ""
    return f"**A first look, of {rounds} rounds**: numbers for a decision take {ENOUGH} and more.\n\n"


def about(results: Results) -> str:
    data = results.data
    machine, settings = data["machine"], data["settings"]
    # Some programs name themselves, others tell a number alone.
    tools = [text if text.lower().startswith(name) else f"{name} {text}"
             for name, text in data["tools"].items()]
    rows = [
        ["date", data["date"]],
        ["Provod", f"commit {data['commit']}"],
        ["processor", f"{machine['cpu']}, {machine['cores']} cores"],
        ["system", f"{machine['system']}, Linux {machine['kernel']}"],
        ["compilers and interpreters", ", ".join(tools)],
        ["pinned", pinning(settings)],
        ["a measurement", f"{settings['seconds']:g} s after {settings['warm_up']:g} s of warm-up"],
    ]
    rows += [[f"command {i}" if len(data["commands"]) > 1 else "command", f"`{command}`"]
             for i, command in enumerate(data["commands"], 1)]
    peers = [[server["label"], server["version"] or "–"] for name, server in data["servers"].items()
             if server["version"]]
    text = f"{table(['', ''], rows, left=2)}\n\n{table(['server', 'version'], peers, left=2)}"
    left_out = [f"- {name}: {why}" for name, why in data["left_out"].items()]
    return text + ("\n\nLeft out:\n\n" + "\n".join(left_out) if left_out else "")


def pinning(settings: dict) -> str:
    if settings["server_core"] is None:
        return "nothing: these numbers say little"
    return f"server to core {settings['server_core']}, generator to core {settings['load_core']}"


def wrap(content: str, width=118) -> str:
    lines = [""]
    for word in content.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + word
    return "\n".join(lines)


def style(results: Results, server: str) -> str:
    if results.kind(server) == OURS:
        return charts.OURS
    if results.kind(server) == FLOOR:
        return charts.FLOOR
    return charts.SKIPS if results.skipped(server) else charts.PEER


def chart(results: Results, title: str, cells: list[str]) -> str:
    groups = []
    for cell in cells:
        bars = []
        for server in results.measured(cell):
            name = results.servers[server]["label"]
            value = results.median(cell, server, key(cell))
            bars.append((name, value, style(results, server)))
        bars.sort(key=lambda bar: float("inf") if bar[1] is None else bar[1])
        groups.append((BY_NAME[cell].title, bars))
    first = BY_NAME[cells[0]]
    unit = "bytes" if first.is_memory else f"µs of the server's processor time for a {first.each}"
    note = f"{DAGGER} leaves out checks of the protocol. Outlined: a TCP echo without WebSocket."
    return charts.groups(title, unit, groups, note, cut=CUT)


def write(results: Results, source: str, docs: Path) -> list[Path]:
    """Writes the page and its charts; `source` is the results file as the page names it."""
    drawn = {}
    images = []
    for name, title, cells in CHARTS:
        there = [cell for cell in cells if cell in results.cells()]
        if there:
            drawn[docs / "images" / f"performance-{name}.svg"] = chart(results, title, there)
            images.append(f"![{title}](images/performance-{name}.svg)")
    parts = {
        "source": source,
        "doubts": doubts(results),
        "summary": summary(results),
        "charts": "\n\n".join(images),
        "checks": checks(results),
        "details": details(results),
        "about": about(results),
    }
    page = TEMPLATE.read_text()
    for name, content in parts.items():
        page = page.replace("{{" + name + "}}", content)
    written = {docs / "performance.md": page, **drawn}
    for path, content in written.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return list(written)
