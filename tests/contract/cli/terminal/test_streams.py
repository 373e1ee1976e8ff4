"""Every command, with each standard stream closed, full, or unable to say a character (findings K2, P5, D7).

In this process where that is the same: a closed stream is None there as in a process that was started without it, a full one
is `/dev/full`. What only a process shows (numbers of descriptors, the interpreter's end) is shown by some of them.
"""

import errno
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

import pytest

from strongroom.cli import dispatch
from strongroom.cli.terminal import streams
from tests.support.command_lines import Line, lines
from tests.support.servers import BIN

pytestmark = pytest.mark.table

LINES = list(lines())
#: Commands that go on until somebody ends them: shown as processes.
_SERVES = {"strongroom serve"}
#: Commands that make something where `init` is told to, and need a password.
_CREATES = {"strongroom init", "initialize-tsm"}
ASIAN = "売上"
NOT_TEXT = os.fsdecode(b"caf\xe9")
Capture = pytest.CaptureFixture[str]


def _ids(line: Line) -> str:
    return line.name.replace(" ", "-")


each_command = pytest.mark.parametrize("line", LINES, ids=_ids)
each_quick_command = pytest.mark.parametrize(
    "line", [line for line in LINES if line.name not in _SERVES], ids=_ids
)


def _state(folder: Path) -> dict[str, str]:
    """Every file below a folder, by what is in it."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def home(pristine_node: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh node, and a folder to be in; only for commands that change it."""
    home = Path(shutil.copytree(pristine_node, tmp_path / "node"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    return home


def _run(line: Line, home: Path, values: Mapping[str, str] | None = None) -> int:
    target = home.with_name("new") if line.name in _CREATES else home
    return dispatch.main(line.tool, ["--data-dir", str(target), *line.words(values)])


# ---- standard output -----------------------------------------------------------------------------


@pytest.mark.crossed
@each_command
@pytest.mark.parametrize("way", ["closed", "full"])
def test_what_nobody_would_see_is_not_begun(
    line: Line, way: str, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Findings K2: one sentence, its exit code, and nothing done."""
    before = _state(home)
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr("sys.stdout", None if way == "closed" else full)
        code = _run(line, home)
    said = capsys.readouterr().err
    assert code == 41, said
    assert f"{line.tool}: standard output " in said
    assert "nothing was done" in said
    assert said.count("\n") == 2
    assert _state(home) == before
    assert not home.with_name("new").exists()


@each_command
def test_help_that_cannot_be_shown_is_no_success(
    line: Line, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Findings P5."""
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr("sys.stdout", full)
        code = dispatch.main(line.tool, [*line.verbs, "--help"])
    assert code == 41
    assert "standard output cannot be written: no space left" in capsys.readouterr().err


# ---- standard error and input --------------------------------------------------------------------


@pytest.mark.crossed
@each_quick_command
@pytest.mark.parametrize("way", ["closed", "full", "ascii"])
def test_a_command_is_the_same_without_its_messages(
    line: Line, way: str, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Findings K2: the exit code says what could not be said, whatever the stream can take."""
    values = {"name": ASIAN, "site": ASIAN, "reason": ASIAN, "description": ASIAN, "user": ASIAN}
    code = _run(line, home, values)
    out = capsys.readouterr().out
    shutil.rmtree(home.with_name("new"), ignore_errors=True)
    with (
        Path("/dev/full").open("w") as full,
        Path(os.devnull).open("w", encoding="ascii") as ascii_,
    ):
        monkeypatch.setattr("sys.stderr", {"closed": None, "full": full, "ascii": ascii_}[way])
        again = _run(line, home, values)
    # what the first run made is there already for the second, and only that may differ
    assert again == code or (code, again) == (0, 6), out


@each_quick_command
def test_a_command_without_an_input_is_refused_or_needs_none(
    line: Line, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Findings K2: `-` of a closed input is no empty input."""
    monkeypatch.setattr("sys.stdin", None)
    files = {one.dest for one in line.options if one.metavar in {"FILE", "IN", "IN OUT"}}
    code = _run(line, home, dict.fromkeys(files & {"source", "names"}, "-"))
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    if code:
        assert said.err.strip()


# ---- words that are no text, numbers without bounds ----------------------------------------------


@each_quick_command
def test_words_that_are_no_text_are_refused_or_taken(
    line: Line, home: Path, capsys: Capture
) -> None:
    """Findings K2: never a traceback, and what is said can be shown."""
    for option in line.options:
        if option.nargs == 0 or option.choices or option.type is not None:
            continue
        code = _run(line, home, {option.dest: NOT_TEXT})
        said = capsys.readouterr()
        said.err.encode()
        said.out.encode()
        # `run` ends as a shell does that finds no program, or cannot start one
        assert code in {*range(60), 126, 127}, said.err
        shutil.rmtree(home.with_name("new"), ignore_errors=True)


NUMBERS = [
    pytest.param(line, one.dest, id=f"{_ids(line)}-{one.dest}")
    for line in LINES
    for one in line.options
    if one.type is not None
]


@pytest.mark.parametrize(("line", "dest"), NUMBERS)
def test_a_number_out_of_its_bounds_is_refused(
    line: Line, dest: str, home: Path, capsys: Capture
) -> None:
    """Findings D7: `serve --port 80000`, and its kind."""
    for text in ("-1", "1" * 400, "nan", "1e300", "٣", "1_0", ""):
        assert _run(line, home, {dest: text}) == 2
        assert "usage: " in capsys.readouterr().err


def test_every_number_has_bounds() -> None:
    bare = [f"{line.name} {one.dest}" for line in LINES for one in line.options if one.type is int]
    assert bare == []
    assert len(NUMBERS) > 5


def test_a_port_that_is_none(home: Path, capsys: Capture) -> None:
    """Findings D7."""
    assert dispatch.main("strongroom", ["serve", "--port", "80000"]) == 2
    assert "80000 is not between 0 and 65535" in capsys.readouterr().err


SINGLE = [
    pytest.param(line, one.option_strings[-1], id=f"{_ids(line)}-{one.dest}")
    for line in LINES
    for one in line.options
    if one.option_strings
    and one.nargs is None
    and type(one).__name__ in {"_StoreAction", "_StoreOnce"}
]


@pytest.mark.parametrize(("line", "option"), SINGLE)
def test_an_option_that_takes_one_value_is_given_once(
    line: Line, option: str, capsys: Capture
) -> None:
    """Findings D18: `get -k a -k b` printed b."""
    (one,) = [one for one in line.options if option in one.option_strings]
    value = str(next(iter(one.choices))) if one.choices else "1"
    words = [*line.words({one.dest: value}), option, value]
    assert dispatch.main(line.tool, words) == 2
    assert "is given twice" in capsys.readouterr().err


# ---- real processes ------------------------------------------------------------------------------


def _shell(home: Path, command: str, **more: str) -> subprocess.CompletedProcess[str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        ["sh", "-c", command],
        cwd=home.parent / "here",
        env={**kept, "PATH": f"{BIN}:{kept['PATH']}", "STRONGROOM_HOME": str(home), **more},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        ("strongroom encrypt x y 2>&-", 0, ""),
        ("tsm configuration set -k redis.port -v 1234 2>&-", 0, ""),
        ("strongroom status >&-", 41, "standard output is closed"),
        ("strongroom encrypt - y <&-", 2, "standard input is closed"),
        ("strongroom decrypt - y <&-", 2, "standard input is closed"),
        ("strongroom encrypt x y <&- >&- 2>&-", 41, ""),
        ("strongroom nothing 2>/dev/full", 2, ""),
        ("strongroom status --nothing 2>/dev/full", 2, ""),
        ("strongroom inspect nothing 2>/dev/full", 5, ""),
        ("strongroom --help >/dev/full", 41, "no space left"),
        ("strongroom serve >&-", 41, "standard output is closed"),
        ("true | strongroom serve --port 0 >/dev/full", 41, "no space left"),
    ],
)
def test_a_process_without_a_stream(home: Path, command: str, code: int, says: str) -> None:
    """Findings K2, P5: as they were found."""
    Path("x").write_bytes(b"data")
    done = _shell(home, command)
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert Path("y").exists() == (code == 0 and "encrypt" in command)


def test_a_closed_stream_is_no_place_for_a_database(home: Path) -> None:
    """Findings K2: the next file that is opened gets the number of a closed stream, and the next message its bytes."""
    done = _shell(home, "strongroom sites create West --url west >&- 2>&-; true")
    assert done.returncode == 0
    done = _shell(home, "strongroom sites list --json 2>&-")
    assert [site["name"] for site in json.loads(done.stdout)] == ["Default"]
    assert _shell(home, "strongroom events verify").returncode == 0


@pytest.mark.parametrize("encoding", ["utf-8:strict", "ascii", "latin-1"])
def test_names_are_shown_in_every_encoding(home: Path, encoding: str) -> None:
    """Findings K2: escaped where the encoding lacks them; JSON stays JSON."""
    _shell(home, f"strongroom sites create {ASIAN} --url sales")
    Path(NOT_TEXT).write_bytes(b"none")
    variables = {"PYTHONIOENCODING": encoding}
    listed = _shell(home, "strongroom sites list", **variables)
    assert (ASIAN if encoding == "utf-8:strict" else "\\u58f2\\u4e0a") in listed.stdout
    found = json.loads(_shell(home, "strongroom sites list --json", **variables).stdout)
    assert {site["name"] for site in found} == {"Default", ASIAN}
    done = _shell(home, "strongroom verify caf*", **variables)
    assert (done.returncode, done.stderr.count("caf\\xe9")) == (21, 1)


def test_results_and_messages_keep_their_order(home: Path) -> None:
    """Findings P1: both to one pipe, without the environment's help."""
    done = _shell(
        home,
        "strongroom sites set-mode Default enabled --help >/dev/null; tsm security kms rotate 2>&1",
    )
    said = done.stdout.splitlines()
    assert [line.split(" ")[0] for line in said] == ["New", "New", "extracts"]


def test_a_token_that_cannot_be_shown_is_taken_back(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Findings K2: no secret is valid that nobody has seen; not when the disk fills only then."""

    write = streams._write

    def full(stream: TextIO, text: str) -> None:
        if stream is sys.stdout:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(stream, text)

    monkeypatch.setattr(streams, "_write", full)
    assert (
        dispatch.main(
            "strongroom", ["--data-dir", str(home), "tokens", "create", "t", "--user", "admin"]
        )
        == 41
    )
    assert "was taken back: its secret could not be shown" in capsys.readouterr().err
    monkeypatch.undo()
    assert dispatch.main("strongroom", ["--data-dir", str(home), "tokens", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_a_pipe_that_does_not_block_gets_everything(home: Path) -> None:
    """Findings K2: another process may have made the shared end so."""
    Path("x").write_bytes(os.urandom(300_000))
    _shell(home, "strongroom encrypt x y")
    read, write = os.pipe()
    os.set_blocking(write, False)
    got = bytearray()

    def take() -> None:
        while part := os.read(read, 5000):
            got.extend(part)

    thread = threading.Thread(target=take)
    with subprocess.Popen(
        [str(BIN / "strongroom"), "--data-dir", str(home), "decrypt", "y", "-"],
        stdout=write,
        stderr=subprocess.DEVNULL,
    ) as process:
        os.close(write)
        thread.start()
        assert process.wait(60) == 0
    thread.join()
    os.close(read)
    assert bytes(got) == Path("x").read_bytes()
