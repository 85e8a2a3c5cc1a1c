#!/usr/bin/env python3
"""The Autobahn Testsuite against a server and against a client of ours.

The cases run in several `wstest` processes side by side, because one alone takes some twenty
minutes for each role. A case passes when both of its verdicts are OK or INFORMATIONAL. Each that
does not is run once more with nothing beside it, and both results are printed.
"""

import argparse
import collections
import os
import pathlib
import re
import sys
import time

from roles import ROOT, ClientRole, ServerRole, parts
from suite import ALL_CASES, Suite, SuiteError, family, not_run, order

POLL_SECONDS = 0.2
PROGRESS_SECONDS = 60
Job = collections.namedtuple("Job", "role part cases")


class Clock:
    """The outer time limit, shared by everything that waits."""

    def __init__(self, minutes):
        self.start = time.monotonic()
        self.minutes = minutes

    def seconds(self):
        return time.monotonic() - self.start

    def expired(self):
        return self.seconds() > self.minutes * 60


class Running:
    """Runs jobs, some at a time, in the order given; collects results by role and case."""

    def __init__(self, suite, clock, at_once):
        self.suite = suite
        self.clock = clock
        self.at_once = at_once
        self.runs = {}
        self.results = collections.defaultdict(dict)

    def all(self, jobs):
        """Runs all of them; returns what kept some from running to their end, or None."""
        waiting = collections.deque(jobs)
        next_progress = self.clock.seconds() + PROGRESS_SECONDS
        try:
            while waiting or self.runs:
                while waiting and len(self.runs) < self.at_once:
                    job = waiting.popleft()
                    self.runs[job.role.name, job.part] = (
                        job, job.role.start(self.suite, job.part, job.cases))
                time.sleep(POLL_SECONDS)
                self._collect()
                trouble = self._trouble()
                if trouble:
                    return f"{trouble}: {self._where()}"
                if self.runs and self.clock.seconds() > next_progress:
                    next_progress += PROGRESS_SECONDS
                    print(f"  {self.clock.seconds():4.0f} s: {self._where()}", flush=True)
            return None
        finally:
            for job, run in self.runs.values():
                run.stop()
                self.results[job.role].update(run.results())
            self.runs.clear()

    def _collect(self):
        for key, (job, run) in list(self.runs.items()):
            if not run.running():
                del self.runs[key]
                self.results[job.role].update(run.results())
                print(f"  {' '.join(key)}: done after {self.clock.seconds():.0f} s", flush=True)

    def _trouble(self):
        for job, _ in self.runs.values():
            trouble = job.role.trouble()
            if trouble:
                return trouble
        if self.runs and self.clock.expired():
            return f"not finished within the limit of {self.clock.minutes} minutes"
        return None

    def _where(self):
        told = []
        for (role, part), (job, run) in self.runs.items():
            started = run.started_cases()
            last = started[-1] if started else "none"
            told.append(f"{role} {part} at case {last} ({len(started)} of {len(job.cases)})")
        return ", ".join(told) or "nothing was running"


def print_table(role, results):
    """Counts by verdict, one line per family and one for all."""
    families = collections.defaultdict(collections.Counter)
    for result in results:
        families[family(result.case)][result.verdict] += 1
        families["all"][result.verdict] += 1
    print(f"{role.name}:")
    for name, counts in families.items():
        if name != "all":
            print_row(f"{name}.*", counts)
    print_row("all", families["all"])


def print_row(name, counts):
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    print(f"  {name:5} {sum(counts.values()):4} cases: {verdicts}")


def rerun(suite, clock, role, failed):
    """Runs the failed cases again with nothing beside them; returns those that failed both times,
    and what kept some from running."""
    print(f"running {len(failed)} failed cases of the {role.name} again, one at a time", flush=True)
    alone = Running(suite, clock, 1)
    trouble = alone.all([Job(role, "rerun", [result.case for result in failed])])
    still = []
    for first in failed:
        second = alone.results[role].get(first.case, not_run(first.case))
        kind = "flaky " if second.passed else "FAILED"
        print(f"  {kind} {first.case}: first {first}; alone {second}")
        if not second.passed:
            still.append(second)
            if second.report:
                print(f"         {second.report.relative_to(ROOT)}")
    return still, trouble


