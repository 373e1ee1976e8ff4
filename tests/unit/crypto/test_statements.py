"""Signed statements: docs/format/statements.md; issue 10, part E; review X2, X3, X6; design f5."""

import hashlib
from itertools import combinations

import pytest

from strongroom.crypto import fingerprint, said, statements
from strongroom.crypto.secret import SecretBytes
from strongroom.crypto.signing import SigningKey
from strongroom.crypto.statements import Origin, Purpose, Statement
from strongroom.errors import FormatError, IntegrityError, UsageError
from strongroom.ids import new_id

KEY, OTHER = (SigningKey(SecretBytes(bytes([number]) * 32)) for number in (1, 2))
HERE = Origin(new_id())
STATEMENT = Statement(Purpose.LOG_KEY, HERE, said.of_log_key("node1", OTHER.public, 7))
RAW = STATEMENT.signed(KEY)


def test_a_statement_comes_back() -> None:
    for purpose in Purpose:
        statement = STATEMENT._replace(
            purpose=purpose, payload=b"" if purpose == "manifest" else b"a"
        )
        raw = statement.signed(KEY)
        assert statements.opened(raw, KEY.public, HERE, [purpose]) == statement
        statement.check(statement.signature(KEY), KEY.public)


@pytest.mark.parametrize("one", Purpose)
def test_no_signature_for_one_purpose_is_one_for_another(one: Purpose) -> None:
    signature = STATEMENT._replace(purpose=one).signature(KEY)
    for other in set(Purpose) - {one}:
        with pytest.raises(IntegrityError):
            STATEMENT._replace(purpose=other).check(signature, KEY.public)


def test_a_purpose_that_is_not_taken_is_refused_first() -> None:
    """1.3: even if everything else is damaged."""
    for raw in (RAW, RAW[:9], b"future-purpose\0"):
        with pytest.raises(IntegrityError, match="purpose"):
            statements.opened(raw, KEY.public, HERE, [Purpose.MANIFEST])


@pytest.mark.parametrize(
    "origin", [Origin(new_id()), Origin(HERE.installation_id, new_id())], ids=["other", "restored"]
)
def test_a_statement_of_another_installation_or_incarnation(origin: Origin) -> None:
    """design f5: a restored or cloned cluster."""
    with pytest.raises(IntegrityError, match="another installation"):
        statements.opened(RAW, KEY.public, origin, [Purpose.LOG_KEY])
    with pytest.raises(IntegrityError):
        STATEMENT._replace(origin=origin).check(STATEMENT.signature(KEY), KEY.public)


def test_another_key_has_not_signed() -> None:
    for public in (OTHER.public, bytes(32), b"\xff" * 32, b""):
        with pytest.raises(IntegrityError):
            statements.opened(RAW, public, HERE, [Purpose.LOG_KEY])


def test_no_byte_can_be_changed_cut_or_added() -> None:
    for at in range(len(RAW)):
        changed = RAW[:at] + bytes([RAW[at] ^ 1]) + RAW[at + 1 :]
        with pytest.raises((IntegrityError, FormatError)):
            statements.opened(changed, KEY.public, HERE, [Purpose.LOG_KEY])
    for length in range(len(RAW)):
        with pytest.raises((IntegrityError, FormatError)):
            statements.opened(RAW[:length], KEY.public, HERE, [Purpose.LOG_KEY])
    with pytest.raises(FormatError, match="longer or shorter"):
        statements.opened(RAW + b"\0", KEY.public, HERE, [Purpose.LOG_KEY])


@pytest.mark.parametrize("raw", [b"", b"log-key", b"\xff\0", b"a" * 65 + b"\0" + bytes(200)])
def test_bytes_that_are_no_statement(raw: bytes) -> None:
    with pytest.raises(FormatError, match="no signed statement"):
        statements.opened(raw, KEY.public, HERE, [Purpose.LOG_KEY])


def test_a_length_that_none_has(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FormatError, match="length that none has"):
        statements.opened(RAW[:90], KEY.public, HERE, [Purpose.LOG_KEY])
    monkeypatch.setattr(statements, "MAX_BYTES", len(RAW) - 1)
    with pytest.raises(FormatError, match="length that none has"):
        statements.opened(RAW, KEY.public, HERE, [Purpose.LOG_KEY])


def test_what_is_said() -> None:
    """1.4"""
    one, other = new_id(), new_id()
    assert said.of_wrap(one, other, b"wrap").hex() == (
        one.replace("-", "") + other.replace("-", "") + hashlib.sha256(b"wrap").hexdigest()
    )
    assert said.of_manifest(b"manifest") == hashlib.sha256(b"manifest").digest()
    assert said.of_log_key("node1", KEY.public, 258) == b"node1\0" + KEY.public + bytes(6) + b"\1\2"
    assert said.of_identity(KEY.public, OTHER.public) == KEY.public + OTHER.public
    keys = (b"\1" * 32, b"\2" * 32)
    admission = said.of_admission("node2", one, KEY.public, keys, b"\3" * 32)
    whole = bytes.fromhex(one.replace("-", "")) + KEY.public + b"".join(keys) + b"\3" * 32
    assert admission == b"node2\0" + whole


def test_parts_of_other_lengths_are_refused() -> None:
    for node in ("", "node\0", "nödé"):
        with pytest.raises(UsageError, match="no id of a node"):
            said.of_log_key(node, KEY.public, 0)
    with pytest.raises(UsageError, match="31 bytes, not 32"):
        said.of_identity(KEY.public, bytes(31))
    with pytest.raises(UsageError, match="16 bytes, not 32"):
        said.of_admission("node2", new_id(), KEY.public, (bytes(32), bytes(32)), bytes(16))


# ---- fingerprint (2) ---------------------------------------------------------------------------------


def test_the_fingerprint_is_five_groups_of_four() -> None:
    found = fingerprint.of_identity(KEY.public)
    assert [len(group) for group in found.split("-")] == [4] * 5
    typed = (found.upper(), found.replace("-", " "), found.replace("-", ""), f" {found}\n")
    assert {fingerprint.parse(text) for text in typed} == {found}
    assert fingerprint.of_identity(OTHER.public) != found


@pytest.mark.parametrize(
    "text", ["", "a2cd", "a2cd-ef34-a2cd-ef34-a2c1", "a2cd-ef34-a2cd-ef34-a2cda"]
)
def test_what_is_no_fingerprint(text: str) -> None:
    with pytest.raises(UsageError, match="no fingerprint"):
        fingerprint.parse(text)


def test_a_fingerprint_is_of_a_public_key() -> None:
    with pytest.raises(FormatError, match="32 bytes"):
        fingerprint.of_identity(bytes(31))


def test_fingerprints_of_many_keys_differ() -> None:
    keys = [SigningKey(SecretBytes(bytes([number]) * 32)).public for number in range(40)]
    found = list(map(fingerprint.of_identity, keys))
    assert all(one != other for one, other in combinations(found, 2))


def test_a_stage_is_of_one_node_one_change_and_one_stage() -> None:
    """statements.md 1.4: none of the three can be taken for another."""
    first, second = new_id(), new_id()
    said_of = {
        said.of_stage_done(node, change, stage)
        for node in ("node1", "node12")
        for change in (first, second)
        for stage in ("in force", "kept")
    }
    assert len(said_of) == 8
