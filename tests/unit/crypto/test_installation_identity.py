"""What an identity signs is checked by its public half, for one purpose and one installation."""

import pytest

from strongroom.crypto import fingerprint
from strongroom.crypto.installation_identity import IdentityKey, InstallationIdentity
from strongroom.crypto.secret import SecretBytes
from strongroom.crypto.statements import Origin, Purpose
from strongroom.errors import FormatError, IntegrityError
from strongroom.ids import new_id

ORIGIN = Origin(new_id())
KEY = IdentityKey(ORIGIN, SecretBytes(bytes(range(32))))


def test_what_was_signed_is_checked_by_the_public_half_alone() -> None:
    signature = KEY.sign(Purpose.MANIFEST, b"payload")
    KEY.identity.check(Purpose.MANIFEST, b"payload", signature)
    assert KEY.fingerprint == fingerprint.of_identity(KEY.identity.public)


def test_a_signature_is_for_one_purpose_payload_installation_and_key() -> None:
    signature = KEY.sign(Purpose.MANIFEST, b"payload")
    other = IdentityKey(ORIGIN, SecretBytes(bytes(32))).identity
    elsewhere = KEY.identity._replace(origin=Origin(new_id()))
    for identity, purpose, payload, given in (
        (KEY.identity, Purpose.BOOTSTRAP, b"payload", signature),
        (KEY.identity, Purpose.MANIFEST, b"another", signature),
        (KEY.identity, Purpose.MANIFEST, b"payload", signature[:-1]),
        (KEY.identity, Purpose.MANIFEST, b"payload", b""),
        (elsewhere, Purpose.MANIFEST, b"payload", signature),
        (other, Purpose.MANIFEST, b"payload", signature),
    ):
        with pytest.raises(IntegrityError):
            identity.check(purpose, payload, given)


def test_keys_of_another_length_are_none() -> None:
    with pytest.raises(FormatError):
        IdentityKey(ORIGIN, SecretBytes(bytes(31)))
    with pytest.raises(FormatError):
        InstallationIdentity(ORIGIN, bytes(31)).fingerprint  # noqa: B018 it is computed
