"""age: sealed to recipients and to passphrases, opened by those alone (S17: nothing secret is shown)."""

import base64

import pytest

from strongroom.cli.named_files.sealing import TerminalPrompts
from strongroom.crypto import age, rng
from strongroom.crypto.age import Identity, OpenWith, SealTo
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, IntegrityError, UsageError
from tests.support.age_token import Token

_TAG_PQ = "age1tagpq1"  # no private half exists outside a token: only the prefix and the refusal are tested


def test_what_is_sealed_to_recipients_opens_by_each_of_their_identities() -> None:
    one, two = age.new_identity(), age.new_identity()
    sealed = age.seal(b"to both", SealTo((one.recipient, two.recipient)))
    assert sealed.startswith(age.MAGIC)
    assert age.is_sealed(sealed)
    for identity in (one, two):
        assert age.open_sealed(sealed, OpenWith((identity,))).reveal() == b"to both"


def test_another_identity_does_not_open_it() -> None:
    sealed = age.seal(b"x", SealTo((age.new_identity().recipient,)))
    with pytest.raises(IntegrityError, match="authentication failed"):
        age.open_sealed(sealed, OpenWith((age.new_identity(),)))


def test_a_changed_byte_anywhere_is_noticed() -> None:
    identity = age.new_identity()
    sealed = age.seal(b"payload", SealTo((identity.recipient,)))
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises((IntegrityError, FormatError)):
            age.open_sealed(bytes(changed), OpenWith((identity,)))


def test_a_cut_or_longer_file_is_noticed() -> None:
    identity = age.new_identity()
    sealed = age.seal(b"payload", SealTo((identity.recipient,)))
    for cut in range(len(sealed)):
        with pytest.raises((IntegrityError, FormatError)):
            age.open_sealed(sealed[:cut], OpenWith((identity,)))
    with pytest.raises(IntegrityError):
        age.open_sealed(sealed + b"x", OpenWith((identity,)))


def test_a_passphrase_seals_and_opens() -> None:
    right, wrong = SecretBytes("größer als 12".encode()), SecretBytes(b"wrong")
    sealed = age.seal(b"x", SealTo(passphrase=right))
    assert age.open_sealed(sealed, OpenWith(passphrase=right)).reveal() == b"x"
    with pytest.raises(IntegrityError):
        age.open_sealed(sealed, OpenWith(passphrase=wrong))
    with pytest.raises(IntegrityError):
        age.open_sealed(sealed, OpenWith((age.new_identity(),)))


@pytest.mark.parametrize("factor", [b"23", b"64", b"0", b"018", b"1x", b"18 1"])
def test_a_file_cannot_ask_for_any_amount_of_work(factor: bytes) -> None:
    header = age.MAGIC + b"-> scrypt AAAAAAAAAAAAAAAAAAAAAA " + factor + b"\n" + b"A" * 43
    data = header + b"\n--- " + b"A" * 43 + b"\n" + bytes(64)
    with pytest.raises(FormatError, match="work factor"):
        age.open_sealed(data, OpenWith(passphrase=SecretBytes(b"x")))


def test_armored_files_open_too() -> None:
    identity = age.new_identity()
    body = base64.encodebytes(age.seal(b"x", SealTo((identity.recipient,))))
    begin, end = b"-----BEGIN AGE ENCRYPTED FILE-----\n", b"-----END AGE ENCRYPTED FILE-----\n"
    armored = begin + body + end
    assert age.is_sealed(armored)
    assert age.open_sealed(armored, OpenWith((identity,))).reveal() == b"x"
    for damaged in (begin + body, begin + b"!" + body + end):
        with pytest.raises(FormatError, match="armored"):
            age.open_sealed(damaged, OpenWith((identity,)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04",
        age.MAGIC + bytes(100),
        age.MAGIC + b"\n--- " + b"A" * 43 + b"\n" + bytes(32),
        age.MAGIC + b"-> X25519 \x00\n\n--- " + b"A" * 43 + b"\n" + bytes(32),
    ],
    ids=["empty", "zip", "zeros", "no-stanza", "control-character"],
)
def test_what_is_no_age_file_is_refused_as_a_format(data: bytes) -> None:
    with pytest.raises(FormatError):
        age.open_sealed(data, OpenWith((age.new_identity(),)))


def test_nothing_to_seal_to_or_to_open_with_is_said() -> None:
    sealed = age.seal(b"x", SealTo((age.new_identity().recipient,)))
    assert SealTo().is_empty
    assert OpenWith().is_empty
    with pytest.raises(UsageError, match="nobody"):
        age.seal(b"x", SealTo())
    with pytest.raises(UsageError, match="nothing to open it with"):
        age.open_sealed(sealed, OpenWith())


