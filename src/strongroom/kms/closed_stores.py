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
from strongroom.errors import FormatError, IntegrityError, StateError
from strongroom.ids import id_bytes, id_text

PREFIX = "kms/former/"
MAX_CLOSED = 16
ID_BYTES = 16


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
        """The payload of the entry: the id of the configuration key, and the closed store sealed under that key (7.1)."""
        return id_bytes(key_id) + seals.seal(key, self._place(installation_id, key_id), raw)

    def open(self, payload: bytes, installation_id: str, key: SecretBytes) -> bytes:
        """The bytes of the closed store, by the configuration key that `key_id_of` names.

        Raises:
            FormatError: The payload is too short.
            IntegrityError: The payload is of another key or another store, or was changed.
        """
        place = self._place(installation_id, key_id_of(payload))
        try:
            raw = seals.open_(key, place, payload[ID_BYTES:])
        except IntegrityError as error:
            raise self._fault(f"does not open: {error.message}") from None
        self.check(raw)
        return raw

    def found(self, payload: bytes | None) -> bytes:
        """The payload of the entry: a closed store that is missing is a fault (7.2).

        Raises:
            IntegrityError: The entry is missing.
        """
        if payload is None:
            raise self._fault("is missing")
        return payload

    def check(self, raw: bytes) -> None:
        """Compare bytes with the reference: a closed store that is another one is a fault (7.2).

        Raises:
            IntegrityError: The bytes are others.
        """
        if not hmac.compare_digest(hashlib.sha256(raw).hexdigest(), self.digest):
            raise self._fault("is another one")
        if len(raw) != self.length:
            raise self._fault("has another length")

    def _fault(self, words: str) -> IntegrityError:
        return IntegrityError(
            f"the closed KMS store of epoch {self.epoch} {words}",
            hint="put the coordination database back from a backup of the data directory; if that store is lost for good:"
            f" tsm security kms former forget {self.digest}",
        )

    def _place(self, installation_id: str, key_id: str) -> seals.Place:
        return places.of_closed_store(installation_id, key_id, bytes.fromhex(self.digest))


def key_id_of(payload: bytes) -> str:
    """The id of the configuration key that a payload is sealed under; a claim until it opens.

    Raises:
        FormatError: The payload is too short.
    """
    if len(payload) < ID_BYTES:
        raise FormatError("a closed KMS store is cut short")
    return id_text(payload[:ID_BYTES])


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
