"""Takes the keys that another node gives while it regenerates them (docs/format/key-changes.md 4).

Keystore and records are written into every folder of this node, read back and opened. Master keys that go stay until the
records are under the new one.
"""

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

from strongroom.clock import format_utc
from strongroom.configuration_keys import generations
from strongroom.configuration_keys.generations import ReadRecords
from strongroom.configuration_keys.keys import ConfigurationKeys
from strongroom.coordination.base import Change, Versioned
from strongroom.errors import IntegrityError, KeystoreError, StrongroomError
from strongroom.eventlog.base import SYSTEM, Event
from strongroom.eventlog.checkpoints import CheckpointFile
from strongroom.eventlog.events import key_events, secret_events
from strongroom.joining import acknowledgements, key_bundles
from strongroom.joining.acknowledgements import MAX_CAUSE, Acknowledgement
from strongroom.joining.key_bundles import KeyBundle, SealedBundle
from strongroom.joining.node_keys import NodeKeys
from strongroom.joining.registry import NodeState
from strongroom.keystore import pkcs12
from strongroom.keystore.master_key import Keystore
from strongroom.keystore.replicas import KeystoreDirectory
from strongroom.services.keys.keeper import KmsPorts, StoreKeeper
from strongroom.services.keys.peers import Peers

LOCK: Final = "key-files"
"""Held by the process of this node that takes keys, or that makes sure that none is taken meanwhile."""
_LOCK_WAIT_S: Final = 60.0


class NodeFiles(NamedTuple):
    """All that holds keys, or is sealed by them, on this node alone.

    Attributes:
        directory: The folders of the keystore.
        open_keys: Reads the key files anew.
        reseal_local: Seals what this node keeps itself under a configuration key; returns the names of what it sealed.
        checkpoints: The checkpoint of the event log.
    """

    directory: KeystoreDirectory
    open_keys: Callable[[], ConfigurationKeys]
    reseal_local: Callable[[str], Collection[str]]
    checkpoints: CheckpointFile