def test_recipients_and_passphrases_exclude_each_other() -> None:
    identity, phrase = age.new_identity(), SecretBytes(b"x")
    with pytest.raises(UsageError, match="exclude"):
        SealTo((identity.recipient,), phrase)
    with pytest.raises(UsageError, match="exclude"):
        OpenWith((identity,), phrase)


@pytest.mark.parametrize("phrase", [b"", b"\xff"])
def test_passphrases_are_text(phrase: bytes) -> None:
    with pytest.raises(UsageError, match="passphrase"):
        age.seal(b"x", SealTo(passphrase=SecretBytes(phrase)))


def test_an_identity_file_has_comments_and_blank_lines() -> None:
    one, two = age.new_identity(), age.new_identity()
    text = b"# created: today\n\n" + one.text.reveal() + b"\r\n" + two.text.reveal()
    found = age.parse_identities(text)
    assert [identity.recipient for identity in found] == [one.recipient, two.recipient]
    assert "SECRET" not in repr(found)


@pytest.mark.parametrize(
    "data",
    [
        b"# nothing\n",
        b"AGE-SECRET-KEY-PQ-1QQQQ",
        b"AGE-PLUGIN-YUBIKEY-1QQQQ",
        b"\xff\xfe",
        age.MAGIC,
    ],
    ids=["none", "post-quantum", "plugin", "bytes", "sealed"],
)
def test_what_is_no_identity_file_is_refused_without_repeating_it(data: bytes) -> None:
    with pytest.raises(UsageError) as caught:
        age.parse_identities(data)
    assert "QQQQ" not in caught.value.message
    assert "QQQQ" not in caught.value.hint


def test_too_many_identities_are_refused() -> None:
    line = age.new_identity().text.reveal() + b"\n"
    with pytest.raises(UsageError, match="not 65"):
        age.parse_identities(line * 65)


def test_recipients_have_one_form() -> None:
    recipient = age.new_identity().recipient
    assert age.check_recipient(f" {recipient.upper()}\n") == recipient


@pytest.mark.parametrize(
    "text", ["", "age1", "age1pq1qqqq", "age1tag1qqqq", f"{_TAG_PQ}qqqq", "ssh-ed25519 AAAA"]
)
def test_what_is_no_recipient_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no age recipient"):
        age.check_recipient(text)


def test_a_wrapped_key_opens_in_its_context_alone() -> None:
    """docs/format/recovery.md 1.2."""
    identity, key = age.new_identity(), rng.new_key()
    wrapped = age.wrap(key, recipient=identity.recipient, aad=b"here")
    assert age.unwrap(wrapped, identities=(identity,), aad=b"here") == key
    other = (age.new_identity(),)
    for bad, by, aad in (
        (wrapped, (identity,), b"there"),
        (wrapped, (identity,), b""),
        (wrapped, other, b"here"),
        (b"no age file", (identity,), b"here"),
    ):
        with pytest.raises(IntegrityError):
            age.unwrap(bad, identities=by, aad=aad)


def test_sealed_bytes_of_another_length_are_no_key() -> None:
    identity = age.new_identity()
    for data in (b"here" + bytes(31), b"here" + bytes(33), b"here", b""):
        sealed = age.seal(data, SealTo((identity.recipient,)))
        with pytest.raises(IntegrityError):
            age.unwrap(sealed, identities=(identity,), aad=b"here")
    short = age.seal(bytes(31), SealTo((identity.recipient,)))
    with pytest.raises(IntegrityError):
        age.unwrap(short, identities=(identity,), aad=b"")


def test_hardware_tokens_are_sealed_to_and_named_without_asking_them() -> None:
    """What opens for them is their plugin: tests/contract/kms/test_recovery_commands.py."""
    token = Token.new()
    for recipient in (token.recipient, token.post_quantum_recipient):
        assert age.check_recipient(recipient.upper()) == recipient
        assert b"p256tag" in age.seal(b"x", SealTo((recipient,)))
    with pytest.raises(UsageError, match="no X25519 identity"):
        age.parse_identities(token.identity.encode())
    with pytest.raises(UsageError, match="no X25519 identity"):
        age.parse_identities(b"AGE-PLUGIN-QQQQ", TerminalPrompts())
    with pytest.raises(UsageError, match="plugin of the hardware token is missing"):
        age.parse_identities(token.identity.encode(), TerminalPrompts())
    identity = Identity(SecretBytes(token.identity.encode()))
    assert identity.is_token
    assert identity.recipient == "a hardware token"
    assert identity.may_open(token.recipient)
    assert not identity.may_open(age.new_identity().recipient)
