"""The file with a node's own keys (docs/format/nodes.md §1)."""

import json

import pytest

from strongroom import ids
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError
from strongroom.joining import node_keys

KEYS = node_keys.make(ids.new_id(), "node2")
DATA = KEYS.serialize().reveal()


def changed(**members: object) -> bytes:
    text = json.dumps(json.loads(DATA) | members, sort_keys=True, separators=(",", ":"))
    return text.encode() + b"\n"


def test_they_are_read_back() -> None:
    found = node_keys.parse(DATA)
    assert (found.installation_id, found.node_id) == (KEYS.installation_id, "node2")
    assert (found.public, found.request_key) == (KEYS.public, KEYS.request_key)
    assert found.serialize().reveal() == DATA


def test_each_node_has_its_own() -> None:
    other = node_keys.make(KEYS.installation_id, "node2")
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
    ],
)
def test_everything_else_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError) as caught:
        node_keys.parse(data)
    assert "AAAA" not in str(caught.value)


def test_nothing_secret_is_shown() -> None:
    shown = repr(KEYS) + repr(KEYS.serialize()) + repr(vars(KEYS))
    assert json.loads(DATA)["signing_seed"] not in shown


def test_keys_of_another_length_are_none() -> None:
    node, good, short = ("x", "node2"), SecretBytes(bytes(32)), SecretBytes(bytes(31))
    for secrets in ((short, good, good), (good, short, good)):
        with pytest.raises(FormatError, match="has 32 bytes, not 31"):
            node_keys.NodeKeys(node, *secrets)
