"""Opens a node by a recovery identity, in memory alone (docs/format/recovery.md 6.1); writes nothing.

A node has two hierarchies of keys, and an identity must open both: first the configuration keys, by the wraps for its
recipient in the records beside the keystore or in their second copy; then, with those, the KMS store and its RMK. The
result counts only when the store's MAC is verified and every key has opened: the files may be an attacker's, and a
recovery would bring his keys into force.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from strongroom.configuration_keys import recovery_copy
from strongroom.configuration_keys.generations import KeyRecords
from strongroom.coordination.entries import EntryKey, EntryKeys
from strongroom.coordination.floors import Point
from strongroom.coordination.proved import ProvedCoordinator
from strongroom.crypto.age import Identity
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import (
    IntegrityError,
    KeyNotFoundError,
    RootError,
    RootRefusedError,
    StateError,
    StrongroomError,
)
from strongroom.kms import next_store
from strongroom.kms import store as kms_store
from strongroom.kms.opening import OpenStore
from strongroom.kms.store import KmsStore
from strongroom.roots.base import RootProvider, WrapRecord
from strongroom.roots.registry import RECIPIENT_KINDS
from strongroom.services.configuration.present import ConfigurationKeySource, PresentConfiguration
from strongroom.services.keys.stored import STORE
from strongroom.services.recovery import origin
from strongroom.services.recovery.origin import NOTHING_KNOWN, Known

_ANY_GENERATION = (1 << 64) - 1
Identities = tuple[Identity, ...]
OpenedBy = Callable[[WrapRecord, Identities], RootProvider]


@dataclass(frozen=True)
class OpenerPorts:
    """The ports through which a node is opened.

    Attributes:
        entries: The coordination service, whose entries are proved.
        installation_id: Returns the installation that the entries claim to be of, when nothing has proved them yet.
        adopt: Lets the entries be proved by these keys where keystore and records cannot be used.
        configuration: The node's configuration.
        configuration_by: Makes a service of the same configuration with another source of configuration keys.
        record_files: The files in which configuration-key records may be, the most trusted first.
        opened_by: Makes the provider of a recipient's wrap, given identities.
    """

    entries: ProvedCoordinator
    installation_id: Callable[[], str]
    adopt: Callable[[EntryKeys], None]
    configuration: PresentConfiguration
    configuration_by: Callable[[ConfigurationKeySource], PresentConfiguration]
    record_files: tuple[Path, ...]
    opened_by: OpenedBy


@dataclass(frozen=True)
class Opened:
    """A node that an identity opened.

    Attributes:
        records: The records of the configuration keys, collected from all files, and not authenticated.
        keys: The configuration keys that opened, by id.
        active_id: The id of the active configuration key.
        store: The KMS store, its MAC verified.
        wrap: The wrap of the RMK that opened.
        point: Epoch and digest of the store, which a journal names.
        fingerprint: Fingerprint of the identity in the data directory, compared if one was known; empty without one.
    """

    records: KeyRecords
    keys: dict[str, SecretBytes]
    active_id: str
    store: OpenStore
    wrap: WrapRecord
    point: Point
    fingerprint: str = ""


@dataclass(frozen=True)
class RecoveredKeys:
    """Configuration keys that an identity opened; implements `ConfigurationKeySource`."""

    keys: dict[str, SecretBytes]

    def open(self, key_id: str) -> SecretBytes:
        """The key of an id.

        Raises:
            KeyNotFoundError: The identity opened no configuration key of this id.
        """
        if key_id not in self.keys:
            raise KeyNotFoundError(
                f"the configuration key {key_id} is not wrapped for the recovery recipient",
                hint="try the identity or the shares of another recipient",
            )
        return self.keys[key_id]


class NodeOpener:
    """Opens a node by identities."""

    def __init__(self, ports: OpenerPorts) -> None:
        self._ports = ports

    def open(self, identities: Identities, known: Known = NOTHING_KNOWN) -> Opened:
        """Open everything that a recovery needs, and prove it.

        Args:
            identities: Identities from a file, or combined from shares.
            known: The installation as far as the operator knows it, which the data directory must be of.

        Raises:
            StateError: No configuration key is wrapped for any recovery recipient.
            RootRefusedError: The identities are not those of recipients of this node.
            IntegrityError: A wrap or the store does not open, or all is of another installation than the known one.
        """
        installation_id = self._ports.installation_id()
        origin.check_installation(installation_id, known)
        records = recovery_copy.collect(self._ports.record_files, installation_id)
        if records is None:
            raise _none_wrapped()
        _check_recipients(records, identities)
        found = {
            record.id: key
            for record in records.records
            if (key := recovery_copy.open_by(record, identities, installation_id))
        }
        records, proved_by = self._proving(records, RecoveredKeys(found))
        document = self._ports.configuration.document()
        configuration = self._ports.configuration_by(RecoveredKeys(found))
        fingerprint = origin.check_fingerprint(configuration, proved_by, known)
        raw = configuration.open_secret(STORE).reveal()
        opened, wrap = self.open_store(kms_store.parse(raw), identities)
        next_store.check_canary(raw, lambda wrap: self.provider(wrap, identities))
        point = Point(opened.store.epoch, hashlib.sha256(raw).digest())
        active_id = document.configuration_key_id
        return Opened(records, found, active_id, opened, wrap, point, fingerprint)

    def _proving(self, records: KeyRecords, keys: RecoveredKeys) -> tuple[KeyRecords, str]:
        """Let the entries be proved by what an identity opened.

        Returns:
            The records, no earlier than any entry, and the id of the key by which the entries are proved.

        The files may be of an earlier generation than the lost ones were, and nothing authenticates them: so the entries
        say how far it was. That all are of one key, which only the identity opened, they must prove.
        """
        refused: StrongroomError | None = None
        for key_id in (records.active, records.next):
            if key_id is None:
                continue
            try:
                key = EntryKey(key_id, keys.open(key_id))
                any_ = EntryKeys(records.installation_id, _ANY_GENERATION, key)
                self._ports.adopt(any_)
                latest = max(records.generation, self._ports.entries.latest_generation())
                # the entries of the recovery itself are of this generation, which its records are above
                self._ports.adopt(any_._replace(generation=latest))
                return records._replace(generation=latest), key_id
            except (KeyNotFoundError, IntegrityError) as error:
                refused = refused or error
        raise refused or _none_wrapped()

    def open_store(self, store: KmsStore, identities: Identities) -> tuple[OpenStore, WrapRecord]:
        """Open a store by the identities, and verify its MAC.

        Raises:
            RootRefusedError: The store's RMK is not wrapped for these identities.
            IntegrityError: A wrap of an identity, or the store, does not open.
        """
        failure: StrongroomError = RootRefusedError(
            f"the RMK {store.rmk_id} is not wrapped for {_named(identities)}",
            hint=_these(store.recipients),
        )
        for wrap in store.wraps:
            if wrap.kind not in RECIPIENT_KINDS or not _may_open(identities, wrap.root_key_id):
                continue
            try:
                rmk = store.rmk(self.provider(wrap, identities).unwrap(wrap))
                return OpenStore(store, rmk, store.open_ring(rmk)), wrap
            except IntegrityError as error:
                # a hardware token cannot say beforehand which wrap is its own: try the next one
                failure = error
        raise failure

    def provider(self, wrap: WrapRecord, identities: Identities) -> RootProvider:
        """The recipient of a wrap, with its identity.

        Raises:
            RootError: The wrap belongs to a root that is no recipient; a recovery asks no such root.
        """
        if wrap.kind not in RECIPIENT_KINDS:
            raise RootError(f"the {wrap.kind} root {wrap.root_key_id} is not asked in a recovery")
        return self._ports.opened_by(wrap, identities)


def _check_recipients(records: KeyRecords, identities: Identities) -> None:
    names = tuple(dict.fromkeys(w.name for w in recovery_copy.recipients_in(records.records)))
    if not names:
        raise _none_wrapped()
    if not any(_may_open(identities, name) for name in names):
        raise RootRefusedError(
            f"{_named(identities)} is no recovery recipient of this node", hint=_these(names)
        )


def _none_wrapped() -> StateError:
    return StateError(
        "no configuration key is wrapped for a recovery recipient, or the records are lost",
        hint="restore tabsvc/recovery/ or the keystore's folders from a backup",
    )


def _may_open(identities: Identities, recipient: str) -> bool:
    return any(one.may_open(recipient) for one in identities)


def _named(identities: Identities) -> str:
    return ", ".join(one.recipient for one in identities)


def _these(names: tuple[str, ...]) -> str:
    return f"its recovery recipients are: {', '.join(names) or 'none'}"
