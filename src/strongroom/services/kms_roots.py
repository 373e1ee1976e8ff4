"""Roots: the KMS mode, recovery roots beside it, moves between roots and the way out of a lost one.

A move makes a new RMK and a new active MEK (Q-20), touches no extract and needs no restart; until its
commit all is as before (A-10, A-20, Q-05).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from strongroom.errors import ConflictError, RootError, StateError, StrongroomError
from strongroom.eventlog import events
from strongroom.eventlog.base import Event
from strongroom.keystore.configuration_key import ConfigurationKeys
from strongroom.keystore.recovery_copy import RecipientDrift, recipients_in
from strongroom.kms import opening
from strongroom.kms import store as kms_store
from strongroom.kms.keyring import KeyRing
from strongroom.kms.opening import FindRoot, OpenStore
from strongroom.kms.states import MekState
from strongroom.kms.store import KmsStore
from strongroom.roots.base import NEVER, RECIPIENT_KINDS, RootProvider, WrapRecord
from strongroom.roots.settings import RootSettings
from strongroom.services import kms_change, kms_reach
from strongroom.services.kms_change import NextStore, RootSet
from strongroom.services.kms_keeper import (
    PREVIOUS_STORE,
    SettingsChange,
    StoreKeeper,
    rotation_events,
)
from strongroom.wording import counted

LOCAL = "local"


@dataclass(frozen=True)
class ModeChange:
    """What a change of the mode did, or would do.

    Attributes:
        before: The mode before.
        after: The mode after.
        root_key_id: The key that protects the RMK after it.
        plan: The steps, in words.
        done: Whether it was done.
        abandoned: MEKs that are unavailable from now on.
    """

    before: str
    after: str
    root_key_id: str
    plan: tuple[str, ...]
    done: bool
    abandoned: tuple[str, ...] = ()


@dataclass(frozen=True)
class RootState:
    """One wrap of the RMK, as it is shown.

    Attributes:
        wrap_id: UUID of the wrap.
        kind: Kind of root.
        root_key_id: The root's key.
        role: `mode` or `recovery`.
        online: Whether it can be asked now.
        problem: Why it does not open the RMK; empty if it does, or was not asked.
        added_at: When the wrap was made.
        last_verified: When it last opened the RMK; empty if it never did as yet.
        describe: What the root tells of itself: label, region, numbers of shares.
    """

    wrap_id: str
    kind: str
    root_key_id: str
    role: str
    online: bool
    problem: str
    added_at: str
    last_verified: str
    describe: Mapping[str, str] = field(default_factory=dict)


class RootsService:
    """The use cases of `set-mode` and `kms roots`."""

    def __init__(self, keeper: StoreKeeper, open_keys: Callable[[], ConfigurationKeys]) -> None:
        """Take the ports.

        Args:
            keeper: The KMS store.
            open_keys: The configuration keys, which recovery recipients have wraps of as well.
        """
        self._keeper = keeper
        self._open_keys = open_keys

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
            actor: Who asks.
            dry_run: Only check and tell.
            abandon: Close the present keys if nothing opens them (Q-05); their extracts stay
                unreadable until one of their wraps opens again.
            drop: Wraps of recovery roots that are given up, since they cannot be reached.

        Raises:
            RootError: The new root does not do its work, or the old one does not open the store.
        """
        store, _ = self._keeper.current()
        after = wanted.kind if wanted else LOCAL
        if store.mode == after and (wanted is None or wanted.opens(store.wraps[0])):
            return self._stay(store, wanted and wanted.lasting, actor, dry_run=dry_run)
        root = self._root_of(wanted.on_trial if wanted and dry_run else wanted)
        root.check()
        key_id, lasting = root.describe().root_key_id, wanted and wanted.lasting
        try:
            self._keeper.keys.opened()
        except StrongroomError as error:
            if not abandon:
                raise _closed(error) from error
            left = () if dry_run else self._leave_behind(lasting, actor)
            plan = _plan_to_leave(store, after, key_id)
            return ModeChange(store.mode, after, key_id, plan, not dry_run, left)
        if not dry_run:
            self._move(lasting, actor, drop)
        return ModeChange(store.mode, after, key_id, _plan(store, after, key_id), not dry_run)

    def list(self) -> tuple[RootState, ...]:
        """Every wrap of the RMK, proved now where it can be."""
        store, _ = self._keeper.current()
        drift = self._open_keys().drift(store.recipients)
        states = [self._state(store, wrap) for wrap in store.wraps]
        known = {wrap.root_key_id for wrap in store.wraps}
        strays = [_stray(one) for one in drift if one.recipient not in known]
        return (*(_with_drift(state, drift) for state in states), *strays)

    def verify(self, actor: str) -> tuple[RootState, ...]:
        """As `list`, and the store remembers which wraps opened."""
        states = self.list()
        opened = frozenset(s.wrap_id for s in states if s.online and not s.problem)

        def change(present: OpenStore) -> NextStore:
            return kms_change.verified(present, opened, self._keeper.clock.now())

        self._keeper.change(change, lambda _, __: [events.roots_verified(actor, len(opened))])
        return self.list() if any(s.problem for s in states) else states

    def add(self, settings: RootSettings, actor: str) -> str:
        """Wrap the RMK by one root more; returns the wrap's id.

        Raises:
            StateError: The root is there already.
        """
        is_recipient = settings.kind in RECIPIENT_KINDS
        _check_new(self._keeper.current()[0], settings)
        root = self._keeper.roots.build(settings)
        if root.describe().online:
            root.check()

        def change(opened: OpenStore) -> NextStore:
            _check_new(opened.store, settings)
            return kms_change.with_wrap(opened, root)

        def told(_: OpenStore, new: NextStore) -> list[Event]:
            done = events.root_added(actor, settings.kind, new.store.wraps[-1].root_key_id)
            return [done, *(self._keys_moved(actor, settings.root_key_id) if is_recipient else ())]

        added = self._keeper.change(
            change,
            told,
            _replacing(settings.lasting),
            prepare=self._wrap_keys if is_recipient else None,
        )
        return added.store.wraps[-1].id

    def remove(self, wrap_id: str, actor: str) -> None:
        """Take a recovery root away.

        Raises:
            NotFoundError: There is no such wrap.
            StateError: It is the wrap of the mode's root.
        """
        self._keeper.change(
            lambda opened: kms_change.without_wrap(opened, wrap_id),
            lambda old, _: [events.root_removed(actor, *_named(old, wrap_id))],
            prepare=self._unwrap_keys,
        )

    def repair(self, actor: str) -> tuple[str, ...]:
        """Bring the configuration keys' recovery recipients in line with the RMK's; says what was wrong.

        Raises:
            KeystoreError: A configuration key cannot be opened.
        """
        with self._keeper.changing():
            store, _ = self._keeper.current()
            keys = self._open_keys()
            found = keys.drift(store.recipients)
            if keys.set_recipients(store.recipients):
                told = [self._keys_moved(actor, one) for one in store.recipients]
                self._keeper.log.append([event for moved in told for event in moved])
        return tuple(f"{one.recipient}: {one.problem}" for one in found)

    def adopt(self, actor: str, find: FindRoot | None = None) -> tuple[str, ...]:
        """Take back the MEKs of former stores that open again; returns their ids.

        Args:
            actor: Who asks.
            find: Gives the roots that may open them; None are those of the node.
        """
        store, _ = self._keeper.current()
        found: dict[bytes, KeyRing] = {}
        for raw in store.former:
            try:
                found[raw] = self._open_former(raw, find)
            except StrongroomError:
                continue
        if not found:
            return ()
        ids = tuple(mek.id for ring in found.values() for mek in ring)
        self._keeper.change(
            lambda opened: kms_change.adopted(opened, found, self._keeper.clock.now()),
            lambda _, __: [events.meks_adopted(actor, mek_id) for mek_id in ids],
        )
        return ids

    # ---- inside ----------------------------------------------------------------------------------

    def _state(self, store: KmsStore, wrap: WrapRecord) -> RootState:
        problem, online, told = "", True, {"root_key_id": wrap.root_key_id}
        try:
            root = self._keeper.roots.find(wrap)
            online = root.describe().online
            if online:
                store.open_ring(store.rmk(root.unwrap(wrap)))
            told |= root.describe().details
        except StrongroomError as error:
            problem = error.message
        return RootState(
            wrap.id,
            wrap.kind,
            wrap.root_key_id,
            "mode" if wrap is store.wraps[0] else "recovery",
            online,
            problem,
            wrap.added_at,
            "" if wrap.last_verified == NEVER else wrap.last_verified,
            told,
        )

    def _open_former(self, raw: bytes, find: FindRoot | None = None) -> KeyRing:
        former = kms_store.parse(raw)
        return opening.open_store(former, find or self._keeper.roots.find, lambda *_: None).ring

    def _wrap_keys(self, change: NextStore) -> None:
        # before the commit: what is killed in between is a wrap too many, which opens no RMK
        self._open_keys().set_recipients(change.store.recipients)

    def _unwrap_keys(self, change: NextStore) -> None:
        # before the commit: what is killed in between can be run again, the RMK's wrap names itself
        keys = self._open_keys()
        stays = set(change.store.recipients)
        if any(wrap.name not in stays for wrap in recipients_in(keys.records)):
            keys.set_recipients(change.store.recipients)

    def _keys_moved(self, actor: str, recipient: str) -> tuple[Event, ...]:
        ids = [record.id for record in self._open_keys().records]
        return tuple(events.key_moved(actor, "configuration", one, place=recipient) for one in ids)

    def _root_of(self, wanted: RootSettings | None) -> RootProvider:
        if wanted is not None:
            return self._keeper.roots.build(wanted)
        store, _ = self._keeper.current()
        return self._keeper.roots.all_for(store, LOCAL).primary

    def _stay(
        self, store: KmsStore, wanted: RootSettings | None, actor: str, *, dry_run: bool
    ) -> ModeChange:
        """Keep the key, and replace the way to it if that is new and opens the present RMK."""
        wrap, after = store.wraps[0], store.mode
        if wanted is None or wanted in self._keeper.settings():
            return ModeChange(after, after, wrap.root_key_id, (), done=False)
        store.open_ring(store.rmk(self._keeper.roots.build(wanted).unwrap(wrap)))
        if not dry_run:
            self._keeper.replace_settings(
                _replacing(wanted), events.root_reached_anew(actor, after, wanted.root_key_id)
            )
        plan = (f"keep the RMK, and reach {after} {wrap.root_key_id} by the new settings",)
        return ModeChange(after, after, wrap.root_key_id, plan, not dry_run)

    def _move(self, wanted: RootSettings | None, actor: str, drop: Collection[str]) -> None:
        after = wanted.kind if wanted else LOCAL

        def change(opened: OpenStore) -> NextStore:
            # a recovery root that becomes the mode's root wraps the RMK once, not twice
            others = kms_reach.without(opened, drop).store.wraps[1:]
            kept = [wrap for wrap in others if not (wanted and wanted.opens(wrap))]
            recovery = kms_reach.recovery_roots(kept, self._keeper.roots.find)
            roots = RootSet(after, self._root_of(wanted), recovery)
            return kms_change.rotated(opened, roots, self._keeper.clock.now())

        def told(old: OpenStore, new: NextStore) -> list[Event]:
            changed = events.kms_mode_changed(actor, before=old.store.mode, after=after)
            moved = events.key_moved(actor, "rmk", new.store.rmk_id, place=after)
            gone = kms_reach.removed(actor, old, drop)
            return [changed, moved, *rotation_events(actor, old, new), *gone]

        self._keeper.change(change, told, _replacing(wanted))

    def _leave_behind(self, wanted: RootSettings | None, actor: str) -> tuple[str, ...]:
        """A new store in place of one that nothing opens; returns the MEKs that went with it."""
        after, now = wanted.kind if wanted else LOCAL, self._keeper.clock.now()
        before, left = self._keeper.current()[0], list[str]()

        def build(closed: KmsStore, raw: bytes) -> NextStore:
            self._check_closed()
            # recipients wrap without being asked: the new keys are as safe as the old ones were
            others = (self._keeper.roots.find(w) for w in closed.wraps if w.kind in RECIPIENT_KINDS)
            roots = RootSet(after, self._root_of(wanted), tuple(others))
            new = kms_change.abandoned(closed, raw, roots, now, self._ring_before())
            known = {mek.id for mek in new.ring}
            left.extend(mek.id for mek in closed.meks if mek.id not in known)
            return new

        def told(new: NextStore) -> list[Event]:
            lost = MekState.UNAVAILABLE.value
            return [
                events.kms_mode_changed(actor, before=before.mode, after=after),
                events.key_generated(actor, "rmk", new.store.rmk_id),
                events.key_generated(actor, "mek", new.ring.active.id),
                *(events.key_changed(actor, "mek", mek_id, state=lost) for mek_id in left),
            ]

        self._keeper.replace_closed(build, told, _replacing(wanted))
        return tuple(left)

    def _check_closed(self) -> None:
        """Leave nothing behind that opens by now: somebody else may have done what is asked for."""
        try:
            self._keeper.keys.opened()
        except StrongroomError:
            return
        raise ConflictError(
            "the present keys can be opened by now, so nothing was left behind",
            hint="look at 'tsm security kms status', then run the command again",
        )

    def _ring_before(self) -> KeyRing | None:
        """The MEKs of the store before the last change, if that one was not proved yet and opens.

        A move to a root that answers no more after it is so undone: what was there before it is
        not lost.
        """
        try:
            raw = self._keeper.configuration.open_secret(PREVIOUS_STORE).reveal()
            return self._open_former(raw)
        except StrongroomError:
            return None


