"""Configuration keys, which encrypt the ENC values, each wrapped by a master key (C-03).

Their records lie in a file that is replicated beside the keystore. The records say which key is active, and a MAC by the
newest master key says that they are genuine (docs/format/configuration-keys.md). Wraps for recovery recipients are also
stored in a copy elsewhere, so that the node can be recovered after the loss of all keystore folders.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from strongroom.configuration_keys import generations
from strongroom.configuration_keys.generations import KeyRecords, ReadRecords
from strongroom.configuration_keys.record_files import RecordFiles
from strongroom.configuration_keys.records import (
    ConfigurationKeyRecord,
    ConfigurationKeyState,
    WrapKind,
)
from strongroom.configuration_keys.recovery_copy import RecipientDrift, RecoveryCopy
from strongroom.configuration_keys.wrapping import Wrapping
from strongroom.coordination.entries import EntryKeys
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import ConflictError, KeyNotFoundError
from strongroom.keystore.master_key import Keystore
from strongroom.keystore.replicas import KeystoreDirectory

Records = tuple[ConfigurationKeyRecord, ...]
Coming = Callable[[EntryKeys], str]
"""The alias of a newer master key than that of the records, if something explains it, given the records' keys; or empty."""


class ConfigurationKeys:
    """The configuration keys of one installation, in the file beside every keystore replica."""

    def __init__(
        self,
        directory: KeystoreDirectory,
        keystore: Keystore,
        installation_id: str,
        recovery_file: Path | None = None,
        coming: Coming = lambda _: "",
    ) -> None:
        """Take the files and the master keys.

        Args:
            directory: The folders of the keystore.
            keystore: The master keys.
            installation_id: Id of the installation to which the keys belong.
            recovery_file: The file with the copy of wraps for recipients; None for no copy.
            coming: Says which master key a regeneration has added; asked only if the records are under an older one.
        """
        self._directory = directory
        self._keystore = keystore
        self._installation_id = installation_id
        self.wrapping = Wrapping(installation_id, keystore)
        self._copy = RecoveryCopy(recovery_file, installation_id) if recovery_file else None
        self._files = RecordFiles(directory, self.wrapping, self._copy)
        self._coming = coming
        self._loaded: ReadRecords | None = None

    @property
    def path(self) -> Path:
        """The file that commands read."""
        return self._files.primary

    @property
    def present(self) -> KeyRecords:
        """The records with their generation, floors and the keys in force, read at first use."""
        return self.proved.present

    @property
    def proved(self) -> ReadRecords:
        """The same with the digest of their document, read at first use."""
        return self._load() if self._loaded is None else self._loaded

    @property
    def records(self) -> Records:
        """All records, read at first use."""
        return self.present.records

    @property
    def used_aliases(self) -> frozenset[str]:
        """The aliases of master keys that a wrap names; these keys must not be removed from the keystore."""
        return frozenset(
            wrap.name
            for record in self.records
            for wrap in record.wraps
            if wrap.kind is WrapKind.MASTER_KEY
        )

    def load(self) -> Records:
        """Read the records from the primary replica, and prove them by the keystore.

        Raises:
            KeystoreError: The file is missing or damaged, has loose permissions, or is of another keystore.
            IntegrityError: An older master key authenticates the records, and no regeneration explains it.
        """
        return self._load().present.records

    def get(self, key_id: str) -> ConfigurationKeyRecord:
        """The record of a key.

        Raises:
            KeyNotFoundError: No record has this id.
        """
        for record in self.records:
            if record.id == key_id:
                return record
        raise KeyNotFoundError(
            f"there is no configuration key {key_id}",
            hint="restore the configuration keys that belong to this node from a backup",
        )

    def open(self, key_id: str) -> SecretBytes:
        """Open a configuration key by the first of its wraps that a master key opens.

        Raises:
            KeyNotFoundError: No record has this id.
            KeystoreError: No master key of this keystore opens the key.
        """
        return self.wrapping.open(self.present, self.get(key_id))

    def create(self, record: ConfigurationKeyRecord) -> None:
        """Write the first record of a new node, whose key is active.

        Raises:
            ConflictError: The node has records already.
            StorageError: A replica cannot be written.
        """
        with self._directory.changing():
            if self.path.exists():
                raise ConflictError("there are configuration keys already; they are never replaced")
            active = record._replace(state=ConfigurationKeyState.ACTIVE)
            floors = generations.TARGET
            self._write(KeyRecords(self._installation_id, record.id, (active,), floors=floors))

    def add_next(self, record: ConfigurationKeyRecord) -> None:
        """Add a key that is to become active to every replica. Adding the same record twice is harmless.

        Raises:
            ConflictError: Another record has this id.
            StateError: Another key is to become active already.
            StorageError: A replica cannot be written.
        """

        def change(old: KeyRecords) -> KeyRecords:
            present = next((item for item in old.records if item.id == record.id), None)
            if present not in {None, record}:
                raise ConflictError(f"there is another configuration key {record.id}")
            return old.with_next(record) if present is None else old

        self._change(change)

    def settle(self, active: str) -> None:
        """End a regeneration: no key is to become active any more; settled records are only replicated again.

        Args:
            active: The key that the configuration names.

        Raises:
            StateError: The key is neither active nor the next one.
            StorageError: A replica cannot be written.
        """
        self._change(lambda old: old.settled(active))

    def set_recipients(self, recipients: Sequence[str]) -> bool:
        """Wrap every key for exactly these recovery recipients; True if any record changed.

        Raises:
            KeystoreError: A key cannot be opened.
            StorageError: A replica cannot be written.
        """
        if not self.drift(recipients):
            return False
        self._change_each(
            lambda record: self.wrapping.for_recipients(record, self.open(record.id), recipients)
        )
        return True

    def drift(self, recipients: Sequence[str]) -> tuple[RecipientDrift, ...]:
        """The differences between the wraps for recipients and these recipients."""
        found = []
        for record in self.records:
            there = {wrap.name for wrap in record.of_kind(WrapKind.RECIPIENT)}
            found += [
                RecipientDrift(one, f"the configuration key {record.id} is not wrapped for it")
                for one in recipients
                if one not in there
            ]
            found += [
                RecipientDrift(
                    one, f"the configuration key {record.id} is wrapped for it, the RMK is not"
                )
                for one in sorted(there - set(recipients))
            ]
        if self._copy is not None and (why := self._copy.difference(*self._authenticated())):
            found += [RecipientDrift(one, why) for one in recipients or ("",)]
        return tuple(found)

    def restore(self, records: KeyRecords) -> None:
        """Replace all records by recovered ones.

        Raises:
            KeystoreError: A record does not open by this keystore.
            StorageError: A replica cannot be written.
        """
        with self._directory.changing():
            self._write(records)

    def take(self, data: bytes) -> None:
        """Replace the document of records by one that another node of the installation gave, byte for byte.

        Raises:
            KeystoreError: A record does not open by this keystore.
            StorageError: A replica cannot be written.
        """
        with self._directory.changing():
            before = self._load().present
            self._replicate(data, self.wrapping.proved(data).present, before)

    def upgrade(self, active: str, upcoming: str | None) -> None:
        """Bring records of format 1 to format 2, each wrap by a master key made anew; later ones are only replicated again.

        Args:
            active: The key that the configuration names.
            upcoming: The key of an unfinished regeneration, if the configuration does not name it yet.

        Raises:
            KeystoreError: A key cannot be opened.
            StorageError: A replica cannot be written.
        """

        def change(old: KeyRecords) -> KeyRecords:
            if old.format == generations.FORMAT:
                return old
            records = tuple(self.wrapping.made_anew(one, self.open(one.id)) for one in old.records)
            return old.replaced(records, active, upcoming)

        self._change(change)

    def advance(self, generation: int, active: str, upcoming: str) -> None:
        """Write the same keys under a later generation, before they are given to other nodes (key-changes.md 4.8).

        Args:
            generation: The generation, above every one that an attempt on another disk may have used.
            active: The key that the configuration names.
            upcoming: The new key of the regeneration; another one that was to become active goes.

        Raises:
            StateError: The generation is not a later one, or the key is neither active nor the next one.
            StorageError: A replica cannot be written.
        """
        self._change(lambda old: old.advanced(generation, active, upcoming))

    def raise_floors(self) -> None:
        """Take no older format any more than those that this release writes; raising them twice is harmless.

        Raises:
            StorageError: A replica cannot be written.
        """
        self._change(lambda old: old.with_floors(**generations.TARGET._asdict()))

    def rewrap(self, alias: str) -> None:
        """Wrap every key by one master key, and by no other; wraps for recipients stay.

        Raises:
            KeystoreError: A key cannot be opened, or the alias is not in the keystore.
            StorageError: A replica cannot be written.
        """
        self._change_each(lambda record: self._rewrapped(record, alias))

    def remove(self, key_id: str) -> None:
        """Remove a key from every replica; a missing key changes nothing.

        Raises:
            ConflictError: The key is the active one.
            StateError: A regeneration is under way.
            StorageError: A replica cannot be written.
        """

        def change(old: KeyRecords) -> KeyRecords:
            if key_id == old.active:
                raise ConflictError(f"{key_id} is the active configuration key")
            return old.with_records(tuple(one for one in old.records if one.id != key_id))

        self._change(change)

    def repair(self) -> list[Path]:
        """Replace every replica that is not intact by the best intact one; replaced files are kept.

        The best one is the primary if it is intact, else the replica of the latest generation. `key_files.KeyFiles` judges
        keystore and records together; this method is for records that were just made anew for the keystore.

        Returns:
            The replicas that were written.

        Raises:
            KeystoreError: No replica is intact.
        """
        with self._directory.changing():
            written = self._files.replace_bad(self._files.best())
            self._loaded = None
            return [*written, *self._files.write_copy(*self._authenticated())]

    def verify(self) -> None:
        """Open every key by every master-key wrap.

        Raises:
            KeystoreError: A wrap does not open.
        """
        self.load()
        self.wrapping.check_each(self.present)

    # ---- inside ----------------------------------------------------------------------------------

    def _load(self) -> ReadRecords:
        data = self._files.read()
        found = generations.read(data, self._installation_id, self._keystore)
        if found.alias and found.alias != self._keystore.newest:
            self._loaded = found  # the journal is proved by keys that open through it
            try:
                keys = found.present.entry_keys(self.open)._replace(digest=found.digest)
                coming = self._coming(keys)
                generations.check_alias(found, self._keystore, coming=coming)
            except BaseException:
                self._loaded = None
                raise
        self._loaded = found
        return found

    def _authenticated(self) -> tuple[KeyRecords, SecretBytes]:
        """The records, and the master key that authenticates them."""
        found = self.proved
        return found.present, self._keystore.master_key(found.alias or self._keystore.newest)

    def _rewrapped(self, record: ConfigurationKeyRecord, alias: str) -> ConfigurationKeyRecord:
        names = [wrap.name for wrap in record.wraps if wrap.kind is WrapKind.MASTER_KEY]
        if names == [alias]:
            return record
        return self.wrapping.under_one(record, self.open(record.id), alias)

    def _change_each(
        self, change: Callable[[ConfigurationKeyRecord], ConfigurationKeyRecord]
    ) -> None:
        self._change(lambda old: old.with_records(tuple(map(change, old.records))))

    def _change(self, change: Callable[[KeyRecords], KeyRecords]) -> None:
        with self._directory.changing():
            old = self._load().present
            new = change(old)
            if new is old:
                # the same bytes again, under the same master key: one generation has one document
                self._replicate(self._files.read(), old)
            else:
                self._write(new, old)

    def _write(self, records: KeyRecords, before: KeyRecords | None = None) -> None:
        self._replicate(generations.serialize(records, self._keystore), records, before)

    def _replicate(
        self, data: bytes, records: KeyRecords, before: KeyRecords | None = None
    ) -> None:
        known = {*records.ids, *(before.ids if before else ())}
        self._files.spread(data, known)
        self._loaded = generations.read(data, self._installation_id, self._keystore)
        self._files.write_copy(*self._authenticated(), known)
