"""The files of the configuration-key records: one beside each keystore replica, and the copy of wraps for recipients.

A document is proved by the master keys before it takes a file's place, and a file with a key that the new document lacks
is kept beside it (docs/format/configuration-keys.md).
"""

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from strongroom.configuration_keys import generations
from strongroom.configuration_keys import records as key_records
from strongroom.configuration_keys.generations import KeyRecords
from strongroom.configuration_keys.recovery_copy import RecoveryCopy
from strongroom.configuration_keys.wrapping import BACKUP_HINT, Wrapping
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import KeystoreError
from strongroom.keystore.replicas import KeystoreDirectory
from strongroom.system import guarded_files

FILE_NAME = "configuration_keys.json"


class RecordFiles:
    """The replicated document of records of one installation."""

    def __init__(
        self, directory: KeystoreDirectory, wrapping: Wrapping, copy: RecoveryCopy | None
    ) -> None:
        """Take the folders of the keystore, the master keys, and the copy for recipients (None: no copy is kept)."""
        self._directory = directory
        self._wrapping = wrapping
        self._copy = copy

    @property
    def primary(self) -> Path:
        """The file that commands read."""
        return self._directory.folders[0] / FILE_NAME

    def read(self) -> bytes:
        """The document of the primary replica, as it lies there.

        Raises:
            KeystoreError: The file is missing, too large, or has loose permissions.
        """
        return guarded_files.read(self.primary, key_records.MAX_BYTES)

    def spread(self, data: bytes, known: Collection[str]) -> None:
        """Write a document into every folder; a replaced file with a key whose id is not in `known` is kept beside it.

        Raises:
            KeystoreError: The document does not open by the master keys.
            StorageError: A replica cannot be written.
        """

        def is_covered(found: bytes) -> bool:
            parsed = generations.parse(found, self._wrapping.installation_id)
            return set(parsed.claimed.ids) <= set(known)

        self._directory.spread(FILE_NAME, data, self._wrapping.proved, is_covered)

    def write_copy(
        self, records: KeyRecords, master_key: SecretBytes, known: Collection[str] | None = None
    ) -> list[Path]:
        """Write the wraps for recipients into the copy, if one is kept; returns the files that were written.

        Args:
            records: The present records.
            master_key: The master key that authenticates them.
            known: A replaced copy with no other keys than these ids is not kept; None keeps every replaced copy.
        """
        if self._copy is None:
            return []
        return self._copy.write(records, master_key, self._directory.keep, known)

    def replace_bad(self, data: bytes) -> list[Path]:
        """Replace every file that does not hold the records of this document; returns those that were written.

        Raises:
            StorageError: A replica cannot be written.
        """
        records = self._wrapping.proved(data).present
        bad = [path for path in self._paths if self._found(path) != records]
        return self._directory.replace(bad, data, self._wrapping.proved)

    def best(self) -> bytes:
        """The primary document if it is intact, else the intact one of the latest generation.

        Raises:
            KeystoreError: No replica is intact.
        """
        latest: tuple[int, bytes] | None = None
        failure: KeystoreError | None = None
        for path in self._paths:
            try:
                data = guarded_files.read(path, key_records.MAX_BYTES)
                found = self._wrapping.proved(data).present
            except KeystoreError as error:
                failure = failure or error
                continue
            if path == self.primary:
                return data
            if latest is None or found.generation > latest[0]:
                latest = (found.generation, data)
        if latest is None:
            raise KeystoreError(
                "no replica of the configuration-key records is intact",
                hint=BACKUP_HINT,
            ) from failure
        return latest[1]

    @property
    def _paths(self) -> list[Path]:
        return [folder / FILE_NAME for folder in self._directory.folders]

    def _found(self, path: Path) -> KeyRecords | None:
        """The records of a file; None if the file is not intact."""
        with suppress(KeystoreError):
            data = guarded_files.read(path, key_records.MAX_BYTES)
            return self._wrapping.proved(data).present
        return None
