"""Choosing the KMS mode: the move to another root, new settings for the same one, and leaving a root that is lost.

A move makes a new RMK and a new active MEK (Q-20), so that the old root opens nothing that is encrypted afterwards. No
extract is touched and no restart needed; until the commit the old root stays in force (A-10, A-20, Q-05).
"""

from collections.abc import Collection
from dataclasses import dataclass

from strongroom.errors import ConflictError, RootError, StrongroomError
from strongroom.eventlog.base import Event
from strongroom.eventlog.events import key_events
from strongroom.kms import next_store, recovery_wraps, same_key
from strongroom.kms import store as kms_store
from strongroom.kms.keyring import KeyRing
from strongroom.kms.next_store import NextStore, RootSet
from strongroom.kms.same_key import Recognised
from strongroom.kms.states import MekState
from strongroom.kms.store import KmsStore
from strongroom.roots import matching
from strongroom.roots.base import RootProvider
from strongroom.roots.registry import LOCAL, RECIPIENT_KINDS
from strongroom.roots.settings import RootSettings
from strongroom.services.keys import trials
from strongroom.services.keys.keeper import PREVIOUS_STORE, Present, StoreKeeper
from strongroom.services.keys.rotation_events import rotation_events
from strongroom.system.plural import counted


@dataclass(frozen=True)
class ModeChange:
    """The result, or with `done` false the plan, of a change of the mode.

    Attributes:
        before: The mode before.
        after: The mode after.
        root_key_id: The root's key that protects the RMK after the change.
        plan: The steps, in words.
        done: Whether the change was made.
        abandoned: MEKs that are unavailable from now on.
    """

    before: str
    after: str
    root_key_id: str
    plan: tuple[str, ...]
    done: bool
    abandoned: tuple[str, ...] = ()


