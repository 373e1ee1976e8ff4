"""Wraps of configuration keys: made by a master key or for a recovery recipient, and opened by the master keys.

Pure but for the randomness of new wraps: no file is read or written here. `configuration_keys.keys` decides which record
gets which wraps, and keeps the records (docs/format/configuration-keys.md).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from strongroom import ids
from strongroom.configuration_keys import generations
from strongroom.configuration_keys import records as key_records
from strongroom.configuration_keys.generations import KeyRecords, ReadRecords
from strongroom.configuration_keys.records import (
    ConfigurationKeyRecord,
    ConfigurationKeyState,
    KeyWrap,
    WrapKind,
)
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import KeystoreError
from strongroom.keystore.master_key import Keystore

BACKUP_HINT = (
    "run 'tsm security keystore repair': another replica may open it; if none does, restore keystore and"
    " configuration keys together from a backup; or, with a recovery identity or shares, 'strongroom recover'"
)


class Wrapping(NamedTuple):
    """The master keys by which the configuration keys of one installation are wrapped.

    Attributes:
        installation_id: Id of the installation, which every wrap is bound to.
        keystore: The master keys.
    """

    installation_id: str
    keystore: Keystore

    def open(self, records: KeyRecords, record: ConfigurationKeyRecord) -> SecretBytes:
        """The key of a record, by the first of its wraps that a master key opens.

        Raises:
            KeystoreError: No master key opens the record.
        """
        for wrap in record.wraps:
            key = generations.unwrap(records, record, wrap, self.keystore)
            if key is not None:
                return key
        raise KeystoreError(
            f"no master key of the keystore opens the configuration key {record.id}",
            hint=BACKUP_HINT,
        )

    def check_each(self, records: KeyRecords) -> None:
        """Open every key by every wrap of a master key.

        Raises:
            KeystoreError: A wrap does not open.
        """
        for record in records.records:
            for wrap in record.of_kind(WrapKind.MASTER_KEY):
                if generations.unwrap(records, record, wrap, self.keystore) is None:
                    raise KeystoreError(
                        f"the master key {wrap.name!r} does not open the configuration key"
                        f" {record.id}",
                        hint=key_records.REPAIR_HINT,
                    )

    def proved(self, data: bytes) -> ReadRecords:
        """The records of a document that a master key authenticates, and whose wraps open by the master keys that are there.

        Raises:
            KeystoreError: The document is damaged, is of another keystore, or one of those wraps does not open.
        """
        found = generations.read(data, self.installation_id, self.keystore)
        for record in found.present.records:
            for wrap in record.of_kind(WrapKind.MASTER_KEY):
                known = wrap.name in self.keystore.aliases
                opened = generations.unwrap(found.present, record, wrap, self.keystore)
                if known and opened is None:
                    raise KeystoreError(key_records.damaged(f"a wrap of {record.id} does not open"))
        return found

    def new_record(
        self, key: SecretBytes, *, key_id: str, created_at: datetime, alias: str
    ) -> ConfigurationKeyRecord:
        """A record of a key under one master key.

        Raises:
            KeystoreError: The keystore has no such alias.
        """
        wraps = (self._by_master_key(key, key_id, alias),)
        return ConfigurationKeyRecord(key_id, created_at, ConfigurationKeyState.DECRYPT_ONLY, wraps)

    def for_recipients(
        self, record: ConfigurationKeyRecord, key: SecretBytes, recipients: Sequence[str]
    ) -> ConfigurationKeyRecord:
        """The record with wraps for exactly these recipients; present wraps for them stay as they are."""
        present = {wrap.name: wrap for wrap in record.of_kind(WrapKind.RECIPIENT)}
        wraps = [present.get(one) or self._for_recipient(key, record.id, one) for one in recipients]
        return record._replace(wraps=(*record.of_kind(WrapKind.MASTER_KEY), *wraps))

    def under_one(
        self, record: ConfigurationKeyRecord, key: SecretBytes, alias: str
    ) -> ConfigurationKeyRecord:
        """The record with a wrap by one master key and by no other; wraps for recipients stay."""
        return record._replace(
            wraps=(
                self._by_master_key(key, record.id, alias),
                *record.of_kind(WrapKind.RECIPIENT),
            )
        )

    def made_anew(self, record: ConfigurationKeyRecord, key: SecretBytes) -> ConfigurationKeyRecord:
        """The record with each wrap by a master key that is there made anew; wraps for recipients stay."""
        names = [wrap.name for wrap in record.of_kind(WrapKind.MASTER_KEY)]
        wraps = [
            self._by_master_key(key, record.id, one) for one in names if self.keystore.find(one)
        ]
        return record._replace(wraps=(*wraps, *record.of_kind(WrapKind.RECIPIENT)))

    def _by_master_key(self, key: SecretBytes, key_id: str, alias: str) -> KeyWrap:
        master_key = self.keystore.master_key(alias)
        return generations.wrap_key(self.installation_id, key_id, key, alias, master_key)

    def _for_recipient(self, key: SecretBytes, key_id: str, recipient: str) -> KeyWrap:
        # imported here since only wrapping for recipients needs it
        from strongroom.crypto import age

        wrap_id = ids.new_id()
        aad = key_records.recipient_aad(self.installation_id, key_id, wrap_id)
        wrapped = age.wrap(key, recipient=recipient, aad=aad)
        return KeyWrap(wrap_id, WrapKind.RECIPIENT, recipient, wrapped)
