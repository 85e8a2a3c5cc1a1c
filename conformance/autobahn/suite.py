"""The Autobahn Testsuite as a child process: its environment, its list of cases, its reports.

Nothing here knows which role is being tested: `fuzzingclient` and `fuzzingserver` take the same
kind of spec and write the same reports.
"""

import collections
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent
CACHE = HERE.parent / ".cache" / "autobahn"
REQUIREMENTS = HERE / "requirements.txt"
# The last release that can still make an environment for CPython 2.7.
VIRTUALENV = "virtualenv==20.21.1"

# The number of cases in the pinned release. Fewer means that the suite was not run whole.
ALL_CASES = 517
ACCEPTED = ("OK", "INFORMATIONAL")

# Printed by the environment's own Python: the ids that the patterns stand for, in the order run.
_RESOLVE = """
import json, sys
from autobahntestsuite.case import (
    Cases, CaseCategories, CaseSubCategories, CaseSetname, CaseBasename)
from autobahntestsuite.caseset import CaseSet
known = CaseSet(CaseSetname, CaseBasename, Cases, CaseCategories, CaseSubCategories)
ids = known.parseSpecCases({"cases": sys.argv[1:]})
print(json.dumps([i for i in ids if i in known.CasesById]))
"""


class SuiteError(Exception):
    """The suite cannot be run; the message says what to do about it."""


class Result(collections.namedtuple("Result", "case behavior behavior_close report")):
    """The two verdicts of one case: on the messages, and on how the connection ended."""

    @property
    def passed(self):
        return self.behavior in ACCEPTED and self.behavior_close in ACCEPTED

    @property
    def verdict(self):
        """One word for tables: the verdict that decides."""
        if self.behavior not in ACCEPTED or self.behavior_close in ACCEPTED:
            return self.behavior
        return "close " + self.behavior_close

    def __str__(self):
        return f"{self.behavior}, close {self.behavior_close}"


def not_run(case):
    """The result of a case for which the suite left no report."""
    return Result(case, "NOT RUN", "NOT RUN", None)


def order(case):
    """Sorts 2.1 before 10.1."""
    return [int(part) for part in case.split(".")]


def family(case):
    """The number in front of a case or of a pattern."""
    return int(case.split(".")[0])


def find_python2():
    """A CPython 2.7 that starts, or None. A pyenv shim without a version behind it does not."""
    pyenv = pathlib.Path(os.environ.get("PYENV_ROOT") or pathlib.Path.home() / ".pyenv")
    installed = sorted(pyenv.glob("versions/2.7*/bin/python2.7"))
    for candidate in [*installed, shutil.which("python2.7"), "/usr/bin/python2.7"]:
        if candidate and starts(candidate):
            return str(candidate)
    return None


def starts(python):
    """Whether this interpreter is whole. An environment may outlive the one it was made of."""
    try:
        return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


class Suite:
    """An installed testsuite. Building one makes its environment, once per set of pins."""

    def __init__(self):
        self.bin = CACHE / "python2.7" / "bin"
        stamp = CACHE / "installed"
        wanted = f"{VIRTUALENV}\n{REQUIREMENTS.read_text()}"
        current = stamp.exists() and stamp.read_text() == wanted
        if not current or not starts(self.bin / "python"):
            self._install()
            stamp.write_text(wanted)

    def _install(self):
        python2 = find_python2()
        if python2 is None:
            raise SuiteError(
                "no CPython 2.7 found: the Autobahn Testsuite runs on nothing newer\n"
                "(install 2.7 with pyenv, or Debian 11's python2.7 and python2.7-dev)"
            )
        print(f"installing the Autobahn Testsuite for {python2} into {CACHE}", flush=True)
        shutil.rmtree(CACHE, ignore_errors=True)
        maker = CACHE / "virtualenv"
        pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        for command in (
            [sys.executable, "-m", "venv", maker],
            [maker / "bin" / "python", *pip, VIRTUALENV],
            [maker / "bin" / "virtualenv", "--quiet", "-p", python2, self.bin.parent],
            [self.bin / "python", *pip, "-r", REQUIREMENTS],
        ):
            quiet = {**os.environ, "PIP_NO_PYTHON_VERSION_WARNING": "1"}
            if subprocess.run(command, env=quiet, check=False).returncode != 0:
                raise SuiteError("failed: " + " ".join(map(str, command)))

    def cases(self, patterns):
        """The ids of the cases that `patterns` (`9.*`, `12.1.*`, `7.1.6`) stand for."""
        python = [self.bin / "python", "-c", _RESOLVE]
        listed = subprocess.run([*python, *patterns], capture_output=True, text=True, check=False)
        if listed.returncode != 0:
            raise SuiteError(f"the testsuite cannot list its cases:\n{listed.stderr}")
        return json.loads(listed.stdout)

    def start(self, mode, spec, directory):
        """Starts `wstest` in `mode`; the spec, the log and the reports go to `directory`."""
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        # An outdir of its own: wstest rewrites what it finds there.
        spec_file = directory / "spec.json"
        spec_file.write_text(json.dumps({**spec, "outdir": str(directory / "cases")}, indent=1))
        # Without the web page that the fuzzingserver would show on a port of its own.
        command = [self.bin / "wstest", "-m", mode, "-s", spec_file, "-u", "0"]
        return WsTest(command, directory)