class ModesService:
    """The use cases of `set-mode`."""

    def __init__(self, keeper: StoreKeeper) -> None:
        self._keeper = keeper

    def set_mode(
        self,
        wanted: RootSettings | None,
        actor: str,
        *,
        dry_run: bool = False,
        abandon: bool = False,
        drop: Collection[str] = (),
    ) -> ModeChange:
        """Move to another root, online.

        Args:
            wanted: The new root; None is the local one.
            actor: The person or process that asks, for the events.
            dry_run: Check and plan only; change nothing.
            abandon: If no root opens the present keys, begin anew without them (Q-05); their extracts stay unreadable
                until a root of theirs answers again.
            drop: Wraps of recovery roots to give up, since these roots cannot be reached.

        Raises:
            RootError: The new root fails its round trip, or no root opens the present store.
        """
        store, _ = self._keeper.current()
        after = wanted.kind if wanted else LOCAL
        unchanged = ModeChange(after, after, store.wraps[0].root_key_id, (), done=False)
        if wanted is None and store.mode == LOCAL:
            return unchanged
        kms_store.check_room(store, meks=1)
        named = wanted is not None and store.mode == after and wanted.opens(store.wraps[0])
        # Settings may ask the root to create its key. If they name the key that protects the present RMK, it must
        # exist: creating another one in its place would hide that the key is gone.
        asked = wanted and (wanted.lasting if named else wanted.on_trial if dry_run else wanted)
        root = self._root_of(asked)
        try:
            trials.try_out(root)
            found = (
                same_key.recognised(store, wanted, self._keeper.providers.build) if wanted else None
            )
        except StrongroomError:
            if named and wanted and self._is_stored(wanted):
                return unchanged
            raise
        if store.mode == after and found and found.unwraps(store.wraps[0]):
            return self._stay(store, found, actor, dry_run=dry_run)
        key_id = root.describe().root_key_id
        try:
            self._keeper.cache.opened()
        except StrongroomError as error:
            if not abandon:
                raise _closed(error) from error
            left = () if dry_run else self._leave_behind(found, actor)
            plan = _plan_to_leave(store, after, key_id)
            return ModeChange(store.mode, after, key_id, plan, not dry_run, left)
        if not dry_run:
            self._move(found, actor, drop)
        return ModeChange(store.mode, after, key_id, _plan(store, after, key_id), not dry_run)

    # ---- inside ----------------------------------------------------------------------------------

    def _root_of(self, wanted: RootSettings | None) -> RootProvider:
        if wanted is not None:
            return self._keeper.providers.build(wanted)
        store, _ = self._keeper.current()
        return self._keeper.providers.all_for(store, LOCAL).primary

    def _is_stored(self, wanted: RootSettings) -> bool:
        stored = self._keeper.root_settings()
        return any(wanted.lasting.also_as(one.known_as) == one for one in stored)

    def _stay(self, store: KmsStore, found: Recognised, actor: str, *, dry_run: bool) -> ModeChange:
        """Keep the RMK, since the wanted root opens it already, and store the settings if they are new."""
        wrap, after = store.wraps[0], store.mode
        stored = self._keeper.root_settings()
        wanted = found.settings(stored)
        if wanted in stored:
            return ModeChange(after, after, wrap.root_key_id, (), done=False)
        found.check_apart(store.wraps, stored)
        if not dry_run:
            self._keeper.replace_settings(
                found.settle, key_events.root_reached_anew(actor, after, wanted.root_key_id)
            )
        same = matching.key_of(wrap) == wanted.root_key_id
        moved = "" if same else f"; it was reached as {matching.key_of(wrap)}"
        plan = (f"keep the RMK, and reach {after} {wanted.root_key_id} by the new settings{moved}",)
        return ModeChange(after, after, wanted.root_key_id, plan, not dry_run)

    def _move(self, found: Recognised | None, actor: str, drop: Collection[str]) -> None:
        after = found.wanted.kind if found else LOCAL

        def build(present: Present) -> NextStore:
            opened = present.opened
            # a recovery root that becomes the mode's root wraps the RMK once, not twice
            others = recovery_wraps.without(opened.store, drop).wraps[1:]
            kept = [wrap for wrap in others if not (found and found.unwraps(wrap))]
            if found:
                found.check_apart(kept, self._keeper.root_settings())
            recovery = recovery_wraps.recovery_roots(kept, self._keeper.providers.find)
            roots = RootSet(after, self._root_of(found.wanted if found else None), recovery)
            return next_store.rotated(opened, roots, self._keeper.clock.now())

        def events_of(present: Present, new: NextStore) -> list[Event]:
            old = present.opened
            changed = key_events.kms_mode_changed(actor, before=old.store.mode, after=after)
            moved = key_events.key_moved(actor, "rmk", new.store.rmk_id, place=after)
            gone = recovery_wraps.removed(actor, old, drop)
            return [changed, moved, *rotation_events(actor, old, new), *gone]

        self._keeper.commit(build, events_of, found.settle if found else _as_they_are)

    def _leave_behind(self, found: Recognised | None, actor: str) -> tuple[str, ...]:
        """Commit a new store in place of one that no root opens; returns the MEKs that are unavailable thereby."""
        after, now = found.wanted.kind if found else LOCAL, self._keeper.clock.now()
        before, left = self._keeper.current()[0], list[str]()

        def build(present: Present) -> NextStore:
            self._check_closed()
            closed, raw = present.as_stored
            # wrapping for a recipient needs only its public key, so the new RMK gets the same recovery recipients
            others = (
                self._keeper.providers.find(w) for w in closed.wraps if w.kind in RECIPIENT_KINDS
            )
            roots = RootSet(after, self._root_of(found.wanted if found else None), tuple(others))
            new = next_store.abandoned(closed, raw, roots, now, self._ring_before())
            known = {mek.id for mek in new.ring}
            left.extend(mek.id for mek in closed.meks if mek.id not in known)
            return new

        def events_of(present: Present, new: NextStore) -> list[Event]:
            lost, raw = MekState.UNAVAILABLE.value, present.as_stored[1]
            digests = {"before": kms_store.digest(raw), "after": kms_store.digest(new.raw)}
            return [
                key_events.kms_store_abandoned(actor, epoch=new.store.epoch, **digests),
                key_events.kms_mode_changed(actor, before=before.mode, after=after),
                key_events.key_generated(actor, "rmk", new.store.rmk_id),
                key_events.key_generated(actor, "mek", new.ring.active.id),
                *(key_events.key_changed(actor, "mek", mek_id, state=lost) for mek_id in left),
            ]

        self._keeper.commit(build, events_of, found.settle if found else _as_they_are)
        return tuple(left)

    def _check_closed(self) -> None:
        """Refuse to abandon keys that open by now: while we waited for the lock, a root may have come back."""
        try:
            self._keeper.cache.opened()
        except StrongroomError:
            return
        raise ConflictError(
            "the present keys can be opened by now, so nothing was left behind",
            hint="look at 'tsm security kms status', then run the command again",
        )

    def _ring_before(self) -> KeyRing | None:
        """The MEKs of the previous store, if that is still kept and opens; None otherwise.

        If the last change moved to a root that has not answered since, the previous store is still there, and its root
        may answer: taking its MEKs over undoes that move without losing an extract.
        """
        try:
            raw = self._keeper.configuration.open_secret(PREVIOUS_STORE).reveal()
            return trials.open_former(raw, self._keeper.providers.find)
        except StrongroomError:
            return None


def _as_they_are(present: tuple[RootSettings, ...]) -> tuple[RootSettings, ...]:
    return present


def _closed(error: StrongroomError) -> RootError:
    return RootError(
        f"the present keys cannot be opened, so they cannot be moved: {error.message}",
        hint="repair the root, open it by a recovery root ('strongroom recover' by an identity or"
        " shares), or leave the present keys behind with --abandon-external-keys: their extracts"
        " stay unreadable until a root of theirs answers again",
    )


def _plan_to_leave(store: KmsStore, after: str, key_id: str) -> tuple[str, ...]:
    return (
        f"make a new RMK under {after} {key_id}, and a new MEK that encrypts",
        f"leave {counted(len(store.meks), 'MEK')} behind, but for those that the store before this one gives",
        "put it in place, and keep the closed store in it until one of its roots answers again",
    )


def _plan(store: KmsStore, after: str, key_id: str) -> tuple[str, ...]:
    return (
        f"make a new RMK under {after} {key_id}",
        f"wrap {counted(len(store.meks), 'MEK')} by it and make a new one that encrypts",
        "open the new store again and compare every key",
        f"put it in place, and drop the wrap of {store.mode} {store.wraps[0].root_key_id}",
    )