class ReceivedKeys:
    """The part of a node in a regeneration that another one makes."""

    def __init__(
        self,
        keeper: StoreKeeper,
        peers: Peers,
        ports: KmsPorts,
        files: NodeFiles,
        node: tuple[NodeKeys, str],
    ) -> None:
        """Take the ports.

        Args:
            keeper: The KMS store.
            peers: The registry.
            ports: The ports of key management.
            files: The files of this node.
            node: The node's own keys, and the id of this process.
        """
        self._keeper = keeper
        self._peers = peers
        self._ports = ports
        self._files = files
        self._keys, self._boot = node

    def look(self) -> None:
        """Take the keys that are there for this node, unless it has said already what became of them.

        Raises:
            StrongroomError: Nothing could be read or written; the next look tries again.
        """
        if self._given() is not None:
            with self.alone():
                pass

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Take the keys that are there for this node, and let no other process of it take any until the end of the block.

        Raises:
            StrongroomError: Nothing could be read or written, or another process takes keys for too long.
        """
        with self._ports.coordinator.lock(LOCK, wait_s=_LOCK_WAIT_S):
            entry = self._given()
            if entry is not None:
                self._take_and_say(entry)
            yield

    def _given(self) -> Versioned | None:
        return self._ports.coordinator.get(key_bundles.entry(self._keys.node_id))

    def _take_and_say(self, entry: Versioned) -> None:
        coordinator = self._ports.coordinator
        sealed = key_bundles.parse(entry.value)
        change_id, prefix = sealed.occasion.change_id, acknowledgements.KEYS_PREFIX
        name = acknowledgements.entry(change_id, self._keys.node_id, prefix)
        if coordinator.version(name):
            return
        try:
            self._take(sealed)
            cause = ""
        except StrongroomError as error:
            cause = error.with_hint
        word = Acknowledgement(
            change_id=change_id,
            staged=hashlib.sha256(entry.value).hexdigest(),
            present=sealed.occasion.present,
            boot=self._boot,
            wrap="",
            cause=cause[:MAX_CAUSE],
            at=format_utc(self._ports.clock.now()),
        )
        coordinator.put({name: Change(word.signed(self._keys), 0)})

    def take_kept(self) -> None:
        """Take the keys that were kept for this node while it was off, and take them away; may be repeated.

        Raises:
            StrongroomError: The keys are refused, or cannot be written.
        """
        coordinator, name = self._ports.coordinator, key_bundles.entry(self._keys.node_id)
        entry = coordinator.get(name)
        if entry is not None:
            self._take(key_bundles.parse(entry.value), is_kept=True)
            coordinator.put({name: Change(None, entry.version)})

    # ---- inside ----------------------------------------------------------------------------------

    def _take(self, sealed: SealedBundle, *, is_kept: bool = False) -> None:
        signer = self._peers.all().get(sealed.by)
        if signer is None or signer.state is not NodeState.ACTIVE:
            raise IntegrityError(f"keys were given by {sealed.by}, which is no active node")
        bundle = sealed.opened(self._keys, signer.keys)
        keystore = Keystore(tuple(pkcs12.parse(bundle.keystore, bundle.password)))
        document = self._keeper.configuration.document()
        found = generations.read(bundle.records, document.installation_id, keystore)
        self._check(sealed, found, keystore)
        if not is_kept and self._keeper.point() != sealed.occasion.present:
            raise IntegrityError("the keys were given for another state of the installation")
        self._check_opens(found, keystore, document.configuration_key_id)
        before = self._files.directory.load()
        self._write(before, keystore, bundle)
        active = found.present.active
        is_named = document.configuration_key_id == active
        # before the master keys go that open what it is sealed under now
        resealed = self._files.reseal_local(active) if is_named else ()
        self._drop(keystore)
        # master keys that were kept were added before anything here could be read
        came = [one for one in keystore.aliases if is_kept or before.find(one) is None]
        sealed_anew = [secret_events.secret_encrypted(SYSTEM, one, active) for one in resealed]
        self._tell(came, sealed_anew, before, keystore)
        if is_named:
            self._files.checkpoints.forget_signer()

    def _check(self, sealed: SealedBundle, found: ReadRecords, keystore: Keystore) -> None:
        """Refuse keys that are not those of this moment.

        Raises:
            IntegrityError: The keys are older than those that are here, or for another state of the installation.
        """
        own = self._files.open_keys().proved
        generation = found.present.generation
        is_other = generation == own.present.generation and found.digest != own.digest
        if generation < own.present.generation or is_other or found.alias != keystore.newest:
            raise IntegrityError("the keys that were given do not follow on those of this node")
        if generation != sealed.occasion.generation:
            raise IntegrityError("the keys were given for another state of the installation")

    def _check_opens(self, found: ReadRecords, keystore: Keystore, key_id: str) -> None:
        """Refuse keys that do not open the present configuration.

        Raises:
            IntegrityError: The keys have another configuration key, or none, under the id that the configuration names.
        """
        opened = [
            key
            for record in found.present.records
            for wrap in record.wraps
            if record.id == key_id
            and (key := generations.unwrap(found.present, record, wrap, keystore)) is not None
        ]
        if opened[:1] != [self._keeper.configuration.open_key(key_id)]:
            raise IntegrityError("the keys that were given do not open the configuration")

    def _write(self, before: Keystore, keystore: Keystore, bundle: KeyBundle) -> None:
        """Write keystore and records, each read back and opened; a kill in between leaves a pair that fits."""
        both = before
        for one in keystore.entries:
            both = both.with_entry(one)
        self._files.directory.take(both)
        self._files.open_keys().take(bundle.records)

    def _drop(self, keystore: Keystore) -> None:
        """Have no other master keys than those that were given."""
        self._files.directory.take(keystore)
        if self._files.directory.load().difference(keystore):
            raise KeystoreError("the keystore that was written reads back as another one")
        self._files.open_keys().verify()

    def _tell(
        self, came: Sequence[str], resealed: Sequence[Event], before: Keystore, keystore: Keystore
    ) -> None:
        """Write the events of what came, of what was sealed anew and of what went."""
        moved = [
            key_events.key_moved(SYSTEM, "master", alias, place=self._keys.node_id)
            for alias in came
        ]
        went = [
            key_events.key_removed(SYSTEM, "master", alias)
            for alias in before.aliases
            if keystore.find(alias) is None
        ]
        if told := [*moved, *resealed, *went]:
            self._ports.event_log.append(told)
            self._files.checkpoints.sync()
