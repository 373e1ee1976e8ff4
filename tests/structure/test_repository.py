"""The repository itself: sizes, docstrings, addresses, places, licence (issue: "Must show" 7)."""

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
LONG_FILES: dict[str, str] = {
    # path: why it may be longer than 500 lines
}
LONG_FUNCTIONS: dict[str, str] = {
    "src/strongroom/repository/migrations/versions/v0001_first.py: upgrade": "a list of tables",
}
PUBLIC_API = "src/strongroom/client/__init__.py"  # the one package that other programs import
_MAX_LINES = 500
_MAX_FUNCTION_LINES = 80
_TEXT = {".py", ".md", ".toml", ".txt", ".in", ".sh", ".yml", ".yaml", ".json", ".cfg", ".ini", ""}
# written in two parts, so that this file does not hold what it looks for
_REGISTRIES = ["pypi" + ".org", "pythonhosted" + ".org", "npmjs" + ".org", "index" + "-url ="]
_PLACES = re.compile(
    "|".join(["/work" + "/", "/home/" + r"[a-z]+/", "/root/" + r"\.", "/opt/" + "pypi"])
)


def tracked(suffix: str = "") -> list[Path]:
    """The files that git knows."""
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = [name for name in done.stdout.split("\0") if name.endswith(suffix)]
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def sources() -> list[Path]:
    return [path for path in tracked(".py") if path.is_relative_to(ROOT / "src")]


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_that_files_are_found() -> None:
    assert len(sources()) > 50


def test_no_code_file_is_longer_than_five_hundred_lines_without_a_reason() -> None:
    long = {
        relative(path) for path in tracked(".py") if len(path.read_text().splitlines()) > _MAX_LINES
    }
    assert long - set(LONG_FILES) == set()
    assert all((ROOT / name).is_file() for name in LONG_FILES)


def test_no_function_is_longer_than_eighty_lines() -> None:
    long = {
        f"{relative(path)}: {node.name}"
        for path in tracked(".py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= _MAX_FUNCTION_LINES
    }
    assert long == set(LONG_FUNCTIONS)


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        relative(path) for path in sources() if not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def test_package_files_hold_a_docstring_only() -> None:
    full = [
        relative(path)
        for path in sources()
        if path.name == "__init__.py" and len(ast.parse(path.read_text()).body) > 1
    ]
    assert full == [PUBLIC_API]


def test_no_registry_address_and_no_place_of_one_machine() -> None:
    found = []
    for path in tracked():
        if path.suffix not in _TEXT or "vectors" in path.parts:
            continue
        text = path.read_text(errors="replace")
        found += [f"{relative(path)}: {word}" for word in _REGISTRIES if word in text]
        found += [f"{relative(path)}: {match}" for match in _PLACES.findall(text)]
    assert found == []


def test_the_keystore_and_the_kms_store_are_told_apart() -> None:
    """docs/reference/terms.md: the two words in one name both, so that nobody knows which is meant."""
    for_both = re.compile(r"\bkey\s" + "stores?", re.IGNORECASE)  # in two parts, as above
    texts = [path for path in tracked() if path.suffix in {".py", ".md"}]
    assert [relative(path) for path in texts if for_both.search(path.read_text())] == []


def test_no_address_in_any_lock() -> None:
    for lock in (ROOT / "requirements").glob("*.txt"):
        assert "://" not in lock.read_text(), lock.name


def test_locks_pin_every_package_by_hash() -> None:
    for lock in ("product.txt", "dev.txt", "tsc042.txt", "clients.txt", "emulators.txt", "uv.txt"):
        text = (ROOT / "requirements" / lock).read_text()
        pins = re.findall(r"^[A-Za-z0-9_.\-\[\]]+==.*$", text, re.MULTILINE)
        assert pins
        assert all(pin.rstrip().endswith("\\") for pin in pins), lock


def test_version_is_said_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    product = (ROOT / "src/strongroom/system/version.py").read_text()
    assert f'\nVERSION = "{project["version"]}"\n' in product
    client = tomllib.loads((ROOT / "clients/pyproject.toml").read_text())["project"]
    assert client["version"] == project["version"]
    assert client["dependencies"] == [
        one for one in project["dependencies"] if "cryptography" in one
    ]
    newest = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[0]
    assert newest == project["version"]


def test_licence() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text()[:200]


@pytest.mark.parametrize(
    "name", ["README.md", "SECURITY.md", "CHANGELOG.md", "CONTRIBUTING.md", "RELEASE.md"]
)
def test_the_documents_of_the_house_are_there(name: str) -> None:
    assert (ROOT / name).stat().st_size > 500


def test_at_least_eight_decisions_are_written_down() -> None:
    decisions = sorted((ROOT / "docs/adr").glob("0*.md"))
    listed = (ROOT / "docs/adr/README.md").read_text()
    assert len(decisions) >= 8
    assert [path.name for path in decisions if path.name not in listed] == []