class Child:
    """A running program whose output goes to a log."""

    def __init__(self, command, log):
        self.log = log
        with log.open("wb") as out:
            try:
                self.process = subprocess.Popen(
                    # Unbuffered Python, so that the log tells how far it has come.
                    command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                    env={**os.environ, "PYTHONUNBUFFERED": "1"},
                )
            except OSError as error:
                raise SuiteError(f"cannot start {command[0]}: {error}") from error

    def status(self):
        """The exit status; None while it runs."""
        return self.process.poll()

    def running(self):
        return self.status() is None

    def stop(self):
        stop(self.process)

    def text(self):
        return self.log.read_text("utf-8", "replace")


class WsTest(Child):
    """A running `wstest`."""

    def __init__(self, command, directory):
        super().__init__(command, directory / "wstest.log")
        self.directory = directory

    def started_cases(self):
        """The cases that it has begun, in order."""
        return re.findall(r"^Running test case ID (\S+)", self.text(), re.MULTILINE)

    def wait_for_listener(self, url, seconds=60):
        """Waits until a `fuzzingserver` takes connections at `url`."""
        address = urllib.parse.urlsplit(url)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.running():
            try:
                socket.create_connection((address.hostname, address.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        self.stop()
        raise SuiteError(f"the fuzzingserver does not listen on {url}; it said:\n{self.text()}")

    def results(self, agent):
        """Results by case. Empty when it was stopped: the reports are written at its end."""
        index = self.directory / "cases" / "index.json"
        if not index.exists():
            return {}
        pages = index.parent
        return {
            case: Result(case, entry["behavior"], entry["behaviorClose"],
                         pages / pathlib.Path(entry["reportfile"]).with_suffix(".html"))
            for case, entry in json.loads(index.read_text()).get(agent, {}).items()
        }


class Program:
    """A program of ours under test: one line on its standard output says where it listens."""

    def __init__(self, command, ready, log, seconds=30):
        """Waits for a line in which the expression `ready` matches; `url` is its first group."""
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        self._ready = threading.Event()
        self.url = None
        try:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT)
        except OSError as error:
            raise SuiteError(f"cannot start {command[0]}: {error}") from error
        threading.Thread(target=self._copy, args=(re.compile(ready),), daemon=True).start()
        self._ready.wait(seconds)
        if self.url is None:
            self.stop()
            raise SuiteError(
                f"{' '.join(map(str, command))}\nprinted no line like {ready!r}; it said:\n"
                + log.read_text("utf-8", "replace"))

    def _copy(self, ready):
        # Reading goes on to the end, so that the program never blocks on a full pipe.
        with self.log.open("wb") as log:
            for line in self.process.stdout:
                log.write(line)
                log.flush()
                match = ready.search(line.decode("utf-8", "replace"))
                if match and self.url is None:
                    self.url = match.group(1)
                    self._ready.set()
        self._ready.set()

    def running(self):
        return self.process.poll() is None

    def stop(self):
        """Asks it to end as a user would (SIGTERM) and returns the exit status."""
        return stop(self.process)


def free_port():
    """A port of 127.0.0.1 that is free now. A fuzzingserver must be told its port: it checks the
    one in the Host header against it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def stop(process, seconds=30):
    """Ends a child, by force after `seconds`; returns its exit status."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()
