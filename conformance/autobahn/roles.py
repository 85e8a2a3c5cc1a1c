"""The two roles that a program of ours plays for the Autobahn Testsuite.

A role runs *parts*, each some cases in a `wstest` of its own. A part that was started can be asked
whether it is `running()`, which cases it has begun, and in the end for its `results()`.
"""

import json
import pathlib
import subprocess

from suite import Child, Program, SuiteError, free_port

ROOT = pathlib.Path(__file__).resolve().parents[2]
REPORTS = ROOT / "conformance" / "reports"
AGENT = "provod"


def built(*parts):
    """Where `cargo build --release` puts a program."""
    metadata = subprocess.run(
        ["cargo", "metadata", "--no-deps", "--format-version", "1"],
        cwd=ROOT, capture_output=True, text=True, check=False)
    if metadata.returncode != 0:
        raise SuiteError(f"cargo metadata failed:\n{metadata.stderr}")
    return pathlib.Path(json.loads(metadata.stdout)["target_directory"], "release", *parts)


class ServerRole:
    """`provod listen` echoes; `fuzzingclient` connects to it. All parts share the one server."""

    name = "server"
    reports = REPORTS / "autobahn-server"
    listening = r"(ws://127\.0\.0\.1:\d+/)"

    def __init__(self, binary=None, url=None, takeover=False):
        """With `url`, the server runs already, and nothing is started or ended."""
        self.program = None
        self.url = url
        if url is None:
            compress = "--compress=takeover" if takeover else "--compress"
            command = [binary or built("provod"), "listen", "127.0.0.1:0",
                       "--compress-threshold", "0", compress]
            print("$ " + " ".join(map(str, command)), flush=True)
            self.program = Program(command, self.listening, self.reports / "server.log")
            self.url = self.program.url

    def start(self, suite, part, cases):
        spec = {"servers": [{"agent": AGENT, "url": self.url}], "cases": cases}
        return ServerPart(suite.start("fuzzingclient", spec, self.reports / part))

    def trouble(self):
        """What makes it useless to go on, or None."""
        return None if self.program is None or self.program.running() else "the server is gone"

    def end(self):
        """Ends what was started; returns what went wrong with it, or None."""
        status = self.program.stop() if self.program else 0
        if status == 0:
            return None
        return (f"the server ended with status {status}, not 0 after SIGTERM: see "
                + str(self.program.log.relative_to(ROOT)))


class ServerPart:
    """A `fuzzingclient` that plays some cases and ends."""

    def __init__(self, wstest):
        self.wstest = wstest
        self.running = wstest.running
        self.started_cases = wstest.started_cases
        self.stop = wstest.stop

    def results(self):
        return self.wstest.results(AGENT)


class ClientRole:
    """The example `autobahn_client` connects to a `fuzzingserver`, one of each for each part."""

    name = "client"
    reports = REPORTS / "autobahn-client"

    def __init__(self, binary=None, takeover=False):
        self.command = [binary or built("examples", "autobahn_client")]
        self.options = ["--takeover"] if takeover else []
        self.ended_badly = []
        print("$ " + " ".join(map(str, [*self.command, "ws://127.0.0.1:PORT", *self.options])),
              flush=True)

    def start(self, suite, part, cases):
        url = f"ws://127.0.0.1:{free_port()}"
        directory = self.reports / part
        wstest = suite.start("fuzzingserver", {"url": url, "cases": cases}, directory)
        try:
            wstest.wait_for_listener(url)
            command = [*self.command, url, *self.options, "--at-once", str(at_once(part))]
            client = Child(command, directory / "client.log")
        except BaseException:
            wstest.stop()
            raise
        return ClientPart(wstest, client, self.ended_badly)

    def trouble(self):
        """A client that ends badly ends one part: the others go on."""
        return None

    def end(self):
        """What went wrong with the clients, or None."""
        return "; ".join(self.ended_badly) or None


class ClientPart:
    """A client of ours and the `fuzzingserver` that it asks for cases until there are no more."""

    def __init__(self, wstest, client, ended_badly):
        self.wstest = wstest
        self.client = client
        self.ended_badly = ended_badly
        self.started_cases = wstest.started_cases

    def running(self):
        status = self.client.status()
        if status is None:
            return True
        if self.wstest.running():
            # Its reports are written: the client asked for them before it ended.
            self.wstest.stop()
            if status != 0:
                said = self.client.text().strip().splitlines() or ["nothing"]
                self.ended_badly.append(
                    f"the client in {self.client.log.parent.relative_to(ROOT)} ended with status "
                    f"{status} and said: {said[-1]}")
        return False

    def stop(self):
        self.client.stop()
        self.wstest.stop()

    def results(self):
        return self.wstest.results(AGENT)


def at_once(part):
    """Cases that the client asks for side by side: the short ones mostly wait, all others keep a
    core busy."""
    return 8 if part == SHORT else 1


# The names of the parts with the cases 1 to 10. Those of long messages keep the testsuite's one
# thread from everything else for more than a second, after which it drops a connection whose
# closing handshake it has not read: nothing runs beside them.
SHORT = "1-10"
LONG = "9"


def parts(cases):
    """Cases by the part in which they run. The compressed ones take ten times as long as all others
    together: each of their subcategories is a part, so that the cores are busy to the end."""
    found = {}
    for case in cases:
        numbers = case.split(".")
        if int(numbers[0]) > 10:
            name = ".".join(numbers[:2])
        else:
            name = LONG if numbers[0] == LONG else SHORT
        found.setdefault(name, []).append(case)
    return found
