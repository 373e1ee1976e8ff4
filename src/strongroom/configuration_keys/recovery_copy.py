"""The copy of configuration keys wrapped for recovery recipients, which survives the loss of the keystore, and their opening.

format/recovery.md §4. The copy opens only by an identity, which is stored nowhere in the installation.
"""

import os
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from strongroom.configuration_keys import generations
from strongroom.configuration_keys import records as key_records
from strongroom.configuration_keys.generations import KeyRecords
from strongroom.configuration_keys.records import ConfigurationKeyRecord, KeyWrap, WrapKind
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import IntegrityError, KeystoreError
from strongroom.system import disk, durable, guarded_files

if TYPE_CHECKING:
    from strongroom.crypto.age import Identity


class RecipientDrift(NamedTuple):
    """A difference between the recovery recipients of the RMK and those of the configuration keys.

    Attributes:
        recipient: The recipient concerned.
        problem: A phrase for the difference.
    """

    recipient: str
    problem: str


class RecoveryCopy:
    """The file with the copy of wraps for recipients."""

    def __init__(self, path: Path, installation_id: str) -> None:
        self.path = path
        self._installation_id = installation_id

    def write(
        self,
        records: KeyRecords,
        master_key: SecretBytes,
        keep: Callable[[Path], object],
        known: Collection[str] | None = None,
    ) -> list[Path]:
        """Bring the copy up to date; returns the file if it had to be written.

        Args:
            records: The records to copy.
            master_key: The master key that authenticates the records, and so their copy.
            keep: Keeps a file before it is replaced.
            known: Ids of keys that the caller has, or removes on purpose, so that a copy with only these need not be
                kept; None keeps every replaced copy.

        Raises:
            StorageError: The copy cannot be written or removed.
        """
        data = _copied(records, master_key)
        if self._found() == data:
            return []
        if known is None or not self._ids() <= set(known):
            keep(self.path)
        if data is None:
            try:
                self.path.unlink(missing_ok=True)
            except OSError as error:
                raise disk.problem(f"cannot remove {self.path}", error) from error
        else:
            durable.make_folder(self.path.parent, durable.PRIVATE)
            durable.write_file(self.path, data, durable.PRIVATE)
        return [self.path]

    @property
    def is_there(self) -> bool:
        """Whether the copy exists."""
        return os.path.lexists(self.path)

    def difference(self, records: KeyRecords, master_key: SecretBytes) -> str:
        """A phrase for the difference between the copy and these records; empty if there is none.

        Args:
            records: The records.
            master_key: The master key that authenticates them.
        """
        expected, found = _copied(records, master_key), self._found()
        if found == expected:
            return ""
        return f"the second copy {self.path} is {'missing' if found is None else 'out of date'}"

    def _ids(self) -> set[str]:
        """The ids of the keys in the copy; a damaged copy counts as one with an unknown key."""
        found = self._found()
        if found is None:
            return set()
        with suppress(KeystoreError):
            return set(generations.parse(found, self._installation_id).claimed.ids)
        return {""}

    def _found(self) -> bytes | None:
        try:
            return guarded_files.read(self.path, key_records.MAX_BYTES)
        except guarded_files.MissingFileError:
            return None
        except KeystoreError:
            return b""  # a file with loose permissions, or a link, is treated as damaged


def _copied(records: KeyRecords, master_key: SecretBytes) -> bytes | None:
    """The contents of the copy; None if no record has a wrap for a recipient."""
    kept = tuple(
        record._replace(wraps=wraps)
        for record in records.records
        if (wraps := record.of_kind(WrapKind.RECIPIENT))
    )
    if not kept:
        return None
    return generations.serialize_part(records._replace(records=kept), master_key)


def recipients_in(records: Iterable[ConfigurationKeyRecord]) -> tuple[KeyWrap, ...]:
    """Every wrap for a recipient."""
    return tuple(wrap for record in records for wrap in record.of_kind(WrapKind.RECIPIENT))


def collect(files: Iterable[Path], installation_id: str) -> KeyRecords | None:
    """The records of all readable files of format 2, for whoever has no keystore that authenticates them.

    Records of the same key are joined, with the wraps of each. All else is that of the latest generation.

    Returns:
        The records, not proved; None if no file can be read.
    """
    latest: KeyRecords | None = None
    found: dict[str, ConfigurationKeyRecord] = {}
    for path in files:
        with suppress(KeystoreError):
            data = guarded_files.read(path, key_records.MAX_BYTES)
            claimed = generations.parse(data, installation_id).claimed
            if claimed.format != generations.FORMAT:
                continue
            if latest is None or claimed.generation > latest.generation:
                latest = claimed
            for record in claimed.records:
                known = found.setdefault(record.id, record)
                more = [wrap for wrap in record.wraps if wrap not in known.wraps]
                found[record.id] = known._replace(wraps=(*known.wraps, *more))
    return None if latest is None else latest._replace(records=tuple(found.values()))


def open_by(
    record: ConfigurationKeyRecord, identities: "tuple[Identity, ...]", installation_id: str
) -> SecretBytes | None:
    """Open a record by the first of its recipients' wraps that an identity opens; None if no identity does."""
    from strongroom.crypto import age  # imported here since only a recovery needs it

    for wrap in record.of_kind(WrapKind.RECIPIENT):
        able = tuple(one for one in identities if one.may_open(wrap.name))
        if not able:
            continue
        aad = key_records.recipient_aad(installation_id, record.id, wrap.id)
        with suppress(IntegrityError):
            return age.unwrap(wrap.wrapped, identities=able, aad=aad)
    return None
