"""Passphrases to which something is sealed: the shortest that is taken, and one that the program makes; pure.

scrypt makes each guess cost a moment, and no more: it protects no word that somebody can guess. So a chosen passphrase
has a least length, and nobody has to choose one. Opening asks for no length: what was sealed before must open.
"""

import base64

from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import UsageError

LEAST_CHARACTERS = 12
_RANDOM_BYTES = 20
_GROUP = 4


def text_of(passphrase: SecretBytes) -> str:
    """The characters of a passphrase.

    Raises:
        UsageError: The passphrase is empty, or not UTF-8.
    """
    try:
        text = passphrase.reveal().decode()
    except UnicodeDecodeError:
        # from None: the cause would carry the passphrase along
        raise UsageError("the passphrase is not UTF-8") from None
    if not text:
        raise UsageError("the passphrase is empty")
    return text


def check_new(passphrase: SecretBytes) -> SecretBytes:
    """Refuse a passphrase that is too short to seal anything to; returns it.

    Raises:
        UsageError: The passphrase has too few characters, or is not UTF-8.
    """
    if len(text_of(passphrase).strip()) < LEAST_CHARACTERS:
        raise UsageError(
            f"a passphrase has at least {LEAST_CHARACTERS} characters, without blanks around them",
            hint="choose a longer one, or let --new-passphrase-file make one; nothing was changed",
        )
    return passphrase


def make() -> SecretBytes:
    """A new passphrase of 160 random bits, in groups of four letters and digits, which a person can copy by hand."""
    letters = base64.b32encode(rng.random_bytes(_RANDOM_BYTES)).decode("ascii").lower()
    groups = (letters[at : at + _GROUP] for at in range(0, len(letters), _GROUP))
    return SecretBytes("-".join(groups).encode("ascii"))
