"""Key management: status, rotation, usage and retirement of MEKs (K-09 to K-11, P6).

It never touches an extract; roots and modes are in `services.kms_roots`.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from strongroom.errors import StateError
from strongroom.eventlog import events
from strongroom.eventlog.base import Event
from strongroom.kms.opening import OpenStore
from strongroom.kms.status import KmsStatus
from strongroom.services import kms_change, kms_reach
from strongroom.services.kms_change import NextStore
from strongroom.services.kms_keeper import CountUse, MekUse, StoreKeeper, rotation_events


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


class KmsService:
    """The use cases of `tsm security kms` that leave the roots as they are."""

    def __init__(self, keeper: StoreKeeper, count_use: CountUse) -> None:
        self._keeper = keeper
        self._count_use = count_use

    def status(self) -> KmsStatus:
        """The state of the keys, proved now."""
        return self._keeper.status()

    def prove(self) -> KmsStatus:
        """The status; if it is green, what an interrupted change left is put away."""
        return self._keeper.prove()

    def last_status(self) -> KmsStatus:
        """The last result, with its time; asks no root."""
        return self._keeper.last_status()

    def check_ready(self) -> None:
        """Whether this process can do the work now; asks a root only when the keys in memory are due.

        Raises:
            StrongroomError: It cannot.
        """
        self._keeper.check_ready()

    def check_epoch(self) -> None:
        """Refuse a store that is older than one seen before (R19).

        Raises:
            IntegrityError: The store was rolled back or replaced.
        """
        self._keeper.check_epoch()

    def accept_epoch(self, epoch: int, actor: str) -> None:
        """Take the present store as the one that counts, though an epoch above it was seen.

        Raises:
            StateError: The present store has another epoch.
        """
        self._keeper.accept_epoch(epoch, actor)

    def rotate(self, actor: str, drop: Collection[str] = ()) -> NextStore:
        """New RMK, new active MEK; the MEKs before it only decrypt (K-11, Q-19).

        Args:
            actor: Who asks.
            drop: Wraps of recovery roots that are given up, since they cannot be reached.

        Raises:
            RootError: A root that is not given up cannot be reached; nothing was changed.
        """

        def change(opened: OpenStore) -> NextStore:
            kept = kms_reach.without(opened, drop)
            roots = self._keeper.roots.all_for(kept.store, kept.store.mode)
            return kms_change.rotated(kept, roots, self._keeper.clock.now())

        def told(old: OpenStore, new: NextStore) -> list[Event]:
            return [*rotation_events(actor, old, new), *kms_reach.removed(actor, old, drop)]

        return self._keeper.change(change, told)

    def usage(self) -> UsageReport:
        """Extracts and bytes per MEK, from both slots of every header (P6)."""
        ring = self._keeper.keys.opened().ring
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

        self._keeper.change(change, lambda _, __: [events.mek_retired(actor, mek_id)])

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
