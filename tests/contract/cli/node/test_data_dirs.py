"""What a data directory is called, and users whom the system does not know (findings K20, D18, D22, D23)."""

import os
import subprocess
from pathlib import Path

import pytest

from strongroom.cli import dispatch
from strongroom.errors import UsageError
from strongroom.runtime import places
from tests.support import privileges
from tests.support.command_lines import Line, lines
from tests.support.servers import BIN

Capture = pytest.CaptureFixture[str]
#: Commands that look at no node.
NO_NODE = {
    "strongroom version",
    "tsm version",
    "tsm login",
    "tsm logout",
    "tsm restart",
    "tsm maintenance cleanup",
}
LINES = [line for line in lines() if line.name not in NO_NODE]
NAMES = ["~/node", "~", "$HOME/node", "${HOME}/node", "file", "file/node", "n" * 300]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr("sys.stdin", None)
    (here / "file").write_text("no folder\n")
    return here


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.name.replace(" ", "-"))
def test_a_name_that_can_be_none_is_refused_by_every_command(
    line: Line, here: Path, capsys: Capture
) -> None:
    """Findings K20: a folder named `~` was made."""
    for name in ("~/node", "file"):
        code = dispatch.main(line.tool, ["--data-dir", name, *line.words()])
        said = capsys.readouterr().err
        assert code in {2, 5, 41}, (name, said)
        # some arguments are looked at before the node is
        assert said.startswith((f"{line.tool}: ", "usage: ")), said
    assert [path.name for path in here.iterdir()] == ["file"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("words", [["status"], ["init"], ["sites", "list"]])
def test_a_name_that_can_be_none_is_refused_in_every_way_to_say_it(
    name: str, words: list[str], here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    for option in (["--data-dir", name], [f"--data-dir={name}"], []):
        monkeypatch.setenv("STRONGROOM_HOME", "/nowhere/at/all" if option else name)
        code = dispatch.main("strongroom", [*option, *words])
        said = capsys.readouterr().err
        assert code in {2, 5, 41}, (name, said)
        assert said.startswith("strongroom: "), said
        assert said.count("\n") in {1, 2}
    assert [path.name for path in here.iterdir()] == ["file"]


@pytest.mark.parametrize("words", [["--data-dir="], ["--data-dir", ""], ["--data-dir"]])
def test_an_empty_name_is_refused(words: list[str], here: Path, capsys: Capture) -> None:
    """Findings K20."""
    assert dispatch.main("strongroom", ["status", *words]) == 2
    assert "--data-dir needs a directory" in capsys.readouterr().err


def test_two_data_directories_are_refused(here: Path, capsys: Capture) -> None:
    """Findings D18: which of two counts is not guessed."""
    assert dispatch.main("strongroom", ["--data-dir", "a", "status", "--data-dir=b"]) == 2
    assert "given twice" in capsys.readouterr().err


def test_a_folder_that_is_really_called_so(here: Path) -> None:
    assert places.named("./~", "--data-dir") == here / "~"
    assert places.named("a$b", "--data-dir") == here / "a$b"
    assert places.named("~a", "--data-dir") == here / "~a"


def test_a_file_is_said_to_be_none(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Findings D22: STRONGROOM_HOME at a file; and below one."""
    for place, named in (("file", "it"), ("file/a/b", f"{here}/file/a/b, which lies below it,")):
        monkeypatch.setenv("STRONGROOM_HOME", str(here / place))
        for tool, words in (
            ("strongroom", ["status"]),
            ("strongroom", ["init"]),
            ("initialize-tsm", []),
        ):
            assert dispatch.main(tool, words) == 2
            said = capsys.readouterr().err
            assert f"{here}/file is not a folder: STRONGROOM_HOME names {named} as" in said


def test_variables_that_name_no_place_do_not_count(tmp_path: Path) -> None:
    home = places.of_user((None, str(tmp_path)), 0)
    assert home == tmp_path / ".local" / "share" / "strongroom"
    assert places.of_user(("relative", str(tmp_path)), 0) == home
    assert places.of_user((str(tmp_path / "x"), None), 0) == tmp_path / "x" / "strongroom"
    assert places.of_user(("", ""), os.getuid()).is_absolute()
    with pytest.raises(UsageError, match="the user 12345 has no home"):
        places.of_user((None, None), 12345)


@pytest.mark.parametrize("home", [None, "", "nowhere"])
def test_a_user_whom_the_system_does_not_know(home: str | None) -> None:
    """Findings K20: no HOME, no passwd entry."""
    variables = {"PATH": os.environ["PATH"], **({} if home is None else {"HOME": home})}
    for tool, words in (("strongroom", ["status"]), ("strongroom", ["init"]), ("tsm", ["status"])):
        done = subprocess.run(
            [*privileges.stranger(variables), str(BIN / tool), *words],
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2, done.stderr
        assert "the user 12345 has no home directory" in done.stderr
        assert "--data-dir or STRONGROOM_HOME" in done.stderr


def test_a_working_directory_that_is_gone(here: Path, capsys: Capture) -> None:
    gone = here / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    assert dispatch.main("strongroom", ["--data-dir", "node", "status"]) == 41
    assert "the working directory is gone" in capsys.readouterr().err


@pytest.mark.parametrize("deep", ["new", "new/folders/deep"])
def test_a_failed_init_leaves_no_folder(here: Path, deep: str, capsys: Capture) -> None:
    """Findings D23: whatever was made for the node goes again; what was there before stays."""
    Path("password").write_text("correct horse\n")
    words = ["--data-dir", deep, "init", "--admin-password-file", "password", "--admin", "no\nname"]
    assert dispatch.main("strongroom", words) == 2
    assert not Path("new").exists()
    Path(deep).mkdir(parents=True)
    assert dispatch.main("strongroom", words) == 2
    assert list(Path(deep).iterdir()) == []
    capsys.readouterr()
