"""`strongroom-client` is made of modules of this tree, and of none of the server (adr/0027-one-tree-two-distributions.md)."""

import subprocess
import sys
from pathlib import Path

import pytest

from scripts import client_source

ROOT = Path(__file__).resolve().parent.parent.parent
#: What the client may be made of: the formats, their ciphers, files by position, and what every layer has.
ROOMS = {"client", "crypto", "envelope", "errors", "filestore", "ids", "system"}
#: Modules that a program imports by their names, since two of them need a library that the others do not.
ASKED_FOR = {
    f"strongroom_client.{name}" for name in ("keyring_backend", "parquet", "vault_service")
}
_LOADED = """
import sys
import strongroom_client
for name in strongroom_client.__all__:
    getattr(strongroom_client, name)
print(*sorted(name for name in sys.modules if name.partition(".")[0].startswith("strongroom")))
"""


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return client_source.lay_out(ROOT, tmp_path_factory.mktemp("distribution") / "client")


def test_only_rooms_that_know_nothing_of_the_server() -> None:
    found = client_source.needed(ROOT / "src")
    assert {name.split(".")[1] for name in found} == ROOMS
    local = {name for name in found if name.startswith("strongroom.filestore.")}
    assert local == {"strongroom.filestore.blockfile"}
    assert len(found) < 42


def test_each_module_is_the_servers_but_for_its_import_lines(laid_out: Path) -> None:
    for name, path in client_source.needed(ROOT / "src").items():
        place = laid_out / "src" / client_source.renamed(name).replace(".", "/")
        place = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        here, there = path.read_text().splitlines(), place.read_text().splitlines()
        changed = [two for one, two in zip(here, there, strict=True) if one != two]
        assert all(line.lstrip().startswith("from strongroom_client") for line in changed), name


def test_it_loads_nothing_of_the_server(laid_out: Path) -> None:
    """Although the server is there: what is imported is the copy alone, and all of it."""
    done = subprocess.run(
        [sys.executable, "-c", _LOADED],
        env={"PYTHONPATH": str(laid_out / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.split())
    assert {name.partition(".")[0] for name in loaded} == {"strongroom_client"}
    made = {client_source.renamed(name) for name in client_source.needed(ROOT / "src")}
    assert made - loaded == ASKED_FOR


def test_it_is_typed_and_has_a_licence(laid_out: Path) -> None:
    for name in (f"src/{client_source.PACKAGE}/py.typed", "LICENSE", "README.md", "pyproject.toml"):
        assert (laid_out / name).is_file()


def test_an_import_that_would_be_left_as_it_is_ends_the_script(tmp_path: Path) -> None:
    client = tmp_path / "src/strongroom/client"
    client.mkdir(parents=True)
    (client / "__init__.py").write_text("import strongroom.errors\n")
    with pytest.raises(SystemExit, match=r"use from … import"):
        client_source.needed(tmp_path / "src")
