"""A node of every revision that was released, with content, opens and works (issue 8, "Must show" 6; requirements Q-*).

The archives under `nodes/` were written by the revision in their names (`make_golden_node.py`) and are never made anew.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.golden import NODES, REVISIONS, unpack
from tests.support.servers import TestNode, serving

pytestmark = pytest.mark.slow


class Golden(TestNode):
    """A golden node, unpacked, and what is known of it."""

    facts: dict[str, Any]

    @property
    def passphrase_file(self) -> Path:
        return self.folder / "passphrase"


@pytest.fixture(scope="module", params=REVISIONS)
def revision(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def upgraded(revision: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the node after its upgrade; not to be changed."""
    node = Golden(unpack(revision, tmp_path_factory.mktemp("upgraded")))
    node.run("strongroom", "upgrade", "--no-backup")
    return node.folder


@pytest.fixture
def golden(upgraded: Path, revision: str, tmp_path: Path) -> Golden:
    """A copy of the node after its upgrade."""
    copy = shutil.copytree(upgraded, tmp_path / upgraded.name, symlinks=True)
    return _told_of(Golden(Path(copy)), revision)


@pytest.fixture
def old(revision: str, tmp_path: Path) -> Golden:
    return _told_of(Golden(unpack(revision, tmp_path)), revision)


def _told_of(node: Golden, revision: str) -> Golden:
    """The node with what is known of it, and the files in which its passwords stand."""
    node.facts = json.loads((NODES / f"{revision}.json").read_text())
    for path, text in (
        (node.password_file, node.facts["password"]),
        (node.passphrase_file, node.facts["passphrase"]),
    ):
        path.write_text(text + "\n")
        path.chmod(0o600)
    return node


def read_back(golden: Golden, folder: Path, user: str = "admin") -> dict[str, str]:
    """Digests of all content, downloaded from the running server by the real TSC."""
    import tableauserverclient as tsc

    server, found = tsc.Server(golden.url, use_server_version=True), {}
    folder.mkdir()
    for site in sorted({item["site"] for item in golden.facts["items"]}):
        with server.auth.sign_in(tsc.TableauAuth(user, golden.facts["password"], site.lower())):
            for item in (one for one in golden.facts["items"] if one["site"] == site):
                endpoint = server.datasources if item["kind"] == "datasource" else server.workbooks
                path = endpoint.download(item["id"], filepath=str(folder))
                found[item["id"]] = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return found


def expected(golden: Golden) -> dict[str, str]:
    return {item["id"]: item["sha256"] for item in golden.facts["items"]}


def test_it_is_upgraded_once_after_a_backup(old: Golden) -> None:
    """issue 10, part I: one explicit step, with a dry run, a backup first and a receipt; nothing works before it."""
    passphrase = ["--passphrase-file", str(old.passphrase_file)]
    kit = sorted((old.folder / "kit").glob("*share*"))[:2]
    shares = [word for path in kit for word in ("--share", str(path))]
    for words in (
        ("tsm", "security", "kms", "status"),
        ("tsm", "configuration", "get", "-k", "redis.password"),
        ("strongroom", "serve", "--port", "0"),
        ("strongroom", "status"),
        ("strongroom", "events", "verify"),
        ("strongroom", "recover", "--drill", *shares),
    ):
        refused = old.run(*words, check=False)
        assert (refused.code, refused.out) == (9, ""), words
        assert "is of an older format" in refused.err
        assert "'strongroom upgrade'" in refused.err
    before = {path: path.read_bytes() for path in (old.home / "tabsvc/config").rglob("*.json")}
    planned = old.run("strongroom", "upgrade", "--dry-run").out
    assert planned.startswith("1. make a backup\n2. ")
    assert {path: path.read_bytes() for path in before} == before
    told = old.run("strongroom", "upgrade", "--json").json
    assert [f"{n}. {step}" for n, step in enumerate(told["steps"], 1)] == planned.splitlines()
    assert not told["resumed"]
    old.run("strongroom", "backup", "verify", told["backup"], "--drill")
    again = old.run("strongroom", "upgrade").out
    assert "nothing was changed" in again
    [event] = [
        one
        for one in old.run("strongroom", "events", "list", "--json").json
        if one["id"] == "FORMAT_UPGRADED"
    ]
    assert (event["details"]["run"], event["details"]["backup"]) == (told["run"], told["backup"])
    earlier = sorted((old.home / "tabsvc/files/backups").glob("golden*"))
    old.run("strongroom", "backup", "verify", earlier[0], "--drill", *passphrase)


