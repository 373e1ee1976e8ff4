"""The open keystore as a value: master keys by alias; every change returns a new one, and no file is touched."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import ConflictError, KeystoreError
from strongroom.keystore.pkcs12 import SecretKeyEntry

_ALIAS = "master-key-"
_NUMBERED = rf"{_ALIAS}([1-9][0-9]{{0,8}})"


def new_master_key(created_at: datetime, taken: Sequence[str] = ()) -> SecretKeyEntry:
    """A fresh master key under the next free alias: `master-key-1`, `master-key-2` and so on."""
    numbers = [int(match[1]) for alias in taken if (match := re.fullmatch(_NUMBERED, alias))]
    return SecretKeyEntry(f"{_ALIAS}{max(numbers, default=0) + 1}", rng.new_key(), created_at)


class Keystore(NamedTuple):
    """Master keys, in the order of the file."""

    entries: tuple[SecretKeyEntry, ...]

    @property
    def aliases(self) -> tuple[str, ...]:
        """All aliases, in the order of the file."""
        return tuple(entry.alias for entry in self.entries)

    @property
    def newest(self) -> str:
        """The alias of the newest master key, which wraps new keys.

        Raises:
            KeystoreError: The keystore has no master key.
        """
        if not self.entries:
            raise KeystoreError("the keystore has no master key")
        return max(enumerate(self.entries), key=lambda item: (item[1].created_at, item[0]))[1].alias

    def after(self, now: datetime) -> datetime:
        """A time that makes a further master key the newest, even if the clock of another node was ahead."""
        latest = max(entry.created_at for entry in self.entries)
        return now if now > latest else latest + timedelta(seconds=1)

    def find(self, alias: str) -> SecretKeyEntry | None:
        """The entry of an alias; None if the keystore has no such alias."""
        return next((entry for entry in self.entries if entry.alias == alias), None)

    def master_key(self, alias: str) -> SecretBytes:
        """The master key under an alias.

        Raises:
            KeystoreError: The keystore has no master key of this alias.
        """
        entry = self.find(alias)
        if entry is None:
            raise KeystoreError(
                f"the keystore has no master key {alias!r}",
                hint="restore the keystore that belongs to this node from a backup",
            )
        return entry.key

    def difference(self, other: "Keystore") -> str:
        """Words for the keys that this keystore lacks, has in addition, or has differently; empty if both have the same.

        Order and times do not count, since Java does not preserve them.
        """
        mine, theirs = ({entry.alias: entry.key for entry in one.entries} for one in (self, other))
        parts = [
            *(f"it has no {alias!r}" for alias in sorted(theirs.keys() - mine.keys())),
            *(f"it has {alias!r} besides" for alias in sorted(mine.keys() - theirs.keys())),
            *(
                f"it has another key under {alias!r}"
                for alias in sorted(mine.keys() & theirs.keys())
                if mine[alias] != theirs[alias]
            ),
        ]
        return ", ".join(parts)

    def with_entry(self, entry: SecretKeyEntry) -> "Keystore":
        """The keystore with one more master key; the same key under the same alias changes nothing.

        Raises:
            ConflictError: Another key has this alias.
        """
        present = self.find(entry.alias)
        if present is None:
            return Keystore((*self.entries, entry))
        if present.key != entry.key:
            raise ConflictError(f"the keystore has another master key {entry.alias!r} already")
        return self

    def without(self, alias: str) -> "Keystore":
        """The keystore without a master key; a missing alias changes nothing.

        Raises:
            ConflictError: The key is the last one.
        """
        rest = tuple(entry for entry in self.entries if entry.alias != alias)
        if not rest:
            raise ConflictError(f"{alias!r} is the last master key of the keystore")
        return Keystore(rest)
