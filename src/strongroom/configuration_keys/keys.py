"""Configuration keys, which encrypt the ENC values, each wrapped by a master key (C-03).

Their records lie in a file that is replicated beside the keystore. The configuration document names the active key, and
the state in the records follows it. Wraps for recovery recipients are also stored in a copy elsewhere, so that the node
can be recovered after the loss of all keystore folders.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from strongroom import ids
from strongroom.configuration_keys import records as key_records
from strongroom.configuration_keys.records import (
    ConfigurationKeyRecord,
    ConfigurationKeyState,
    KeyWrap,
    WrapKind,
)
from strongroom.configuration_keys.recovery_copy import RecipientDrift, RecoveryCopy
from strongroom.crypto import aead
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import ConflictError, KeyNotFoundError, KeystoreError
from strongroom.keystore.master_key import Keystore
from strongroom.keystore.replicas import KeystoreDirectory
from strongroom.system import guarded_files

FILE_NAME = "configuration_keys.json"
_BACKUP_HINT = (
    "run 'tsm security keystore repair': another replica may open it; if none does, restore keystore and"
    " configuration keys together from a backup; or, with a recovery identity or shares, 'strongroom recover'"
)

Records = tuple[ConfigurationKeyRecord, ...]


class ConfigurationKeys:
    """The configuration keys of one installation, in the file beside every keystore replica."""

    def __init__(
        self,
        directory: KeystoreDirectory,
        keystore: Keystore,
        installation_id: str,
        recovery_file: Path | None = None,
    ) -> None:
        """Take the files and the master keys.

        Args:
            directory: The folders of the keystore.
            keystore: The master keys.
            installation_id: Id of the installation to which the keys belong.
            recovery_file: The file with the copy of wraps for recipients; None for no copy.
        """
        self._directory = directory
        self._keystore = keystore
        self._installation_id = installation_id
        self._copy = RecoveryCopy(recovery_file, installation_id) if recovery_file else None
        self._loaded: Records | None = None

    @property
    def path(self) -> Path:
        """The file that commands read."""
        return self._directory.folders[0] / FILE_NAME

    @property
    def records(self) -> Records:
        """All records, read at first use."""
        return self.load() if self._loaded is None else self._loaded

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
        """Read the records from the primary replica.

        Raises:
            KeystoreError: The file is missing, damaged, or has loose permissions.
        """
        self._loaded = key_records.parse(
            guarded_files.read(self.path, key_records.MAX_BYTES), self._installation_id
        )
        return self._loaded

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
        record = self.get(key_id)
        for wrap in record.wraps:
            key = self._unwrap(record, wrap)
            if key is not None:
                return key
        raise KeystoreError(
            f"no master key of the keystore opens the configuration key {key_id}",
            hint=_BACKUP_HINT,
        )

    def new_record(
        self,
        key: SecretBytes,
        *,
        key_id: str,
        created_at: datetime,
        alias: str,
        state: ConfigurationKeyState = ConfigurationKeyState.DECRYPT_ONLY,
    ) -> ConfigurationKeyRecord:
        """A record of a key under one master key; nothing is written.

        Raises:
            KeystoreError: The keystore has no such alias.
        """
        return ConfigurationKeyRecord(key_id, created_at, state, (self._wrap(key, key_id, alias),))

    def for_recipients(
        self, record: ConfigurationKeyRecord, key: SecretBytes, recipients: Sequence[str]
    ) -> ConfigurationKeyRecord:
        """The record with wraps for exactly these recipients; present wraps for them stay as they are."""
        present = {wrap.name: wrap for wrap in record.of_kind(WrapKind.RECIPIENT)}
        wraps = [present.get(one) or self._wrap_for(key, record.id, one) for one in recipients]
        return record._replace(wraps=(*record.of_kind(WrapKind.MASTER_KEY), *wraps))

    def create(self, record: ConfigurationKeyRecord) -> None:
        """Write the first record of a new node.

        Raises:
            ConflictError: The node has records already.
            StorageError: A replica cannot be written.
        """
        with self._directory.changing():
            if self.path.exists():
                raise ConflictError("there are configuration keys already; they are never replaced")
            self._write((record,))

    def add(self, record: ConfigurationKeyRecord) -> None:
        """Add a key to every replica. Adding the same record twice is harmless.

        Raises:
            ConflictError: Another record has this id.
            StorageError: A replica cannot be written.
        """

        def change(
            old: Records,
        ) -> Iterable[ConfigurationKeyRecord]:
            present = next((item for item in old if item.id == record.id), None)
            if present not in {None, record}:
                raise ConflictError(f"there is another configuration key {record.id}")
            return old if present else (*old, record)

        self._change(change)

    def set_recipients(self, recipients: Sequence[str]) -> bool:
        """Wrap every key for exactly these recovery recipients; True if any record changed.

        Raises:
            KeystoreError: A key cannot be opened.
            StorageError: A replica cannot be written.
        """
        if not self.drift(recipients):
            return False
        self._change(
            lambda old: [
                self.for_recipients(record, self.open(record.id), recipients) for record in old
            ]
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
        if self._copy is not None and (why := self._copy.difference(self.records)):
            found += [RecipientDrift(one, why) for one in recipients or ("",)]
        return tuple(found)

    def restore(self, records: Records) -> None:
        """Replace all records by recovered ones.

        Raises:
            KeystoreError: A record does not open by this keystore.
            StorageError: A replica cannot be written.
        """
        with self._directory.changing():
            self._write(records)

    def set_state(self, active_id: str) -> None:
        """Make one key active and every other decrypt-only.

        Raises:
            KeyNotFoundError: No record has this id.
            StorageError: A replica cannot be written.
        """
        self.get(active_id)
        states = {True: ConfigurationKeyState.ACTIVE, False: ConfigurationKeyState.DECRYPT_ONLY}
        self._change(
            lambda old: [record._replace(state=states[record.id == active_id]) for record in old]
        )

    def rewrap(self, alias: str) -> None:
        """Wrap every key by one master key, and by no other; wraps for recipients stay.

        Raises:
            KeystoreError: A key cannot be opened, or the alias is not in the keystore.
            StorageError: A replica cannot be written.
        """
        self._change(lambda old: [self._rewrapped(record, alias) for record in old])

    def remove(self, key_id: str) -> None:
        """Remove a key from every replica; a missing key changes nothing.

        Raises:
            ConflictError: The key is the active one.
            StorageError: A replica cannot be written.
        """

        def change(
            old: Records,
        ) -> Iterable[ConfigurationKeyRecord]:
            for record in old:
                if record.id == key_id and record.state is ConfigurationKeyState.ACTIVE:
                    raise ConflictError(f"{key_id} is the active configuration key")
            return [record for record in old if record.id != key_id]

        self._change(change)

    def repair(self) -> list[Path]:
        """Replace every replica that is not intact by the best intact one; replaced files are kept.

        The best one is the primary if it is intact, else the replica with the most keys. `key_files.KeyFiles` judges
        keystore and records together; this method is for records that were just made anew for the keystore.

        Returns:
            The replicas that were written.

        Raises:
            KeystoreError: No replica is intact.
        """
        with self._directory.changing():
            data = self._best()
            records = self._check(data)
            bad = [path for path in self._paths if self._found(path) != records]
            written = self._directory.replace(bad, data, self._check)
            if self._copy is not None:
                written += self._copy.write(records, self._directory.keep)
            return written

    def verify(self) -> None:
        """Open every key by every master-key wrap.

        Raises:
            KeystoreError: A wrap does not open.
        """
        for record in self.load():
            for wrap in record.wraps:
                if wrap.kind is WrapKind.MASTER_KEY and self._unwrap(record, wrap) is None:
                    raise KeystoreError(
                        f"the master key {wrap.name!r} does not open the configuration key"
                        f" {record.id}",
                        hint=key_records.REPAIR_HINT,
                    )

    # ---- inside ----------------------------------------------------------------------------------

    def _unwrap(self, record: ConfigurationKeyRecord, wrap: KeyWrap) -> SecretBytes | None:
        entry = self._keystore.find(wrap.name)
        if wrap.kind is not WrapKind.MASTER_KEY or entry is None:
            return None
        return key_records.open_wrap(self._installation_id, record, wrap, entry.key)

    def _wrap(self, key: SecretBytes, key_id: str, alias: str) -> KeyWrap:
        wrap_id = ids.new_id()
        kek = key_records.wrap_key(self._keystore.master_key(alias))
        aad = key_records.wrap_aad(self._installation_id, key_id, wrap_id)
        return KeyWrap(wrap_id, WrapKind.MASTER_KEY, alias, aead.wrap(key, kek=kek, aad=aad))

    def _wrap_for(self, key: SecretBytes, key_id: str, recipient: str) -> KeyWrap:
        # imported here since only wrapping for recipients needs it
        from strongroom.crypto import age

        wrap_id = ids.new_id()
        aad = key_records.recipient_aad(self._installation_id, key_id, wrap_id)
        wrapped = age.wrap(key, recipient=recipient, aad=aad)
        return KeyWrap(wrap_id, WrapKind.RECIPIENT, recipient, wrapped)

    def _rewrapped(self, record: ConfigurationKeyRecord, alias: str) -> ConfigurationKeyRecord:
        names = [wrap.name for wrap in record.wraps if wrap.kind is WrapKind.MASTER_KEY]
        if names == [alias]:
            return record
        key = self.open(record.id)
        kept = [wrap for wrap in record.wraps if wrap.kind is not WrapKind.MASTER_KEY]
        return record._replace(wraps=(self._wrap(key, record.id, alias), *kept))

    def _change(
        self,
        change: Callable[[Records], Iterable[ConfigurationKeyRecord]],
    ) -> None:
        with self._directory.changing():
            old = self.load()
            self._write(tuple(change(old)), old)

    def _write(self, records: Records, before: Records = ()) -> None:
        self._spread(records, before)
        self._loaded = records
        if self._copy is not None:
            known = {record.id for record in (*records, *before)}
            self._copy.write(records, self._directory.keep, known)

    def _spread(self, records: Records, before: Records) -> None:
        """Write the records into every folder; a replaced file with a key that is in neither of the two lists is kept."""
        data = key_records.serialize(self._installation_id, records)
        known = {record.id for record in (*records, *before)}

        def is_covered(found: bytes) -> bool:
            return {one.id for one in key_records.parse(found, self._installation_id)} <= known

        self._directory.spread(FILE_NAME, data, self._check, is_covered)

    @property
    def _paths(self) -> list[Path]:
        return [folder / FILE_NAME for folder in self._directory.folders]

    def _found(self, path: Path) -> Records | None:
        """The records of a file; None if the file is not intact."""
        with suppress(KeystoreError):
            return self._check(guarded_files.read(path, key_records.MAX_BYTES))
        return None

    def _check(self, data: bytes) -> Records:
        """Parse records, and open every wrap by a master key of the keystore."""
        records = key_records.parse(data, self._installation_id)
        for record in records:
            for wrap in record.wraps:
                known = wrap.kind is WrapKind.MASTER_KEY and wrap.name in self._keystore.aliases
                if known and self._unwrap(record, wrap) is None:
                    raise KeystoreError(key_records.damaged(f"a wrap of {record.id} does not open"))
        return records

    def _best(self) -> bytes:
        best: tuple[int, bytes] | None = None
        failure: KeystoreError | None = None
        for folder in self._directory.folders:
            try:
                data = guarded_files.read(folder / FILE_NAME, key_records.MAX_BYTES)
                count = len(self._check(data))
            except KeystoreError as error:
                failure = failure or error
                continue
            if folder == self._directory.folders[0]:
                return data
            if best is None or count > best[0]:
                best = (count, data)
        if best is None:
            raise KeystoreError(
                "no replica of the configuration-key records is intact",
                hint=_BACKUP_HINT,
            ) from failure
        return best[1]
