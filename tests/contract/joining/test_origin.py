"""Whose a bootstrap file is, and that a seal does not say it (X6 of the review of format 1)."""

import json
from pathlib import Path

import pytest

from strongroom.canonical import ASCII_LINE, dumps
from strongroom.crypto import age
from strongroom.crypto.age import SealTo
from strongroom.crypto.secret import SecretBytes
from strongroom.joining import bootstrap_file
from strongroom.node import create, opening
from strongroom.node.opening import Node
from strongroom.services.nodes.admit import BootstrapRequest
from tests.contract.joining.commands import ACTOR, Tsm, nothing_there, told


@pytest.fixture
def identity(tmp_path: Path) -> tuple[str, str]:
    """The recipient of the new machine, which anybody may know, and the file of its identity."""
    made, path = age.new_identity(), tmp_path / "identity"
    path.write_bytes(made.text.reveal() + b"\n")
    return made.recipient, str(path)


def sealed_by(node: Node, recipient: str) -> str:
    """A bootstrap file that a node made for a recipient."""
    made = node.topology.make_bootstrap_file(ACTOR, BootstrapRequest("x", sealed=True))
    Path("file").write_bytes(age.seal(made.text.reveal(), SealTo((recipient,))))
    return "file"


def test_a_strangers_file_that_was_sealed_to_us_is_refused(
    node: Node, tsm: Tsm, tmp_path: Path, identity: tuple[str, str]
) -> None:
    """It was taken without a word: keys and server of the stranger's choice, since age has no sender."""
    recipient, file = identity
    create.create_node(str(tmp_path / "other"), "admin", SecretBytes(b"correct horse battery"))
    stranger = opening.open_node(str(tmp_path / "other"))
    theirs = sealed_by(stranger, recipient)
    fingerprint = stranger.identity.fingerprint()
    stranger.close()
    ours, home = node.identity.fingerprint(), tmp_path / "two"
    said = tsm("initialize-tsm", home, "-b", theirs, "--identity", file, "--fingerprint", ours)
    assert said.code == 20
    assert f"is of the installation {fingerprint}, not of {ours}; nothing was changed" in said.err
    assert nothing_there(home)


def test_a_file_of_ours_is_taken_by_its_fingerprint(
    node: Node, tsm: Tsm, tmp_path: Path, identity: tuple[str, str]
) -> None:
    recipient, file = identity
    made, ours = sealed_by(node, recipient), node.identity.fingerprint()
    said = tsm(
        "initialize-tsm", tmp_path / "two", "-b", made, "--identity", file, "--fingerprint", ours
    )
    assert said.code == 0, said.err
    assert f"Fingerprint: {ours}\n" in said.out
    assert "is not proved" not in said.err
    log = (tmp_path / "two/tabsvc/events").rglob("*.jsonl")
    prepared = [
        line for path in log for line in path.read_text().splitlines() if "PREPARED" in line
    ]
    assert [json.loads(line)["details"]["fingerprint"] for line in prepared] == [ours]


def test_without_a_fingerprint_the_origin_is_not_proved(
    node: Node, tsm: Tsm, tmp_path: Path, identity: tuple[str, str]
) -> None:
    recipient, file = identity
    made, ours = sealed_by(node, recipient), node.identity.fingerprint()
    said = tsm("initialize-tsm", tmp_path / "two", "-b", made, "--identity", file)
    assert said.code == 0, said.err
    assert f"Fingerprint: {ours}\n" in said.out
    assert "whose file it was is not proved" in said.err


def test_the_maker_shows_the_fingerprint(node: Node, tsm: Tsm) -> None:
    words = ("topology", "nodes", "get-bootstrap-file", "-f", "file")
    said = tsm("tsm", node.paths.root, *words)
    assert said.code == 0
    assert f"fingerprint of the installation: {node.identity.fingerprint()};" in said.err
    assert json.loads(Path("file").read_bytes())["format"] == "strongroom-bootstrap-4"
    assert told(node, "BOOTSTRAP_FILE_MADE")


def test_a_file_that_nobody_signed_is_none_of_ours(node: Node, tsm: Tsm, tmp_path: Path) -> None:
    """§7: taking identity and signature away leads back to the first form, which a fingerprint refuses."""
    made = node.topology.make_bootstrap_file(ACTOR, BootstrapRequest("x", credential=False))
    file = made.file
    members = json.loads(made.text.reveal())
    later = {"identity", "signature", "authorities", "addresses"}
    kept = {name: value for name, value in members.items() if name not in later}
    kept["format"] = bootstrap_file.FIRST_FORMAT
    body = dumps({name: value for name, value in kept.items() if name != "mac"}, ASCII_LINE)
    key = node.configuration.open_key(file.configuration_key_id)
    kept["mac"] = bootstrap_file._mac(key, file.installation_id, body).hex()
    Path("file").write_bytes(dumps(kept, ASCII_LINE))
    ours, home = node.identity.fingerprint(), tmp_path / "two"
    said = tsm("initialize-tsm", home, "-b", "file", "--fingerprint", ours)
    assert said.code == 20
    assert "is signed by no installation" in said.err
    assert nothing_there(home)
    said = tsm("initialize-tsm", home, "-b", "file")
    assert said.code == 0, said.err
    assert "whose file it was is not proved" in said.err


@pytest.mark.parametrize("named", [bootstrap_file.FIRST_FORMAT, bootstrap_file.SECOND_FORMAT])
def test_a_file_of_an_earlier_version_with_a_credential(
    node: Node, tsm: Tsm, tmp_path: Path, named: str
) -> None:
    """§7.1: a clear sentence, before anything is written or asked."""
    made = node.topology.make_bootstrap_file(ACTOR, BootstrapRequest("x"))
    members = json.loads(made.text.reveal()) | {"format": named}
    members["credential"] = {"id": members["credential"]["id"], "secret": "AAAA"}
    del members["authorities"], members["addresses"]
    if named == bootstrap_file.FIRST_FORMAT:
        del members["identity"], members["signature"]
    Path("file").write_bytes(dumps(members, ASCII_LINE))
    said = tsm("initialize-tsm", tmp_path / "two", "-b", "file")
    assert said.code == 21
    assert "was made by an earlier version" in said.err
    assert "make a new one with 'tsm topology nodes get-bootstrap-file'" in said.err
    assert nothing_there(tmp_path / "two")
