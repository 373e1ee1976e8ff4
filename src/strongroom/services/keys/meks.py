"""Rotation, usage and retirement of MEKs (K-09 to K-11, P6).

Rotating adds a MEK for new extracts and leaves every extract as it is. The MEKs before stay in the store to decrypt,
until `retire` removes one that nothing uses; what is encrypted under a retired MEK is lost for good, so `retire`
refuses whenever it cannot be sure. Roots and modes are in `services.keys.roots`
and `modes`.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from strongroom.clock import format_utc
from strongroom.errors import StateError
from strongroom.eventlog.base import Event
from strongroom.eventlog.events import key_events
from strongroom.kms import next_store, recovery_wraps
from strongroom.kms.next_store import NextStore
from strongroom.kms.opening import OpenStore
from strongroom.kms.states import MekState
from strongroom.services.keys.history import ANY, Outside
from strongroom.services.keys.keeper import Present, StoreKeeper
from strongroom.services.keys.mek_end import MekEnd
from strongroom.services.keys.mek_use import BeginCount, CountUse, MekUse
from strongroom.services.keys.rotation_events import rotation_events
from strongroom.system.plural import counted, sized

CountOutside = Callable[[], Mapping[str, Outside]]
NOTHING = Outside()


@dataclass(frozen=True)
class UsageReport:
    """Use of every MEK in the ring, and of MEKs that files name and the ring has not.

    Attributes:
        active: The MEK that encrypts.
        by_mek: Use in the file store, by each MEK of the ring.
        missing: Use in the file store, by MEKs that are not in the ring: these files cannot be read.
        unreadable: Files whose header cannot be read, so that their MEK is unknown.
        outside: Files and backups outside the file store by the event log, by MEKs of the ring.
    """

    active: str
    by_mek: Mapping[str, MekUse]
    missing: Mapping[str, MekUse]
    unreadable: tuple[str, ...]
    outside: Mapping[str, Outside] = field(default_factory=dict)

    @property
    def unused(self) -> tuple[str, ...]:
        """Decrypt-only MEKs without any known use: these may be retired without a question."""
        # a file whose MEK is unknown may be under any of them
        if self.unreadable:
            return ()
        return tuple(
            mek
            for mek, use in self.by_mek.items()
            if not use.is_needed and mek != self.active and mek not in self.outside
        )


class MeksService:
    """The use cases of `tsm security kms` that leave the roots as they are: new MEKs, their use, and their end."""

    def __init__(
        self,
        keeper: StoreKeeper,
        begin_count: BeginCount,
        count_outside: CountOutside,
        other_nodes: Callable[[], tuple[str, ...]] = tuple,
        end: MekEnd | None = None,
    ) -> None:
        """Take the keys, and what is known of their use.

        Args:
            keeper: The KMS store.
            begin_count: Begins a count of what the MEKs seal, in files and rows.
            count_outside: Counts what the event log knows to be sealed outside of both.
            other_nodes: Returns nodes on whose disks there may be extracts that this one cannot look at.
            end: Has the repository refuse what is about to be written under a MEK that goes; None if there is none.
        """
        self._keeper = keeper
        self._begin_count = begin_count
        self._count_outside = count_outside
        self._other_nodes = other_nodes
        self._end = end

    def rotate(self, actor: str, drop: Collection[str] = ()) -> NextStore:
        """New RMK, new active MEK; the MEKs before it only decrypt (K-11, Q-19).

        Args:
            actor: The person or process that asks, for the events.
            drop: Wraps of recovery roots to give up, since these roots cannot be reached.

        Raises:
            RootError: A root that is not in `drop` cannot be reached; nothing was changed.
        """

        def build(present: Present) -> NextStore:
            kept = recovery_wraps.without(present.opened.store, drop)
            roots = self._keeper.providers.all_for(kept, kept.mode)
            return next_store.rotated(present.opened, roots, self._keeper.clock.now())

        def events_of(present: Present, new: NextStore) -> list[Event]:
            old = present.opened
            return [*rotation_events(actor, old, new), *recovery_wraps.removed(actor, old, drop)]

        return self._keeper.commit(build, events_of)

    def usage(self) -> UsageReport:
        """Extracts and bytes per MEK, from both slots of every header (P6)."""
        return self._counted(self._begin_count())

    def _counted(self, count_use: CountUse) -> UsageReport:
        ring = self._keeper.cache.opened().ring
        found, unreadable = count_use()
        known = {str(mek.id): found.get(mek.id, MekUse(0, 0)) for mek in ring}
        missing = {mek: use for mek, use in found.items() if mek not in known}
        by_log = self._count_outside()
        beside = {mek: by_log.get(mek, by_log.get(ANY, NOTHING)) for mek in known}
        beside = {mek: outside for mek, outside in beside.items() if outside}
        return UsageReport(ring.active.id, known, missing, unreadable, beside)

    def retire(self, mek_id: str, actor: str, *, gives_up: Outside = NOTHING) -> None:
        """Remove a decrypt-only MEK that nothing uses, for good.

        Args:
            mek_id: The MEK.
            actor: The person or process that asks, for the events.
            gives_up: The most files and backups outside the store that the actor agreed to lose.

        Raises:
            KeyNotFoundError: The ring has no MEK of this id.
            StateError: The MEK is active, or in use, or to be retired later, or a file cannot be read so that its use is
                unknown.
        """

        def smaller_than(opened: OpenStore) -> NextStore:
            smaller = next_store.without_mek(opened, mek_id, self._keeper.clock.now())
            # A node that does not know of the rotation yet may be writing under the key. It is waited for, and counted
            # below; after that it is refused. The mark stays if the count refuses: the key encrypts nothing new anyway.
            if self._end is not None:
                self._end.begin(mek_id, smaller.store.epoch)
            return smaller

        count_use = self._begin_count()
        if self._end is not None:
            # All headers are read here, which may take long, while nobody is kept from anything. Nothing comes under the
            # MEK any more but by a file of a backup that is being restored.
            smaller_than(self._keeper.cache.opened())
            self._check_unused(mek_id, gives_up, count_use)

        def build(present: Present) -> NextStore:
            # counted once more under the lock of keys, and on the store that is being replaced: files that came since
            smaller = smaller_than(present.opened)
            self._check_unused(mek_id, gives_up, count_use)
            return smaller

        done = self._keeper.commit(build, lambda _, __: [key_events.mek_retired(actor, mek_id)])
        if self._end is not None:
            self._end.finish(mek_id, done.store.epoch)

    def schedule(self, mek_id: str, days: int, actor: str) -> str:
        """Let a decrypt-only MEK open nothing for some days, after which it may be retired; returns that time (findings D5).

        Files and backups outside the store that need it show in these days, and it can still be taken back.

        Args:
            mek_id: The MEK.
            days: For how many days at least the MEK stays in the store.
            actor: The person or process that asks, for the events.

        Raises:
            KeyNotFoundError: The ring has no MEK of this id.
            StateError: The MEK is active, or in use in the store, or a file cannot be read so that its use is unknown.
        """
        at = (self._keeper.clock.now() + timedelta(days=days)).replace(microsecond=0)

        count_use = self._begin_count()
        # refused without a lock where a look tells so; what came since is counted under the lock
        next_store.with_retirement(self._keeper.cache.opened(), mek_id, at)
        self._check_not_in_store(mek_id, count_use)

        def build(present: Present) -> NextStore:
            later = next_store.with_retirement(present.opened, mek_id, at)
            self._check_not_in_store(mek_id, count_use)
            return later

        state = f"to be retired from {format_utc(at)} on"
        self._keeper.commit(
            build, lambda _, __: [key_events.key_changed(actor, "mek", mek_id, state=state)]
        )
        return format_utc(at)

    def take_back(self, mek_id: str, actor: str) -> None:
        """Take a scheduled retirement back: the MEK opens again what it sealed.

        Raises:
            KeyNotFoundError: The ring has no MEK of this id.
            StateError: No retirement of it is scheduled.
        """
        state = MekState.DECRYPT_ONLY.value
        self._keeper.commit(
            lambda present: next_store.with_retirement(present.opened, mek_id, None),
            lambda _, __: [key_events.key_changed(actor, "mek", mek_id, state=state)],
        )

    def _check_unused(self, mek_id: str, gives_up: Outside, count_use: CountUse) -> None:
        found = self._check_not_in_store(mek_id, count_use)
        if found.exceeds(gives_up):
            raise StateError(
                f"MEK {mek_id} cannot be retired: {what_is_outside(found)}",
                hint=f"{OUTSIDE_HINT}; or give up what still needs it, with --yes",
            )

    def _check_not_in_store(self, mek_id: str, count_use: CountUse) -> Outside:
        """Refuse a MEK that a file of the store needs, or may need; returns what needs it outside the store."""
        if others := self._other_nodes():
            raise StateError(
                f"MEK {mek_id} cannot be retired: the extracts of {' and '.join(others)} lie on their own disks,"
                " and nobody here can tell which key they need",
                hint="it stays and opens what it opened; 'tsm topology list-nodes' shows the nodes",
            )
        report = self._counted(count_use)
        if report.unreadable:
            raise StateError(
                f"MEK {mek_id} cannot be retired: {counted(len(report.unreadable), 'file')} cannot be read, "
                f"the first is {report.unreadable[0]}",
                hint="repair or remove them; until then nobody can tell which key they need",
            )
        use = report.by_mek[mek_id]
        if use.extracts:
            raise StateError(
                f"MEK {mek_id} cannot be retired: it is the key of {counted(use.extracts, 'extract')}"
                f" ({sized(use.bytes)})",
                hint="bring them to the active key: strongroom extracts rewrap --site SITE --wait",
            )
        if use.services:
            raise StateError(
                f"MEK {mek_id} cannot be retired: it seals"
                f" {counted(use.services, 'version')} of service keys and secrets",
                hint="bring them to the active key: strongroom keys reseal",
            )
        return report.outside.get(mek_id, NOTHING)


OUTSIDE_HINT = (
    "bring the files to the active key with 'strongroom rewrap FILE ...', and make a new backup"
)


def what_is_outside(found: Outside) -> str:
    """Part of a sentence on the files and backups that need a MEK outside the store, by the event log."""
    counts = [
        f"at least {counted(found.files, 'file')} outside the store, sealed by 'strongroom encrypt'"
        if found.files
        else "",
        f"at least {counted(found.backups, 'backup')} of local mode whose keys were not sealed"
        if found.backups
        else "",
    ]
    verb = "needs" if found.files + found.backups == 1 else "need"
    return f"by the event log, {' and '.join(filter(None, counts))} {verb} it"
