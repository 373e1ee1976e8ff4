"""Private files and pipes for secrets: modes, links, readers that fail (C-14 … C-16, S2)."""

import io
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from strongroom.cli.named_files import output_file
from strongroom.errors import PermissionDeniedError, StorageError, UsageError
from strongroom.filestore import targets

DATA = b"secrets\n" * 40_000
"""Five times what fits into a pipe."""
SMALL = b"a secret\n"


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "pipe"
    os.mkfifo(path, 0o600)
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def reading(path: Path, read: Callable[[int], object]) -> threading.Thread:
    """A reader of a pipe that does something with its end and closes it."""

    def run() -> None:
        handle = os.open(path, os.O_RDONLY)
        try:
            read(handle)
        finally:
            os.close(handle)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


# ---- files ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("umask")
def test_a_file_is_private_from_the_start(tmp_path: Path) -> None:
    """S2: under any umask, new or replaced."""
    path = tmp_path / "out"
    output_file.write_private(path, SMALL)
    assert (path.read_bytes(), mode(path)) == (SMALL, 0o600)
    path.chmod(0o666)
    output_file.write_private(path, DATA)
    assert (path.read_bytes(), mode(path)) == (DATA, 0o600)
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


def test_a_second_name_of_the_old_file_gets_nothing(tmp_path: Path) -> None:
    """S2: a hard link that somebody placed keeps what it had."""
    path, link = tmp_path / "out", tmp_path / "link"
    path.write_text("old")
    os.link(path, link)
    output_file.write_private(path, SMALL)
    assert link.read_text() == "old"


@pytest.mark.parametrize("target", ["file", "nothing", "folder"])
def test_no_link_is_followed(tmp_path: Path, target: str) -> None:
    """S2."""
    (tmp_path / "file").write_text("old")
    (tmp_path / "folder").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / target)
    for act in (output_file.check_target, lambda path: output_file.write_private(path, SMALL)):
        with pytest.raises(UsageError, match="neither a file nor a named pipe"):
            act(link)
    assert (tmp_path / "file").read_text() == "old"
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("path", [Path("/dev/null"), Path("/"), Path("/dev/fd/999999")], ids=str)
def test_devices_folders_and_closed_descriptors_are_no_targets(path: Path) -> None:
    with pytest.raises(UsageError, match="neither a file nor a named pipe"):
        output_file.write_private(path, SMALL)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no folder"):
        output_file.check_target(tmp_path / "none" / "out")


def test_a_path_that_leads_through_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot look at"):
        output_file.check_target(tmp_path / "file" / "out")


# ---- pipes, written ------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", SMALL, DATA], ids=["empty", "small", "large"])
def test_a_pipe_is_fed_to_the_end(pipe: Path, data: bytes) -> None:
    """C-15: not renamed, not chmodded, still there."""
    got: list[bytes] = []

    def read_all(handle: int) -> None:
        with os.fdopen(handle, "rb", closefd=False) as file:
            got.append(file.read())

    reader = reading(pipe, read_all)
    output_file.write_private(pipe, data)
    reader.join()
    assert got == [data]
    assert stat.S_ISFIFO(pipe.lstat().st_mode)
    assert mode(pipe) == 0o600


@pytest.mark.parametrize("data", [SMALL, DATA], ids=["small", "large"])
@pytest.mark.parametrize("taken", [0, 4], ids=["nothing", "some"])
def test_a_reader_that_goes_away_early(pipe: Path, data: bytes, taken: int) -> None:
    """P8: what fits into the pipe is not delivered by being written."""
    reader = reading(pipe, lambda handle: os.read(handle, taken) if taken else None)
    with pytest.raises(StorageError, match="went away before it had read everything"):
        output_file.write_private(pipe, data)
    reader.join()


def test_a_reader_that_never_reads(pipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "TAKEN_WAIT_S", 0.05)
    done = threading.Event()
    reader = reading(pipe, lambda handle: (os.read(handle, 2), done.wait(60)))
    with pytest.raises(StorageError, match="has taken 2 of 9 bytes"):
        output_file.write_private(pipe, SMALL)
    done.set()
    reader.join()


@pytest.mark.parametrize("loose", [0o640, 0o604, 0o622], ids=oct)
def test_a_pipe_that_others_can_use_is_refused(pipe: Path, loose: int) -> None:
    """S2: a pipe may have been placed there to listen."""
    pipe.chmod(loose)
    with pytest.raises(PermissionDeniedError, match=f"has mode {loose:04o}") as caught:
        output_file.write_private(pipe, SMALL)
    assert "mkfifo -m 600" in caught.value.hint


def test_a_stranger_s_pipe_is_refused(pipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: pipe.stat().st_uid + 1)
    with pytest.raises(PermissionDeniedError, match="can be read by others"):
        output_file.write_private(pipe, SMALL)


def test_a_command_behind_the_shell_s_brackets(tmp_path: Path) -> None:
    """`-f >(command)` hands over a descriptor: the one kind of link that is followed."""
    script = (
        "import sys; from pathlib import Path; from strongroom.cli.named_files import output_file;"
        "output_file.write_private(Path(sys.argv[1]), b'a secret')"
    )
    lines = f'"{sys.executable}" -c "$SCRIPT" >(cat >"$OUT"); wait $!'
    out = tmp_path / "out"
    environment = {**os.environ, "SCRIPT": script, "OUT": str(out)}
    subprocess.run(["bash", "-c", lines], env=environment, check=True, timeout=60)
    assert out.read_bytes() == b"a secret"


def test_a_pipe_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exchanged for something else between the look and the opening."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    link = tmp_path / "link"
    link.symlink_to(pipe)
    with pytest.raises(StorageError, match="cannot write to"), targets.feeding(link):
        pass


# ---- read ----------------------------------------------------------------------------------------


def test_a_file_a_pipe_and_stdin_are_read_once(
    tmp_path: Path, pipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C-16."""
    (tmp_path / "in").write_bytes(DATA)
    assert output_file.read_once(tmp_path / "in", len(DATA)) == DATA
    writer = threading.Thread(target=pipe.write_bytes, args=(DATA,))
    writer.start()
    assert output_file.read_once(pipe, len(DATA)) == DATA
    writer.join()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(DATA)))
    assert output_file.read_once(Path("-"), len(DATA)) == DATA


def test_more_than_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "long").write_bytes(DATA)
    with pytest.raises(UsageError, match="more than 10 bytes read from"):
        output_file.read_once(tmp_path / "long", 10)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot read"):
        output_file.read_once(tmp_path / "none", 10)
    for path in (tmp_path, Path("/dev/zero")):
        with pytest.raises(UsageError, match="neither a file nor a pipe"):
            output_file.read_once(path, 10)


def test_counts_in_words() -> None:
    assert output_file.written_sentence(0, Path("/tmp/p")) == "0 bytes read from /tmp/p"
    assert output_file.written_sentence(1, Path("/tmp/p")) == "1 byte read from /tmp/p"
