import json
import tempfile
import unittest
from pathlib import Path

import results
from results import Results


def data(rows, probes=None):
    """Results of servers a and b, ours, and the bare echo; rows are (cell, server, round, more)."""
    kinds = {"provod": "ours", "bare-epoll": "floor", "a": "peer", "b": "peer"}
    servers = {name: {"label": name.upper(), "kind": kind, "version": "1.0"}
               for name, kind in kinds.items()}
    rows = [{"cell": c, "server": s, "round": n} | more for c, s, n, more in rows]
    return {
        "schema": 1, "date": "2026-11-26", "commit": "abc", "commands": ["bench/run"],
        "machine": {"cpu": "a processor", "cores": 2, "kernel": "6.1", "system": "Debian"},
        "tools": {"rustc": "rustc 1.90"}, "left_out": {"c": "it is not built"},
        "settings": {"seconds": 1.0, "warm_up": 0.4, "server_core": 0, "load_core": 1},
        "servers": servers, "probes": probes or {}, "measurements": rows,
    }


def cpu(value):
    return {"cpu_us": value, "rate": 1000, "p50_us": 1.0, "p99_us": 2.0, "disturbed": 0.0}


class Arithmetic(unittest.TestCase):
    def test_ratios_are_paired_within_rounds(self):
        # The machine gets three times slower; the ratio of each round is 2.
        rows = [("e20", "provod", n, cpu(10.0 * n)) for n in (1, 2, 3)]
        rows += [("e20", "a", n, cpu(5.0 * n)) for n in (1, 2, 3)]
        found = Results(data(rows))
        self.assertEqual(found.median("e20", "provod", "cpu_us"), 20.0)
        self.assertEqual(found.ratio("e20", "provod", "a", "cpu_us"), 2.0)

    def test_rounds_that_only_one_has_are_not_paired(self):
        rows = [("e20", "provod", 0, cpu(1.0)), ("e20", "provod", 1, cpu(9.0)),
                ("e20", "a", 0, cpu(2.0)), ("e20", "a", 1, {"failed": "gone"})]
        found = Results(data(rows))
        self.assertEqual(found.ratio("e20", "provod", "a", "cpu_us"), 0.5)
        self.assertIsNone(found.ratio("e20", "provod", "b", "cpu_us"))

    def test_a_number_takes_half_of_the_rounds(self):
        bad = cpu(1.0) | {"not_valid": "the generator was the limit: it was busy"}
        rows = [("e20", "a", 0, bad), ("e20", "a", 1, bad), ("e20", "a", 2, cpu(3.0)),
                ("e20", "b", 0, bad), ("e20", "b", 1, cpu(3.0))]
        found = Results(data(rows))
        self.assertIn("generator", found.why_not("e20", "a"))
        self.assertIsNone(found.median("e20", "a", "cpu_us"))
        self.assertEqual(found.median("e20", "b", "cpu_us"), 3.0)
        self.assertEqual(found.why_not("p20", "a"), "not measured")

    def test_what_others_took_part_in_is_no_measurement(self):
        rows = [("e20", "a", 0, cpu(9.0) | {"disturbed": 0.5}), ("e20", "a", 1, cpu(3.0)),
                ("e20", "b", 0, cpu(9.0) | {"disturbed": 0.5})]
        found = Results(data(rows))
        self.assertEqual(found.median("e20", "a", "cpu_us"), 3.0)
        self.assertEqual(found.why_not("e20", "b"), "others used the cores")

    def test_the_best_is_a_peer_and_may_be_asked_to_check(self):
        rows = [("e20", "bare-epoll", 0, cpu(1.0)), ("e20", "provod", 0, cpu(2.0)),
                ("e20", "a", 0, cpu(3.0)), ("e20", "b", 0, cpu(4.0))]
        probes = {"a": {"mask": False, "utf8": True}, "b": {"key-length": False}}
        found = Results(data(rows, probes))
        self.assertEqual(found.skipped("a"), ["mask"])
        self.assertEqual(found.best("e20", "cpu_us"), "a")
        self.assertEqual(found.best("e20", "cpu_us", checking=True), "b")
        self.assertIsNone(found.best("p20", "cpu_us"))


class Files(unittest.TestCase):
    def test_what_is_written_is_read_and_another_schema_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "new" / "results.json"
            for rows in ([], [("e20", "a", 0, cpu(1.0)), ("e20", "a", 1, cpu(2.0))]):
                results.write(path, data(rows))
                self.assertEqual(Results.read(path).data, data(rows))
            path.write_text(json.dumps(data([]) | {"schema": 2}))
            with self.assertRaisesRegex(ValueError, "schema is 2"):
                Results.read(path)


if __name__ == "__main__":
    unittest.main()
