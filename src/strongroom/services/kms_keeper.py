"""Keeps the KMS store: reads it, proves it, and is the one place that commits a change of it.

A change is built and proved by its maker (`services.kms_change`); here it is put in one
compare-and-set, told to the event log, and the store before it dropped once the new one is proved.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from strongroom.clock import Clock
from strongroom.config import versions
from strongroom.config.document import ConfigDocument
from strongroom.coordination.base import Coordinator
from strongroom.envelope.header import Placement
from strongroom.errors import IntegrityError, RootError, StateError
from strongroom.eventlog import events
from strongroom.eventlog.base import Event, EventLog
from strongroom.kms import status as kms_status
from strongroom.kms import store as kms_store
from strongroom.kms.accessor import KmsAccessor
from strongroom.kms.opening import OpenStore
from strongroom.kms.states import MekState
from strongroom.kms.status import InMemory, KmsStatus
from strongroom.kms.store import KmsStore
from strongroom.roots import settings as root_settings
from strongroom.roots.base import KeepsCredentials, RootProvider, WrapRecord
from strongroom.roots.settings import RootSettings
from strongroom.services import kms_change
from strongroom.services.configuration import ConfigurationService
from strongroom.services.kms_change import NextStore, RootSet
from strongroom.services.kms_proof import KeptProof, Prover
from strongroom.services.kms_sealed import STORE

PREVIOUS_STORE = "kms.previous_store"
ROOTS = "kms.roots"
LOCK = "kms"
LOCK_WAIT_S = 30.0

Told = Callable[[OpenStore, NextStore], list[Event]]
Mutation = Callable[[OpenStore], NextStore]
#: Gives the root settings that are to be stored of those that are.
SettingsChange = Callable[[tuple[RootSettings, ...]], tuple[RootSettings, ...]]


class Roots(Protocol):
    """Which providers there are."""

    def all_for(self, store: KmsStore, mode: str, key_id: str | None = None) -> RootSet:
        """The roots of the next store: that of the mode, and the recovery roots of this store.

        Args:
            store: The present store.
            mode: The KMS mode of the next one.
            key_id: The configuration key that the local root wraps by; None is the active one.
        """
        ...

    def find(self, wrap: WrapRecord) -> RootProvider:
        """The provider that opens a wrap.

        Raises:
            RootError: Nothing is known of its root.
        """
        ...

    def build(self, settings: RootSettings) -> RootProvider:
        """The provider of settings that are not stored yet."""
        ...


class EpochMarks(Protocol):
    """The highest epoch seen, kept apart from the store (docs/format/kms-store.md 4.3)."""

    def read(self) -> tuple[int, str] | None:
        """Epoch and digest of the store, or None if none was seen yet."""
        ...

    def write(self, epoch: int, digest: str) -> None:
        """Keep them; durable when it returns."""
        ...


@dataclass(frozen=True)
class KmsPorts:
    """What key management works through besides the configuration."""

    coordinator: Coordinator
    log: EventLog
    marks: EpochMarks
    clock: Clock
    kept: KeptProof
    monotonic: Callable[[], float]


class StoreKeeper:
    """Reads, proves and changes the KMS store."""

    def __init__(
        self,
        configuration: ConfigurationService,
        keys: KmsAccessor,
        roots: Roots,
        ports: KmsPorts,
    ) -> None:
        self.configuration = configuration
        self.keys = keys
        self.roots = roots
        self.clock = ports.clock
        self.log = ports.log
        self._coordinator = ports.coordinator
        self._marks = ports.marks
        self._prover = Prover(roots.find, ports.kept, ports.clock, ports.monotonic)

    # ---- reading ---------------------------------------------------------------------------------

    def current(self) -> tuple[KmsStore, bytes]:
        """The store as it is, parsed and not yet authenticated, and its bytes."""
        raw = self.configuration.open_secret(STORE).reveal()
        return kms_store.parse(raw), raw

    def settings(self) -> tuple[RootSettings, ...]:
        """How to reach the roots."""
        if ROOTS not in self.configuration.document().values:
            return ()
        return root_settings.parse(self.configuration.open_secret(ROOTS).reveal())

    def status(self, *, richly: bool = False) -> KmsStatus:
        """The state of the keys, proved now: RMK by every wrap, every MEK, a canary (A-18, M7).

        Args:
            richly: Also ask the roots for what is only good to know.

        Raises:
            StrongroomError: There is no store that could be shown at all.
        """
        store, raw = self.current()
        checks = (lambda: kms_change.check_canary(raw, self.roots.find), self.check_epoch)
        proof = self._prover.prove(store, raw, checks, richly=richly)
        return kms_status.from_proof(store, proof, self._in_memory())

    def last_status(self) -> KmsStatus:
        """The last result, with its time; asks no root, and is never green for longer than the limit."""
        store, raw = self.current()
        memory = self._in_memory()
        proof = self._prover.judged(store, raw, memory.limits.keep_s)
        return kms_status.from_proof(store, proof, memory, is_cached=True)

    def check_ready(self) -> None:
        """Make and open a data key by the keys in memory; asks a root only when they are due.

        Raises:
            StrongroomError: This process cannot do the work now.
        """
        self.check_epoch()
        header, dek = self.keys.new_envelope(Placement.standalone())
        if self.keys.open_envelope(header, Placement.standalone()) != dek:
            raise IntegrityError

    def upkeep(self, until_next_s: float) -> None:
        """What must be done now and then: renew credentials of roots, drop keys whose time is over.

        Args:
            until_next_s: Seconds until it is called again.

        Raises:
            RootError: A credential cannot be renewed now; it is tried again at the next call.
        """
        self.keys.drop_expired()
        failures: list[RootError] = []
        for settings in self.settings():
            try:
                root = self.roots.build(settings)
                if isinstance(root, KeepsCredentials):
                    root.renew_credentials(until_next_s)
            except RootError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def _in_memory(self) -> InMemory:
        return InMemory(self.keys.age_s, self.keys.limits)

    # ---- rollback (docs/format/kms-store.md 4.3) -------------------------------------------------

    def check_epoch(self) -> None:
        """Refuse a store that is older than one seen before (R19), and keep the newest mark.

        Raises:
            IntegrityError: The store was rolled back or replaced.
        """
        store, raw = self.current()
        seen = (store.epoch, kms_store.digest(raw))
        mark = self._marks.read()
        if mark == seen:
            return
        if mark is not None and store.epoch <= mark[0]:
            raise IntegrityError(
                f"the KMS store has epoch {store.epoch}, but epoch {mark[0]} was seen before: "
                "it was rolled back or replaced",
                hint=f"find out why; then 'strongroom recover --accept-epoch {store.epoch}'",
            )
        # whoever changed it was killed before it could tell
        self.log.append([events.kms_store_changed(events.SYSTEM, epoch=seen[0], digest=seen[1])])
        self._marks.write(*seen)

    def accept_epoch(self, epoch: int, actor: str) -> None:
        """Take the present store as the one that counts, though an epoch above it was seen.

        Raises:
            StateError: The present store has another epoch.
        """
        store, raw = self.current()
        if store.epoch != epoch:
            raise StateError(f"the KMS store has epoch {store.epoch}, not {epoch}")
        self.log.append([events.kms_epoch_accepted(actor, epoch=epoch)])
        self._marks.write(epoch, kms_store.digest(raw))

    # ---- changing --------------------------------------------------------------------------------

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the lock under which keys change.

        Raises:
            ConflictError: Another command holds it for too long.
        """
        with self._coordinator.lock(LOCK, wait_s=LOCK_WAIT_S):
            yield

    def change(
        self,
        mutation: Mutation,
        told: Told,
        resettle: SettingsChange | None = None,
        *,
        prepare: Callable[[NextStore], None] | None = None,
    ) -> NextStore:
        """Build, prove, commit, tell, settle; until the commit all is as before.

        Whatever a change depends on is read in its callbacks, under the lock: while it waited for
        the lock, another change may have added a root, or removed a configuration key.

        Args:
            mutation: Gives the next store of the opened one.
            told: Gives the events of the change.
            resettle: Gives the root settings that belong to the next store; None leaves them.
            prepare: Does what must be there before the commit, once the next store is proved.

        Raises:
            ConflictError: Somebody else changed the configuration meanwhile.
            StrongroomError: The next store cannot be built or does not prove.
        """
        with self._coordinator.lock(LOCK, wait_s=LOCK_WAIT_S):
            self.check_epoch()
            document = self.configuration.document()
            opened = self.keys.opened()
            settings = resettle(self.settings()) if resettle else None
            change = mutation(opened)
            kms_change.prove(change, self._find_among(settings))
            if prepare is not None:
                prepare(change)
            self.put(document, change, settings)
            # a kill between the commit and here leaves an older mark: `check_epoch` will tell
            self.tell(told(opened, change), change)
            self._settle_if_proved()
        return change

    def replace_closed(
        self,
        build: Callable[[KmsStore, bytes], NextStore],
        told: Callable[[NextStore], list[Event]],
        resettle: SettingsChange,
    ) -> NextStore:
        """Put a new store in place of one that nothing opens (Q-05); that one is kept within it.

        Raises:
            IntegrityError: The store was rolled back: leaving it behind would hide that.
        """
        with self._coordinator.lock(LOCK, wait_s=LOCK_WAIT_S):
            self.check_epoch()
            document = self.configuration.document()
            store, raw = self.current()
            settings = resettle(self.settings())
            change = build(store, raw)
            kms_change.prove(change, self._find_among(settings))
            self.put(document, change, settings)
            self.tell(told(change), change)
            self._settle_if_proved()
        return change

    def replace_settings(self, resettle: SettingsChange, told: Event) -> None:
        """Reach the same roots in another way: a new token, PIN or address; no key changes."""
        with self._coordinator.lock(LOCK, wait_s=LOCK_WAIT_S):
            # sealed under the lock: a regeneration that runs before may remove the key it is
            # sealed by
            sealed = self._sealed_settings(resettle(self.settings()))
            self.configuration.compare_and_put(lambda old: old.with_values({ROOTS: sealed}))
            self.log.append([told])
            self._settle_if_proved()

    def put(
        self,
        expected: ConfigDocument,
        change: NextStore,
        settings: tuple[RootSettings, ...] | None,
    ) -> None:
        """The commit: the store, the one before it and the root settings in one compare-and-set."""
        before = self.configuration.open_secret(STORE).reveal()
        values: dict[str, str | None] = {
            STORE: self.configuration.seal_secret(STORE, change.raw),
            PREVIOUS_STORE: self.configuration.seal_secret(PREVIOUS_STORE, before),
        }
        if settings is not None:
            values[ROOTS] = self._sealed_settings(settings)
        self.configuration.compare_and_put(
            lambda document: document.with_values(values), expected_version=expected.version
        )

    def tell(self, told: list[Event], change: NextStore) -> None:
        """Serve by a store that was committed, log the change, then keep its epoch."""
        self.keys.remember(OpenStore(change.store, change.rmk, change.ring))
        epoch, digest = change.store.epoch, kms_store.digest(change.raw)
        self.log.append(
            [*told, events.kms_store_changed(told[0].actor, epoch=epoch, digest=digest)]
        )
        self._marks.write(epoch, digest)

    def settle(self) -> None:
        """Drop what was kept from before, once the present store is proved (4.2).

        Raises:
            IntegrityError: The status is not green; the store before is kept.
        """
        status = self.status()
        if not status.is_ok:
            raise IntegrityError(f"the new KMS store does not prove: {status.problems[0]}")
        self._drop_what_was_kept()

    def _settle_if_proved(self) -> None:
        # the change was proved before its commit and is in force: a root that went away since then
        # makes the status red, and the next green one puts away what was kept
        if self.status().is_ok:
            self._drop_what_was_kept()

    def _drop_what_was_kept(self) -> None:
        drop: dict[str, str | None] = {}
        if PREVIOUS_STORE in self.configuration.document().values:
            drop[PREVIOUS_STORE] = None
        settings = self.settings()
        needed = self._needed(settings)
        if needed != settings:
            drop[ROOTS] = self._sealed_settings(needed)
        if drop:
            self.configuration.compare_and_put(lambda document: document.with_values(drop))
        self.configuration.project()
        # the version before holds the old store, and would hold on to its keys; it goes last, since
        # a settling that was killed is recognised by it
        self.configuration.forget_previous()

    def prove(self) -> KmsStatus:
        """The full status; if it is green, the store kept from before a change is dropped (4.2)."""
        status = self.status(richly=True)
        if status.is_ok and self._is_unsettled():
            with self._coordinator.lock(LOCK, wait_s=LOCK_WAIT_S):
                self.settle()
        return status

    def _is_unsettled(self) -> bool:
        previous = versions.load_previous(self._coordinator)
        return any(
            PREVIOUS_STORE in document.values
            for document in (self.configuration.document(), previous)
            if document is not None
        )

    def _sealed_settings(self, settings: tuple[RootSettings, ...]) -> str | None:
        if not settings:
            return None
        return self.configuration.seal_secret(ROOTS, root_settings.serialize(settings))

    def _needed(self, settings: tuple[RootSettings, ...]) -> tuple[RootSettings, ...]:
        store, _ = self.current()
        stores = (store, *map(kms_store.parse, store.former))
        wraps = [wrap for one in stores for wrap in one.wraps]
        return tuple(root for root in settings if any(map(root.opens, wraps)))

    def _find_among(
        self, settings: tuple[RootSettings, ...] | None
    ) -> Callable[[WrapRecord], RootProvider]:
        """Providers of the settings that come with a change, else those that are stored."""

        def find(wrap: WrapRecord) -> RootProvider:
            for root in settings or ():
                if root.opens(wrap):
                    return self.roots.build(root)
            return self.roots.find(wrap)

        return find


def rotation_events(actor: str, old: OpenStore, new: NextStore) -> list[Event]:
    """What a rotation leaves in the event log (C-23)."""
    return [
        events.key_generated(actor, "rmk", new.store.rmk_id),
        events.key_generated(actor, "mek", new.ring.active.id),
        events.key_removed(actor, "rmk", old.store.rmk_id),
        events.key_changed(actor, "mek", old.ring.active.id, state=MekState.DECRYPT_ONLY.value),
    ]


@dataclass(frozen=True)
class MekUse:
    """How much a MEK protects: extracts (and upload parts) and their stored bytes."""

    extracts: int
    bytes: int


#: Use by MEK id, and the files that cannot be read.
UseCount = tuple[Mapping[str, MekUse], tuple[str, ...]]
CountUse = Callable[[], UseCount]
