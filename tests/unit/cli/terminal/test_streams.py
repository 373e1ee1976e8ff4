"""What is escaped and what is not, what a line of input is, and how streams fail (findings K2, P1)."""

import io
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from strongroom.cli.terminal import streams
from strongroom.cli.terminal.session import Session, SessionOptions
from strongroom.errors import StorageError, UsageError

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def session() -> Session:
    return Session(SessionOptions())


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Path]]:
    """Sends results and messages to one file, as `>file 2>&1` does; both streams have buffers."""
    path = tmp_path / "said"
    with path.open("a") as out, path.open("a") as err:

        def send() -> Path:
            monkeypatch.setattr("sys.stdout", out)
            monkeypatch.setattr("sys.stderr", err)
            return path

        yield send


@pytest.fixture
def in_encoding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Sends results to a file in an encoding."""
    with ExitStack() as files:

        def send(encoding: str) -> Path:
            path = tmp_path / "said"
            stream = files.enter_context(path.open("w", encoding=encoding, errors="strict"))
            monkeypatch.setattr("sys.stdout", stream)
            return path

        yield send


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("plain, tab\tand line\n", "plain, tab\tand line\n"),
        ("\x1b[31mred\r\x07\x9b", "\\x1b[31mred\\x0d\\x07\\x9b"),
        ("a\u202eb\u2066\u2028", "a\\u202eb\\u2066\\u2028"),
        (os.fsdecode(b"caf\xe9"), "caf\\xe9"),
        ("\u05d0\u200f 売上 😀", "\u05d0\u200f 売上 😀"),
    ],
)
def test_what_would_steer_a_terminal_is_escaped(text: str, said: str, capsys: Capture) -> None:
    """Findings K2: names are other people's."""
    streams.out(text)
    streams.note_lines(text)
    assert capsys.readouterr() == (said, said)


def test_a_value_is_exact_or_refused(
    session: Session, in_encoding: Callable[[str], Path], capsys: Capture
) -> None:
    """Findings K2: an escaped password would be a wrong one."""
    session.out_value("\x1b pässword\r")
    assert capsys.readouterr().out == "\x1b pässword\r\n"
    in_encoding("ascii")
    with pytest.raises(UsageError, match="cannot say: its encoding is ascii") as caught:
        session.out_value("pässword")
    assert caught.value.__cause__ is None
    assert "ssword" not in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
@pytest.mark.parametrize(
    "text", ["plain", "売上", "😀", "\x7f", "\x9b", os.fsdecode(b"caf\xe9"), "\u202e"]
)
def test_json_stays_json(
    session: Session, in_encoding: Callable[[str], Path], encoding: str, text: str
) -> None:
    path = in_encoding(encoding)
    session.out_json({"name": text})
    written = path.read_bytes().decode(encoding)
    assert json.loads(written) == {"name": text}
    assert text == "plain" or not {"\x7f", "\x9b", "\u202e"} & set(written)


def test_results_and_messages_keep_their_order(
    session: Session, shared: Callable[[], Path]
) -> None:
    """Findings P1: neither waits in a buffer."""
    path = shared()
    for number in range(3):
        session.out(f"result {number}")
        session.note(f"message {number}")
    session.out_lines(["lines"] * 1000)
    session.note("end")
    said = path.read_text().splitlines()
    assert said[:3] == ["result 0", "message 0", "result 1"]
    assert said[6:] == ["lines"] * 1000 + ["end"]


def test_what_a_library_left_in_a_buffer_comes_first(
    session: Session, shared: Callable[[], Path]
) -> None:
    path = shared()
    sys.stdout.write("from a library\n")
    session.out("from us")
    assert path.read_text() == "from a library\nfrom us\n"


def test_a_full_output_is_an_error_and_a_full_error_is_none(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr("sys.stdout", full)
        monkeypatch.setattr("sys.stderr", full)
        session.note("nobody hears this")
        with pytest.raises(StorageError, match="no space left") as caught:
            session.out("lost")
        assert "stays done" in caught.value.hint
        with pytest.raises(StorageError) as caught:
            streams.check_output()
        assert "nothing was done" in caught.value.hint
    monkeypatch.setattr("sys.stdout", None)
    monkeypatch.setattr("sys.stderr", None)
    session.note("nor this")
    with pytest.raises(StorageError, match="standard output is closed"):
        session.out("lost")
    assert not streams.is_terminal()
    assert not streams.message_terminal()


def test_a_reader_that_went_away(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    with os.fdopen(write, "w") as stream:
        monkeypatch.setattr("sys.stdout", stream)
        streams.check_output()
        os.close(read)
        with pytest.raises(StorageError, match="nobody reads standard output"):
            streams.check_output()
        with pytest.raises(BrokenPipeError):
            streams.out("lost")


def test_a_pipe_that_does_not_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Findings K2: longer than the pipe holds, both ways."""
    read, write = os.pipe()
    text = "x" * 300_000
    for end in (read, write):
        os.set_blocking(end, False)
    with os.fdopen(write, "w") as out, os.fdopen(read) as source:
        monkeypatch.setattr("sys.stdout", out)
        monkeypatch.setattr("sys.stdin", source)

        def speak() -> None:
            streams.check_output()
            streams.out(text)
            out.close()

        speaker = threading.Thread(target=speak)
        speaker.start()
        assert streams.read_input(len(text)) == text.encode()
        speaker.join()


def test_an_answer_is_a_line_and_no_more(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    read, write = os.pipe()
    os.write(write, "y\r\nsécond\nrest".encode())
    os.close(write)
    with os.fdopen(read) as source:
        monkeypatch.setattr("sys.stdin", source)
        assert streams.ask("sure? ") == "y"
        assert streams.ask("") == "sécond"
        assert streams.read_input(100) == b"rest"
        assert streams.ask("") == ""
    assert capsys.readouterr().err == "sure? "


@pytest.mark.parametrize("answer", [None, "", "n\n", "yes\n", "Y"])
def test_only_a_yes_is_a_yes(
    session: Session, monkeypatch: pytest.MonkeyPatch, answer: str | None
) -> None:
    """The end of the input, and an input that is closed, are a no."""
    monkeypatch.setattr("sys.stdin", answer if answer is None else io.StringIO(answer))
    assert session.confirm("go on?") == ((answer or "").strip().lower() in {"y", "yes"})


@pytest.mark.parametrize("error", [EOFError(), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x")])
def test_nothing_typed_is_a_sentence(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(_: str) -> str:
        raise error

    monkeypatch.setattr("getpass.getpass", fail)
    with pytest.raises(UsageError, match="the password") as caught:
        streams.ask_hidden("the password: ")
    assert caught.value.__cause__ is None


def test_a_closed_input_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    assert not streams.can_ask()
    for read in (streams.check_input, lambda: streams.read_input(1)):
        with pytest.raises(UsageError, match="standard input is closed"):
            read()
