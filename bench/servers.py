"""The servers that are measured: how each is built, started, and which version it is."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PEERS = HERE / "peers"
BUILT = Path(os.environ.get("BENCH_TARGET", HERE / "target")).resolve()
CRATES = BUILT / "peers"
VENV = BUILT / "venv"

# How Provod is built like the peers, whose profiles say the same. They also abort where a thread
# panics, which is to their advantage: Provod as it ships goes on.
TUNED = {
    "RUSTFLAGS": "-C target-cpu=native",
    "CARGO_PROFILE_RELEASE_LTO": "fat",
    "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "1",
}
OURS, PEER, FLOOR = "ours", "peer", "floor"


@dataclass(frozen=True)
class Server:
    """A server; `modes` maps what it can do to the arguments behind its program."""

    name: str
    label: str
    modes: dict[str, list[str]]
    program: list[str] = field(default_factory=list)
    kind: str = PEER
    # The lock file's name for it, where that is not its own.
    package: str = ""

    def offers(self, cell) -> list[str] | None:
        """The arguments for a row; None where this server has no part in it."""
        if self.kind == FLOOR and not cell.bare:
            return None
        wanted = {"batch": ("batch", "echo"), "takeover": ("takeover", "deflate")}
        for mode in wanted.get(cell.mode, (cell.mode,)):
            if mode in self.modes:
                return self.modes[mode]
        return None

    def command(self, cell, port: int) -> list[str]:
        return self.program + [word.replace("PORT", str(port)) for word in self.offers(cell)]


def modes(*names: str) -> dict[str, list[str]]:
    return {name: ["PORT", name] for name in names}


def crate(name: str, label: str, *offered: str, package="", **more) -> Server:
    program = [str(CRATES / "release" / f"peer-{name}")]
    return Server(name, label, modes(*offered), program, package=package or name, **more)


def provod(name: str, label: str, binary: Path) -> Server:
    listen = ["listen", "127.0.0.1:PORT", "--workers", "1"]
    serve = ["serve", "127.0.0.1:PORT", "--workers", "1"]
    small = ["--compress-threshold", "0"]
    offered = {
        "echo": listen,
        "deflate": [*listen, *small, "--compress"],
        "takeover": [*listen, *small, "--compress=takeover"],
        "broadcast": serve,
        "broadcast-deflate": [*serve, *small],
    }
    return Server(name, label, offered, [str(binary)], OURS)


def bun() -> str:
    """npm puts it there by a script of its own, or leaves it where its package for a system is."""
    modules = PEERS / "node" / "node_modules"
    found = [modules / "bun" / "bin" / "bun.exe", *modules.glob("@oven/bun-*/bin/bun")]
    large = [path for path in found if path.exists() and path.stat().st_size > 1 << 20]
    return str((large or found)[0])


def all_servers(binary: Path | None = None) -> list[Server]:
    """Provod first; `binary` takes the place of both builds of it."""
    python = [str(VENV / "bin" / "python")]
    ours = [provod("provod", "Provod", binary)] if binary else [
        provod("provod", "Provod", tuned_binary()),
        provod("provod-plain", "Provod, plain build", BUILT / "plain" / "release" / "provod"),
    ]
    bare_handshake = Server(
        "fastwebsockets-bare", "fastwebsockets, bare", {"echo": ["PORT", "bare"]},
        [str(CRATES / "release" / "peer-fastwebsockets")], package="fastwebsockets")
    return [
        crate("bare-epoll", "bare epoll echo", "echo", kind=FLOOR, package="-"),
        *ours,
        crate("provod-async", "Provod, async fn", "echo", kind=OURS, package="provod"),
        crate("tokio-tungstenite", "tokio-tungstenite", "echo", "batch", "broadcast"),
        crate("fastwebsockets", "fastwebsockets", "echo", "broadcast"),
        bare_handshake,
        crate("tokio-websockets", "tokio-websockets", "echo", "batch", "broadcast"),
        crate("sockudo-ws", "sockudo-ws", "echo", "batch", "deflate", "broadcast"),
        # It compresses too, but wants clients to do so with 9 bits, and `provod bench` uses 12.
        crate("yawc", "yawc", "echo", "batch", "broadcast"),
        crate("wtx", "wtx", "echo"),
        crate("axum", "axum", "echo", "batch", "broadcast"),
        Server("bun", "Bun", modes("echo", "deflate", "broadcast", "broadcast-deflate"),
               [bun(), str(PEERS / "node" / "bun.mjs")]),
        Server("ws", "Node ws", modes("echo", "deflate", "broadcast", "broadcast-deflate"),
               ["node", str(PEERS / "node" / "ws.mjs")]),
        Server("picows", "picows", modes("echo", "broadcast"),
               [*python, str(PEERS / "python" / "picows_server.py")]),
        Server("websockets", "Python websockets",
               modes("echo", "deflate", "broadcast", "broadcast-deflate"),
               [*python, str(PEERS / "python" / "websockets_server.py")]),
    ]


def tuned_binary() -> Path:
    return BUILT / "tuned" / "release" / "provod"


def why_missing(server: Server) -> str | None:
    """Why a server cannot be started; None where it can."""
    for word in [server.program[0], *(w for w in server.program[1:] if w.endswith(".mjs"))]:
        if shutil.which(word) is None and not Path(word).exists():
            what = "is not on the path" if "/" not in word else "is not built: bench/run setup"
            return f"{Path(word).name} {what}"
    if server.name == "ws" and not (PEERS / "node" / "node_modules" / "ws").exists():
        return "the package ws is not installed: bench/run setup"
    return None


def setup(names: set[str] | None) -> list[str]:
    """Builds and installs; what fails is told, and does not keep the rest from being built."""
    failed = []

    def run(what: str, command: list[str], cwd: Path, **environment: str):
        print(f"== {what}", flush=True)
        try:
            done = subprocess.run(command, cwd=cwd, env=os.environ | environment).returncode == 0
        except FileNotFoundError as error:
            print(error)
            done = False
        if not done:
            failed.append(what)

    build = ["cargo", "build", "--release", "--locked"]
    run("provod", [*build, "-p", "provod-cli"], ROOT,
        **TUNED, CARGO_TARGET_DIR=str(BUILT / "tuned"))
    run("provod, plain build", [*build, "-p", "provod-cli"], ROOT,
        RUSTFLAGS="", CARGO_TARGET_DIR=str(BUILT / "plain"))
    for server in all_servers():
        folder = PEERS / server.name
        if folder.is_dir() and (names is None or server.name in names):
            run(server.name, build, folder,
                RUSTFLAGS=TUNED["RUSTFLAGS"], CARGO_TARGET_DIR=str(CRATES))
    if names is None or names & {"bun", "ws"}:
        run("bun and ws", ["npm", "ci", "--no-audit", "--no-fund"], PEERS / "node")
    if names is None or names & {"picows", "websockets"}:
        run("a virtual environment", [sys.executable, "-m", "venv", str(VENV)], HERE)
        pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet",
               "--disable-pip-version-check", "--requirement", "requirements.txt"]
        run("picows and websockets", pip, PEERS / "python")
    return failed


def said(*command: str) -> str:
    """What a program prints; empty where there is none."""
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


def version(server: Server) -> str:
    """Out of the lock files, or of the program itself."""
    if server.name in ("provod", "provod-plain"):
        return said(server.program[0], "--version").removeprefix("provod ")
    if server.name in ("bun", "ws"):
        lock = json.loads((PEERS / "node" / "package-lock.json").read_text())
        return lock["packages"][f"node_modules/{server.name}"]["version"]
    if server.name in ("picows", "websockets"):
        text = (PEERS / "python" / "requirements.txt").read_text()
        return re.search(rf"(?m)^{server.name}==(\S+)", text)[1]
    folder = PEERS / server.name.removesuffix("-bare")
    lock = tomllib.loads((folder / "Cargo.lock").read_text())
    found = [p["version"] for p in lock["package"] if p["name"] == server.package]
    return found[0] if found else ""


def tools() -> dict[str, str]:
    """The compilers and interpreters, as they name themselves."""
    named = {
        "rustc": said("rustc", "--version"),
        "node": said("node", "--version"),
        "python": said(str(VENV / "bin" / "python"), "--version"),
    }
    return {name: text for name, text in named.items() if text}
