"""A node of every revision that was released, with content, opens and works (issue 8, "Must show" 6; requirements Q-*).

The archives under `nodes/` were written by the revision in their names (`make_golden_node.py`) and are never made anew.
"""

import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.servers import TestNode, serving

NODES = Path(__file__).with_name("nodes")
REVISIONS = sorted(path.name.removesuffix(".tar.xz") for path in NODES.glob("*.tar.xz"))
pytestmark = pytest.mark.slow


class Golden(TestNode):
    """A golden node, unpacked, and what is known of it."""

    facts: dict[str, Any]

    @property
    def passphrase_file(self) -> Path:
        return self.folder / "passphrase"


@pytest.fixture(params=REVISIONS)
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> Golden:
    with tarfile.open(NODES / f"{request.param}.tar.xz") as archive:
        # files are owned by whoever runs the tests; the modes are those of the node
        # (not by an argument: Debian 12's Python 3.11.2 has no filters)
        archive.extraction_filter = getattr(tarfile, "tar_filter", None)
        archive.extractall(tmp_path)
    node = Golden(tmp_path)
    node.facts = json.loads((NODES / f"{request.param}.json").read_text())
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
