"""Roots: the KMS mode, recovery roots beside it, moves between roots and the way out of a lost one.

A move makes a new RMK and a new active MEK (Q-20), touches no extract and needs no restart; until its
commit all is as before (A-10, A-20, Q-05).
"""

from dataclasses import dataclass

from strongroom.errors import RootError, StateError, StrongroomError
from strongroom.eventlog import events
from strongroom.eventlog.base import Event
from strongroom.kms import opening
from strongroom.kms import store as kms_store
from strongroom.kms.keyring import KeyRing
from strongroom.kms.opening import OpenStore
from strongroom.kms.store import KmsStore
from strongroom.roots.base import RootProvider
from strongroom.roots.settings import RootSettings
from strongroom.services import kms_change
from strongroom.services.kms_change import NextStore, RootSet
from strongroom.services.kms_keeper import StoreKeeper, rotation_events

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
        last_verified: When it last opened the RMK.
    """

    wrap_id: str
    kind: str
    root_key_id: str
    role: str
    online: bool
    problem: str
    added_at: str
    last_verified: str


class RootsService:
    """The use cases of `set-mode` and `kms roots`."""

    def __init__(self, keeper: StoreKeeper) -> None:
        self._keeper = keeper

    def set_mode(
        self,
        wanted: RootSettings | None,
        actor: str,
        *,
        dry_run: bool = False,
        abandon: bool = False,
    ) -> ModeChange:
        """Move to another root, online.

        Args:
            wanted: The new root; None is the local one.
            actor: Who asks.
            dry_run: Only check and tell.
            abandon: Close the present keys if nothing opens them (Q-05); their extracts stay
                unreadable until one of their wraps opens again.

        Raises:
            RootError: The new root does not do its work, or the old one does not open the store.
        """
        store, _ = self._keeper.current()
        after = wanted.kind if wanted else LOCAL
        if store.mode == after and (wanted is None or wanted.opens(store.wraps[0])):
            key_id = store.wraps[0].root_key_id
            if wanted is None or wanted in self._keeper.settings() or dry_run:
                return ModeChange(store.mode, after, key_id, (), done=False)
            self._reach_anew(store, wanted, actor)
            return ModeChange(store.mode, after, key_id, (), done=True)
        root = self._root_of(wanted)
        root.check()
        key_id = root.describe().root_key_id
        plan = _plan(store, after, key_id)
        if dry_run:
            return ModeChange(store.mode, after, key_id, plan, done=False)
        try:
            self._keeper.keys.opened()
        except StrongroomError as error:
            return self._leave_behind(wanted, actor, error, abandon=abandon)
        self._move(wanted, actor)
        return ModeChange(store.mode, after, key_id, plan, done=True)

    def list(self) -> tuple[RootState, ...]:
        """Every wrap of the RMK, proved now where it can be."""
        store, _ = self._keeper.current()
        states = []
        for number, wrap in enumerate(store.wraps):
            problem, online = "", True
            try:
                root = self._keeper.roots.find(wrap)
                online = root.describe().online
                if online:
                    store.open_ring(store.rmk(root.unwrap(wrap)))
            except StrongroomError as error:
                problem = error.message
            states.append(
                RootState(
                    wrap.id,
                    wrap.kind,
                    wrap.root_key_id,
                    "recovery" if number else "mode",
                    online,
                    problem,
                    wrap.added_at,
                    wrap.last_verified,
                )
            )
        return tuple(states)

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
        store, _ = self._keeper.current()
        if any(settings.opens(wrap) for wrap in store.wraps):
            raise StateError(f"{settings.root_key_id} wraps the RMK already")
        root = self._keeper.roots.build(settings)
        if root.describe().online:
            root.check()
        added = self._keeper.change(
            lambda opened: kms_change.with_wrap(opened, root),
            lambda _, new: [
                events.root_added(actor, settings.kind, new.store.wraps[-1].root_key_id)
            ],
            (*self._keeper.settings(), settings),
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
        )

    def adopt(self, actor: str) -> tuple[str, ...]:
        """Take back the MEKs of former stores that open again; returns their ids."""
        store, _ = self._keeper.current()
        found: dict[bytes, KeyRing] = {}
        for raw in store.former:
            try:
                found[raw] = self._open_former(raw)
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

    def _open_former(self, raw: bytes) -> KeyRing:
        former = kms_store.parse(raw)
        return opening.open_store(former, self._keeper.roots.find, lambda *_: None).ring

    def _root_of(self, wanted: RootSettings | None) -> RootProvider:
        if wanted is not None:
            return self._keeper.roots.build(wanted)
        store, _ = self._keeper.current()
        return self._keeper.roots.all_for(store, LOCAL).primary

    def _settings_with(self, wanted: RootSettings | None) -> tuple[RootSettings, ...]:
        present = self._keeper.settings()
        if wanted is None:
            return present
        others = tuple(
            one
            for one in present
            if (one.kind, one.root_key_id) != (wanted.kind, wanted.root_key_id)
        )
        return (*others, wanted)

    def _reach_anew(self, store: KmsStore, wanted: RootSettings, actor: str) -> None:
        """Keep the key and replace the way to it, once that way opens the present RMK."""
        wrap = store.wraps[0]
        store.open_ring(store.rmk(self._keeper.roots.build(wanted).unwrap(wrap)))
        self._keeper.replace_settings(
            self._settings_with(wanted),
            events.root_reached_anew(actor, wanted.kind, wanted.root_key_id),
        )

    def _move(self, wanted: RootSettings | None, actor: str) -> None:
        after, root = wanted.kind if wanted else LOCAL, self._root_of(wanted)

        def change(opened: OpenStore) -> NextStore:
            others = self._keeper.roots.all_for(opened.store, opened.store.mode).others
            return kms_change.rotated(
                opened, RootSet(after, root, others), self._keeper.clock.now()
            )

        def told(old: OpenStore, new: NextStore) -> list[Event]:
            changed = events.kms_mode_changed(actor, before=old.store.mode, after=after)
            moved = events.key_moved(actor, "rmk", new.store.rmk_id, place=after)
            return [changed, moved, *rotation_events(actor, old, new)]

        self._keeper.change(change, told, self._settings_with(wanted))

    def _leave_behind(
        self,
        wanted: RootSettings | None,
        actor: str,
        error: StrongroomError,
        *,
        abandon: bool,
    ) -> ModeChange:
        if not abandon:
            raise RootError(
                f"the present keys cannot be opened, so they cannot be moved: {error.message}",
                hint="repair the root, open it by a recovery root, or leave the present keys behind"
                " with --abandon-external-keys: their extracts stay unreadable until a root of"
                " theirs answers again",
            ) from error
        after, root = wanted.kind if wanted else LOCAL, self._root_of(wanted)
        store, _ = self._keeper.current()
        self._keeper.replace_closed(
            lambda closed, raw: kms_change.abandoned(
                closed, raw, RootSet(after, root), self._keeper.clock.now()
            ),
            events.kms_mode_changed(actor, before=store.mode, after=after),
            self._settings_with(wanted),
        )
        ids = tuple(mek.id for mek in store.meks)
        key_id = root.describe().root_key_id
        return ModeChange(store.mode, after, key_id, _plan(store, after, key_id), True, ids)


def _plan(store: kms_store.KmsStore, after: str, key_id: str) -> tuple[str, ...]:
    return (
        f"make a new RMK under {after} {key_id}",
        f"wrap {len(store.meks)} MEKs by it and make a new one that encrypts",
        "open the new store again and compare every key",
        f"put it in place, and drop the wrap of {store.mode} {store.wraps[0].root_key_id}",
    )


def _named(opened: OpenStore, wrap_id: str) -> tuple[str, str]:
    wrap = next(wrap for wrap in opened.store.wraps if wrap.id == wrap_id)
    return wrap.kind, wrap.root_key_id
