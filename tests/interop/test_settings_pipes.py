"""The seeds' shell lines for settings, verbatim, with the real gpg, and their races (C-15 … C-19; P8).

What the seeds leave open was measured: the shell waits for nobody, gpg needs seconds before
its first read, and a gpg that fails leaves an empty pipe and no exit code.
"""

import fcntl
import os
import shutil
import sqlite3
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from strongroom.node import opening
from tests.support.servers import BIN, Answer, create_node

pytestmark = [pytest.mark.interop, pytest.mark.slow]

EXPORT = (
    "mkfifo -m 600 /tmp/secure1 && (gpg --symmetric --batch --yes --passphrase-file"
    " ~/.secrets/pgppassphrase.txt --cipher-algo AES256 --output encrypted.enc < /tmp/secure1 &)"
    " && tsm settings export -f /tmp/secure1 && rm /tmp/secure1"
)
EXPORT_STEP_BY_STEP = (
    "mkfifo -m 600 /tmp/secure1\n"
    "gpg --symmetric --batch --yes --passphrase-file ~/.secrets/pgppassphrase.txt"
    " --cipher-algo AES256 --output encrypted.enc < /tmp/secure1 &\n"
    "tsm settings export -f /tmp/secure1\n"
    "rm /tmp/secure1\n"
)
IMPORT = (
    "mkfifo -m 600 /tmp/secret2 && (gpg --decrypt --batch --yes --passphrase-file"
    " ~/.secrets/pgppassphrase.txt encrypted.enc > /tmp/secret2 &)"
    " && tsm settings import -f /tmp/secret2 && rm /tmp/secret2"
)
PIPES = (Path("/tmp/secure1"), Path("/tmp/secret2"))
SECRET = "svcmonitor.notification.smtp.password"
VALUE = "a password of the pipe tests"
_PATIENCE_S = 60


class Shell:
    """A node in a short home folder, as gpg's agent needs one, and the shell that runs there."""

    def __init__(self, folder: Path) -> None:
        self.node = create_node(folder)
        self.folder = folder
        secrets = folder / ".secrets"
        secrets.mkdir(mode=0o700)
        self.passphrase = secrets / "pgppassphrase.txt"
        self.passphrase.write_text("correct horse battery staple\n")
        self.tools = folder / "tools"
        self.tools.mkdir()
        self.sealed = folder / "encrypted.enc"

    def run(self, lines: str) -> Answer:
        """Run lines as they are; what runs in the background may outlive them."""
        out, err = self.folder / "out", self.folder / "err"
        path = f"{self.tools}:{BIN}:{os.environ['PATH']}"
        with out.open("wb") as stdout, err.open("wb") as stderr:
            code = subprocess.run(
                ["bash", "-c", lines],
                cwd=self.folder,
                env=self.node.variables({"PATH": path}),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                timeout=_PATIENCE_S,
                check=False,
            ).returncode
        return Answer(code, out.read_text(), err.read_text())

    def slow_gpg(self) -> None:
        """From now on gpg comes a second late to its pipe."""
        late = self.tools / "gpg"
        late.write_text(f'#!/bin/sh\nsleep 1\nexec {shutil.which("gpg")} "$@"\n')
        late.chmod(0o755)

    def await_sealed(self) -> None:
        """Nothing tells when gpg is done but that it no longer runs."""
        limit = time.monotonic() + _PATIENCE_S
        while not (self.sealed.exists() and self.sealed.stat().st_size):
            assert time.monotonic() < limit, "gpg never wrote its file"
            time.sleep(0.05)

    def entries(self) -> list[tuple[str, int, bytes]]:
        """All of the coordination database but the tokens of its locks, which a refused command takes, too."""
        query = "SELECT key, version, value FROM entries WHERE key NOT LIKE 'locks/%' ORDER BY key"
        with closing(sqlite3.connect(self.node.home / "tabsvc/coordination/coordination.db")) as db:
            return db.execute(query).fetchall()

    def secret(self) -> bytes:
        opened = opening.open_node(str(self.node.home))
        try:
            return opened.configuration.open_secret(SECRET).reveal()
        finally:
            opened.close()

    def set_and_apply(self, value: str) -> None:
        self.node.run("tsm", "configuration", "set", "-k", SECRET, "--value-file", "-", stdin=value)
        self.node.run("tsm", "pending-changes", "apply", "--ignore-prompt")


