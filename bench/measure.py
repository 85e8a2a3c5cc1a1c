"""One measurement: a fresh server on one core, `provod bench` on another."""

import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

PORTS = range(18_000, 20_000)  # below those that the system gives to clients
STARTS_WITHIN = 15.0  # seconds
RETRIES = 2
# A measurement from which others took more than this share of a core's time is repeated.
DISTURBED = 0.05


class Broken(Exception):
    """A measurement that did not come about, and why."""


@dataclass(frozen=True)
class Rig:
    """What all measurements share. Cores are None where nothing is pinned."""

    generator: Path
    seconds: float
    warm_up: float
    server_core: int | None
    load_core: int | None


def raise_descriptor_limit():
    """Children inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def pinned(core: int | None):
    return None if core is None else lambda: os.sched_setaffinity(0, {core})


def free_port(start: list = [0]) -> int:
    """One that was not used lately: its last connections may linger."""
    for _ in PORTS:
        start[0] = (start[0] + 1) % len(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", PORTS[start[0]]))
                return PORTS[start[0]]
            except OSError:
                continue
    raise Broken("no port is free")


@contextlib.contextmanager
def started(command_for, core: int | None = None):
    """Runs a server until the block ends; gives its process and port."""
    port = free_port()
    with tempfile.TemporaryFile() as log:
        try:
            process = subprocess.Popen(
                command_for(port), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=pinned(core))
        except OSError as error:
            raise Broken(f"it cannot be started: {error}") from error
        try:
            wait_for(port, process, log)
            yield process, port
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for(port: int, process: subprocess.Popen, log):
    end = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < end:
        if process.poll() is not None:
            log.seek(0)
            said = log.read()[-300:].decode(errors="replace").strip()
            raise Broken(f"it ended with {process.returncode}: {said}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5):
            return
        time.sleep(0.02)
    raise Broken("it does not listen")


def stolen() -> float:
    """Seconds that a hypervisor has taken from this machine's cores since it started."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
        return int(fields[8]) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError):
        return 0.0


def ran(pid: int) -> float:
    """Seconds of processor time that the threads of a process have had."""
    total = 0
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError, IndexError):
            total += int(path.read_text().split()[0])
    return total / 1e9


def busy(core: int | None) -> float:
    """Seconds in which a core has worked for anybody."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name == f"cpu{core}":
            user, nice, system, _, _, irq, softirq = map(int, fields[:7])
            return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
    return 0.0


def once(rig: Rig, cell, server) -> dict:
    """Measures; raises `Broken` where there is nothing to report."""
    with started(lambda port: server.command(cell, port), rig.server_core) as (process, port):
        words = [str(rig.generator), "bench", cell.scenario, f"ws://127.0.0.1:{port}/",
                 "--pid", str(process.pid), "--json", "-", *cell.options]
        if server.kind == "floor":
            words.append("--raw")
        if not cell.is_memory:
            words += ["--duration", f"{rig.seconds}s", "--warm-up", f"{rig.warm_up}s", "--spin"]
        before = time.monotonic(), stolen(), busy(rig.server_core), ran(process.pid)
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=120,
                                  preexec_fn=pinned(rig.load_core))
        except subprocess.TimeoutExpired:
            raise Broken("provod bench did not end within two minutes") from None
        after = time.monotonic(), stolen(), busy(rig.server_core), ran(process.pid)
        took, lost, worked, served = (b - a for a, b in zip(before, after))
        # What others did on the server's core, or a hypervisor with either.
        disturbed = max(lost, worked - served, 0.0) / took
    try:
        report = json.loads(done.stdout)
    except ValueError:
        raise Broken(done.stderr.strip()[-300:] or f"exit status {done.returncode}") from None
    return extract(report, cell, disturbed)


def extract(report: dict, cell, disturbed: float) -> dict:
    """What the results keep of a report."""
    failures = report["failures"]
    if failures["total"]:
        raise Broken("; ".join(failures["first"][:2]) or "failures")
    server, latency = report["server"], report["latency_us"]
    kept = {"disturbed": round(max(disturbed, report["generator"]["waited"]), 3)}
    if cell.is_memory:
        kept["bytes"] = round(server["rss_per_connection"])
        return kept
    kept |= {
        "cpu_us": round(server["cpu_us_per_message"] or 0, 4),
        "cores": round(server["cores"], 3),
        "busy": round(report["generator"]["busy"], 3),
    }
    if report["messages"]["extensions"]:
        kept["wire_bytes"] = round(report["messages"]["wire_bytes_per_reply"] or 0, 1)
        kept["extensions"] = report["messages"]["extensions"]
    reasons = report["reasons"]
    if report["open_loop"] or not all("it was busy" in reason for reason in reasons):
        if reasons:
            kept["not_valid"] = "; ".join(reasons)
        reasons = []
    # In a closed loop with a generator that is the limit, the server is charged for what it did all
    # the same; how fast it could have been is not known.
    if not reasons:
        kept |= {
            "rate": round(report["messages"]["rate"]),
            "p50_us": round(latency["p50"], 1),
            "p99_us": round(latency["p99"], 1),
        }
    return kept


def measure(rig: Rig, cell, server) -> dict:
    """Measures, again where others disturbed it; the least disturbed attempt counts."""
    best = None
    for _ in range(1 + RETRIES):
        try:
            now = once(rig, cell, server)
        except Broken as why:
            return best or {"failed": str(why)}
        if best is None or now["disturbed"] < best["disturbed"]:
            best = now
        if best["disturbed"] <= DISTURBED or cell.is_memory:
            break
    return best
