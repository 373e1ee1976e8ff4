"""Configuration keys: the keys of every ENC value, each wrapped by a master key (C-03).

The file of `key_records` that is replicated beside the keystore. Which key is active is said by the
configuration document; the state here follows it. What is wrapped for recovery recipients is also
kept in a second place, so that the loss of every keystore folder is survived.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path

from strongroom import ids
from strongroom.crypto import aead
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import ConflictError, IntegrityError, KeyNotFoundError, KeystoreError
from strongroom.keystore import guarded, key_records
from strongroom.keystore.key_records import (
    ConfigurationKeyRecord,
    ConfigurationKeyState,
    KeyWrap,
    WrapKind,
)
from strongroom.keystore.master_key import Keystore
from strongroom.keystore.recovery_copy import RecipientDrift, RecoveryCopy
from strongroom.keystore.replicas import KeystoreDirectory

FILE_NAME = "configuration_keys.json"
_BACKUP_HINT = (
    "restore keystore and configuration keys together from a backup; or, with a recovery identity or"
    " shares, 'strongroom recover'"
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
        """Take the places.

        Args:
            directory: The folders of the keystore.
            keystore: The master keys.
            installation_id: Whose keys they are.
            recovery_file: The second place of what is wrapped for recipients; None keeps none.
        """
        self._directory = directory
        self._keystore = keystore
        self._installation_id = installation_id
        self._copy = RecoveryCopy(recovery_file, installation_id) if recovery_file else None
        self._loaded: Records | None = None

    @property
    def path(self) -> Path:
        """The file that is read."""
        return self._directory.folders[0] / FILE_NAME

    @property
    def records(self) -> Records:
        """All records, read at first use."""
        return self.load() if self._loaded is None else self._loaded

    @property
    def used_aliases(self) -> frozenset[str]:
        """The master keys that some wrap names; these may not leave the keystore."""
        return frozenset(
            wrap.name
            for record in self.records
            for wrap in record.wraps
            if wrap.kind is WrapKind.MASTER_KEY
        )

    def load(self) -> Records:
        """Read the records from the primary replica.

        Raises:
            KeystoreError: Missing, damaged or with loose permissions.
        """
        self._loaded = key_records.parse(
            guarded.read(self.path, key_records.MAX_BYTES), self._installation_id
        )
        return self._loaded

    def get(self, key_id: str) -> ConfigurationKeyRecord:
        """One record.

        Raises:
            KeyNotFoundError: There is none with this id.
        """
        for record in self.records:
            if record.id == key_id:
                return record
        raise KeyNotFoundError(
            f"there is no configuration key {key_id}",
            hint="restore the configuration keys that belong to this node from a backup",
        )

    def open(self, key_id: str) -> SecretBytes:
        """A configuration key, by the first of its wraps that a master key opens.

        Raises:
            KeyNotFoundError: There is no such key.
            KeystoreError: No master key of this keystore opens it.
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
        """A record whose recipients' wraps are for exactly these; wraps that are there stay as they are."""
        present = {wrap.name: wrap for wrap in record.of_kind(WrapKind.RECIPIENT)}
        wraps = [present.get(one) or self._wrap_for(key, record.id, one) for one in recipients]
        return record._replace(wraps=(*record.of_kind(WrapKind.MASTER_KEY), *wraps))

    def create(self, record: ConfigurationKeyRecord) -> None:
        """Write the first record; nothing was there before.

        Raises:
            ConflictError: There are records already.
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
        """Wrap every key for exactly these recovery recipients; says whether anything changed.

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
        """Where the wraps for recipients are not what they should be."""
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
        """Put records that were recovered in place of whatever is there.

        Raises:
            KeystoreError: One does not open under this keystore.
            StorageError: A replica cannot be written.
        """
        with self._directory.changing():
            self._write(records)

    def set_state(self, active_id: str) -> None:
        """Make one key active and every other decrypt-only.

        Raises:
            KeyNotFoundError: There is no such key.
            StorageError: A replica cannot be written.
        """
        self.get(active_id)
        states = {True: ConfigurationKeyState.ACTIVE, False: ConfigurationKeyState.DECRYPT_ONLY}
        self._change(
            lambda old: [record._replace(state=states[record.id == active_id]) for record in old]
        )

    def rewrap(self, alias: str) -> None:
        """Bring every key under one master key; wraps for recipients stay.

        Raises:
            KeystoreError: A key cannot be opened, or the alias is not in the keystore.
            StorageError: A replica cannot be written.
        """
        self._change(lambda old: [self._rewrapped(record, alias) for record in old])

    def remove(self, key_id: str) -> None:
        """Remove a key from every replica; one that is not there changes nothing.

        Raises:
            ConflictError: It is the active key.
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
        """Replace every replica that is not intact by the best one that is.

        The primary if it is intact, else the replica with the most keys.

        Returns:
            The replicas that were written.

        Raises:
            KeystoreError: No replica is intact.
        """
        with self._directory.changing():
            data = self._best()
            written = self._spread(data)
            if self._copy is not None:
                written += self._copy.write(self._check(data))
            return written

    def verify(self) -> None:
        """Open every key by every master-key wrap.

        Raises:
            KeystoreError: One does not open.
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
        aad = key_records.wrap_aad(self._installation_id, record.id, wrap.id)
        try:
            return aead.unwrap(wrap.wrapped, kek=key_records.wrap_key(entry.key), aad=aad)
        except IntegrityError:
            return None

    def _wrap(self, key: SecretBytes, key_id: str, alias: str) -> KeyWrap:
        wrap_id = ids.new_id()
        kek = key_records.wrap_key(self._keystore.master_key(alias))
        aad = key_records.wrap_aad(self._installation_id, key_id, wrap_id)
        return KeyWrap(wrap_id, WrapKind.MASTER_KEY, alias, aead.wrap(key, kek=kek, aad=aad))

    def _wrap_for(self, key: SecretBytes, key_id: str, recipient: str) -> KeyWrap:
        from strongroom.crypto import age  # not for every command: only recovery seals

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
            self._write(tuple(change(self.load())))

    def _write(self, records: Records) -> None:
        self._spread(key_records.serialize(self._installation_id, records))
        self._loaded = records
        if self._copy is not None:
            self._copy.write(records)

    def _spread(self, data: bytes) -> list[Path]:
        return self._directory.spread(FILE_NAME, data, self._check)

    def _check(self, data: bytes) -> Records:
        """Parse, and open every wrap of a master key that is in the keystore."""
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
                data = guarded.read(folder / FILE_NAME, key_records.MAX_BYTES)
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
