"""Horizontal bar charts as SVG, made by hand: no dependency, readable on a phone, light and dark.

    bars("Echo, 20 B", "µs of processor time", [("Provod", 0.36, OURS), ("axum", 0.77, PEER)])
    groups("Echo", "µs", [("20 B", rows), ("1 KiB", rows)], note="one thread")

A row is `(label, value, style)`. Lower is better unless `better` says otherwise. A value of None
has no bar and says so; a style of SKIPS is hatched and marked with a dagger, which the page
explains.
"""

from html import escape

OURS = "ours"
PEER = "peer"
SKIPS = "skips"  # a peer that leaves out a check
FLOOR = "floor"  # what the kernel alone costs: outlined

Row = tuple[str, float | None, str]

WIDTH = 480  # at 360 pixels, a phone, text is still 11 pixels high
MARGIN = 12
ROW = 26
BAR = 16
VALUE_ROOM = 62
# Wide enough for the widest common sans-serif letters on average; a label beyond its room is cut.
CHARACTER = 8.5

CSS = """
    svg { color-scheme: light dark }
    .page { fill: #ffffff }
    text { fill: #1f2328; font: 15px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif }
    .title { font-weight: 600; font-size: 17px }
    .group { font-weight: 600 }
    .small { fill: #59636e; font-size: 13.5px }
    .own { font-weight: 600 }
    .ours { fill: #d9480f }
    .peer { fill: #8c959f }
    .skips { fill: url(#hatch) }
    .hatch { stroke: #8c959f }
    .floor { fill: none; stroke: #8c959f; stroke-width: 1.5 }
    .cut { stroke: #ffffff; stroke-width: 3 }
    @media (prefers-color-scheme: dark) {
      .page { fill: #0d1117 }
      text { fill: #f0f6fc }
      .small { fill: #9198a1 }
      .ours { fill: #ff8a4c }
      .peer { fill: #6e7681 }
      .hatch { stroke: #6e7681 }
      .floor { stroke: #6e7681 }
      .cut { stroke: #0d1117 }
    }"""


def bars(title: str, unit: str, rows: list[Row], note="", better="lower", cut=None) -> str:
    """One chart of one group. `cut` is as for `groups`."""
    return groups(title, unit, [("", rows)], note, better, cut)


def groups(
    title: str, unit: str, groups: list[tuple[str, list[Row]]], note="", better="lower", cut=None
) -> str:
    """A chart of several groups, each `(label, rows)` on a scale of its own.

    A bar above `cut` times the shortest of its group ends in a gap: its number says the rest.
    """
    labels = [label + ("†" if style == SKIPS else "") for _, rows in groups
              for label, _, style in rows]
    label_room = min(190, 10 + CHARACTER * max((len(label) for label in labels), default=0))
    bar_room = WIDTH - 2 * MARGIN - label_room - VALUE_ROOM
    out = []
    y = MARGIN
    for line in wrapped(title, 8.9):
        y += 20
        out.append(text(MARGIN, y, line, "title"))
    for line in wrapped(f"{unit}, {better} is better", 7.1):
        y += 18
        out.append(text(MARGIN, y, line, "small"))
    y += 8
    for label, rows in groups:
        if label:
            for line in wrapped(label, 8.1):
                y += 24
                out.append(text(MARGIN, y, line, "group"))
            y += 6
        values = [value for _, value, _ in rows if value is not None]
        shortest = min((value for value in values if value > 0), default=1)
        longest = max(values, default=1)
        if cut is not None:
            longest = min(longest, cut * shortest)
        longest = longest or 1
        for label, value, style in rows:
            out += row(y, label, value, style, label_room, bar_room, longest)
            y += ROW
    for line in wrapped(note, 7.1) if note else ():
        y += 17
        out.append(text(MARGIN, y, line, "small"))
    height = y + MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}"'
        f' viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">\n'
        f"  <title>{escape(title)}</title>\n"
        f"  <style>{CSS}\n  </style>\n"
        '  <defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse"'
        ' patternTransform="rotate(45)"><path class="hatch" d="M1.5 0V6" stroke-width="3"/>'
        "</pattern></defs>\n"
        f'  <rect class="page" width="{WIDTH}" height="{height}" rx="6"/>\n'
        + "".join(f"  {line}\n" for line in out)
        + "</svg>\n"
    )


def row(y, label, value, style, label_room, bar_room, longest) -> list[str]:
    """The elements of one bar whose row begins at `y`."""
    own = " own" if style == OURS else ""
    base = y + ROW / 2 + 5
    label += "†" if style == SKIPS else ""
    room = int((label_room - 8) / CHARACTER) + 1
    if len(label) > room:
        label = label[: room - 1] + "…"
    left = MARGIN + label_room
    out = [text(left - 8, base, label, own.strip(), 'text-anchor="end"')]
    if value is None:
        return out + [text(left, base - 1, "no number", "small")]
    length = max(1.5, bar_room * min(value, longest) / longest)
    top = y + (ROW - BAR) / 2
    out.append(f'<rect class="{style}" x="{left:.1f}" y="{top:.1f}" width="{length:.1f}"'
               f' height="{BAR}" rx="2"/>')
    if value > longest:
        at = left + length - 14
        out.append(f'<path class="cut" d="M{at:.1f} {top + BAR + 2:.1f} l6 {-BAR - 4}"/>')
    out.append(text(left + length + 6, base, number(value), own.strip()))
    return out


def text(x: float, y: float, content: str, style="", more="") -> str:
    style = f' class="{style}"' if style else ""
    more = f" {more}" if more else ""
    return f'<text{style} x="{x:.1f}" y="{y:.1f}"{more}>{escape(content)}</text>'


def number(value: float) -> str:
    """Three digits that mean something; thousands apart from each other."""
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 1 or value == 0 else f"{value:.3f}"


def wrapped(content: str, character: float) -> list[str]:
    """Lines that fit into the chart; SVG does not wrap."""
    room = int((WIDTH - 2 * MARGIN) / character)
    lines = [""]
    for word in content.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > room:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + word
    return lines
