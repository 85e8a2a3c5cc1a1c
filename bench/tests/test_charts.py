import unittest
import xml.etree.ElementTree as xml

import charts
from charts import FLOOR, OURS, PEER, SKIPS

SVG = "{http://www.w3.org/2000/svg}"


def drawn(svg):
    """The chart's bars, as (style, width), and its texts."""
    root = xml.fromstring(svg)
    rects = [r for r in root.iter(SVG + "rect") if r.get("class") != "page"]
    return [(r.get("class"), float(r.get("width"))) for r in rects], [
        t.text for t in root.iter(SVG + "text")]


class Charts(unittest.TestCase):
    def test_lengths_are_in_proportion_and_numbers_are_written_out(self):
        bars, texts = drawn(charts.bars("Echo", "µs", [("a", 1.0, OURS), ("b", 4.0, PEER)]))
        (own, short), (peer, long) = bars
        self.assertEqual((own, peer), ("ours", "peer"))
        self.assertAlmostEqual(long / short, 4, places=1)
        self.assertIn("1.00", texts)
        self.assertIn("µs, lower is better", texts)

    def test_a_long_bar_is_cut_and_keeps_its_number(self):
        svg = charts.bars("x", "µs", [("a", 1, OURS), ("b", 80, PEER)], cut=4)
        bars, texts = drawn(svg)
        self.assertAlmostEqual(bars[1][1] / bars[0][1], 4, places=1)
        self.assertIn("80.0", texts)
        self.assertEqual(svg.count('class="cut"'), 1)

    def test_groups_have_scales_of_their_own(self):
        bars, texts = drawn(charts.groups("x", "µs", [
            ("small", [("a", 1, PEER)]), ("large", [("a", 900, FLOOR)])]))
        self.assertEqual(bars[0][1], bars[1][1])
        self.assertIn("small", texts)

    def test_a_skipped_check_is_hatched_and_marked_and_a_missing_value_is_told(self):
        bars, texts = drawn(charts.bars("x", "µs", [("a", 1, SKIPS), ("b", None, PEER)]))
        self.assertEqual([style for style, _ in bars], ["skips"])
        self.assertIn("a†", texts)
        self.assertIn("no number", texts)

    def test_text_is_escaped_and_long_text_stays_inside(self):
        svg = charts.bars("a < b & c " * 12, "µs", [("<" * 60, 1, PEER)], note="word " * 60)
        _, texts = drawn(svg)
        self.assertTrue(all(len(line) < 80 for line in texts), texts)

    def test_nothing_and_zero_are_no_reason_to_fail(self):
        drawn(charts.bars("x", "µs", []))
        drawn(charts.bars("x", "µs", [("a", 0, PEER)], cut=4))


if __name__ == "__main__":
    unittest.main()
