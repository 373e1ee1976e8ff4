"""The keys of entries, as keystore and records say them now (docs/format/entries.md 2.2); for one process."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from strongroom.canonical import peek
from strongroom.configuration_keys import generations
from strongroom.configuration_keys import records as key_records
from strongroom.configuration_keys.generations import ReadRecords
from strongroom.configuration_keys.keys import Coming
from strongroom.configuration_keys.record_files import FILE_NAME
from strongroom.coordination.entries import EntryKeys
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import IntegrityError, KeystoreError
from strongroom.keystore import pkcs12, replicas
from strongroom.keystore.master_key import Keystore
from strongroom.keystore.replicas import KeystoreDirectory
from strongroom.system import guarded_files

BEFORE_NAME = f"{FILE_NAME}.before"
"""The records before those that a node took at its start, until nothing here is sealed under them (key-changes.md 3.5)."""
_UNUSABLE = (KeystoreError, IntegrityError)
_Seen = tuple[int, int, int]


class RecordsAuthority:
    """Reads the keys once, and again when the records' file is another one; implements `EntryAuthority`."""

    def __init__(self, directory: KeystoreDirectory, coming: Coming) -> None:
        """Take the folders of keystore and records.

        Args:
            directory: The folders. The first one is read; if it cannot be used, any keystore and any records that
                belong together, so that a damaged file can be repaired while the node works.
            coming: Says which master key a regeneration has added.
        """
        self._directory = directory
        self._coming = coming
        self._path = directory.folders[0] / FILE_NAME
        self._known: tuple[_Seen | None, EntryKeys] | None = None
        self._recovered: EntryKeys | None = None

    def present(self) -> EntryKeys:
        """The keys, read anew if the records' file is another one than before.

        A process that has read them goes on with what it knows if the files become unusable: it may serve, and whoever
        recovers the node stops it first.

        Raises:
            KeystoreError: No keystore and no records belong together.
            IntegrityError: The records are older than the keystore, or have no MAC.
        """
        seen = _seen(
            self._path
        )  # before the reading, so that a change in between is noticed by the next call
        if self._known is not None and self._known[0] == seen:
            return self._known[1]
        try:
            keys = self._read()
        except _UNUSABLE:
            if self._known is not None:
                return self._known[1]
            if self._recovered is None:
                raise
            return self._recovered
        self._known = (seen, keys)
        return keys

    def renew(self) -> None:
        """Take the keys of the newest records of all folders: the first folder may have an older pair, which proves itself.

        Without a pair that can be used nothing changes; `present` says then what is wrong.
        """
        seen, found = _seen(self._path), list[EntryKeys]()
        with suppress(*_UNUSABLE):
            for keystore, data in self._pairs():
                with suppress(*_UNUSABLE):
                    found.append(self._proved(keystore, data))
        if found:
            self._known = (seen, max(found, key=lambda keys: keys.generation))

    def open_local(self, key_id: str) -> SecretBytes:
        """Open a configuration key by files of this node alone, before the coordination service can be asked.

        Records under an older master key of the keystore are taken as well: whether a regeneration explains them stands
        in the coordination service, which is asked when its entries are proved.

        Raises:
            KeystoreError: No keystore and no records of this node open the key.
        """
        if self._recovered is not None and self._recovered.active.id == key_id:
            return self._recovered.active.key
        for keystore, data in self._pairs((FILE_NAME, BEFORE_NAME)):
            with suppress(*_UNUSABLE):
                found = generations.read(data, str(peek(data, "installation_id")), keystore)
                if key_id in found.present.ids:
                    return _opened(found, keystore, key_id)
        raise KeystoreError(
            f"no keystore of this node opens the configuration key {key_id}",
            hint=key_records.REPAIR_HINT,
        )

    def adopt(self, keys: EntryKeys) -> None:
        """Take these keys where the files cannot be used: a recovery opened them by other means."""
        self._recovered = keys

    def _read(self) -> EntryKeys:
        with suppress(*_UNUSABLE):
            return self._of_the_first()
        # a regeneration that changes keystore and records meanwhile looks as if they did not fit
        try:
            return self._of_the_first()
        except _UNUSABLE as error:
            for keystore, data in self._pairs():
                with suppress(*_UNUSABLE):
                    return self._proved(keystore, data)
            raise error from None

    def _of_the_first(self) -> EntryKeys:
        keystore = self._directory.load()
        return self._proved(keystore, guarded_files.read(self._path, key_records.MAX_BYTES))

    def _pairs(self, names: Sequence[str] = (FILE_NAME,)) -> Iterator[tuple[Keystore, bytes]]:
        """Keystores and records of all folders with each other, each content once."""
        folders = self._directory.folders
        password = self._directory.password()
        stores = _contents([folder / replicas.FILE_NAME for folder in folders], pkcs12.MAX_BYTES)
        files = [folder / name for name in names for folder in folders]
        records = _contents(files, key_records.MAX_BYTES)
        for data, path in stores.items():
            with suppress(KeystoreError):
                keystore = self._directory.opened(path, password, data)
                yield from ((keystore, one) for one in records)

    def _proved(self, keystore: Keystore, data: bytes) -> EntryKeys:
        found = generations.read(data, str(peek(data, "installation_id")), keystore)
        if found.format == key_records.FORMAT:
            raise IntegrityError(
                "the configuration-key records have no MAC, and the entries of the coordination service have: an older"
                " file was put back",
                hint=key_records.REPAIR_HINT,
            )
        keys = keys_of(found, keystore)
        if found.alias != keystore.newest:
            generations.check_alias(found, keystore, coming=self._coming(keys))
        return keys


def keys_of(found: ReadRecords, keystore: Keystore) -> EntryKeys:
    """The keys of entries by records that a keystore has authenticated.

    Raises:
        KeystoreError: The keystore does not open a key that is in force.
    """
    return found.present.entry_keys(lambda key_id: _opened(found, keystore, key_id))._replace(
        digest=found.digest
    )


def _opened(found: ReadRecords, keystore: Keystore, key_id: str) -> SecretBytes:
    [record] = [one for one in found.present.records if one.id == key_id]
    for wrap in record.wraps:
        key = generations.unwrap(found.present, record, wrap, keystore)
        if key is not None:
            return key
    raise KeystoreError(
        f"no master key of the keystore opens the configuration key {key_id}",
        hint=key_records.REPAIR_HINT,
    )


def _contents(paths: list[Path], limit: int) -> dict[bytes, Path]:
    found: dict[bytes, Path] = {}
    for path in paths:
        with suppress(KeystoreError):
            found.setdefault(guarded_files.read(path, limit), path)
    return found


def _seen(path: Path) -> _Seen | None:
    """Numbers that differ between a file and another that is renamed over it; None without a file."""
    with suppress(OSError):
        status = path.stat()
        return (status.st_ino, status.st_mtime_ns, status.st_size)
    return None
