import unittest

import measure
from cells import BY_NAME
from servers import all_servers


def report(**changes):
    latency = {"p50": 10.04, "p99": 99.96}
    server = {"cpu_us_per_message": 0.36421, "cores": 0.95, "rss_per_connection": 450.4}
    whole = {
        "valid": True, "reasons": [], "open_loop": None, "latency_us": latency, "server": server,
        "failures": {"total": 0, "first": []}, "generator": {"busy": 0.9, "waited": 0.01},
        "messages": {"rate": 1e6, "extensions": "", "wire_bytes_per_reply": 22.0},
    }
    return whole | changes


BUSY = "the generator was the limit: it was busy 97 % of the time; give it --threads"
WAITED = "the generator was the limit: it waited for a processor 30 % of the time"


class Extracts(unittest.TestCase):
    def test_a_good_run(self):
        row = measure.extract(report(), BY_NAME["p20"], 0.02)
        self.assertEqual(row, {"disturbed": 0.02, "cpu_us": 0.3642, "cores": 0.95, "busy": 0.9,
                               "rate": 1_000_000, "p50_us": 10.0, "p99_us": 100.0})

    def test_a_busy_generator_leaves_the_servers_time_and_no_speed(self):
        row = measure.extract(report(valid=False, reasons=[BUSY]), BY_NAME["p20"], 0)
        self.assertEqual(row["cpu_us"], 0.3642)
        self.assertFalse({"rate", "p99_us", "not_valid"} & set(row))

    def test_other_limits_leave_nothing(self):
        for changes in ({"reasons": [WAITED, BUSY]}, {"reasons": [BUSY], "open_loop": {"due": 1}}):
            row = measure.extract(report(valid=False, **changes), BY_NAME["hs2k"], 0)
            self.assertIn("generator was the limit", row["not_valid"])

    def test_failures_are_no_measurement(self):
        failures = {"total": 3, "first": ["a reply is missing"]}
        with self.assertRaisesRegex(measure.Broken, "a reply is missing"):
            measure.extract(report(failures=failures), BY_NAME["p20"], 0)

    def test_memory_is_bytes_and_compression_its_size_on_the_wire(self):
        self.assertEqual(measure.extract(report(), BY_NAME["idle"], 0)["bytes"], 450)
        messages = {"rate": 1.0, "extensions": "permessage-deflate", "wire_bytes_per_reply": 300.04}
        row = measure.extract(report(messages=messages), BY_NAME["d1k"], 0)
        self.assertEqual((row["wire_bytes"], row["extensions"]), (300.0, "permessage-deflate"))


class Servers(unittest.TestCase):
    def test_names_are_unique_and_every_row_has_peers(self):
        known = all_servers()
        names = [server.name for server in known]
        self.assertEqual(len(names), len(set(names)))
        for cell in BY_NAME.values():
            kinds = [server.kind for server in known if server.offers(cell)]
            self.assertIn("ours", kinds)
            self.assertGreaterEqual(kinds.count("peer"), 2, cell.name)
            self.assertEqual("floor" in kinds, cell.bare)

    def test_a_batching_loop_is_taken_where_there_is_one(self):
        known = {server.name: server for server in all_servers()}
        command = known["axum"].command(BY_NAME["p20"], 4711)
        self.assertEqual(command[1:], ["4711", "batch"])
        self.assertEqual(known["wtx"].command(BY_NAME["p20"], 4711)[1:], ["4711", "echo"])
        self.assertIn("--compress=takeover", known["provod"].command(BY_NAME["d1kt"], 1))


class Fails(unittest.TestCase):
    def test_a_server_that_ends_says_what_it_said(self):
        with self.assertRaisesRegex(measure.Broken, "it ended with 3: no room"):
            with measure.started(lambda port: ["sh", "-c", "echo no room >&2; exit 3"]):
                self.fail("it is not there")
        with self.assertRaisesRegex(measure.Broken, "cannot be started"):
            with measure.started(lambda port: ["/nowhere/server"]):
                self.fail("it is not there")


if __name__ == "__main__":
    unittest.main()
