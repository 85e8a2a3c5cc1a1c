#!/usr/bin/env python3
"""The Autobahn Testsuite as a client against a server of ours: `provod listen`.

The cases run in up to three `wstest` processes side by side, because one alone takes some twenty
minutes. A case passes when both of its verdicts are OK or INFORMATIONAL. Each that does not is run
once more with nothing beside it, and both results are printed.
"""

import argparse
import collections
import json
import pathlib
import re
import subprocess
import sys
import time

from suite import (ALL_CASES, Program, Suite, SuiteError, family, not_run, order)

ROOT = pathlib.Path(__file__).resolve().parents[2]
REPORTS = ROOT / "conformance" / "reports" / "autobahn-server"
AGENT = "provod"
LISTEN = ["listen", "127.0.0.1:0", "--compress-threshold", "0"]
LISTENING = r"(ws://127\.0\.0\.1:\d+/)"
# Families by process. The compressed ones take ten times as long as all others together, and about
# equally long: a core each.
GROUPS = {"12": [12], "13": [13], "1-10": range(1, 11)}
POLL_SECONDS = 0.2
PROGRESS_SECONDS = 60


class Clock:
    """The outer time limit, shared by everything that waits."""

    def __init__(self, minutes):
        self.start = time.monotonic()
        self.minutes = minutes

    def seconds(self):
        return time.monotonic() - self.start

    def expired(self):
        return self.seconds() > self.minutes * 60


def client_spec(url, cases):
    return {"servers": [{"agent": AGENT, "url": url}], "cases": cases}


def default_binary():
    """Where `cargo build --release` puts the tool."""
    metadata = subprocess.run(
        ["cargo", "metadata", "--no-deps", "--format-version", "1"],
        cwd=ROOT, capture_output=True, text=True, check=False)
    if metadata.returncode != 0:
        raise SuiteError(f"cargo metadata failed:\n{metadata.stderr}")
    return pathlib.Path(json.loads(metadata.stdout)["target_directory"]) / "release" / "provod"


def run_side_by_side(suite, url, groups, clock, alive):
    """Runs each group of cases in a process of its own; returns the results and what went wrong."""
    runs = {name: suite.start("fuzzingclient", client_spec(url, cases), REPORTS / name)
            for name, cases in groups.items()}
    waiting = set(runs)
    next_progress = clock.seconds() + PROGRESS_SECONDS
    trouble = None
    try:
        while waiting and trouble is None:
            time.sleep(POLL_SECONDS)
            for name in sorted(waiting):
                if not runs[name].running():
                    waiting.remove(name)
                    print(f"  {name}: done after {clock.seconds():.0f} s", flush=True)
            if waiting and not alive():
                trouble = "the server is gone"
            elif waiting and clock.expired():
                trouble = f"not finished within the limit of {clock.minutes} minutes"
            elif waiting and clock.seconds() > next_progress:
                next_progress += PROGRESS_SECONDS
                print(f"  {clock.seconds():4.0f} s: " + where_they_are(runs, groups, waiting),
                      flush=True)
        if trouble:
            trouble += ": " + where_they_are(runs, groups, waiting)
    finally:
        for run in runs.values():
            run.stop()
    results = {}
    for run in runs.values():
        results.update(run.results(AGENT))
    return results, trouble


def where_they_are(runs, groups, names):
    parts = []
    for name in sorted(names):
        started = runs[name].started_cases()
        last = started[-1] if started else "none"
        parts.append(f"{name} at case {last} ({len(started)} of {len(groups[name])})")
    return ", ".join(parts)


def print_table(results):
    """Counts by verdict, one line per family and one for all."""
    families = collections.defaultdict(collections.Counter)
    for result in results:
        families[family(result.case)][result.verdict] += 1
        families["all"][result.verdict] += 1
    for name, counts in families.items():
        if name != "all":
            print_row(f"{name}.*", counts)
    print_row("all", families["all"])


def print_row(name, counts):
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    print(f"  {name:5} {sum(counts.values()):4} cases: {verdicts}")


