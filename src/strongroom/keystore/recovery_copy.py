"""Configuration keys as recovery recipients have them: a copy that outlives the keystore, and their opening.

format/recovery.md §4. The copy opens nothing without an identity, which is nowhere in the installation.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from strongroom import durable
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import IntegrityError, KeystoreError, StorageError
from strongroom.keystore import guarded, key_records
from strongroom.keystore.key_records import ConfigurationKeyRecord, KeyWrap, WrapKind

if TYPE_CHECKING:
    from strongroom.crypto.age import Identity

Records = tuple[ConfigurationKeyRecord, ...]


class RecipientDrift(NamedTuple):
    """Something that differs between the RMK's recovery recipients and those of the configuration keys.

    Attributes:
        recipient: Whose wrap it is about.
        problem: What is wrong.
    """

    recipient: str
    problem: str


class RecoveryCopy:
    """The second place of the wraps for recipients."""

    def __init__(self, path: Path, installation_id: str) -> None:
        self.path = path
        self._installation_id = installation_id

    def write(self, records: Sequence[ConfigurationKeyRecord]) -> list[Path]:
        """Bring the copy up to date; gives the file if it had to be written.

        Raises:
            StorageError: It cannot be written or removed.
        """
        data = self._expected(records)
        if self._found() == data:
            return []
        if data is None:
            try:
                self.path.unlink(missing_ok=True)
            except OSError as error:
                raise StorageError(f"cannot remove {self.path}: {error.strerror}") from error
        else:
            durable.make_folder(self.path.parent, durable.PRIVATE)
            durable.write_file(self.path, data, durable.PRIVATE)
        return [self.path]

    def difference(self, records: Sequence[ConfigurationKeyRecord]) -> str:
        """What is wrong with the copy, or nothing."""
        expected, found = self._expected(records), self._found()
        if found == expected:
            return ""
        return f"the second copy {self.path} is {'missing' if found is None else 'out of date'}"

    def _found(self) -> bytes | None:
        try:
            return guarded.read(self.path, key_records.MAX_BYTES)
        except guarded.MissingFileError:
            return None
        except KeystoreError:
            return b""  # loose permissions, a link: as good as damaged

    def _expected(self, records: Sequence[ConfigurationKeyRecord]) -> bytes | None:
        kept = [
            record._replace(wraps=wraps)
            for record in records
            if (wraps := record.of_kind(WrapKind.RECIPIENT))
        ]
        return key_records.serialize(self._installation_id, kept) if kept else None


def recipients_in(records: Iterable[ConfigurationKeyRecord]) -> tuple[KeyWrap, ...]:
    """Every wrap for a recipient."""
    return tuple(wrap for record in records for wrap in record.of_kind(WrapKind.RECIPIENT))


def collect(files: Iterable[Path], installation_id: str) -> Records:
    """Records of every file that can be read, their wraps together; an id stands once."""
    found: dict[str, ConfigurationKeyRecord] = {}
    for path in files:
        with suppress(KeystoreError):
            data = guarded.read(path, key_records.MAX_BYTES)
            for record in key_records.parse(data, installation_id):
                known = found.setdefault(record.id, record)
                more = [wrap for wrap in record.wraps if wrap not in known.wraps]
                found[record.id] = known._replace(wraps=(*known.wraps, *more))
    return tuple(found.values())


def open_by(
    record: ConfigurationKeyRecord, identities: "tuple[Identity, ...]", installation_id: str
) -> SecretBytes | None:
    """The key of a record, by the first of its recipients' wraps that an identity opens."""
    from strongroom.crypto import age  # not for every command: only recovery opens

    for wrap in record.of_kind(WrapKind.RECIPIENT):
        able = tuple(one for one in identities if one.may_open(wrap.name))
        if not able:
            continue
        aad = key_records.recipient_aad(installation_id, record.id, wrap.id)
        with suppress(IntegrityError):
            return age.unwrap(wrap.wrapped, identities=able, aad=aad)
    return None
