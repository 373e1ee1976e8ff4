"""Key management: status, rotation, mode, usage and retirement of MEKs (K-02, K-09 to K-11, P6).

Every change is built and proved first (`services.kms_change`); one compare-and-set commits it. It
never touches an extract.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from strongroom.clock import Clock
from strongroom.config import versions
from strongroom.config.document import ConfigDocument
from strongroom.coordination.base import Coordinator
from strongroom.errors import IntegrityError, StateError, StrongroomError
from strongroom.eventlog import events
from strongroom.eventlog.base import Event, EventLog
from strongroom.kms import status as kms_status
from strongroom.kms import store as kms_store
from strongroom.kms.accessor import KmsAccessor
from strongroom.kms.opening import OpenStore
from strongroom.kms.states import MekState
from strongroom.kms.status import KmsStatus
from strongroom.kms.store import KmsStore
from strongroom.roots.base import RootProvider, WrapRecord
from strongroom.services import kms_change
from strongroom.services.configuration import ConfigurationService
from strongroom.services.kms_change import Mutation, NextStore, RootSet

STORE = "kms.persistent_store"
PREVIOUS_STORE = "kms.previous_store"
LOCK = "kms"
LOCK_WAIT_S = 30.0


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
        """The provider that opens a wrap."""
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
class MekUse:
    """How much a MEK protects: extracts (and upload parts) and their stored bytes."""

    extracts: int
    bytes: int


@dataclass(frozen=True)
class UsageReport:
    """Use of every MEK in the ring, and of MEKs that files name and the ring has not."""

    active: str
    by_mek: Mapping[str, MekUse]
    missing: Mapping[str, MekUse]
    unreadable: tuple[str, ...]

    @property
    def unused(self) -> tuple[str, ...]:
        """Decrypt-only MEKs that nothing uses: these may be retired."""
        if self.unreadable:
            return ()
        return tuple(
            mek for mek, use in self.by_mek.items() if not use.extracts and mek != self.active
        )


#: Use by MEK id, and the files that cannot be read.
UseCount = tuple[Mapping[str, MekUse], tuple[str, ...]]
CountUse = Callable[[], UseCount]


class ConfiguredStore:
    """The KMS store as a configuration value (K-04); implements `kms.store.SealedStore`."""

    def __init__(self, configuration: ConfigurationService, coordinator: Coordinator) -> None:
        self._configuration = configuration
        self._coordinator = coordinator

    def version(self) -> int:
        """The version of the configuration; grows with every change of it."""
        return self._coordinator.version(versions.CURRENT)

    def load(self) -> tuple[bytes, int]:
        """The store's bytes, and a version that is not newer than they are."""
        version = self.version()
        return self._configuration.open_secret(STORE).reveal(), version


@dataclass(frozen=True)
class KmsPorts:
    """What key management works through besides the configuration."""

    coordinator: Coordinator
    log: EventLog
    marks: EpochMarks
    clock: Clock


