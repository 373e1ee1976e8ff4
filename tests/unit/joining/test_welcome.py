"""The sealed answer to a node that joins (docs/format/nodes.md §3)."""

import pytest

from strongroom import ids
from strongroom.canonical import ASCII, dumps
from strongroom.crypto import hpke, labels, said
from strongroom.crypto.installation_identity import IdentityKey
from strongroom.crypto.secret import SecretBytes
from strongroom.crypto.statements import Origin, Purpose
from strongroom.errors import FormatError, IntegrityError
from strongroom.joining import node_keys, welcome
from strongroom.joining.welcome import Asked, Sealed, Welcome

INSTALLATION = ids.new_id()
IDENTITY, STRANGER = (
    IdentityKey(Origin(INSTALLATION), SecretBytes(bytes([number]) * 32)) for number in (1, 2)
)
KEYS, OTHERS = (node_keys.make(INSTALLATION, "node2") for _ in range(2))
ASKED = Asked("node2", b"d" * 32)
WELCOME = Welcome(
    {"hosts": "zk.example:2281", "root": "/strongroom/x"},
    {"host": "db.example"},
    {"zookeeper": SecretBytes(b"the first"), "postgres": SecretBytes(b"the second")},
)
SEALED = welcome.seal(WELCOME, ASKED, KEYS.public.sealing, IDENTITY)


def test_it_opens_for_its_node() -> None:
    assert welcome.opened(SEALED, ASKED, KEYS.sealing, IDENTITY.identity) == WELCOME
    assert welcome.find({"node_id": "node2", **SEALED.fields()}) == SEALED
    assert welcome.find({"node_id": "node2"}) is None
    assert b"the first" not in SEALED.message
    assert "the first" not in repr(WELCOME)


@pytest.mark.parametrize(
    ("sealed", "asked", "keys"),
    [
        (SEALED, Asked("node3", ASKED.digest), KEYS),
        (SEALED, Asked("node2", b"e" * 32), KEYS),
        (SEALED, ASKED, OTHERS),
        (SEALED._replace(message=SEALED.message + b"x"), ASKED, KEYS),
        (SEALED._replace(signature=bytes(64)), ASKED, KEYS),
        (welcome.seal(WELCOME, ASKED, KEYS.public.sealing, STRANGER), ASKED, KEYS),
    ],
    ids=["node", "request", "key", "message", "signature", "identity"],
)
def test_it_opens_for_nobody_else_and_as_nothing_else(
    sealed: Sealed, asked: Asked, keys: node_keys.NodeKeys
) -> None:
    with pytest.raises(IntegrityError, match="not of the installation that made"):
        welcome.opened(sealed, asked, keys.sealing, IDENTITY.identity)


def test_the_seal_is_bound_to_the_request_too() -> None:
    """Not by the signature alone: what was sealed for one request and signed for another does not open."""
    message = SEALED.message
    other = Asked("node2", b"e" * 32)
    told = said.of_welcome(other.node_id, other.digest, message)
    mixed = Sealed(message, IDENTITY.sign(Purpose.WELCOME, told))
    with pytest.raises(IntegrityError):
        welcome.opened(mixed, other, KEYS.sealing, IDENTITY.identity)


@pytest.mark.parametrize(
    "answer",
    [
        {"services": "?", "signature": ""},
        {"services": 1, "signature": ""},
        {"services": "AAAA"},
        {"services": "AAAA", "signature": None},
    ],
)
def test_an_answer_that_is_none(answer: dict[str, object]) -> None:
    with pytest.raises(FormatError, match="answer of the installation is damaged"):
        welcome.find(answer)


@pytest.mark.parametrize(
    "members",
    [
        {"v": 2, "coordination": {}, "repository": {}, "passwords": {}},
        {"v": 1, "coordination": {}, "repository": {}},
        {"v": 1, "coordination": {}, "repository": {"a": 1}, "passwords": {}},
        {"v": 1, "coordination": [], "repository": {}, "passwords": {}},
        {"v": 1, "coordination": {}, "repository": {}, "passwords": {"zookeeper": "?"}},
    ],
)
def test_a_content_of_another_form(members: dict[str, object]) -> None:
    info = labels.WELCOME + ids.id_bytes(INSTALLATION) + ASKED.digest
    message = hpke.seal(KEYS.public.sealing, SecretBytes(dumps(members, ASCII)), info=info)
    told = said.of_welcome(ASKED.node_id, ASKED.digest, message)
    sealed = Sealed(message, IDENTITY.sign(Purpose.WELCOME, told))
    with pytest.raises(FormatError):
        welcome.opened(sealed, ASKED, KEYS.sealing, IDENTITY.identity)
