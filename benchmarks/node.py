"""The node that is measured: in a temporary folder, with compiled bytecode, driven by its own commands."""

import compileall
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import BenchError

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
ADMIN = "admin"
_STOP_LIMIT_S = 60


@dataclass(frozen=True)
class Node:
    """A node in the folder `home`, its secrets beside it."""

    folder: Path

    @property
    def home(self) -> Path:
        """The data directory."""
        return self.folder / "node"

    @property
    def password_file(self) -> Path:
        """The administrator's password."""
        return self.folder / "password"

    @property
    def environment(self) -> dict[str, str]:
        """What its commands need; the bytecode of a checkout is compiled, as an installation's is."""
        return {"STRONGROOM_HOME": str(self.home), "HOME": str(self.folder)}

    def command(self, *words: str | Path) -> list[str]:
        """A command of the product."""
        return [str(BIN / words[0]), *map(str, words[1:])]

    def run(self, *words: str | Path) -> str:
        """Run a command; returns its output.

        Raises:
            BenchError: It failed.
        """
        done = subprocess.run(
            self.command(*words),
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise BenchError(f"'{' '.join(map(str, words))}' failed: {done.stderr.strip()[-2000:]}")
        return done.stdout

    def pids(self) -> tuple[int, int]:
        """The server that runs, and its backgrounder; it is replaced where it fails, so ask anew."""
        note = json.loads((self.home / "tabsvc" / "serve.json").read_text())
        return note["pid"], note["backgrounder_pid"]

    @contextlib.contextmanager
    def serving(self, *options: str) -> Iterator[str]:
        """Serve on a free port; gives the address, or that of the last door if options open others."""
        with (self.folder / "serve.log").open("wb") as log:
            process = subprocess.Popen(
                self.command("strongroom", "serve", "--host", "127.0.0.1", "--port", "0", *options),
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        try:
            line = process.stdout.readline() if process.stdout else ""
            if line and options and process.stdout:
                line = process.stdout.readline().replace("ready vault: ", "ready: ")
            if not line.startswith("ready: "):
                told = (self.folder / "serve.log").read_text(errors="replace")[-2000:]
                raise BenchError(f"the server did not start: {line!r} {told}")
            yield line.removeprefix("ready: ").strip()
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout:
                process.stdout.close()


def create(folder: Path) -> Node:
    """A new node; the product's bytecode is compiled first, so that nobody pays for it while measured."""
    compileall.compile_dir(str(ROOT / "src"), quiet=2)
    node = Node(folder)
    node.password_file.touch(mode=0o600)
    node.password_file.write_text(os.urandom(16).hex() + "\n")
    node.run("strongroom", "init", "--admin", ADMIN, "--admin-password-file", node.password_file)
    return node
