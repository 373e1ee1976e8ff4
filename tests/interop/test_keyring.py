"""keyring's own tests on our backend, and keyring as people use it, on a machine without a desktop (issue 13 D).

keyring and its tests come from the lock; the backend is the wheel of strongroom-client, so its entry point counts.
"""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from scripts import client_source
from tests.support.servers import ROOT
from tests.support.vault_door import VaultDoor, vault_door

VENV = ROOT / ".venv-vault"
CASES = 15
"""How many tests of keyring's suite pass at least; the number may only grow, and none is left out."""
POLICY = """
path "secret/data/keyring/*" { capabilities = ["create", "read", "update"] }
path "secret/metadata/keyring/*" { capabilities = ["list", "delete"] }
"""

pytestmark = pytest.mark.interop


@dataclass(frozen=True)
class Person:
    """A home directory in which keyring knows the node."""

    home: Path
    door: VaultDoor
    wheel: Path

    def run(
        self, *words: str, stdin: str = "", limit: float = 120
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(VENV / "bin/python"), "-P", "-m", *words],
            cwd=self.home,
            env={
                "HOME": str(self.home),
                "PATH": "/usr/bin:/bin",
                "PYTHONPATH": f"{self.wheel}:{ROOT}",
            },
            input=stdin,
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    folder = tmp_path_factory.mktemp("keyring")
    source = client_source.lay_out(ROOT, folder / "source")
    build = (sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder))
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder / "wheel")
    (folder / "node").mkdir()
    with vault_door(folder / "node") as door:
        door.policy("keyring", POLICY)
        home = folder / "home"
        (home / ".local/share/python_keyring").mkdir(parents=True)
        (home / ".config/python_keyring").mkdir(parents=True)
        token = home / "token"
        token.write_text(door.token("keyring"))
        told = json.dumps({"url": door.url, "token_file": str(token)})
        (home / ".config/python_keyring/strongroom.json").write_text(told)
        yield Person(home, door, folder / "wheel")


def test_keyrings_own_tests_of_a_backend_pass(person: Person, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    options = ["-q", "--noconftest", "-c", os.devnull, "-p", "no:cacheprovider"]
    suite = str(ROOT / "tests/support/keyring_suite.py")
    done = person.run("pytest", *options, f"--junit-xml={report}", suite)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    passed = [case for case in ET.parse(report).iter("testcase") if not len(case)]
    assert len(passed) >= CASES


def kept(person: Person) -> list[str]:
    """The services of which the node keeps passwords."""
    found = person.door.call("GET", "secret/metadata/keyring?list=true")
    return list(found.json["data"]["keys"]) if found.status == 200 else []


def test_keyrings_command_keeps_and_gives_a_password_without_a_desktop(person: Person) -> None:
    """As `uv publish` and `twine` look a password up."""
    where = ("https://upload.example/legacy/", "__token__")
    before = kept(person)
    assert "StrongroomKeyring (priority: 6)" in person.run("keyring", "--list-backends").stdout
    done = person.run("keyring", "set", *where, stdin="pypi-not-a-real-token")
    assert done.returncode == 0, done.stderr
    assert person.run("keyring", "get", *where).stdout == "pypi-not-a-real-token\n"
    found = person.run("keyring", "--mode", "creds", "get", where[0]).stdout
    assert found.split() == ["__token__", "pypi-not-a-real-token"]
    assert kept(person) != before
    assert person.run("keyring", "del", *where).returncode == 0
    assert person.run("keyring", "get", *where).returncode == 1
    # with all its versions; keyring's own tests leave some of theirs
    assert kept(person) == before


def test_without_a_node_the_backend_is_passed_over(person: Person, tmp_path: Path) -> None:
    elsewhere = Person(tmp_path, person.door, person.wheel)
    assert "Strongroom" not in elsewhere.run("keyring", "--list-backends").stdout


def test_what_goes_wrong_is_said_with_what_to_do(person: Person, tmp_path: Path) -> None:
    (tmp_path / ".config/python_keyring").mkdir(parents=True)
    (tmp_path / "token").write_text(person.door.token("default"))
    told = {"url": person.door.url, "token_file": str(tmp_path / "token")}
    (tmp_path / ".config/python_keyring/strongroom.json").write_text(json.dumps(told))
    stranger = Person(tmp_path, person.door, person.wheel)
    done = stranger.run("keyring", "set", "service", "user", stdin="secret-of-mine")
    assert "may not use the secret 'secret/keyring/service/user'" in done.stderr
    assert 'path "secret/data/keyring/service/user"' in done.stderr
    assert "secret-of-mine" not in done.stderr
    (tmp_path / "token").write_text("hvs.nobodys")
    done = stranger.run("keyring", "get", "service", "user")
    assert "KeyringLocked" in done.stderr
    assert f"the token in {tmp_path / 'token'} is not valid" in done.stderr
