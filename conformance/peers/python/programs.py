"""Programs to run in tests, and waiting with a limit."""

import asyncio
import functools
import json
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
VICTIM = [sys.executable, pathlib.Path(__file__).with_name("victim.py")]
# The time that a wait may take before it is a failure. Nothing is expected to take long.
PATIENCE = 60


@functools.cache
def target_directory():
    metadata = subprocess.run(
        ["cargo", "metadata", "--no-deps", "--format-version", "1"],
        cwd=ROOT, capture_output=True, check=True)
    return pathlib.Path(json.loads(metadata.stdout)["target_directory"])


def provod():
    return os.environ.get("PROVOD_BIN") or target_directory() / "release" / "provod"


def echo_client():
    return (os.environ.get("PROVOD_ECHO_CLIENT")
            or target_directory() / "release" / "examples" / "echo_client")


def within(awaitable):
    return asyncio.wait_for(awaitable, PATIENCE)


class Program:
    """A running program. Its standard output and error are collected, apart."""

    @classmethod
    async def start(cls, test, *command):
        """The program is gone when `test` is over."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *map(str, command), stdin=pipe, stdout=pipe, stderr=pipe)
        program = cls(process)
        test.addAsyncCleanup(program.kill)
        return program

    @classmethod
    async def listening(cls, test, *command):
        """A program that prints where it listens; `url` is that address."""
        program = await cls.start(test, *command)
        match = await program.line(r"ws://127\.0\.0\.1:\d+/")
        program.url = match.group()
        return program

    def __init__(self, process):
        self.process = process
        self.out = bytearray()
        self.err = bytearray()
        self.changed = asyncio.Event()
        self.readers = [asyncio.create_task(self._read(process.stdout, self.out)),
                        asyncio.create_task(self._read(process.stderr, self.err))]

    async def _read(self, stream, into):
        while data := await stream.read(1 << 16):
            into += data
            self.changed.set()
        self.changed.set()

    async def until(self, condition):
        """Waits until the output makes `condition` true; returns what it gave."""
        async def wait():
            while not (found := condition()):
                if all(reader.done() for reader in self.readers):
                    raise AssertionError(f"it ended: {self.told()}")
                self.changed.clear()
                await self.changed.wait()
            return found
        return await within(wait())

    async def line(self, pattern):
        return await self.until(lambda: re.search(pattern, self.out.decode("utf-8", "replace")))

    def told(self):
        return (self.out[-2000:] + self.err).decode("utf-8", "replace")

    def write(self, data):
        self.process.stdin.write(data)

    def finish(self, data=b""):
        """Writes the last of the input."""
        self.process.stdin.write(data)
        self.process.stdin.close()

    async def ended(self):
        """Waits for its end; returns the exit status, negative for a signal."""
        await within(asyncio.gather(*self.readers))
        return await within(self.process.wait())

    async def end(self):
        """Asks it to end as a user would; returns the exit status."""
        self.process.terminate()
        return await self.ended()

    async def kill(self):
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        await asyncio.gather(*self.readers, return_exceptions=True)
