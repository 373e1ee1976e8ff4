"""What a fresh machine gets, and what the tests lean on there (findings F1, P2, P4, P6).

`make platforms` tries it in bare trees; what can be seen without them is seen here.
"""

import gc
import re
import sqlite3
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.structure.test_repository import ROOT
from tests.support.components import postgres

#: Debian's releases, as the README and as debootstrap call them.
RELEASES = {"Debian 12": "bookworm", "Debian 13": "trixie"}
SYSTEM = (ROOT / "scripts" / "system.sh").read_text()
PLATFORMS = (ROOT / "scripts" / "platforms.sh").read_text()


def recipe(target: str) -> str:
    """What make would run for a target on a machine that has nothing yet."""
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", target],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def listed(name: str) -> set[str]:
    """The Debian packages of a list."""
    lines = (ROOT / "requirements" / name).read_text().splitlines()
    return {line.split()[0] for line in lines if line and not line.startswith("#")}


def test_the_demo_installs_what_the_main_job_needs() -> None:
    """Findings F1: it installed databases, a JDK and a compiler, and 1.6 GB of environments."""
    demo = recipe("demo")
    assert "requirements/debian-product.txt" in demo
    assert "requirements/debian.txt" not in demo
    assert "requirements/dev.txt" not in demo
    assert set(re.findall(r"uv venv .*?(\.venv\S*)$", demo, re.MULTILINE)) == {".venv"}
    assert listed("debian-product.txt") == {"python3-venv", "ca-certificates"}
    assert listed("debian-product.txt").isdisjoint(listed("debian.txt"))
    # and the tests' do all of it
    assert "requirements/debian.txt" in recipe("dev")
    assert {"postgresql", "default-jdk-headless", "gcc"} <= listed("debian.txt")


@pytest.mark.parametrize(("target", "lists"), [("demo", ["demo"]), ("dev", ["demo", "dev"])])
def test_it_says_what_it_makes_and_how_much_before_it_begins(target: str, lists: list[str]) -> None:
    """Findings F1: it was silent for two minutes; the sizes are those that `make platforms` measures."""
    said = recipe(target)
    for name in lists:
        told = re.search(
            rf'^echo ".*requirements/{name}\.txt\) Python packages.*, \d+ MB.*$', said, re.MULTILINE
        )
        begun = re.search(
            rf"^.*uv pip (install|sync) .*requirements/{name}\.txt", said, re.MULTILINE
        )
        assert told is not None
        assert begun is not None
        assert told.start() < begun.start()
    assert re.search(r"^echo \"installing Debian packages: ", SYSTEM, re.MULTILINE)


def test_the_packages_of_the_demo_are_shown_as_they_come() -> None:
    """Findings F1: the installer was told to be quiet, and the largest step showed nothing."""
    (line,) = re.findall(
        r"^.*uv pip install .*requirements/demo\.txt.*$", recipe("demo"), re.MULTILINE
    )
    assert "--quiet" not in line


def test_what_the_readme_promises_is_what_is_tried() -> None:
    """Findings P6: both commands, as root and as a user with sudo, in each release that the README names."""
    promised = set(re.findall(r"Debian \d+", (ROOT / "README.md").read_text()))
    assert promised == set(RELEASES)
    tried = dict(re.findall(r"\$\{(PLATFORM\w+):-([a-z ]+)\}", PLATFORMS))
    assert tried["PLATFORMS"].split() == list(RELEASES.values())
    assert tried["PLATFORM_USERS"].split() == ["root", "user"]
    assert tried["PLATFORM_STEPS"].split() == ["demo", "test"]


def test_nothing_of_the_callers_environment_is_handed_on() -> None:
    """Findings P1, P6: ten tests passed only where the environment had one variable; CI and the trees have none of it."""
    for text in (PLATFORMS, (ROOT / ".ci" / "run").read_text()):
        assert re.search(r"\benv -i ", text)
        assert "PYTHON" not in text


@pytest.mark.parametrize(
    ("installed", "newest"),
    [(["15"], "15"), (["15", "17"], "17"), (["9", "13"], "13"), (["17", "common", "8.4"], "17")],
)
def test_the_newest_postgresql_that_is_installed_is_found(
    installed: list[str], newest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Findings P2: its programs were looked for under version 15, and Debian 13 has 17."""
    for version in installed:
        (tmp_path / version / "bin").mkdir(parents=True)
    monkeypatch.setattr(postgres, "_VERSIONS", tmp_path)
    assert postgres.programs() == tmp_path / newest / "bin"


def test_no_test_names_a_version_of_postgresql() -> None:
    """Findings P2: whoever writes the folder down will find another one elsewhere."""
    named = re.compile("/usr/lib/" + r"postgresql/\d")
    folders = [ROOT / name for name in ("tests", "demo", "scripts", "benchmarks", "docs")]
    texts = [
        path
        for folder in folders
        for path in folder.rglob("*")
        if path.suffix in {".py", ".sh", ".md"}
    ]
    assert [path.name for path in texts if named.search(path.read_text())] == []


def test_a_machine_without_postgresql_is_told_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_VERSIONS", tmp_path)
    with pytest.raises(AssertionError, match="make dev installs it"):
        postgres.programs()


def test_a_database_that_nobody_closed_is_an_error_on_every_python(tmp_path: Path) -> None:
    """Findings P4: a warning since Python 3.13, which the tests make an error; on 3.11 nobody would see it."""
    with pytest.warns(ResourceWarning, match="nobody closed the database|unclosed database"):
        _opened_and_forgotten(tmp_path)
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]
    assert options["filterwarnings"] == ["error"]


def _opened_and_forgotten(folder: Path) -> None:
    sqlite3.connect(folder / "x.db").execute("SELECT 1")
    gc.collect()
