"""States of a MEK and the steps between them (K-10, K-11); pure."""

from enum import StrEnum


class MekState(StrEnum):
    """What a MEK may be used for; the words of the seeds."""

    ENCRYPT_OR_DECRYPT = "encrypt or decrypt"
    DECRYPT_ONLY = "decrypt-only"
    #: Shown, never stored: a key of a closed ring that no wrap opens now.
    UNAVAILABLE = "unavailable"


#: The only step: a key that no longer encrypts never encrypts again (NIST SP 800-57-1, 5.3.4).
NEXT = {
    MekState.ENCRYPT_OR_DECRYPT: frozenset({MekState.DECRYPT_ONLY}),
    MekState.DECRYPT_ONLY: frozenset[MekState](),
    MekState.UNAVAILABLE: frozenset[MekState](),
}
