"""Counts which MEKs the stored files depend on, to decide whether a MEK may be retired.

The rows of the repository are not trusted for this, since a wrong one would cost an extract. The header page of every
file in the store is read, upload parts and files that no row names included. Both key slots of a header count: after a
crash in the middle of a rewrap only the older slot may be whole. A file that is being written is not in the store yet,
and its intent in the repository counts for it. Service keys and secrets are in rows, which are their only place.
"""

from collections import Counter

from strongroom.errors import NotFoundError, StrongroomError
from strongroom.extracts.vault import ExtractVault
from strongroom.filestore.base import FileStore
from strongroom.repository.gateways.service_keys import Sealed
from strongroom.repository.unit_of_work import Repository
from strongroom.services.keys.mek_use import MekUse, UseCount


class Headers:
    """The headers that were read, so that a second count reads only those of files that came since.

    A file never gets an older MEK: from its first byte on it is under the MEK that was active, and a rewrap brings it to
    the one that is. So what was read stays right for a MEK that is not active any more, and that nobody may write under
    (`mek_end`); for any other it is a count of that moment.
    """

    def __init__(self, files: FileStore, vault: ExtractVault) -> None:
        """Read nothing yet."""
        self._files = files
        self._vault = vault
        self._read: dict[str, tuple[frozenset[str], int]] = {}
        self._alike: dict[frozenset[str], frozenset[str]] = {}

    def count(self) -> tuple[frozenset[str], Counter[str], Counter[str], tuple[str, ...]]:
        """The files that are there now; files and stored bytes by MEK; the files whose header cannot be read.

        A file whose slots name two MEKs counts for both of them.
        """
        read: dict[str, tuple[frozenset[str], int]] = {}
        unreadable: list[str] = []
        present = frozenset(self._files.list())
        for storage_key in sorted(present):
            try:
                read[storage_key] = self._read.get(storage_key) or self._header(storage_key)
            except NotFoundError:
                continue  # the file was deleted since the listing
            except StrongroomError as error:
                unreadable.append(f"{storage_key}: {error.with_hint}")
        self._read = read
        files: Counter[str] = Counter()
        size: Counter[str] = Counter()
        for meks, stored in read.values():
            files.update(meks)
            size.update(dict.fromkeys(meks, stored))
        return present, files, size, tuple(unreadable)

    def _header(self, storage_key: str) -> tuple[frozenset[str], int]:
        found = frozenset(self._vault.mek_ids(storage_key))
        # files share one set for the same MEKs: there may be very many files
        meks = self._alike.setdefault(found, found)
        return meks, self._files.stat(storage_key).bytes


def scan(repository: Repository, headers: Headers) -> UseCount:
    """Files and stored bytes per MEK, and the files whose header cannot be read.

    Nobody waits for it: no lock is held and no transaction open while headers are read.

    Raises:
        StorageError: The store or the repository cannot be read; the caller must not conclude that a MEK is unused.
    """
    # Intents are read before the store is listed: a file that becomes visible in between is found by the listing. The
    # other way round it would be in neither, and the MEK that it needs could be retired.
    with repository.reading() as tx:
        intents = {intent.storage_key: intent.mek_id for intent in tx.intents.list()}
    present, count, size, unreadable = headers.count()
    for storage_key, mek_id in intents.items():
        if mek_id and storage_key not in present:
            count[mek_id] += 1
    services = _of_services(repository)
    for mek_id, sealed in services.items():
        size[mek_id] += sealed.size
    found = {
        mek_id: MekUse(
            count[mek_id], size[mek_id], services[mek_id].versions if mek_id in services else 0
        )
        for mek_id in {**count, **services}
    }
    return found, unreadable


def _of_services(repository: Repository) -> dict[str, Sealed]:
    """The versions of service keys and secrets under each MEK (service-keys.md 3.3).

    Every writer that has begun is waited for: one that took the MEK before a rotation would be seen by nobody, and could
    write under it after it was found unused. A writer that begins later takes the active MEK of that time. The rows are
    read afterwards, while all may write.
    """
    with repository.transaction():
        pass
    with repository.reading() as tx:
        return tx.service_material.use()