def test(suite, clock, roles, cases, at_once):
    """Runs `cases` in each role and prints what came of it.

    Returns for each role the numbers of cases that passed and that did not, and what else went
    wrong.
    """
    jobs = [Job(role, part, ids) for part, ids in parts(cases).items() for role in roles]
    print(f"{len(cases)} cases as {' and '.join(role.name for role in roles)}, "
          f"{at_once} processes at a time", flush=True)
    running = Running(suite, clock, at_once)
    trouble = running.all(jobs)
    outcome = {}
    for role in roles:
        found = running.results[role]
        results = [found.get(case, not_run(case)) for case in sorted(cases, key=order)]
        print_table(role, results)
        failed = [result for result in results if not result.passed]
        problems = [trouble] if trouble else []
        if failed and trouble is None:
            failed, again = rerun(suite, clock, role, failed)
            problems += [again] if again else []
        if failed:
            print(f"{len(failed)} cases failed as {role.name}: "
                  + " ".join(result.case for result in failed))
        outcome[role] = (len(results) - len(failed), len(failed), problems)
    return outcome


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--role", choices=["server", "client", "both"],
                        help="what of ours is tested (default: both)")
    parser.add_argument("--binary", type=pathlib.Path,
                        help="the provod to start as the server, or the autobahn_client as the "
                             "client (default: those of cargo build --release)")
    parser.add_argument("--url", help="a ws:// address of an echo server that runs already")
    parser.add_argument("--cases", metavar="1.*,2.*",
                        help="only these cases; without it, fewer than all of them is a failure")
    parser.add_argument("--takeover", action="store_true",
                        help="keep the compression context where that may be")
    parser.add_argument("--processes", type=int, metavar="N", default=(os.cpu_count() or 1) + 1,
                        help="testsuites that run side by side (default: %(default)s)")
    parser.add_argument("--limit", type=float, default=45, metavar="MINUTES",
                        help="give up after this long (default: %(default)s)")
    chosen = parser.parse_args()
    if chosen.url and (chosen.binary or chosen.role not in (None, "server")):
        parser.error("--url is about a server that runs already: no --binary, no other --role")
    if chosen.url:
        chosen.role = "server"
    chosen.role = chosen.role or "both"
    if chosen.binary and chosen.role == "both":
        parser.error("--binary needs --role server or --role client")
    if chosen.processes < 1:
        parser.error("--processes takes a number above 0")
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
    roles = []
    ended = {}
    try:
        if chosen.role in ("server", "both"):
            roles.append(ServerRole(chosen.binary, chosen.url, chosen.takeover))
        if chosen.role in ("client", "both"):
            roles.append(ClientRole(chosen.binary, chosen.takeover))
        outcome = test(suite, clock, roles, cases, chosen.processes)
    finally:
        for role in roles:
            ended[role] = role.end()
    green = True
    for role, (passed, failed, problems) in outcome.items():
        if ended[role]:
            problems.append(ended[role])
        if not chosen.cases and len(cases) != ALL_CASES:
            problems.append(f"the suite listed {len(cases)} cases; {ALL_CASES} are expected")
        for problem in problems:
            print(f"failure of the {role.name}: {problem}")
        print(f"reports: {role.reports.relative_to(ROOT)}/*/cases/index.html")
        print(f"autobahn: {passed} passed, {failed + len(problems)} failed", flush=True)
        green = green and not failed and not problems
    print(f"{clock.seconds():.0f} s")
    return 0 if green else 1


def main():
    try:
        return run(arguments())
    except SuiteError as error:
        print(f"failure: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