@pytest.fixture(scope="module")
def made() -> Iterator[Shell]:
    folder = Path(tempfile.mkdtemp(prefix="sr-"))
    try:
        shell = Shell(folder)
        shell.set_and_apply(VALUE)
        yield shell
        shell.run("gpgconf --kill all")
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def shell(made: Shell) -> Iterator[Shell]:
    """The node with its one secret applied and nothing pending; no pipe, no file, the real gpg."""
    with (Path(tempfile.gettempdir()) / f"sr-pipes-{os.getuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the seeds' pipes have fixed names: one test at a time
        _remove_pipes()
        made.sealed.unlink(missing_ok=True)
        made.passphrase.write_text("correct horse battery staple\n")
        yield made
        _remove_pipes()
        (made.tools / "gpg").unlink(missing_ok=True)
        made.node.run("tsm", "pending-changes", "discard")


def _remove_pipes() -> None:
    """Also those that a killed run of these tests left; anything else under these names stays, and fails them."""
    for pipe in PIPES:
        if pipe.exists() and stat.S_ISFIFO(pipe.lstat().st_mode):
            pipe.unlink()


def export(shell: Shell, lines: str = EXPORT) -> None:
    done = shell.run(lines)
    assert done.code == 0, done.err
    assert "warning: " in done.err  # C-14: plain text, and it says so
    assert not PIPES[0].exists()
    shell.await_sealed()


def check_sealed(shell: Shell) -> None:
    """It is gpg's, and what went through the pipe lies nowhere else."""
    assert VALUE.encode() not in shell.sealed.read_bytes()
    for path in shell.folder.rglob("*"):
        assert not path.is_file() or VALUE.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("lines", [EXPORT, EXPORT_STEP_BY_STEP], ids=["chain", "steps"])
def test_exported_and_imported_by_the_seeds_lines(shell: Shell, lines: str) -> None:
    """C-15, C-16, C-19: out, changed meanwhile, back in as a pending change, applied."""
    export(shell, lines)
    check_sealed(shell)
    shell.set_and_apply("another one")
    done = shell.run(IMPORT)
    assert done.code == 0, done.err
    assert not PIPES[1].exists()
    assert f"{SECRET}: accepted" in done.out
    assert shell.secret() == b"another one"
    assert VALUE not in done.out + done.err
    shell.node.run("tsm", "pending-changes", "apply", "--ignore-prompt")
    assert shell.secret() == VALUE.encode()


def test_gpg_comes_late(shell: Shell) -> None:
    """Both ends of both pipes wait for each other."""
    shell.slow_gpg()
    export(shell)
    check_sealed(shell)
    done = shell.run(IMPORT)
    assert done.code == 0, done.err
    assert "nothing in it differs" in done.err


def test_gpg_fails_while_exporting(shell: Shell) -> None:
    """P8: what the pipe still held, nobody has; the chain stops before its `rm`."""
    shell.passphrase.unlink()
    done = shell.run(EXPORT)
    assert done.code == 41, done.err
    assert "went away before it had read everything" in done.err
    assert PIPES[0].exists()
    assert not shell.sealed.exists()


def test_there_is_no_gpg(shell: Shell) -> None:
    """The shell opens the pipe, finds nothing to run, and closes it."""
    done = shell.run(EXPORT.replace("(gpg ", "(gpg-that-is-not-installed "))
    assert done.code == 41, done.err
    assert "went away" in done.err


def test_imported_before_gpg_has_written_its_file(shell: Shell) -> None:
    """Section 8, item 3: gpg fails out of sight; zero bytes and the end of the file come out of the pipe."""
    before = shell.entries()
    done = shell.run(IMPORT)
    assert done.code == 21, done.err
    assert "0 bytes read from /tmp/secret2: they are empty" in done.err
    assert shell.entries() == before


def test_imported_with_a_wrong_passphrase(shell: Shell) -> None:
    export(shell)
    shell.passphrase.write_text("not that one\n")
    before = shell.entries()
    done = shell.run(IMPORT)
    assert done.code == 21, done.err
    assert "0 bytes read from /tmp/secret2" in done.err
    assert shell.entries() == before


def test_imported_from_a_file_that_was_cut(shell: Shell) -> None:
    """gpg may give out a part before it finds that the rest is missing; a part is no settings."""
    export(shell)
    whole = shell.sealed.read_bytes()
    before = shell.entries()
    for length in (100, len(whole) // 2, len(whole) - 30):
        shell.sealed.write_bytes(whole[:length])
        done = shell.run(IMPORT)
        assert done.code == 21, done.err
        assert " read from /tmp/secret2: they " in done.err
        assert shell.entries() == before
        PIPES[1].unlink()


def test_gpg_is_killed_in_the_middle(shell: Shell) -> None:
    """The reader dies with the pipe half full."""
    killed = shell.tools / "gpg"
    killed.write_text("#!/bin/sh\nhead -c 100 >/dev/null\nkill -9 $$\n")
    killed.chmod(0o755)
    done = shell.run(EXPORT)
    assert done.code == 41, done.err
    assert "went away" in done.err
