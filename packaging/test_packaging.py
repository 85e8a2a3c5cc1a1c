"""What can be proved of the unit and the container file without a system of their own, and that
the guide names what the server tells.

    cargo build --release
    python3 packaging/test_packaging.py
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
UNIT = HERE / "provod.service"
DROP_IN = HERE / "provod.service.d" / "unix-socket.conf"
INSTALLED = "/usr/local/bin/provod"


def built() -> str:
    """The binary; the environment variable PROVOD_BIN goes first."""
    if "PROVOD_BIN" in os.environ:
        return os.environ["PROVOD_BIN"]
    metadata = subprocess.run(
        ["cargo", "metadata", "--no-deps", "--format-version", "1"],
        cwd=HERE, check=True, capture_output=True,
    )
    return str(Path(json.loads(metadata.stdout)["target_directory"]) / "release" / "provod")


PROVOD = built()


@contextlib.contextmanager
def served(address: str):
    """`provod serve`, to its end by SIGTERM; gives its port."""
    command = [PROVOD, "serve", "--log", "warn", address]
    with subprocess.Popen(command, text=True, stdout=subprocess.PIPE) as server:
        try:
            yield int(re.search(r":(\d+)/", server.stdout.readline())[1])
        finally:
            server.terminate()
    if server.returncode != 0:
        raise AssertionError(f"provod serve ended with {server.returncode}")


def seconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(ms|s|min)", text).groups()
    return float(number) * {"ms": 0.001, "s": 1, "min": 60}[unit]


class Unit(unittest.TestCase):
    def setUp(self):
        self.directory = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.directory)

    def installed(self, *drop_ins: Path, change=lambda text: text) -> Path:
        """The unit as it would be installed, but with the binary that was built."""
        unit = self.directory / UNIT.name
        unit.write_text(change(UNIT.read_text()).replace(INSTALLED, PROVOD))
        for drop_in in drop_ins:
            place = self.directory / f"{UNIT.name}.d"
            place.mkdir(exist_ok=True)
            (place / drop_in.name).write_text(drop_in.read_text().replace(INSTALLED, PROVOD))
        return unit

    def complaints(self, unit: Path) -> str:
        """What systemd says of the unit and its drop-ins. It reads others of the machine, too."""
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", unit],
            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        lines = done.stdout.splitlines()
        return "\n".join(line for line in lines if UNIT.name in line)

    def test_systemd_understands_every_line(self):
        self.assertEqual(self.complaints(self.installed()), "")
        self.assertEqual(self.complaints(self.installed(DROP_IN)), "")
        wrong = self.installed(change=lambda text: text.replace("ProtectSystem", "ProtectSystm"))
        self.assertIn("ProtectSystm", self.complaints(wrong))

    def test_what_is_left_open_is_little(self):
        # In tenths: systemd gives 10.0 to a unit that restricts nothing, and 1.2 to this one.
        limit = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=15"]
        for drop_ins in [(), (DROP_IN,)]:
            done = subprocess.run(
                [*limit, self.installed(*drop_ins)], text=True, capture_output=True)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        loose = self.installed(change=lambda text: text.replace("CapabilityBoundingSet=", ""))
        done = subprocess.run([*limit, loose], text=True, capture_output=True)
        self.assertNotEqual(done.returncode, 0)

    def test_a_drain_is_over_before_the_service_is_killed(self):
        usage = subprocess.run(
            [PROVOD, "serve", "--help"], text=True, check=True, capture_output=True).stdout
        defaults = [
            seconds(re.search(rf"--{option} <TIME>.*?\[default: (\S+)\]", usage, re.S)[1])
            for option in ("drain-notice", "drain", "close-timeout")
        ]
        allowed = seconds(re.search(r"^TimeoutStopSec=(\S+)$", UNIT.read_text(), re.M)[1])
        self.assertGreater(allowed, sum(defaults))


class Container(unittest.TestCase):
    FILE = (HERE / "Containerfile").read_text().replace("\\\n", " ")

    def line(self, instruction: str) -> str:
        """The last line with this instruction, without it."""
        return re.findall(rf"^{instruction} (.*)$", self.FILE, re.M)[-1]

    def test_the_health_check_tells_a_server_from_none(self):
        check = json.loads(self.line("HEALTHCHECK").partition("CMD")[2])
        server = json.loads(self.line("ENTRYPOINT")) + json.loads(self.line("CMD"))
        self.assertEqual([check[0], server[0]], ["/provod", "/provod"])
        self.assertEqual(server[2], f"0.0.0.0:{self.line('EXPOSE')}")
        with served("0.0.0.0:0") as port:
            check = [PROVOD, *check[1:-1], check[-1].replace("8080", str(port))]
            well = subprocess.run(check, stdin=subprocess.DEVNULL, capture_output=True)
            self.assertEqual((well.returncode, well.stdout, well.stderr), (0, b"", b""))
        gone = subprocess.run(check, stdin=subprocess.DEVNULL, capture_output=True)
        self.assertEqual(gone.returncode, 5, gone.stderr)

    def test_it_is_nobody_and_is_asked_to_end_by_sigterm(self):
        user, group = self.line("USER").split(":")
        self.assertGreater(min(int(user), int(group)), 0)
        self.assertEqual(self.line("STOPSIGNAL"), "SIGTERM")

    def test_only_what_is_copied_is_in_the_context(self):
        ignored = (HERE.parent / ".containerignore").read_text().split()
        copied = re.findall(r"^COPY (?!--from)(.*) \S+$", self.FILE, re.M)
        self.assertEqual(ignored, ["*", *(f"!{name}" for line in copied for name in line.split())])


class Guide(unittest.TestCase):
    GUIDE = (HERE.parent / "docs" / "guide" / "operating.md").read_text()

    def test_it_names_every_metric_and_no_other(self):
        with served("127.0.0.1:0") as port:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/_provod/metrics") as answer:
                told = re.findall(r"^# TYPE (\S+)", answer.read().decode(), re.M)
        rows = re.findall(r"^\| (`provod_.*?) \|", self.GUIDE, re.M)
        named = [name for row in rows for name in re.findall(r"provod_\w+", row)]
        self.assertGreater(len(told), 0)
        self.assertEqual(sorted(named), sorted(told))


if __name__ == "__main__":
    unittest.main()
