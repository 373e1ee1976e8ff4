"""The key ring: one active MEK encrypts, all MEKs decrypt (K-10, K-11, Q-19); pure and immutable."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from strongroom.clock import format_utc
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import ConflictError, FormatError, KeyNotFoundError, StateError
from strongroom.ids import MekId
from strongroom.kms.keys import KEY_BYTES, Mek
from strongroom.kms.states import MekState


@dataclass(frozen=True)
class KeyRing:
    """The MEKs in the order of their numbers; every change returns a new ring."""

    meks: tuple[Mek, ...]

    def __post_init__(self) -> None:
        self._check_one_active()
        self._check_keys()

    @classmethod
    def with_first(cls, mek_id: MekId, material: SecretBytes, now: datetime) -> "KeyRing":
        """A ring with a single, active key."""
        return cls((_new_active(mek_id, material, now),))

    @property
    def active(self) -> Mek:
        """The active MEK, which encrypts new data keys."""
        return next(mek for mek in self.meks if mek.state is MekState.ENCRYPT_OR_DECRYPT)

    def __iter__(self) -> Iterator[Mek]:
        return iter(self.meks)

    def get(self, mek_id: str) -> Mek:
        """The key of an id.

        Raises:
            KeyNotFoundError: The ring has no MEK of this id.
        """
        for mek in self.meks:
            if mek.id == mek_id:
                return mek
        message = f"MEK {mek_id} is not in the KMS store"
        hint = "it was retired, or belongs to another installation or to a backup not restored here"
        raise KeyNotFoundError(message, hint=hint)

    def for_reading(self, mek_id: str) -> Mek:
        """The key of an id, to open what it sealed.

        Raises:
            KeyNotFoundError: The ring has no MEK of this id, or its retirement is scheduled.
        """
        mek = self.get(mek_id)
        if mek.retire_at is not None:
            raise KeyNotFoundError(
                f"MEK {mek_id} is to be retired from {format_utc(mek.retire_at)} on, and opens nothing until then",
                hint=f"if something still needs it: tsm security kms retire {mek_id} --take-back",
            )
        return mek

    def with_retirement(self, mek_id: str, at: datetime | None) -> "KeyRing":
        """The ring in which the retirement of a decrypt-only key is scheduled, or taken back.

        Args:
            mek_id: The key.
            at: The time from which on the key may be removed; None takes the retirement back.

        Raises:
            KeyNotFoundError: The ring has no MEK of this id.
            StateError: The key is the active one, or there is no retirement to take back.
        """
        mek = self.get(mek_id)
        _check_decrypt_only(mek)
        if at is None and mek.retire_at is None:
            raise StateError(f"MEK {mek_id} is not on its way out, so nothing was taken back")
        changed = replace(mek, retire_at=at)
        return KeyRing(tuple(changed if one is mek else one for one in self.meks))

    def with_new_active(self, mek_id: MekId, material: SecretBytes, now: datetime) -> "KeyRing":
        """The ring with a new active key; the key that was active before only decrypts.

        Raises:
            ConflictError: The ring has a key of this id already.
        """
        if any(mek.id == mek_id for mek in self.meks):
            message = f"MEK {mek_id} is in the KMS store already"
            raise ConflictError(message)
        old = tuple(
            mek.with_state(MekState.DECRYPT_ONLY, now) if mek is self.active else mek
            for mek in self.meks
        )
        return KeyRing((*old, _new_active(mek_id, material, now)))

    def with_adopted(self, others: "KeyRing", now: datetime) -> "KeyRing":
        """This ring with the keys of another one, which become decrypt-only (A-26, Q-08).

        They come from a backup or a closed store, so others may know them: they must never encrypt new data here. That one
        was to be retired there is left behind: it is taken because something needs it.

        Raises:
            ConflictError: The same id names different keys in the two rings, so one of them is corrupt.
        """
        own = {mek.id: mek for mek in self.meks}
        new = []
        for mek in others:
            present = own.get(mek.id)
            if present is None:
                active = mek.state is MekState.ENCRYPT_OR_DECRYPT
                closed = mek.with_state(MekState.DECRYPT_ONLY, now) if active else mek
                new.append(replace(closed, retire_at=None))
            elif present.material != mek.material:
                raise ConflictError(f"two different keys have the id of MEK {mek.id}")
        return KeyRing((*self.meks, *new))

    def without(self, mek_id: str) -> "KeyRing":
        """The ring without a decrypt-only key.

        Raises:
            KeyNotFoundError: The ring has no MEK of this id.
            StateError: The key is the active one.
        """
        _check_decrypt_only(self.get(mek_id))
        return KeyRing(tuple(other for other in self.meks if other.id != mek_id))

    def _check_one_active(self) -> None:
        active = sum(mek.state is MekState.ENCRYPT_OR_DECRYPT for mek in self.meks)
        if active != 1:
            message = f"the KMS store has {active} keys that encrypt instead of one"
            raise FormatError(message)

    def _check_keys(self) -> None:
        if len({mek.id for mek in self.meks}) != len(self.meks):
            message = "the KMS store has two MEKs with one id"
            raise FormatError(message)
        for mek in self.meks:
            times = [mek.created_at, mek.encrypting_since, mek.decrypt_only_since]
            known = [time for time in times if time is not None]
            if known != sorted(known):
                message = f"the times of MEK {mek.id} are out of order"
                raise FormatError(message)
            if len(mek.material) != KEY_BYTES:
                message = f"MEK {mek.id} has {len(mek.material)} bytes instead of {KEY_BYTES}"
                raise FormatError(message)


def _check_decrypt_only(mek: Mek) -> None:
    if mek.state is MekState.ENCRYPT_OR_DECRYPT:
        message = f"MEK {mek.id} encrypts new data and cannot be retired"
        raise StateError(message, hint="rotate first: tsm security kms rotate")


def _new_active(mek_id: MekId, material: SecretBytes, now: datetime) -> Mek:
    return Mek(mek_id, MekState.ENCRYPT_OR_DECRYPT, now, now, None, material)
