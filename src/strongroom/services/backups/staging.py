"""Writes the extracts of a backup beside the present ones, under new names that no row has yet."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass

from strongroom.backup import archive
from strongroom.backup.open_backup import ExaminedRows, OpenBackup
from strongroom.errors import StrongroomError
from strongroom.filestore.base import FileStore
from strongroom.ids import new_id
from strongroom.kms.keyring import KeyRing
from strongroom.services.backups import pinned_files
from strongroom.services.backups.checks import Stage
from strongroom.services.backups.pinned_files import PinnedFiles

_Progress = Callable[[int], None]


@dataclass(frozen=True)
class Staging:
    """The parts of a backup that is being written.

    Attributes:
        backup: The backup.
        names: The new storage key of each of its extracts.
        found: The rows of these.
        pinned: The extracts that it does not hold; None if it holds all.
        ring: The keys of the backup, by which a pinned extract is read to its end; None if they are closed.
    """

    backup: OpenBackup
    names: Mapping[str, str]
    found: ExaminedRows
    pinned: PinnedFiles | None
    ring: KeyRing | None

    @property
    def size(self) -> int:
        """Bytes of all extracts that are to be written."""
        sizes = (self.backup.pinned_size(key) for key in self.found.pinned)
        return self.backup.extract_bytes + sum(sizes)

    def write(self, files: FileStore, stage: Stage, skipped: Iterable[str]) -> None:
        """Write them; a pinned one is read back to its end, since no digest of it is in the backup.

        Args:
            files: The store to write to; an intent of each new key is there already.
            stage: Called with the name and the size of the stage.
            skipped: Ids of content whose extract is known to open by no key: it is copied, and not read.

        Raises:
            StrongroomError: A store refuses, or a pinned extract is not what it was.
        """
        progress, unread = stage("restore", self.size), set(skipped)
        for key, new in self.names.items():
            row = self.found.pinned.get(key)
            if row is None or self.pinned is None:
                self._put(
                    files, new, self.backup.extract(key).size, self.backup.pieces(key), progress
                )
                continue
            with closing(self.pinned.open(key)) as file:
                self._put(files, new, file.size, archive.pieces(file, file.size), progress)
            if self.ring is not None and row["id"] not in unread:
                self._prove(files, new, row, self.ring)

    @staticmethod
    def _put(
        files: FileStore,
        key: str,
        size: int,
        pieces: Iterable[memoryview],
        progress: _Progress | None,
    ) -> None:
        pending = files.put(key, expected_bytes=size)
        try:
            position = 0
            for piece in pieces:
                pending.write_at(position, piece)
                position += len(piece)
                if progress is not None:
                    progress(len(piece))
            pending.commit()
        finally:
            pending.abort()

    @staticmethod
    def _prove(files: FileStore, key: str, row: Mapping[str, object], ring: KeyRing) -> None:
        with closing(files.open(key)) as file:
            try:
                pinned_files.read_whole(file, dict(row), ring)
            except StrongroomError as error:
                raise type(error)(
                    f"the pinned extract of {row['id']} is not what it was: {error.message}",
                    hint="nothing was restored: use a backup that holds its extracts",
                ) from error


def new_names(found: ExaminedRows) -> dict[str, str]:
    """A new storage key for each extract, so that no present file is ever overwritten."""
    names = {}
    for key in (*found.extracts, *found.pinned):
        place, _, last = key.partition("/")
        name = new_id()
        names[key] = f"{place}/{name[:2]}/{name}{last[last.rindex('.') :]}"
    return names
