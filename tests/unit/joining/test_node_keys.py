"""The file with a node's own keys (docs/format/nodes.md §1)."""

import json

import pytest

from strongroom import ids
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError
from strongroom.joining import node_keys
from strongroom.joining.node_keys import FormerKind, LogKey

KEYS = node_keys.make(ids.new_id(), "node2")
DATA = KEYS.serialize().reveal()
SEED = KEYS.log.seed if KEYS.log else SecretBytes(b"")
FORMER = {
    "configuration": node_keys.succeeding(FormerKind.CONFIGURATION),
    "node": LogKey(SEED).renewed(),
    "lost": node_keys.succeeding(FormerKind.LOST, bytes(32)),
}


def changed(**members: object) -> bytes:
    text = json.dumps(json.loads(DATA) | members, sort_keys=True, separators=(",", ":"))
    return text.encode() + b"\n"


def test_they_are_read_back() -> None:
    found = node_keys.parse(DATA)
    assert (found.installation_id, found.node_id) == (KEYS.installation_id, "node2")
    assert (found.public, found.request_key) == (KEYS.public, KEYS.request_key)
    assert found.serialize().reveal() == DATA


@pytest.mark.parametrize("kind", FORMER)
def test_the_key_of_the_log_is_kept_with_the_one_before_it(kind: str) -> None:
    """X7; nodes.md 1.4: until the change is over, the node does not say that it signs alone."""
    keys = KEYS.with_log(FORMER[kind])
    found = node_keys.parse(keys.serialize().reveal())
    assert (found.log, found.log_public) == (FORMER[kind], b"")
    assert found.serialize().reveal() == keys.serialize().reveal()
    settled = found.with_log(FORMER[kind].settled())
    assert settled.log_public == FORMER[kind].signing.public
    assert settled.public == KEYS.public


def test_a_file_of_before_has_no_key_of_the_log() -> None:
    older = KEYS.with_log(None).serialize().reveal()
    assert json.loads(older)["format"] == "strongroom-node-1"
    found = node_keys.parse(older)
    assert (found.log, found.log_public, found.serialize().reveal()) == (None, b"", older)


def test_the_key_of_the_log_follows_from_no_other() -> None:
    """A renewal after a leak of the file must give a key that the leak does not tell."""
    assert KEYS.log is not None
    renewed = KEYS.log.renewed()
    assert renewed.former is not None
    assert renewed.former.key == KEYS.log.seed
    assert len({KEYS.public.signing, KEYS.log.signing.public, renewed.signing.public}) == 3


def test_each_node_has_its_own() -> None:
    other = node_keys.make(KEYS.installation_id, "node2")
    assert other.log_public != KEYS.log_public
    assert other.public.signing != KEYS.public.signing
    assert other.public.sealing != KEYS.public.sealing
    assert other.public.fingerprint != KEYS.public.fingerprint


def test_the_fingerprint_is_of_both() -> None:
    public = KEYS.public
    assert len(public.fingerprint.split("-")) == 5
    for other in (public._replace(signing=bytes(32)), public._replace(sealing=bytes(32))):
        assert other.fingerprint != public.fingerprint
    with pytest.raises(FormatError, match="has 32 bytes, not 31"):
        _ = public._replace(sealing=bytes(31)).fingerprint


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]\n",
        DATA[:-1],
        changed(more=1),
        changed(format="strongroom-node-9"),
        changed(node_id="node/../x"),
        changed(installation_id="x"),
        changed(signing_seed="AAAA"),
        changed(sealing_key="AAAA"),
        changed(request_key="?"),
        changed(format="strongroom-node-1"),
        changed(log_seed="AAAA"),
        changed(log_seed=None),
        changed(log_former={"key": "", "kind": "other"}),
        changed(log_former={"key": "AAAA", "kind": "node"}),
        changed(log_former={"key": "AAAA", "kind": "configuration"}),
        changed(log_former={"key": "", "kind": "lost"}),
        changed(log_former={"kind": "configuration"}),
        changed(log_former=[]),
    ],
)
def test_everything_else_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError) as caught:
        node_keys.parse(data)
    assert "AAAA" not in str(caught.value)


def test_nothing_secret_is_shown() -> None:
    shown = repr(KEYS) + repr(KEYS.serialize()) + repr(vars(KEYS))
    assert json.loads(DATA)["signing_seed"] not in shown
    assert json.loads(DATA)["log_seed"] not in shown


def test_keys_of_another_length_are_none() -> None:
    node, good, short = ("x", "node2"), SecretBytes(bytes(32)), SecretBytes(bytes(31))
    for secrets in ((short, good, good), (good, short, good)):
        with pytest.raises(FormatError, match="has 32 bytes, not 31"):
            node_keys.NodeKeys(node, *secrets)
