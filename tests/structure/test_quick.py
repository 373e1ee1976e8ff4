"""`make quick` finds the tests of a change by the imports, and says what it leaves out (issue 9, part E)."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from scripts import quick


def unit(name: str, folder: str = "unit") -> str:
    """The file of a test that there is in this file's graph only."""
    return f"tests/{folder}/test_{name}.py"


def source(name: str) -> str:
    """The file of a module that there is in this file's graph only."""
    return f"src/strongroom/{name}.py"


GRAPH: quick.Graph = {
    "strongroom.low": frozenset(),
    "strongroom.high": frozenset({"strongroom.low"}),
    "strongroom.other": frozenset(),
    "tests.helper": frozenset({"strongroom.other"}),
    "tests.unit.conftest": frozenset({"strongroom.other"}),
    "tests.unit.test_low": frozenset({"strongroom.low", "strongroom.high"}),
    "tests.unit.test_small": frozenset({"strongroom.low"}),
    "tests.unit.test_high": frozenset({"strongroom.high"}),
    "tests.property.test_other": frozenset({"tests.helper"}),
    "tests.contract.test_low": frozenset({"strongroom.low"}),
    "tests.unit.test_alone": frozenset(),
}


@pytest.mark.parametrize(
    ("changed", "here", "elsewhere"),
    [
        pytest.param(
            source("low"),
            [unit("low"), unit("small"), unit("high")],
            [unit("low", "contract")],
            id="namesake-then-small-then-far",
        ),
        pytest.param(
            source("other"),
            [
                unit("other", "property"),
                unit("alone"),
                unit("high"),
                unit("small"),
                unit("low"),
            ],
            [],
            id="by-a-helper-and-a-conftest",
        ),
        pytest.param(unit("alone"), [unit("alone")], [], id="a-test"),
        pytest.param(
            unit("low", "contract"),
            [unit("low", "contract")],
            [],
            id="a-slow-test-itself",
        ),
        pytest.param(source("alone"), [unit("alone")], [], id="the-test-in-its-mirror"),
        pytest.param("lists/words.txt", [unit("alone")], [], id="a-file-by-its-name"),
        pytest.param("A.md", [quick.DOCUMENT_TESTS], [], id="a-document"),
        pytest.param(source("gone"), [], [], id="nothing"),
    ],
)
def test_the_tests_of_a_change(changed: str, here: list[str], elsewhere: list[str]) -> None:
    texts = {unit("alone"): 'read("words.txt")', unit("low"): ""}
    choice = quick.choose(GRAPH, [changed], texts)
    assert (list(choice.chosen), list(choice.elsewhere)) == (here, elsewhere)


def test_each_module_with_a_test_of_its_name_in_its_folder_has_that_among_the_twelve() -> None:
    graph, texts = quick.imports(), quick.test_texts()
    missed = []
    examined = 0
    for path in sorted((quick.ROOT / "src" / "strongroom").rglob("*.py")):
        inside = path.relative_to(quick.ROOT / "src" / "strongroom")
        mirror = f"tests/unit/{inside.parent.as_posix()}/test_{inside.name}"
        if mirror in texts:
            examined += 1
            choice = quick.choose(graph, [path.relative_to(quick.ROOT).as_posix()], {})
            missed += [] if mirror in choice.chosen[: quick.FILES] else [mirror]
    assert examined > 50
    assert missed == []


def test_what_differs_from_a_commit_is_found_new_files_included(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*words: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@b.example")
        subprocess.run(["git", "-C", str(tmp_path), *who, *words], check=True, capture_output=True)

    git("init", "-q")
    for name in ("same.py", "changed.py", "removed.py", ".gitignore"):
        (tmp_path / name).write_text("ignored.py\n" if name.startswith(".") else "")
    git("add", ".")
    git("commit", "-qm", "first")
    (tmp_path / "changed.py").write_text("x = 1\n")
    (tmp_path / "removed.py").unlink()
    (tmp_path / "new.py").touch()
    (tmp_path / "ignored.py").touch()
    monkeypatch.setattr(quick, "ROOT", tmp_path)
    assert quick.changed_files("HEAD") == ["changed.py", "new.py"]


TWO_FILES = {
    "test_first.py": "def test_a(): pass\ndef test_b(): pass\n",
    "test_second.py": "def test_c(): pass\ndef test_d(): assert False\n",
}


@pytest.mark.parametrize(
    ("seconds", "code", "said"),
    [
        (300, 1, "1 failed, 3 passed"),
        (-1, 0, "time is up: 2 tests of 1 files were left out, from test_second.py on"),
    ],
)
def test_after_the_time_only_the_first_file_runs(
    tmp_path: Path, seconds: float, code: int, said: str
) -> None:
    for name, text in TWO_FILES.items():
        (tmp_path / name).write_text(text)
    # a configuration of its own, or that of a folder above is found
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    options = ["-q", "-p", "scripts.quick_clock", f"--until={time.monotonic() + seconds}"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "-c", str(tmp_path / "pytest.ini"), *TWO_FILES],
        cwd=tmp_path,
        env={"PYTHONPATH": str(quick.ROOT), "PYTEST_ADDOPTS": "-p no:randomly -p no:cacheprovider"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout
    assert said in done.stdout


def test_a_failing_check_is_said_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert quick._run("lint", sys.executable, "-c", "print('a word'); raise SystemExit(3)") is False
    assert quick._run("types", sys.executable, "-c", "print('silent')") is True
    said = capsys.readouterr().out
    assert "lint    FAILED" in said
    assert "a word" in said
    assert "silent" not in said


def test_hooks_are_tools_of_the_house_and_ask_no_address() -> None:
    hooks = yaml.safe_load((quick.ROOT / ".pre-commit-config.yaml").read_text())
    assert [repository["repo"] for repository in hooks["repos"]] == ["local"]
    makefile = (quick.ROOT / "Makefile").read_text()
    for hook in hooks["repos"][0]["hooks"]:
        tool = hook["entry"].split()[0]
        assert hook["language"] == "system"
        assert tool == "make" or f"$(BIN)/{tool.removeprefix('.venv/bin/')}" in makefile


def test_text_files_are_as_the_editorconfig_says() -> None:
    """One line end, at the end too, and no blank before it: `.editorconfig` is kept, not only written."""
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=quick.ROOT, stdout=subprocess.PIPE, text=True, check=True
    ).stdout.split("\0")
    wrong = []
    for name in names:
        path = quick.ROOT / name
        if not path.is_file() or name.startswith("tests/vectors/"):
            continue
        try:
            text = path.read_bytes().decode()
        except UnicodeDecodeError:
            continue
        lines = text.split("\n")
        if "\r" in text or (text and lines[-1]) or any(line != line.rstrip(" ") for line in lines):
            wrong.append(name)
    assert wrong == []
