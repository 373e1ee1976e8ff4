"""The states of a MEK, and the transitions between them (K-10, K-11); pure."""

from enum import StrEnum


class MekState(StrEnum):
    """The use that may be made of a MEK; the values are shown to administrators."""

    ENCRYPT_OR_DECRYPT = "encrypt or decrypt"
    DECRYPT_ONLY = "decrypt-only"
    #: Shown, never stored: a key of a closed ring that no wrap opens now.
    UNAVAILABLE = "unavailable"


#: The only transition: a key that no longer encrypts never encrypts again (NIST SP 800-57-1, 5.3.4).
NEXT = {
    MekState.ENCRYPT_OR_DECRYPT: frozenset({MekState.DECRYPT_ONLY}),
    MekState.DECRYPT_ONLY: frozenset[MekState](),
    MekState.UNAVAILABLE: frozenset[MekState](),
}
