import re
import tempfile
import unittest
import xml.etree.ElementTree as xml
from pathlib import Path

import cells
import report
from probe import CHECKS
from results import Results

from tests.test_results import cpu, data


def sample():
    all_made = dict.fromkeys(CHECKS, True)
    probes = {"provod": all_made, "a": all_made | {"utf8": False}, "b": all_made}
    rows = [(cell, server, number, cpu(value + number / 10))
            for cell in ("e20", "p20", "d1k") for number in range(2)
            for server, value in (("bare-epoll", 1.0), ("provod", 2.0), ("a", 3.0), ("b", 4.0))
            if (cell, server) != ("d1k", "bare-epoll")]
    busy = {"not_valid": "the generator was the limit: it was busy 99 % of the time"}
    rows += [("t1k", "provod", 0, cpu(1.0)), ("t1k", "a", 0, cpu(1.0) | busy),
             ("t1k", "b", 0, {"failed": "it ended | with 1"})]
    rows += [("idle", server, 0, {"bytes": size, "disturbed": 0})
             for server, size in (("provod", 450), ("a", 5_772), ("b", 137_204))]
    return Results(data(rows, probes))


class Page(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory() as folder:
            written = report.write(sample(), "bench/results/x.json", Path(folder))
            cls.files = {path.name: path.read_text() for path in written}
        cls.page = cls.files["performance.md"]

    def row(self, start, part=""):
        text = self.page[self.page.index(part):]
        return next(line for line in text.splitlines() if line.startswith(start))

    def test_the_summary_names_the_best_that_checks_and_the_best_of_all(self):
        line = self.row("| echo, 20 B |")
        self.assertEqual(line, "| echo, 20 B | **2.05** | – | 1.95 | 4.05 (B) | 0.51 | 3.05 (A†) | "
                               "0.67 |")

    def test_few_rounds_are_told(self):
        self.assertIn("**A first look, of 2 rounds**", self.page)

    def test_memory_is_in_whole_bytes(self):
        self.assertIn("| **450** |", self.row("| an idle connection"))
        self.assertIn("137,204", self.page)

    def test_what_has_no_number_says_why(self):
        self.assertIn("| generator was the limit |", self.row("| A† |", "### Echo, 1 KiB of text"))
        self.assertIn("| failed |", self.row("| B |", "### Echo, 1 KiB of text"))

    def test_the_checks_are_what_the_probe_found(self):
        head = self.row("| server | key")
        answers = self.row("| A† | yes")
        place = head.split(" | ").index("utf8")
        self.assertEqual(answers.split(" | ")[place], "**no**")
        self.assertEqual(answers.count("**no**"), 1)

    def test_all_is_filled_in_and_what_was_left_out_is_told(self):
        self.assertNotIn("{{", self.page)
        self.assertIn("- c: it is not built", self.page)
        self.assertIn("`bench/run`", self.page)
        self.assertIn("a processor, 2 cores", self.page)

    def test_tables_are_whole(self):
        for block in re.findall(r"(?:^\|.*\n)+", self.page, re.M):
            columns = {line.count(" | ") for line in block.splitlines()}
            self.assertEqual(len(columns), 1, block)

    def test_lines_of_prose_are_not_long(self):
        prose = [line for line in self.page.splitlines() if not line.startswith("|")]
        self.assertEqual([line for line in prose if len(line) > 120], [])

    def test_the_page_shows_the_charts_that_are_drawn(self):
        shown = set(re.findall(r"\(images/(performance-\w+\.svg)\)", self.page))
        drawn = {name for name in self.files if name.endswith(".svg")}
        self.assertEqual(shown, drawn)
        self.assertEqual(len(drawn), 3)
        for name in drawn:
            xml.fromstring(self.files[name])


class Rows(unittest.TestCase):
    def test_every_row_is_in_one_chart_or_about_latency(self):
        drawn = [cell for _, _, names in report.CHARTS for cell in names]
        self.assertEqual(sorted(drawn), sorted(set(drawn)))
        self.assertEqual(set(cells.BY_NAME) - set(drawn), {"one"})


if __name__ == "__main__":
    unittest.main()
