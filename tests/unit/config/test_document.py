"""The configuration document: docs/format/configuration.md §1."""

import hashlib
import json

import pytest

from strongroom.config import document as documents
from strongroom.config.document import ConfigDocument
from strongroom.errors import FormatError, UsageError

INSTALLATION = "8ddd70df-be67-4dbf-9c35-1f0aa2421521"
KEY_ID = "1abc23de-f045-4678-9012-345678901234"
SMALL = ConfigDocument(INSTALLATION, KEY_ID, {"gateway.timeout": "7200"})


def _members() -> dict[str, object]:
    members: dict[str, object] = json.loads(SMALL.serialize())
    return members


def test_known_bytes() -> None:
    """§1.3: the form never changes under a stored document."""
    assert SMALL.serialize() == (
        b'{"before":null,"configuration_key_id":"1abc23de-f045-4678-9012-345678901234",'
        b'"format":"strongroom-configuration-2",'
        b'"installation_id":"8ddd70df-be67-4dbf-9c35-1f0aa2421521",'
        b'"pending_floor":0,"values":{"gateway.timeout":"7200"},"version":1}'
    )
    assert ConfigDocument.parse(SMALL.serialize()) == SMALL


def test_a_document_names_its_predecessor() -> None:
    """entries.md 3.1"""
    after = SMALL.with_values({"a": "1"}).after(SMALL.serialize())
    assert after.before == hashlib.sha256(SMALL.serialize()).hexdigest()
    assert ConfigDocument.parse(after.serialize()) == after


def test_format_1_is_read_by_the_upgrade_only() -> None:
    members = _members()
    del members["before"], members["pending_floor"]
    older = documents.KIND.dumps({**members, "format": "strongroom-configuration-1"})
    assert ConfigDocument.parse_older(older) == SMALL
    with pytest.raises(FormatError):
        ConfigDocument.parse(older)
    with pytest.raises(FormatError):
        ConfigDocument.parse_older(SMALL.serialize())


def test_next_version() -> None:
    changed = SMALL.with_values({"a": "1", "gateway.timeout": None})
    assert changed.values == {"a": "1"}
    assert changed.version == 2
    assert changed.configuration_key_id == KEY_ID
    assert SMALL.values == {"gateway.timeout": "7200"}
    other = SMALL.with_values({}, configuration_key_id=INSTALLATION)
    assert other.configuration_key_id == INSTALLATION


@pytest.mark.parametrize("length", range(0, len(SMALL.serialize()), 7))
def test_truncated(length: int) -> None:
    with pytest.raises(FormatError):
        ConfigDocument.parse(SMALL.serialize()[:length])


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(SMALL.serialize() + b"\n", id="line break"),
        pytest.param(SMALL.serialize().replace(b":", b": "), id="blank"),
        pytest.param(SMALL.serialize().replace(b'"version":1', b'"version":1.0'), id="float"),
        pytest.param(
            SMALL.serialize().replace(b'"version":1', b'"version":1,"version":1'), id="twice"
        ),
        pytest.param(SMALL.serialize().replace(b"gateway", b"\\u0067ateway"), id="escape"),
        pytest.param(b"\xff" + SMALL.serialize(), id="no UTF-8"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b"[]", id="list"),
        pytest.param(b"{}", id="empty"),
        pytest.param(b" " * (documents.MAX_DOCUMENT_BYTES + 1), id="long"),
    ],
)
def test_one_form_only(data: bytes) -> None:
    """§1.3, §1.4."""
    with pytest.raises(FormatError):
        ConfigDocument.parse(data)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("format", "strongroom-configuration-1"),
        ("before", "ab" * 31),
        ("before", "AB" * 32),
        ("before", 1),
        ("pending_floor", -1),
        ("pending_floor", None),
        ("format", 1),
        ("version", 0),
        ("version", True),
        ("version", "1"),
        ("installation_id", "x"),
        ("configuration_key_id", None),
        ("values", []),
        ("values", {"a b": "x"}),
        ("values", {"": "x"}),
        ("values", {"a": 1}),
        ("values", {"a": None}),
        ("extra", 1),
    ],
)
def test_wrong_members(member: str, value: object) -> None:
    with pytest.raises(FormatError):
        ConfigDocument.parse(documents.KIND.dumps({**_members(), member: value}))


def test_a_member_too_few() -> None:
    members = _members()
    del members["values"]
    with pytest.raises(FormatError):
        ConfigDocument.parse(documents.KIND.dumps(members))


def test_a_value_too_long() -> None:
    long = {"a": "x" * (documents.MAX_VALUE_CHARACTERS + 1)}
    with pytest.raises(FormatError):
        ConfigDocument.parse(documents.KIND.dumps({**_members(), "values": long}))


@pytest.mark.parametrize("name", ["a", "A.b_c-d", "0", "x" * 255])
def test_names(name: str) -> None:
    assert documents.check_name(name) == name


@pytest.mark.parametrize("name", ["", ".a", "-a", "a b", "a:b", "a\n", "\u00e4", "x" * 256, "../a"])
def test_no_names(name: str) -> None:
    with pytest.raises(UsageError):
        documents.check_name(name)
