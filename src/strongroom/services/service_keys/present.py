"""Rows of services in memory, for as long as they are the present ones: callers with their rules, keys, opened versions.

Each look asks the database whether anything was committed since, and forgets everything if so. No row is used that was
not the present one when the look was taken, on whatever node it was changed: a token that was revoked and a key that was
disabled are of no use to the next call. What time decides – when a token ends, when a key is gone – is for the caller to
compare, at every use.
"""

import threading
from collections.abc import Callable, Hashable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from typing import TypeVar

from strongroom.crypto.secret import SecretBytes
from strongroom.errors import UsageError
from strongroom.recent import Recent
from strongroom.repository.service_rows import ServiceKeyRow, ServiceKeyVersionRow, ServiceMountRow
from strongroom.repository.unit_of_work import Repository, Transaction
from strongroom.services.service_keys.material import Material

MOST = 200_000
"""Rows in memory, of all kinds. A key in use has five, for each caller two of them: 5.6 kB together, so 220 MB at most."""
_Found = TypeVar("_Found")


class Seen:
    """Rows that were found under one state of the database; threads may fill it together, with the same rows."""

    def __init__(self, state: Hashable) -> None:
        self.state = state
        self._found: Recent[Hashable, object] = Recent(MOST)

    def known(self, name: Hashable) -> object:
        """The row of a name; None if it is not known."""
        return self._found.get(name)

    def get(self, name: Hashable, find: Callable[[], _Found]) -> _Found:
        """The row of a name, found now if it is not known."""
        known = self._found.get(name)
        if known is not None:
            return known  # type: ignore[return-value]  # the name begins with the kind
        found = find()
        if found is not None:  # or names that somebody guesses would fill the memory
            self._found.keep(name, found)
        return found

    def names(self) -> AbstractSet[Hashable]:
        """The names of all rows that are known."""
        return self._found.names()


class Present:
    """The rows as they are now.

    Args:
        repository: The rows.
        material: Opens versions of keys.
    """

    def __init__(self, repository: Repository, material: Material) -> None:
        self._repository = repository
        self._material = material
        self._seen = Seen(None)
        self._thread = _OfThread()

    @contextmanager
    def one_look(self) -> Iterator[None]:
        """Within the block, this thread asks the database once: for calls that were all there before."""
        self._thread.seen, self._thread.meks = self._looked(), set()
        try:
            yield
        finally:
            self._thread.seen = None

    def get(self, name: Hashable, find: Callable[[Transaction], _Found]) -> _Found:
        """Something that is read in a transaction, under a name that begins with its kind.

        Raises:
            StorageError: The database cannot be read.
        """

        def found() -> _Found:
            with self._repository.reading() as tx:
                return find(tx)

        return self._now().get(name, found)

    def known(self, name: Hashable) -> object:
        """The result of `get` or `derived` under a name; None if there is none, or if a row has changed since."""
        return self._now().known(name)

    def derived(self, name: Hashable, make: Callable[[], _Found]) -> _Found:
        """Something that follows from rows alone, under a name that begins with its kind."""
        return self._now().get(name, make)

    def key(self, mount: ServiceMountRow, name: str) -> ServiceKeyRow | None:
        """The row of a key, whose time may be over; its latest version is read with it."""
        seen = self._now()

        def find() -> ServiceKeyRow | None:
            with self._repository.reading() as tx:
                row = tx.service_keys.find_by_name(mount.id, name)
                if row is not None:
                    latest = tx.service_keys.versions.find_version(row.id, row.latest)
                    seen.get(("version", row.id, row.latest), lambda: latest)
            return row

        return seen.get(("key", mount.id, name), find)

    def version(self, key: ServiceKeyRow, version: int) -> ServiceKeyVersionRow:
        """The row of a version.

        Raises:
            UsageError: The key has no such version any longer.
        """
        found = self.get(
            ("version", key.id, version),
            lambda tx: tx.service_keys.versions.find_version(key.id, version),
        )
        if found is None:
            raise UsageError(f"there is no version {version} of the key any longer")
        return found

    def material(self, key: ServiceKeyRow, version: int) -> SecretBytes:
        """The material of a version, while the KMS store opens it.

        Raises:
            UsageError: The key has no such version any longer.
            IntegrityError: The row was changed.
            StrongroomError: The MEK is gone, or no root opens the KMS store.
        """
        row = self.version(key, version)
        opened = self._now().get(
            ("material", key.id, version), lambda: self._material.open_key(row, key.kind)
        )
        self._check(row.mek_id)
        return opened

    # ---- parts -----------------------------------------------------------------------------------

    def _now(self) -> Seen:
        return self._thread.seen or self._looked()

    def _looked(self) -> Seen:
        state, seen = self._repository.state(), self._seen
        if seen.state != state:
            seen = self._seen = Seen(state)
        return seen

    def _check(self, mek_id: str) -> None:
        is_one_look = self._thread.seen is not None
        if is_one_look and mek_id in self._thread.meks:
            return
        self._material.check_opens(mek_id)
        if is_one_look:
            self._thread.meks.add(mek_id)


class _OfThread(threading.local):
    seen: Seen | None = None

    def __init__(self) -> None:
        self.meks: set[str] = set()