def test_its_keys_and_secrets_open(golden: Golden) -> None:
    status = golden.run("tsm", "security", "kms", "status", "--json").json
    assert [mek["id"] for mek in status["meks"]] == [
        mek["id"] for mek in golden.facts["kms"]["meks"]
    ]
    golden.run("tsm", "security", "keystore", "verify")
    for name, value in golden.facts["secrets"].items():
        told = golden.run("tsm", "configuration", "get", "-k", name, "--reveal-key-material").out
        assert told.strip() == value
    # what an administrator had prepared and not applied is still pending
    assert "backgrounder.log.level" in golden.run("tsm", "pending-changes", "list").out
    golden.run("tsm", "pending-changes", "apply", "--ignore-prompt")


def test_its_content_is_served_and_comes_under_new_keys(golden: Golden, tmp_path: Path) -> None:
    with serving(golden):
        assert read_back(golden, tmp_path / "first") == expected(golden)
        golden.run("tsm", "pending-changes", "apply", "--ignore-prompt")
        golden.run("tsm", "security", "regenerate-internal-tokens")
        for site in ("Sealed", "Chosen"):
            golden.run("strongroom", "extracts", "reencrypt", "--site", site, "--wait")
        assert read_back(golden, tmp_path / "second") == expected(golden)
    golden.run("strongroom", "events", "verify")
    assert golden.run("strongroom", "status", check=False).code in {0, 7}


def test_its_event_log_verifies_and_goes_on(golden: Golden) -> None:
    golden.run("strongroom", "events", "verify")
    before = len(golden.run("strongroom", "events", "list", "--json").json)
    golden.run("tsm", "security", "kms", "rotate")
    golden.run("strongroom", "events", "verify")
    assert len(golden.run("strongroom", "events", "list", "--json").json) > before


def test_what_lies_outside_the_store_opens(golden: Golden) -> None:
    golden.run("strongroom", "decrypt", "loose.sealed", "loose")
    digest = hashlib.sha256((golden.folder / "loose").read_bytes()).hexdigest()
    assert digest == golden.facts["loose_sha256"]
    passphrase: list[str | Path] = ["--passphrase-file", golden.passphrase_file]
    golden.run("tsm", "settings", "import", "--import-config-file", "settings.json", *passphrase)


def test_its_backup_is_verified_and_restored(golden: Golden, tmp_path: Path) -> None:
    passphrase: list[str | Path] = ["--passphrase-file", golden.passphrase_file]
    [backup] = (golden.home / "tabsvc/files/backups").iterdir()
    golden.run("strongroom", "backup", "verify", backup, "--drill", *passphrase)
    golden.run("tsm", "maintenance", "restore", "--file", backup, "--ignore-prompt", *passphrase)
    with serving(golden):
        assert read_back(golden, tmp_path / "restored") == expected(golden)


def test_its_shares_recover_it(golden: Golden, tmp_path: Path) -> None:
    """Changes are pending, too: a recovery without the keystore's password was refused because of them."""
    shares = sorted((golden.folder / "kit").glob("*share*"))[:2]
    words = [word for path in shares for word in ("--share", str(path))]
    (golden.home / "tabsvc/keystore/password").unlink()
    golden.run("strongroom", "recover", *words)
    golden.run("tsm", "pending-changes", "apply", "--ignore-prompt")
    with serving(golden):
        assert read_back(golden, tmp_path / "recovered") == expected(golden)
