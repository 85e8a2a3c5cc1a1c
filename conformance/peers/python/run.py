#!/usr/bin/env python3
"""Python's `websockets` as client and as server of programs of ours.

Installs the pinned release into an environment of its own, once, and runs the tests there.
Arguments are those of `python3 -m unittest`, such as `-k close`.
"""

import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
CACHE = HERE.parents[1] / ".cache" / "websockets"
REQUIREMENTS = HERE / "requirements.txt"


def environment():
    """The environment's Python."""
    python = CACHE / "bin" / "python"
    stamp = CACHE / "installed"
    wanted = f"{sys.version}\n{REQUIREMENTS.read_text()}"
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"installing {REQUIREMENTS.relative_to(HERE)} into {CACHE}", flush=True)
        shutil.rmtree(CACHE, ignore_errors=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([sys.executable, "-m", "venv", CACHE], check=True)
        subprocess.run([*pip, "-r", REQUIREMENTS], check=True)
        stamp.write_text(wanted)
    return python


def main():
    chosen = sys.argv[1:] or ["discover"]
    command = [environment(), "-m", "unittest", *chosen, "--verbose"]
    return subprocess.run(command, cwd=HERE, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