def rerun(suite, url, failed, clock, alive):
    """Runs the failed cases again, one after the other; returns those that failed both times."""
    print(f"running {len(failed)} failed cases again, one at a time", flush=True)
    again, trouble = run_side_by_side(
        suite, url, {"rerun": [result.case for result in failed]}, clock, alive)
    still = []
    for first in failed:
        second = again.get(first.case, not_run(first.case))
        kind = "flaky " if second.passed else "FAILED"
        print(f"  {kind} {first.case}: first {first}; alone {second}")
        if not second.passed:
            still.append(second)
            if second.report:
                print(f"         {second.report.relative_to(ROOT)}")
    return still, trouble


def test_server(suite, url, cases, clock, alive):
    """Runs `cases` against the server at `url` and prints what came of it.

    Returns the numbers of cases that passed and that did not, and what else went wrong or None.
    """
    groups = {}
    for name, families in GROUPS.items():
        ids = [case for case in cases if family(case) in families]
        if ids:
            groups[name] = ids
    print(f"{len(cases)} cases against {url}: "
          + ", ".join(f"{name} ({len(ids)})" for name, ids in groups.items()), flush=True)
    found, trouble = run_side_by_side(suite, url, groups, clock, alive)
    results = [found.get(case, not_run(case)) for case in sorted(cases, key=order)]
    print_table(results)
    failed = [result for result in results if not result.passed]
    if failed and trouble is None:
        failed, trouble = rerun(suite, url, failed, clock, alive)
    if failed:
        print(f"{len(failed)} cases failed: " + " ".join(result.case for result in failed))
    return len(results) - len(failed), len(failed), trouble


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    target = parser.add_mutually_exclusive_group()
    target.add_argument("--binary", type=pathlib.Path,
                        help="the provod to start (default: that of cargo build --release)")
    target.add_argument("--url", help="a ws:// address of an echo server that runs already")
    parser.add_argument("--cases", metavar="1.*,2.*",
                        help="only these cases; without it, fewer than all of them is a failure")
    parser.add_argument("--takeover", action="store_true",
                        help="start it so that it keeps the compression context where it may")
    parser.add_argument("--limit", type=float, default=45, metavar="MINUTES",
                        help="give up after this long (default: %(default)s)")
    chosen = parser.parse_args()
    for pattern in (chosen.cases or "").split(",") if chosen.cases is not None else []:
        if not re.fullmatch(r"\d+(\.\d+)*(\.\*)?", pattern):
            parser.error(f"--cases takes ids and patterns such as 7.1.6,9.*; not {pattern!r}")
    return chosen


def run(chosen):
    suite = Suite()
    clock = Clock(chosen.limit)
    cases = suite.cases(chosen.cases.split(",") if chosen.cases else ["*"])
    if not cases:
        raise SuiteError(f"the suite has no case that --cases {chosen.cases} names")
    problems = []
    if chosen.url:
        passed, failed, trouble = test_server(suite, chosen.url, cases, clock, lambda: True)
    else:
        compress = "--compress=takeover" if chosen.takeover else "--compress"
        command = [chosen.binary or default_binary(), *LISTEN, compress]
        print("$ " + " ".join(map(str, command)), flush=True)
        server = Program(command, LISTENING, REPORTS / "server.log")
        try:
            passed, failed, trouble = test_server(suite, server.url, cases, clock, server.running)
        finally:
            status = server.stop()
        if status != 0:
            problems.append(f"the server ended with status {status}, not 0 after SIGTERM: see "
                            + str(server.log.relative_to(ROOT)))
    if trouble:
        problems.append(trouble)
    if not chosen.cases and len(cases) != ALL_CASES:
        problems.append(f"the suite listed {len(cases)} cases; {ALL_CASES} are expected")
    for problem in problems:
        print(f"failure: {problem}")
    print(f"reports: {REPORTS.relative_to(ROOT)}/*/cases/index.html; {clock.seconds():.0f} s")
    print(f"autobahn: {passed} passed, {failed + len(problems)} failed", flush=True)
    return 1 if failed or problems else 0


def main():
    try:
        return run(arguments())
    except SuiteError as error:
        print(f"failure: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