class KmsService:
    """The use cases of `tsm security kms`."""

    def __init__(
        self,
        configuration: ConfigurationService,
        keys: KmsAccessor,
        roots: Roots,
        ports: KmsPorts,
        count_use: CountUse,
    ) -> None:
        self._configuration = configuration
        self._keys = keys
        self._roots = roots
        self._coordinator = ports.coordinator
        self._log = ports.log
        self._marks = ports.marks
        self._clock = ports.clock
        self._count_use = count_use

    def status(self) -> KmsStatus:
        """The state of the keys, proved now: RMK by every wrap, every MEK, a canary (A-18, M7).

        Raises:
            StrongroomError: There is no store that could be shown at all.
        """
        store, raw = self._current()
        problems = list(self._check_wraps(store))
        checks: tuple[Callable[[], None], ...] = (
            lambda: kms_change.check_canary(raw, self._roots.find),
            self.check_epoch,
        )
        for check in checks:
            try:
                check()
            except StrongroomError as error:
                problems.append(error.message)
        return kms_status.from_store(store, tuple(dict.fromkeys(problems)))

    def prove(self) -> KmsStatus:
        """The status; if it is green, the store kept from before a change is dropped (4.2)."""
        status = self.status()
        if status.is_ok and PREVIOUS_STORE in self._configuration.document().values:
            with self._coordinator.lock(LOCK, wait_s=LOCK_WAIT_S):
                self.settle()
        return status

    def rotate(self, actor: str) -> NextStore:
        """New RMK, new active MEK; the MEKs before it only decrypt (K-11, Q-19)."""

        def change(opened: OpenStore) -> NextStore:
            roots = self._roots.all_for(opened.store, opened.store.mode)
            return kms_change.rotated(opened, roots, self._clock.now())

        return self._change(change, lambda old, new: rotation_events(actor, old, new))

    def set_mode_local(self, actor: str) -> bool:
        """Make the keystore the root (A-20).

        Returns:
            Whether anything changed; in local mode nothing does.
        """
        if self._keys.opened().store.mode == "local":
            return False

        def change(opened: OpenStore) -> NextStore:
            roots = self._roots.all_for(opened.store, "local")
            return kms_change.rotated(opened, roots, self._clock.now())

        def told(old: OpenStore, new: NextStore) -> list[Event]:
            changed = events.kms_mode_changed(actor, before=old.store.mode, after="local")
            return [changed, *rotation_events(actor, old, new)]

        self._change(change, told)
        return True

    def usage(self) -> UsageReport:
        """Extracts and bytes per MEK, from both slots of every header (P6)."""
        ring = self._keys.opened().ring
        found, unreadable = self._count_use()
        known = {str(mek.id): found.get(mek.id, MekUse(0, 0)) for mek in ring}
        missing = {mek: use for mek, use in found.items() if mek not in known}
        return UsageReport(ring.active.id, known, missing, unreadable)

    def retire(self, mek_id: str, actor: str) -> None:
        """Remove a decrypt-only MEK that nothing uses, for good.

        Raises:
            KeyNotFoundError: There is no such MEK.
            StateError: It encrypts, or something still uses it, or that cannot be told.
        """

        def change(opened: OpenStore) -> NextStore:
            smaller = kms_change.without_mek(opened, mek_id)
            self._check_unused(mek_id)
            return smaller

        self._change(change, lambda _, __: [events.mek_retired(actor, mek_id)])

    def check_epoch(self) -> None:
        """Refuse a store that is older than one seen before (R19), and keep the newest mark.

        Raises:
            IntegrityError: The store was rolled back or replaced.
        """
        store, raw = self._current()
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
        self._log.append([events.kms_store_changed(events.SYSTEM, epoch=seen[0], digest=seen[1])])
        self._marks.write(*seen)

    def accept_epoch(self, epoch: int, actor: str) -> None:
        """Take the present store as the one that counts, though an epoch above it was seen.

        Raises:
            StateError: The present store has another epoch.
        """
        store, raw = self._current()
        if store.epoch != epoch:
            raise StateError(f"the KMS store has epoch {store.epoch}, not {epoch}")
        self._log.append([events.kms_epoch_accepted(actor, epoch=epoch)])
        self._marks.write(epoch, kms_store.digest(raw))

    def settle(self) -> None:
        """Drop `kms.previous_store` once the present one is proved (4.2).

        Raises:
            IntegrityError: The status is not green; the store before is kept.
        """
        status = self.status()
        if not status.is_ok:
            raise IntegrityError(f"the new KMS store does not prove: {status.problems[0]}")
        if PREVIOUS_STORE in self._configuration.document().values:
            self._configuration.compare_and_put(
                lambda document: document.with_values({PREVIOUS_STORE: None})
            )
        # the version before holds the old store, and would hold on to its keys
        self._configuration.forget_previous()
        self._configuration.project()

    def _change(
        self, mutation: Mutation, told: Callable[[OpenStore, NextStore], list[Event]]
    ) -> NextStore:
        with self._coordinator.lock(LOCK, wait_s=LOCK_WAIT_S):
            self.check_epoch()
            document = self._configuration.document()
            opened = self._keys.opened()
            change = mutation(opened)
            kms_change.prove(change, self._roots.find)
            self._put(document, change)
            # a kill between the commit and here leaves an older mark: `check_epoch` will tell
            self.tell(told(opened, change), change)
            self.settle()
        return change

    def tell(self, told: list[Event], change: NextStore) -> None:
        """Log a change of the store that was committed, then keep its epoch."""
        epoch, digest = change.store.epoch, kms_store.digest(change.raw)
        self._log.append(
            [*told, events.kms_store_changed(told[0].actor, epoch=epoch, digest=digest)]
        )
        self._marks.write(epoch, digest)

    def _put(self, expected: ConfigDocument, change: NextStore) -> None:
        before = self._configuration.open_secret(STORE).reveal()
        values = {
            STORE: self._configuration.seal_secret(STORE, change.raw),
            PREVIOUS_STORE: self._configuration.seal_secret(PREVIOUS_STORE, before),
        }
        self._configuration.compare_and_put(
            lambda document: document.with_values(values), expected_version=expected.version
        )

    def _check_wraps(self, store: KmsStore) -> list[str]:
        problems = []
        for wrap in store.wraps:
            try:
                store.open_ring(store.rmk(self._roots.find(wrap).unwrap(wrap)))
            except StrongroomError as error:
                where = f"the {wrap.kind} root {wrap.root_key_id}"
                problems.append(f"{where} does not open the RMK {store.rmk_id}: {error.message}")
        return problems

    def _check_unused(self, mek_id: str) -> None:
        report = self.usage()
        if report.unreadable:
            raise StateError(
                f"MEK {mek_id} cannot be retired: {len(report.unreadable)} files cannot be read, "
                f"the first is {report.unreadable[0]}",
                hint="repair or remove them; until then nobody can tell which key they need",
            )
        use = report.by_mek[mek_id]
        if use.extracts:
            raise StateError(
                f"MEK {mek_id} cannot be retired: {use.extracts} extracts use it "
                f"({use.bytes} bytes)",
                hint="bring them to the active key: strongroom extracts rewrap --site SITE --wait",
            )

    def _current(self) -> tuple[KmsStore, bytes]:
        raw = self._configuration.open_secret(STORE).reveal()
        return kms_store.parse(raw), raw


def rotation_events(actor: str, old: OpenStore, new: NextStore) -> list[Event]:
    """What a rotation leaves in the event log (C-23)."""
    return [
        events.key_generated(actor, "rmk", new.store.rmk_id),
        events.key_generated(actor, "mek", new.ring.active.id),
        events.key_removed(actor, "rmk", old.store.rmk_id),
        events.key_changed(actor, "mek", old.ring.active.id, state=MekState.DECRYPT_ONLY.value),
    ]
