"""Closed KMS stores, which nothing opens now, by reference (docs/format/kms-store.md 7; findings B1); pure.

A store names each closed one by digest and length; the bytes lie in an entry of their own, sealed under a place of their
own. So a store that closes another one does not grow by it.
"""

import hashlib
import hmac
from typing import NamedTuple

from strongroom.canonical import Fields
from strongroom.crypto import places, seals
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import IntegrityError, StateError

PREFIX = "kms/former/"
MAX_CLOSED = 16


class ClosedStore(NamedTuple):
    """The reference to a closed store.

    Attributes:
        digest: SHA-256 of its bytes, in hexadecimal digits.
        epoch: The epoch of that store.
        length: The number of its bytes.
    """

    digest: str
    epoch: int
    length: int

    @property
    def entry(self) -> str:
        """The name of the entry that holds the bytes."""
        return PREFIX + self.digest

    def seal(self, raw: bytes, installation_id: str, key_id: str, key: SecretBytes) -> bytes:
        """The payload of the entry: the closed store, sealed under the configuration key."""
        return seals.seal(key, self._place(installation_id, key_id), raw)

    def open(self, sealed: bytes, installation_id: str, key_id: str, key: SecretBytes) -> bytes:
        """The bytes of the closed store.

        Raises:
            FormatError: The payload is too short.
            IntegrityError: The payload is of another key or another store, or was changed.
        """
        raw = seals.open_(key, self._place(installation_id, key_id), sealed)
        self.check(raw)
        return raw

    def check(self, raw: bytes | None) -> None:
        """Compare bytes with the reference: a closed store that is missing or another one is a fault (7.2).

        Raises:
            IntegrityError: The bytes are missing, or are others.
        """
        if raw is None:
            raise IntegrityError(f"the closed KMS store of epoch {self.epoch} is missing")
        if not hmac.compare_digest(hashlib.sha256(raw).hexdigest(), self.digest):
            raise IntegrityError(f"the closed KMS store of epoch {self.epoch} is another one")
        if len(raw) != self.length:
            raise IntegrityError(f"the closed KMS store of epoch {self.epoch} has another length")

    def _place(self, installation_id: str, key_id: str) -> seals.Place:
        return places.of_closed_store(installation_id, key_id, bytes.fromhex(self.digest))


def closed(raw: bytes, epoch: int) -> ClosedStore:
    """The reference to a store that is closed now."""
    return ClosedStore(hashlib.sha256(raw).hexdigest(), epoch, len(raw))


def check_room(former: tuple[ClosedStore, ...]) -> None:
    """Refuse to close one more store than there may be; asked before any root is (7.3).

    Raises:
        StateError: There are as many closed stores as there may be.
    """
    if len(former) >= MAX_CLOSED:
        raise StateError(
            f"there are {len(former)} closed KMS stores, and no more than {MAX_CLOSED} are kept",
            hint="see 'tsm security kms former list', and give up one that nothing will open: 'kms former forget'",
        )


def fields(one: ClosedStore) -> dict[str, object]:
    """The members of a reference."""
    return {"digest": one.digest, "epoch": one.epoch, "length": one.length}


def read(item: Fields) -> ClosedStore:
    """The reference of these members.

    Raises:
        FormatError: A member is missing, unknown, or of another type.
    """
    item.check_names(("digest", "epoch", "length"))
    return ClosedStore(
        item.hexadecimal("digest", 32),
        item.number("epoch", least=1),
        item.number("length", least=1),
    )
