"""The tools that people use today, each with its commands to encrypt and to decrypt a file; who is absent says why."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.measure import BenchError, random_file
from benchmarks.node import ROOT

_MOUNT_LIMIT_S = 10.0


@dataclass(frozen=True)
class Peer:
    """One tool.

    Attributes:
        name: As in the table.
        encrypt: Command; `{in}` and `{out}` stand for the files.
        decrypt: Command.
        environment: Added to ours.
    """

    name: str
    encrypt: Sequence[str]
    decrypt: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


def fill(command: Sequence[str], source: Path, target: Path) -> list[str]:
    """A command with its files."""
    files = {"{in}": str(source), "{out}": str(target)}
    return [files.get(word, word) for word in command]


def find(folder: Path, absent: dict[str, str]) -> list[Peer]:
    """The tools that are here; the others are told in `absent`."""
    key = random_file(folder / "peer.key", 32)
    return [
        _driver("AES-256-GCM loop, by hand", "aesgcm_loop", key),
        *_age(folder, absent),
        *_pyrage(folder, absent),
        *_openssl(key, absent),
        *_gpg(folder, absent),
        *_tink(key, absent),
        *_aws(key, absent),
    ]


def _driver(name: str, module: str, key: Path, *option: str) -> Peer:
    words = [sys.executable, "-m", f"benchmarks.drivers.{module}"]
    files = [str(key), "{in}", "{out}", *option]
    place = {"PYTHONPATH": str(ROOT)}
    return Peer(name, [*words, "encrypt", *files], [*words, "decrypt", *files], place)


def _missing(name: str, absent: dict[str, str], *, tool: str = "", library: str = "") -> bool:
    if tool and shutil.which(tool) is None:
        absent[name] = f"the command {tool} is not installed"
    elif library and importlib.util.find_spec(library) is None:
        absent[name] = f"the Python library {library} is not installed"
    else:
        return False
    return True


def _age(folder: Path, absent: dict[str, str]) -> list[Peer]:
    if _missing("age", absent, tool="age"):
        return []
    identity = age_identity(folder)
    return [
        Peer(
            "age (X25519)",
            ["age", "-r", age_recipient(identity), "-o", "{out}", "{in}"],
            ["age", "-d", "-i", str(identity), "-o", "{out}", "{in}"],
        )
    ]


def age_identity(folder: Path) -> Path:
    """A key pair of age, made once."""
    path = folder / "age.key"
    if not path.exists():
        subprocess.run(["age-keygen", "-o", str(path)], check=True, capture_output=True)
    return path


def age_recipient(identity: Path) -> str:
    """Its public half."""
    line = next(line for line in identity.read_text().splitlines() if "public key:" in line)
    return line.rpartition(" ")[2]


def _pyrage(folder: Path, absent: dict[str, str]) -> list[Peer]:
    name = "pyrage (X25519)"
    if _missing(name, absent, library="pyrage") or _missing(name, absent, tool="age-keygen"):
        return []
    return [_driver(name, "pyrage_file", age_identity(folder))]


def _openssl(key: Path, absent: dict[str, str]) -> list[Peer]:
    if _missing("openssl", absent, tool="openssl"):
        return []
    words = ["openssl", "enc", "-aes-256-ctr", "-K", key.read_bytes().hex(), "-iv", "00" * 16]
    files = ["-in", "{in}", "-out", "{out}"]
    return [Peer("openssl enc, CTR", [*words, *files], [*words, "-d", *files])]


def _gpg(folder: Path, absent: dict[str, str]) -> list[Peer]:
    if _missing("gpg", absent, tool="gpg"):
        return []
    home, secret = folder / "gpg", folder / "gpg.pass"
    home.mkdir(mode=0o700, exist_ok=True)
    secret.write_text(os.urandom(16).hex())
    words = ["gpg", "--homedir", str(home), "--batch", "--pinentry-mode", "loopback"]
    words += ["--passphrase-file", str(secret), "-o", "{out}"]
    sealing = ["--symmetric", "--cipher-algo", "AES256", "--compress-algo", "none"]
    return [Peer("gpg --symmetric", [*words, *sealing, "{in}"], [*words, "--decrypt", "{in}"])]


def end_gpg(folder: Path) -> None:
    """End the agent that gpg started for our key folder."""
    home = folder / "gpg"
    if home.is_dir():
        words = ["gpgconf", "--homedir", str(home), "--kill", "all"]
        subprocess.run(words, check=False, capture_output=True)


def _tink(key: Path, absent: dict[str, str]) -> list[Peer]:
    if _missing("Tink (Python)", absent, library="tink"):
        return []
    return [
        _driver(f"Tink Python, {size}", "tink_stream", key, f"AES256_GCM_HKDF_{size}")
        for size in ("4KB", "1MB")
    ]


def _aws(key: Path, absent: dict[str, str]) -> list[Peer]:
    name = "AWS Encryption SDK, 1 MiB"
    if _missing(name, absent, library="aws_encryption_sdk"):
        return []
    return [_driver(name, "aws_stream", key)]


class Gocryptfs:
    """A mounted gocryptfs, in the foreground, so that its CPU and memory can be counted."""

    def __init__(self, folder: Path) -> None:
        folder = Path(tempfile.mkdtemp(prefix="gocryptfs-", dir=folder))
        self._sealed, self.mount = folder / "sealed", folder / "mounted"
        self._secret = folder / "gocryptfs.pass"
        self._log = folder / "gocryptfs.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Make a file system and mount it.

        Raises:
            BenchError: It cannot be; says why.
        """
        if shutil.which("gocryptfs") is None:
            raise BenchError("the command gocryptfs is not installed")
        if not Path("/dev/fuse").exists():
            raise BenchError("there is no /dev/fuse")
        self._sealed.mkdir()
        self.mount.mkdir()
        self._secret.write_text(os.urandom(16).hex())
        words = ["gocryptfs", "-q", "-passfile", str(self._secret)]
        made = subprocess.run(
            [*words, "-init", "-scryptn", "10", str(self._sealed)],
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode != 0:
            raise BenchError(f"gocryptfs -init: {made.stderr.strip()[-300:]}")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*words, "-fg", str(self._sealed), str(self.mount)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._wait()

    def _wait(self) -> None:
        end = time.monotonic() + _MOUNT_LIMIT_S
        while not os.path.ismount(self.mount):
            ended = self._process is None or self._process.poll() is not None
            if ended or time.monotonic() > end:
                self.stop()
                told = self._log.read_text(errors="replace").strip()[-300:]
                raise BenchError(f"it cannot mount here: {told or 'no answer'}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Unmount; its process then ends."""
        if self._process is None:
            return
        if os.path.ismount(self.mount):
            subprocess.run(["fusermount", "-u", str(self.mount)], check=False, capture_output=True)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.terminate()
            self._process.wait()
        self._process = None