def _check_new(store: KmsStore, settings: RootSettings) -> None:
    if any(settings.opens(wrap) for wrap in store.wraps):
        raise StateError(f"{settings.root_key_id} wraps the RMK already")


def _said(drift: RecipientDrift) -> str:
    return f"{drift.problem}; run 'tsm security kms roots repair'"


def _with_drift(state: RootState, drift: Sequence[RecipientDrift]) -> RootState:
    """A recipient that opens the RMK and not the configuration keys would not bring the node back."""
    wrong = "; ".join(_said(one) for one in drift if one.recipient == state.root_key_id)
    return replace(state, problem=state.problem or wrong)


def _stray(drift: RecipientDrift) -> RootState:
    """A recipient of configuration keys that the RMK does not know."""
    who, role = drift.recipient, "configuration keys only"
    return RootState("", RECIPIENT_KINDS[0], who, role, False, _said(drift), "", "")


def _replacing(wanted: RootSettings | None) -> SettingsChange:
    """The settings of one root instead of those that are stored for its key."""

    def resettle(present: tuple[RootSettings, ...]) -> tuple[RootSettings, ...]:
        if wanted is None:
            return present
        key = (wanted.kind, wanted.root_key_id)
        return (*(one for one in present if (one.kind, one.root_key_id) != key), wanted)

    return resettle


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


def _plan(store: kms_store.KmsStore, after: str, key_id: str) -> tuple[str, ...]:
    return (
        f"make a new RMK under {after} {key_id}",
        f"wrap {counted(len(store.meks), 'MEK')} by it and make a new one that encrypts",
        "open the new store again and compare every key",
        f"put it in place, and drop the wrap of {store.mode} {store.wraps[0].root_key_id}",
    )


def _named(opened: OpenStore, wrap_id: str) -> tuple[str, str]:
    wrap = next(wrap for wrap in opened.store.wraps if wrap.id == wrap_id)
    return wrap.kind, wrap.root_key_id
