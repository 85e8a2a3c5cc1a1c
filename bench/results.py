"""A results file, and the arithmetic on it: medians over rounds, ratios paired within rounds."""

import json
import os
import statistics
from pathlib import Path

from probe import MARKED

SCHEMA = 1
# A measurement of time from which others took more than this share of a core is none.
SPOILT = 0.2
OURS, FLOOR = "ours", "floor"


class Results:
    """What was measured. `data` is the file's content."""

    def __init__(self, data: dict):
        self.data = data
        self._rounds: dict[tuple[str, str], dict[int, dict]] = {}
        for row in data["measurements"]:
            self._rounds.setdefault((row["cell"], row["server"]), {})[row["round"]] = row

    @staticmethod
    def read(path: Path) -> "Results":
        data = json.loads(path.read_text())
        if data.get("schema") != SCHEMA:
            raise ValueError(f"{path}: its schema is {data.get('schema')}, not {SCHEMA}")
        return Results(data)

    @property
    def servers(self) -> dict[str, dict]:
        return self.data["servers"]

    def cells(self) -> list[str]:
        return list(dict.fromkeys(row["cell"] for row in self.data["measurements"]))

    def measured(self, cell: str) -> list[str]:
        """The servers that took part in a row, in the file's order."""
        return [name for name in self.servers if (cell, name) in self._rounds]

    def kind(self, server: str) -> str:
        return self.servers[server]["kind"]

    def skipped(self, server: str) -> list[str]:
        """The checks that a server does not make, of those that are marked."""
        answers = self.data["probes"].get(server, {})
        return [check for check in MARKED if not answers.get(check, True)]

    def valid(self, cell: str, server: str) -> dict[int, dict]:
        """The rounds that say something about the server."""
        rounds = self._rounds.get((cell, server), {})
        return {number: row for number, row in rounds.items() if why_invalid(row) is None}

    def why_not(self, cell: str, server: str) -> str | None:
        """Why there is no number: most rounds failed or are not valid. None where there is one."""
        rounds = self._rounds.get((cell, server), {})
        if 2 * len(self.valid(cell, server)) >= len(rounds) > 0:
            return None
        return next(filter(None, map(why_invalid, rounds.values())), "not measured")

    def values(self, cell: str, server: str, key: str) -> dict[int, float]:
        """By round; nothing where fewer than half of the rounds have it."""
        rows = self.valid(cell, server) if self.why_not(cell, server) is None else {}
        found = {number: row[key] for number, row in rows.items() if row.get(key)}
        return found if 2 * len(found) >= len(rows) else {}

    def median(self, cell: str, server: str, key: str) -> float | None:
        values = self.values(cell, server, key).values()
        return statistics.median(values) if values else None

    def ratio(self, cell: str, server: str, other: str, key: str) -> float | None:
        """The median of the ratios to another server's value of the same round.

        Within a round the two were measured shortly one after the other, so what changes the
        machine's speed from round to round is not in it.
        """
        mine, theirs = self.values(cell, server, key), self.values(cell, other, key)
        ratios = [mine[number] / theirs[number] for number in mine if number in theirs]
        return statistics.median(ratios) if ratios else None

    def best(self, cell: str, key: str, checking=False) -> str | None:
        """The peer with the lowest median; `checking` leaves out those that skip checks."""
        peers = [(self.median(cell, name, key), name) for name in self.measured(cell)
                 if self.kind(name) not in (OURS, FLOOR)
                 and not (checking and self.skipped(name))]
        known = [(value, name) for value, name in peers if value is not None]
        return min(known)[1] if known else None


def why_invalid(row: dict) -> str | None:
    """Why a measurement says nothing about the server; None where it does."""
    if "cpu_us" in row and row["disturbed"] > SPOILT:
        return "others used the cores"
    return row.get("failed") or row.get("not_valid")


def write(path: Path, data: dict):
    """One measurement a line: a file that is compared line by line. Never leaves half a file."""
    rows = data["measurements"]
    head = json.dumps(data | {"measurements": []}, indent=1, ensure_ascii=False)
    lines = ",\n  ".join(json.dumps(row, ensure_ascii=False) for row in rows)
    empty = '"measurements": []'
    assert head.count(empty) == 1
    text = head.replace(empty, f'"measurements": [\n  {lines}\n ]' if rows else empty)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text + "\n")
    os.replace(fresh, path)
