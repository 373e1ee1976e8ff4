"""The entries of format 1 as those of the present format, for `strongroom upgrade` (docs/format/format-2.md 11)."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

from strongroom.config import pending, rotation, versions
from strongroom.config.document import ConfigDocument
from strongroom.config.rotation import RotationJournal
from strongroom.coordination.floors import Point
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import StateError, StrongroomError
from strongroom.kms import any_store
from strongroom.secrets import enc
from strongroom.secrets.committed import ValueKey
from strongroom.services.keys import store_journals
from strongroom.services.keys.stored import STORE

Payloads = Mapping[str, bytes]


class Keys(Protocol):
    """Opens configuration keys."""

    def open(self, key_id: str) -> SecretBytes:
        """The key of an id."""
        ...


class Older:
    """Converts entries; what it is asked about is never changed."""

    def __init__(self, open_keys: Callable[[str], Keys]) -> None:
        """Take what opens the configuration keys of an installation."""
        self._open_keys = open_keys

    def converted(self, payloads: Payloads) -> Payloads:
        """All payloads in their present form; of kinds that have not changed, as they are.

        Raises:
            StateError: The pending changes do not open.
            FormatError: A payload is damaged.
        """
        found = dict(payloads)
        if versions.CURRENT not in payloads:
            return found
        document = ConfigDocument.parse_older(payloads[versions.CURRENT])
        values = _Values(document.installation_id, self._open_keys(document.installation_id))
        store = document.values.get(STORE, "")
        document = values.of_document(document)
        if versions.PREVIOUS in payloads:
            kept = ConfigDocument.parse_older(payloads[versions.PREVIOUS])
            previous = values.of_document(kept).serialize()
            document, found[versions.PREVIOUS] = document.after(previous), previous
        found[versions.CURRENT] = document.serialize()
        for name, payload in payloads.items():
            if name.startswith(rotation.PREFIX):
                journal = RotationJournal.parse_older(payload, document.version)
                new, old = values.of(journal.new), values.of(journal.old)
                found[name] = replace(journal, new=new, old=old).serialize()
        if rotation.KEPT in payloads:
            former = rotation.parse_kept(payloads[rotation.KEPT])
            found[rotation.KEPT] = rotation.serialize_kept(
                {name: [values.one(name, text) for text in texts] for name, texts in former.items()}
            )
        if rotation.RECORDS in payloads:
            records = rotation.parse_older_records(payloads[rotation.RECORDS], document.version)
            found[rotation.RECORDS] = rotation.serialize_records(records)
        if versions.PENDING in payloads:
            found[versions.PENDING] = self._pending(payloads[versions.PENDING], document, values)
        return {**found, **self._journals(payloads, document, values, store)}

    def _pending(self, payload: bytes, document: ConfigDocument, values: "_Values") -> bytes:
        keys = values.keys
        try:
            opened = pending.open_older(payload, keys.open, document.installation_id)
            changes = {
                name: text and values.one(name, text) for name, text in opened.changes.items()
            }
        except StrongroomError as error:
            raise StateError(
                f"the pending changes do not open: {error.message}",
                hint="apply or discard them with the release that wrote the node, then upgrade",
            ) from error
        key_id = document.configuration_key_id
        converted = replace(opened, changes=changes)
        return converted.seal(keys.open(key_id), key_id, document.installation_id)

    @staticmethod
    def _journals(
        payloads: Payloads, document: ConfigDocument, values: "_Values", text: str
    ) -> dict[str, bytes]:
        """The journals of keys, which name the present store from now on."""
        present = {store_journals.REGENERATE, store_journals.RECOVER} & payloads.keys()
        if not present:
            return {}
        raw = values.opened(STORE, text)
        store = Point(any_store.parse(raw).epoch, hashlib.sha256(raw).digest())
        active = document.configuration_key_id
        return {
            name: store_journals.of_older(name, payloads[name], store, active) for name in present
        }


class _Values:
    """Encrypted values of format 1 as those of the present format, each under the key that it was under."""

    def __init__(self, installation_id: str, keys: Keys) -> None:
        self.keys = keys
        self._installation_id = installation_id

    def opened(self, parameter: str, text: str) -> bytes:
        """The value of a text of format 1."""
        return enc.open_value(self.keys.open(enc.key_id_of(text)), parameter, text)

    def one(self, parameter: str, text: str) -> str:
        """A text in its present form; one that is not encrypted stays as it is."""
        if not enc.is_enc(text):
            return text
        key_id = enc.key_id_of(text)
        key = ValueKey(self._installation_id, key_id, self.keys.open(key_id))
        return key.seal(parameter, self.opened(parameter, text))

    def of(self, texts: Mapping[str, str]) -> dict[str, str]:
        """All texts by their parameters."""
        return {name: self.one(name, text) for name, text in texts.items()}

    def of_document(self, document: ConfigDocument) -> ConfigDocument:
        """A document with all of its values."""
        return document._replace(values=self.of(document.values))
