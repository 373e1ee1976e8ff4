"""Keeps the bytes of closed KMS stores, each in an entry of the coordination service (docs/format/kms-store.md 7).

The KMS store names each closed one by its digest. An entry is sealed under a configuration key; it changes in the same put
as the store that names it, so that neither is ever there without the other.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

from strongroom.config import versions
from strongroom.coordination.base import Change, Coordinator
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import StrongroomError
from strongroom.kms import any_store, closed_stores
from strongroom.kms.closed_stores import ClosedStore
from strongroom.kms.next_store import NextStore
from strongroom.kms.store import KmsStore

OpenKey = Callable[[str], SecretBytes]


class ClosedStores:
    """The entries of the closed stores."""

    def __init__(self, coordinator: Coordinator, open_key: OpenKey) -> None:
        """Take the ports.

        Args:
            coordinator: Holds the entries.
            open_key: Opens a configuration key by its id.
        """
        self._coordinator = coordinator
        self._open_key = open_key

    def read(self, store: KmsStore, one: ClosedStore) -> bytes:
        """The bytes of a closed store that a store names.

        Raises:
            IntegrityError: The entry is missing, or holds something else (7.2).
        """
        entry = self._coordinator.get(one.entry)
        payload = one.found(entry.value if entry else None)
        key = self._open_key(closed_stores.key_id_of(payload))
        return one.open(payload, store.installation_id, key)

    def read_all(self, store: KmsStore) -> Mapping[ClosedStore, bytes]:
        """The bytes of every closed store that a store names.

        Raises:
            IntegrityError: An entry is missing, or holds something else (7.2).
        """
        return {one: self.read(store, one) for one in store.former}

    def mek_ids(self, store: KmsStore) -> tuple[str, ...]:
        """Ids of MEKs that only closed stores have; of a closed store that is missing, the status tells as a problem."""
        found = dict[str, None]()
        for one in store.former:
            with suppress(StrongroomError):
                closed = any_store.parse(self.read(store, one))
                found |= dict.fromkeys(mek.id for mek in closed.meks)
        return tuple(mek_id for mek_id in found if mek_id not in store.numbers)

    def changes(
        self, before: KmsStore, after: NextStore, key_id: str, *, reseals: bool
    ) -> Mapping[str, Change]:
        """The entries that change with a store.

        Args:
            before: The present store.
            after: The store in its place.
            key_id: The configuration key to seal by.
            reseals: Whether entries that stay are sealed anew as well, since their key goes.
        """
        return dict(self._changes(before, after, key_id, reseals=reseals))

    def _changes(
        self, before: KmsStore, after: NextStore, key_id: str, *, reseals: bool
    ) -> Iterator[tuple[str, Change]]:
        for one in after.store.former:
            raw = after.closes.get(one)
            if raw is None and not reseals:
                continue
            raw = self.read(before, one) if raw is None else raw
            sealed = one.seal(raw, before.installation_id, key_id, self._open_key(key_id))
            yield one.entry, versions.set_entry(self._coordinator, one.entry, sealed)
        for one in before.former:
            if one not in after.store.former and self._coordinator.version(one.entry):
                yield one.entry, versions.set_entry(self._coordinator, one.entry, None)
