"""The identity of an installation: one fingerprint in all places, and none of its key anywhere (issue 10 E)."""

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from strongroom.cli import dispatch
from strongroom.config import versions
from strongroom.crypto import age, fingerprint, said
from strongroom.crypto.installation_identity import InstallationIdentity
from strongroom.crypto.statements import Origin, Purpose
from strongroom.errors import StateError
from strongroom.node import opening
from strongroom.services.keys import identity

Capture = pytest.CaptureFixture[str]
FINGERPRINT = re.compile(r"\b[a-z2-7]{4}(?:-[a-z2-7]{4}){4}\b")


def told(capsys: Capture, tool: str, home: Path, *words: str) -> str:
    assert dispatch.main(tool, ["--data-dir", str(home), *words]) == 0
    shown = capsys.readouterr()
    return shown.out + shown.err


def by_hand(home: Path) -> str:
    """The fingerprint as the page says it, with nothing of ours but the seed (statements.md 2.1)."""
    node = opening.open_node(str(home))
    try:
        seed = node.configuration.open_secret(identity.PARAMETER).reveal()
    finally:
        node.close()
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    digest = hashlib.sha256(b"strongroom/v2/identity" + public).digest()
    letters = base64.b32encode(digest).decode().lower()[:20]
    return "-".join(letters[at : at + 4] for at in range(0, 20, 4))


def test_the_fingerprint_is_the_same_wherever_it_is_shown(tmp_path: Path, capsys: Capture) -> None:
    home, password = tmp_path / "node", tmp_path / "password"
    password.write_text("correct horse battery\n")
    made = told(capsys, "strongroom", home, "init", "--admin-password-file", str(password))
    kit = ("roots", "add", "shares", "--threshold", "2", "--shares", "3")
    age_root = ("roots", "add", "age", "--recipient", age.new_identity().recipient)
    shown = [
        made,
        told(capsys, "tsm", home, "status"),
        told(capsys, "tsm", home, "security", "kms", *kit, "--output", str(tmp_path / "kit")),
        told(capsys, "tsm", home, "security", "kms", *age_root),
        *(path.read_text() for path in sorted((tmp_path / "kit").iterdir())),
    ]
    assert [FINGERPRINT.findall(text) for text in shown] == [[by_hand(home)]] * len(shown)
    assert json.loads(told(capsys, "tsm", home, "status", "--json"))["fingerprint"] == by_hand(home)


def test_a_regeneration_keeps_the_identity(node_dir: Path, capsys: Capture) -> None:
    before = by_hand(node_dir)
    told(capsys, "tsm", node_dir, "security", "regenerate-internal-tokens")
    assert by_hand(node_dir) == before


def test_the_identity_leaves_an_event_and_no_other_trace(node_dir: Path, capsys: Capture) -> None:
    """Statements.md 3.1: neither set nor exported, and named in the log by its fingerprint."""
    name = identity.PARAMETER
    assert f'"{by_hand(node_dir)}"' in told(
        capsys, "strongroom", node_dir, "events", "list", "--json"
    )
    exported = told(capsys, "tsm", node_dir, "settings", "export", "-f", str(node_dir / "out"))
    assert name not in exported + (node_dir / "out").read_text()
    setting = ["--data-dir", str(node_dir), "configuration", "set", "-k", name, "-v", "x"]
    assert dispatch.main("tsm", setting) != 0


def test_two_installations_have_two_identities(tmp_path: Path, capsys: Capture) -> None:
    password = tmp_path / "password"
    password.write_text("correct horse battery\n")
    for name in ("one", "other"):
        told(capsys, "strongroom", tmp_path / name, "init", "--admin-password-file", str(password))
    assert by_hand(tmp_path / "one") != by_hand(tmp_path / "other")


def test_a_node_without_an_identity_says_so(node_dir: Path, capsys: Capture) -> None:
    """A node of format 1, until it is upgraded."""
    node = opening.open_node(str(node_dir))
    try:
        node.configuration.compare_and_put(
            lambda document: document.with_values({identity.PARAMETER: None})
        )
        assert node.identity.find() is None
        with pytest.raises(StateError, match="no identity"):
            node.identity.key()
    finally:
        node.close()
    assert "Fingerprint: -\n" in told(capsys, "tsm", node_dir, "status")


def test_another_identity_is_signed_by_the_one_before_it(node_dir: Path, capsys: Capture) -> None:
    """Statements.md 3.4: whoever knows the old fingerprint and has the log learns the new one."""
    node = opening.open_node(str(node_dir))
    old = node.identity.key().identity.public
    node.close()
    before = by_hand(node_dir)
    assert before in told(capsys, "tsm", node_dir, "security", "identity", "show")
    renewed = told(capsys, "tsm", node_dir, "security", "identity", "renew")
    after = by_hand(node_dir)
    assert FINGERPRINT.findall(renewed) == [before, after]
    assert after != before
    node = opening.open_node(str(node_dir))
    [details] = [one["details"] for one in node.events.read() if one["id"] == "IDENTITY_RENEWED"]
    installation = node.configuration.document().installation_id
    assert versions.load_previous(node.coordinator) is None
    node.close()
    assert isinstance(details, dict)
    assert (details["old"], details["new"]) == (before, after)
    public, signature = (base64.b64decode(details[name]) for name in ("public", "signature"))
    assert fingerprint.of_identity(public) == after
    payload = said.of_identity(old, public)
    InstallationIdentity(Origin(installation), old).check(Purpose.IDENTITY, payload, signature)
    shown = json.loads(told(capsys, "tsm", node_dir, "security", "identity", "show", "--json"))
    assert shown == {"installation": installation, "fingerprint": after}


def test_the_upgrade_makes_an_identity_once(node_dir: Path) -> None:
    node = opening.open_node(str(node_dir))
    try:
        node.configuration.compare_and_put(
            lambda document: document.with_values({identity.PARAMETER: None})
        )
        values = dict(node.configuration.document().values)
        node.identity.ensure("os:tester")
        made = node.identity.fingerprint()
        node.identity.ensure("os:tester")
        assert node.identity.fingerprint() == made
        after = dict(node.configuration.document().values)
        assert after.pop(identity.PARAMETER)
        assert after == values
    finally:
        node.close()
