"""Reads and proves the KMS store, and is the one place that commits a change of it.

The KMS store holds the wraps of the RMK and the MEKs, and lies as one sealed value in the configuration. A caller says
how the next store is built (`kms.next_store`); `StoreKeeper.commit` then

1. builds the next store and opens it again, key by key, to prove it,
2. announces it in the event log, and puts it in one compare-and-set, together with the present store as a fall-back,
3. serves from it, appends the events of the change, and moves the mark of the highest epoch,
4. proves it where it lies, and deletes the fall-back.

A process killed before the put leaves the old store in force; one killed later leaves the new store, and the next check
(`check_epoch`) or proof (`prove`) finishes steps 3 and 4.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

from strongroom.clock import Clock, format_utc
from strongroom.config import versions
from strongroom.config.document import ConfigDocument
from strongroom.coordination import leases
from strongroom.coordination.base import Change, Coordinator
from strongroom.coordination.floors import Point
from strongroom.errors import IntegrityError, RootError
from strongroom.eventlog.base import SYSTEM, Event, EventLog
from strongroom.kms import any_store, canary, next_store
from strongroom.kms import status as kms_status
from strongroom.kms import store as kms_store
from strongroom.kms.any_store import HeldKeys
from strongroom.kms.cache import StoreCache
from strongroom.kms.closed_stores import ClosedStore
from strongroom.kms.next_store import NextStore
from strongroom.kms.opening import OpenStore
from strongroom.kms.prover import KeptProof, Prover
from strongroom.kms.ring_keys import RingKeys
from strongroom.kms.status import InMemory, KmsStatus, Shown
from strongroom.kms.store import KmsStore, Predecessor
from strongroom.roots import matching
from strongroom.roots import settings as root_settings
from strongroom.roots.base import KeepsCredentials, RootProvider, WrapRecord
from strongroom.roots.settings import RootSettings
from strongroom.services.configuration.service import ConfigurationService
from strongroom.services.keys import store_journals
from strongroom.services.keys.closed import ClosedStores
from strongroom.services.keys.providers import Providers
from strongroom.services.keys.rollback import EpochGuard, EpochMarks
from strongroom.services.keys.stored import STORE

if TYPE_CHECKING:
    from strongroom.services.keys.spreading import Spread

PREVIOUS_STORE = "kms.previous_store"
ROOTS = "kms.roots"
LOCK = "kms"
LOCK_WAIT_S = 30.0

#: Returns the root settings to store with the next store, given the present settings.
SettingsChange = Callable[[tuple[RootSettings, ...]], tuple[RootSettings, ...]]
#: Builds the next store from the present one.
Build = Callable[["Present"], NextStore]
#: Returns the events of a change, given the present and the next store.
EventsOf = Callable[["Present", NextStore], list[Event]]
#: Seals named plain values, and returns the document with the sealed ones.
Write = Callable[[ConfigDocument, Mapping[str, bytes]], ConfigDocument]


@dataclass(frozen=True)
class KmsPorts:
    """The ports through which key management works, beside the configuration."""

    coordinator: Coordinator
    event_log: EventLog
    marks: EpochMarks
    clock: Clock
    kept: KeptProof
    monotonic: Callable[[], float]


class Present:
    """The KMS store before a change; each part is read once, under the lock of keys, when it is asked for."""

    def __init__(self, keeper: "StoreKeeper") -> None:
        self._keeper = keeper

    @cached_property
    def opened(self) -> OpenStore:
        """The store with its keys, from memory or by a root.

        Raises:
            StrongroomError: No root opens it.
        """
        return self._keeper.cache.opened()

    @cached_property
    def as_stored(self) -> tuple[KmsStore, bytes]:
        """The store as it is stored, and its bytes; no key is opened, so this works when no root answers."""
        return self._keeper.current()


class StoreKeeper:
    """Reads, proves and changes the KMS store."""

    def __init__(
        self,
        configuration: ConfigurationService,
        cache: StoreCache,
        providers: Providers,
        ports: KmsPorts,
        spread: "Spread | None" = None,
    ) -> None:
        """Take the ports; `spread` are the other nodes of a cluster, None for a single node."""
        self.configuration = configuration
        self.cache = cache
        self.providers = providers
        self.clock = ports.clock
        self.event_log = ports.event_log
        self._coordinator = ports.coordinator
        self._closed = ClosedStores(ports.coordinator, configuration.open_key)
        self._epochs = EpochGuard(self.current, ports.marks, ports.event_log)
        self._spread = spread
        self._prover = Prover(providers.find, ports.kept, ports.clock, ports.monotonic)

    # ---- reading ---------------------------------------------------------------------------------

    def stored(self) -> bytes:
        """The bytes of the store as it lies."""
        return self.configuration.open_secret(STORE).reveal()

    def current(self) -> tuple[KmsStore, bytes]:
        """The store as it is, parsed and not yet authenticated, and its bytes."""
        raw = self.stored()
        return kms_store.parse(raw), raw

    def point(self) -> Point:
        """Epoch and digest of the store as it is, which the journals of keys name (entries.md 3.4)."""
        store, raw = self.current()
        return Point(store.epoch, hashlib.sha256(raw).digest())

    def held(self) -> HeldKeys:
        """The store with its open keys, for a backup; raises as `StoreCache.opened` does."""
        opened = self.cache.opened()
        digest = kms_store.digest(kms_store.serialize(opened.store))
        return HeldKeys(opened.store, digest, opened.rmk, opened.ring)

    def closed_stores(self) -> Mapping[ClosedStore, bytes]:
        """The bytes of each closed store that the present store names.

        Raises:
            IntegrityError: A closed store is missing, or is another one.
        """
        return self._closed.read_all(self.current()[0])

    def root_settings(self) -> tuple[RootSettings, ...]:
        """The settings by which the roots are reached."""
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
        checks = (
            lambda: next_store.check_canary(raw, self.providers.find),
            self.check_epoch,
            self._check_closed,
        )
        proof, disk = self._prover.prove(store, raw, checks, richly=richly)
        shown = Shown(self._closed.mek_ids(store), self._now())
        return kms_status.from_proof(store, proof, self._in_memory(), shown, disk=disk)

    def last_status(self) -> KmsStatus:
        """The last result, with its time; asks no root, and is never green for longer than the limit."""
        store, raw = self.current()
        memory = self._in_memory()
        proof = self._prover.judged(store, raw, memory.limits.keep_s)
        shown = Shown(self._closed.mek_ids(store), self._now())
        return kms_status.from_proof(store, proof, memory, shown, is_cached=True)

    def check_ready(self) -> None:
        """Make and open a data key by the keys in memory; asks a root only when they are due.

        Raises:
            StrongroomError: This process cannot do the work now.
        """
        self.check_epoch()
        canary.check(RingKeys(self.cache.ring))

    def upkeep(self, until_next_s: float) -> None:
        """Renew the credentials of roots, and drop keys from memory whose time is over; to be called regularly.

        Args:
            until_next_s: Seconds until the next call, so that a credential that ends before it is renewed now.

        Raises:
            RootError: A credential cannot be renewed now; the next call tries again. The other roots were done.
        """
        self.cache.drop_expired()
        failures: list[RootError] = []
        for settings in self.root_settings():
            try:
                root = self.providers.build(settings)
                if isinstance(root, KeepsCredentials):
                    root.renew_credentials(until_next_s)
            except RootError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def _check_closed(self) -> None:
        self.closed_stores()

    def _now(self) -> str:
        return format_utc(self.clock.now())

    def _in_memory(self) -> InMemory:
        return InMemory(self.cache.age_s, self.cache.limits)

    # ---- continuity (docs/format/kms-store.md 6) -------------------------------------------------

    def check_epoch(self) -> None:
        """Refuse a store that does not follow from the one seen last (R19), and keep the newest mark.

        Raises:
            IntegrityError: The store was rolled back, replaced or made by somebody without the keys of the one before it.
        """
        self._epochs.check()

    def accept_epoch(self, epoch: int, digest: str, actor: str) -> None:
        """Take the present store as the one that counts, whatever was seen before it.

        Raises:
            StateError: The present store is another one.
        """
        with self.changing():
            self._epochs.accept(epoch, digest, actor)

    # ---- changing --------------------------------------------------------------------------------

    @contextmanager
    def changing(self) -> Iterator[leases.Check]:
        """Hold the lock under which keys change; gives what raises once another command may hold it.

        Raises:
            ConflictError: Another command holds it for too long.
        """
        with self._coordinator.lock(LOCK, wait_s=LOCK_WAIT_S) as lease:
            yield partial(leases.check, self._coordinator, lease)

    def commit(
        self,
        build: Build,
        events_of: EventsOf,
        settings: SettingsChange | None = None,
        *,
        prepare: Callable[[NextStore, leases.Check], None] | None = None,
    ) -> NextStore:
        """Put a new store in place of the present one: build, prove, put, log, settle.

        Until the put, the old store is in force and nothing has changed. A caller reads what its change depends on in
        these callbacks, which run under the lock: while the call waited for the lock, another change may have added a
        root or removed a configuration key.

        Args:
            build: Builds the next store from the present one, which it opens or takes as it is stored.
            events_of: Returns the events of the change.
            settings: Returns the root settings that belong to the next store; None leaves the present ones.
            prepare: Makes what must exist before the put; called with the proved store, and with the check of the lock.

        Raises:
            ConflictError: Another process changed the configuration meanwhile.
            IntegrityError: The store was rolled back: a new one in its place would hide that.
            StrongroomError: The next store cannot be built or does not prove.
        """
        with self.changing() as check:
            ready = None if prepare is None else lambda change: prepare(change, check)
            _, change = self.commit_unsettled(build, events_of, settings, prepare=ready)
            self._settle_if_proved()
        return change

    def commit_unsettled(
        self,
        build: Build,
        events_of: EventsOf,
        settings: SettingsChange | None = None,
        *,
        prepare: Callable[[NextStore], None] | None = None,
        write: Write | None = None,
        putting: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> tuple[ConfigDocument, NextStore]:
        """As `commit`, for a caller that holds the lock of keys and calls `settle` when its other steps are done.

        Args:
            build: As for `commit`.
            events_of: As for `commit`.
            settings: As for `commit`.
            prepare: As for `commit`.
            write: Writes the values into the document; None seals them under the active configuration key.
            putting: Returns what is held around the put, and around no other.

        Returns:
            The document that was put, and the store in it.
        """
        self.check_epoch()
        document = self.configuration.document()
        present = Present(self)
        stored = settings(self.root_settings()) if settings else None
        store, raw = present.as_stored
        change = self._built(build, present)
        next_store.prove(change, self.find_among(stored))
        next_store.check_follows(change, store.known(raw))
        why = events_of(present, change)
        written = self._next_document(document, change, stored, write or self._with_sealed)
        with self._acknowledged(written.configuration_key_id, change, stored, why) as words:
            if prepare is not None:
                prepare(change)
            if words:
                # other settings may have changed while the nodes were waited for
                document = self.configuration.document()
                written = self._next_document(document, change, stored, write or self._with_sealed)
            active = written.configuration_key_id
            reseals = active != document.configuration_key_id
            also = {**self._closed.changes(store, change, active, reseals=reseals), **words}
            if change.is_break:
                self._epochs.foretell(change)
            self._epochs.announce(change, why)
            with putting():
                self.put(document, written, change, also)
        # If we die between the put and `advance`, the mark is older than the store, and the next `check_epoch` writes
        # event and mark. The put comes first: an event of a change that never happened could not be taken back.
        self.cache.remember(OpenStore(change.store, change.rmk, change.ring))
        self._epochs.advance(change, why)
        return written, change

    def _built(self, build: Build, present: Present) -> NextStore:
        """The next store; its epoch is above that of every change that was withdrawn (key-changes.md 1.5)."""
        used = self._spread.settle(SYSTEM) if self._spread else 0
        change = build(present)
        store, raw = present.as_stored
        if change.store.epoch > used:
            return change
        rmk = None if change.is_break else present.opened.rmk
        return next_store.above(change, Predecessor(store.epoch, raw, rmk, store.links), used)

    def _acknowledged(
        self,
        key_id: str,
        change: NextStore,
        settings: tuple[RootSettings, ...] | None,
        why: list[Event],
    ) -> AbstractContextManager[Mapping[str, Change]]:
        """Within it, every other active node has opened the store (docs/format/key-changes.md)."""
        if self._spread is None:
            return nullcontext({})
        # a single node imports nothing for what it has not
        from strongroom.kms.staged import Content
        from strongroom.services.keys.spreading import Draft

        raw_settings = None if settings is None else root_settings.serialize(settings)
        draft = Draft(
            why[0].actor,
            change.store.installation_id,
            change.store.epoch,
            self.point(),
            key_id,
            Content(change.raw, raw_settings),
        )
        return self._spread.acknowledged(draft)

    def replace_settings(self, resettle: SettingsChange, event: Event) -> None:
        """Reach the same roots in another way: a new token, PIN or address; no key changes."""
        with self.changing():
            # The settings are sealed under the lock. Sealed earlier, they could be under a configuration key that a
            # regeneration removes while this call waits, and nobody could open them again.
            sealed = self._sealed_settings(resettle(self.root_settings()))
            self.configuration.compare_and_put(lambda old: old.with_values({ROOTS: sealed}))
            self.event_log.append([event])
            self._settle_if_proved()

    def put(
        self,
        before: ConfigDocument,
        after: ConfigDocument,
        change: NextStore,
        closed: Mapping[str, Change],
    ) -> None:
        """The commit: new store, previous store, closed stores, root settings and journals of keys in one compare-and-set."""
        point = Point(change.store.epoch, hashlib.sha256(change.raw).digest())
        self.configuration.compare_and_put(
            lambda _: after,
            also=lambda _: {**closed, **store_journals.rebound(self._coordinator, point)},
            expected_version=before.version,
        )

    def _next_document(
        self,
        document: ConfigDocument,
        change: NextStore,
        settings: tuple[RootSettings, ...] | None,
        write: Write,
    ) -> ConfigDocument:
        before = self.stored()
        after = write(document, {STORE: change.raw, PREVIOUS_STORE: before})
        if settings is not None:
            values = dict(after.values)
            values.pop(ROOTS, None)
            if (sealed := self._sealed_settings(settings)) is not None:
                values[ROOTS] = sealed
            after = after._replace(values=values)
        return after

    def _with_sealed(self, document: ConfigDocument, values: Mapping[str, bytes]) -> ConfigDocument:
        seal = self.configuration.seal_secret
        return document.with_values({name: seal(name, value) for name, value in values.items()})

    def settle(self) -> None:
        """Delete the previous store and unused root settings, once the present store is proved (4.2).

        Raises:
            IntegrityError: The status is not green; the previous store is kept.
            StorageError: The disk prevented the proof; the previous store is kept.
        """
        self.status().check(
            lambda problem: IntegrityError(f"the new KMS store does not prove: {problem}")
        )
        self._drop_previous()

    def _settle_if_proved(self) -> None:
        # The change was proved before its commit and is in force. If a root has become unreachable since then, the
        # command has still succeeded: the previous store stays until a later status is green.
        if self.status().is_ok:
            self._drop_previous()

    def _drop_previous(self) -> None:
        drop: dict[str, str | None] = {}
        if PREVIOUS_STORE in self.configuration.document().values:
            drop[PREVIOUS_STORE] = None
        settings = self.root_settings()
        needed = self._needed(settings)
        if needed != settings:
            drop[ROOTS] = self._sealed_settings(needed)
        if drop:
            self.configuration.compare_and_put(lambda document: document.with_values(drop))
        self.configuration.project()
        # The previous version of the configuration document holds the old store too, and with it every key that the
        # change was to replace. It is deleted last: while it holds the old store, `_is_unsettled` is true, so a process
        # killed in between is followed by one that finishes.
        self.configuration.forget_previous()

    def prove(self) -> KmsStatus:
        """The full status; if it is green, the previous store, kept since a change, is deleted (4.2)."""
        status = self.status(richly=True)
        if status.is_ok and self._is_unsettled():
            with self.changing():
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
        # Several settings may match a wrap, since a root keeps its former ids. Only the one chosen for a present wrap
        # is needed for it; settings of a root that was left stay only while a former store may need them.
        chosen = [matching.choose(settings, wrap) for wrap in store.wraps]
        closed = map(any_store.parse, self.closed_stores().values())
        former = [wrap for one in closed for wrap in one.wraps]
        return tuple(root for root in settings if root in chosen or any(map(root.opens, former)))

    def find_among(
        self, settings: tuple[RootSettings, ...] | None
    ) -> Callable[[WrapRecord], RootProvider]:
        """Providers of the settings that come with a change, else those that are stored."""

        def find(wrap: WrapRecord) -> RootProvider:
            chosen = matching.choose(settings or (), wrap)
            return self.providers.build(chosen) if chosen else self.providers.find(wrap)

        return find
