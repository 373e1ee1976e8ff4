"""The one rule of small files: the same for a file, a pipe and standard input (findings K10, D6)."""

import io
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from strongroom.cli.named_files import small_files
from strongroom.errors import StorageError, UsageError

BOM = b"\xef\xbb\xbf"
Place = Callable[[bytes], str]


@pytest.fixture(params=["file", "pipe", "stdin", "stdin in memory"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    """Puts bytes somewhere, and says where."""
    threads: list[threading.Thread] = []
    files: list[io.IOBase] = []

    def put(data: bytes) -> str:
        path = tmp_path / "small"
        if request.param == "pipe":
            os.mkfifo(path)
            threads.append(threading.Thread(target=_write, args=(path, data)))
            threads[-1].start()
            return str(path)
        if request.param == "stdin in memory":
            monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
            return "-"
        path.write_bytes(data)
        if request.param == "file":
            return str(path)
        source = path.open()
        files.append(source)
        monkeypatch.setattr("sys.stdin", source)
        return "-"

    yield put
    for thread in threads:
        thread.join()
    for file in files:
        file.close()


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except BrokenPipeError:
        return  # what is too long is not read to its end


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"secret", b"secret"),
        (b"secret\n", b"secret"),
        (b"secret\r\n", b"secret"),
        (BOM + b"secret\r\n", b"secret"),
        (b" se cret \n", b" se cret "),
        ("pässword\n".encode(), "pässword".encode()),
        (b"\xff\xfd\n", b"\xff\xfd"),
        (b"x" * 64, b"x" * 64),
        (b"x" * 64 + b"\r\n", b"x" * 64),
    ],
)
def test_a_value(place: Place, data: bytes, value: bytes) -> None:
    assert small_files.read_value(place(data), "the password", limit=64) == value


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty: the password is not in it"),
        (b"\n", "is empty"),
        (b"\r\n", "is empty"),
        (BOM, "is empty"),
        (BOM + b"\n", "is empty"),
        (b"secret\n\n", "more than one line"),
        (b"secret\r\n\r\n", "more than one line"),
        (b"\nsecret\n", "more than one line"),
        (b"secret\rsecret", "more than one line"),
        (b"secret\nsecret\n", "more than one line"),
        (b"sec\0ret\n", "zero byte"),
        ("secret\n".encode("utf-16"), "UTF-16"),
        (b"\xfe\xff\x00s", "UTF-16"),
        (b"x" * 65, "more than 64 bytes: it is not the password"),
        (b"x" * 300_000, "more than 64 bytes"),
    ],
)
def test_what_is_no_value(place: Place, data: bytes, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        small_files.read_value(place(data), "the password", limit=64)
    assert "secret" not in str(caught.value)
    assert "changed" in caught.value.hint


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"one\ntwo\n", b"one\ntwo\n"),
        (BOM + b"one\r\ntwo", b"one\r\ntwo"),
        (b"one\n\n", b"one\n\n"),
    ],
)
def test_lines(place: Place, data: bytes, text: bytes) -> None:
    assert small_files.read_lines(place(data), "the identity") == text


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty: the identity is not in it"),
        (b"\n \r\n", "is empty"),
        (BOM, "is empty"),
        (b"one\0\n", "zero byte"),
        ("one\n".encode("utf-16"), "UTF-16"),
        (b"x" * (small_files.LONGEST + 1), "more than 65536 bytes"),
    ],
)
def test_what_are_no_lines(place: Place, data: bytes, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        small_files.read_lines(place(data), "the identity")


@pytest.mark.parametrize("lines", [True, False])
def test_a_setting_is_text(place: Place, *, lines: bool) -> None:
    with pytest.raises(UsageError, match="not text in UTF-8") as caught:
        small_files.read_setting(place(b"p\xe4ssword\n"), "the value", lines=lines)
    assert caught.value.__cause__ is None


def test_places_that_are_not_read(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot read the token from .*: no such file"):
        small_files.read_value(str(tmp_path / "none"), "the token")
    with pytest.raises(StorageError, match="cannot read the token"):
        small_files.read_value(str(tmp_path / ("n" * 300)), "the token")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        with pytest.raises(StorageError, match="cannot read the token"):
            small_files.read_value(str(tmp_path / "socket"), "the token")
    for path in (str(tmp_path), "/dev/zero", "/dev/null"):
        with pytest.raises(UsageError, match="neither a file nor a pipe: the token is not read"):
            small_files.read_value(path, "the token")


@pytest.mark.parametrize("data", [b"-----BEGIN CERTIFICATE-----\n"])
def test_a_file_that_a_library_reads_by_itself(tmp_path: Path, data: bytes) -> None:
    """Findings K10: TLS finds no certificate in the first line behind a byte order mark, and takes the others."""
    path = tmp_path / "ca.pem"
    path.write_bytes(data)
    small_files.check_text_file(str(path), "a certificate")
    path.write_bytes(BOM + data)
    with pytest.raises(UsageError, match="byte order mark"):
        small_files.check_text_file(str(path), "a certificate")


def test_at_a_terminal_one_line_is_all(monkeypatch: pytest.MonkeyPatch) -> None:
    leader, follower = os.openpty()
    os.write(leader, b"typed\n")
    with os.fdopen(follower) as terminal, os.fdopen(leader, "wb", buffering=0):
        monkeypatch.setattr("sys.stdin", terminal)
        assert small_files.read_value("-", "the password") == b"typed"
