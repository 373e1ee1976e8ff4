"""The use cases about roots: choosing the KMS mode, recovery roots beside it, and leaving a root that is lost.

A root wraps the RMK. The root of the mode is asked in daily use; recovery roots wrap the same RMK for emergencies. A
move to another root makes a new RMK and a new active MEK (Q-20), so that the old root opens nothing that is encrypted
afterwards. No extract is touched and no restart needed; until the commit the old root stays in force (A-10, A-20,
Q-05).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from strongroom.configuration_keys.keys import ConfigurationKeys
from strongroom.configuration_keys.recovery_copy import RecipientDrift, recipients_in
from strongroom.errors import ConflictError, RootError, StateError, StrongroomError
from strongroom.eventlog import events
from strongroom.eventlog.base import Event
from strongroom.kms import next_store, opening, recovery_wraps, same_key
from strongroom.kms import store as kms_store
from strongroom.kms.keyring import KeyRing
from strongroom.kms.next_store import NextStore, RootSet
from strongroom.kms.opening import FindRoot, OpenStore
from strongroom.kms.same_key import Recognised
from strongroom.kms.states import MekState
from strongroom.kms.store import KmsStore
from strongroom.roots import matching
from strongroom.roots.base import NEVER, RootProvider, WrapRecord
from strongroom.roots.registry import AGE, LOCAL, RECIPIENT_KINDS
from strongroom.roots.settings import RootSettings
from strongroom.services.keys.keeper import PREVIOUS_STORE, Present, StoreKeeper, rotation_events
from strongroom.system.plural import counted

_BY_ITSELF = "it is tried again by itself"


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


@dataclass(frozen=True)
class RootState:
    """The state of one wrap of the RMK.

    Attributes:
        wrap_id: UUID of the wrap.
        kind: Kind of root.
        root_key_id: The root's key.
        role: `mode` or `recovery`.
        online: Whether the node can ask the root; false for recipients, whose identity is kept offline.
        problem: Why the root does not open the RMK; empty if it does, or was not asked.
        added_at: When the wrap was made.
        last_verified: When the root last opened the RMK; empty if it has not yet.
        describe: Details that the root gives about itself: label, region, numbers of shares.
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
        named = wanted is not None and store.mode == after and wanted.opens(store.wraps[0])
        # Settings may ask the root to create its key. If they name the key that protects the present RMK, it must
        # exist: creating another one in its place would hide that the key is gone.
        asked = wanted and (wanted.lasting if named else wanted.on_trial if dry_run else wanted)
        root = self._root_of(asked)
        try:
            _try_out(root)
            found = self._recognised(store, wanted) if wanted else None
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

    def list(self) -> tuple[RootState, ...]:
        """Every wrap of the RMK, proved now where it can be."""
        store, _ = self._keeper.current()
        drift = self._open_keys().drift(store.recipients)
        states = [self._state(store, wrap) for wrap in store.wraps]
        known = {wrap.root_key_id for wrap in store.wraps}
        strays = [_stray(one) for one in drift if one.recipient not in known]
        return (*(_with_drift(state, drift) for state in states), *strays)

    def verify(self, actor: str) -> tuple[RootState, ...]:
        """As `list`; the store also records the time at which each wrap opened."""
        states = self.list()
        opened = frozenset(s.wrap_id for s in states if s.online and not s.problem)

        def build(present: Present) -> NextStore:
            return next_store.verified(present.opened, opened, self._keeper.clock.now())

        self._keeper.commit(build, lambda _, __: [events.roots_verified(actor, len(opened))])
        return self.list() if any(s.problem for s in states) else states

    def add(self, settings: RootSettings, actor: str) -> str:
        """Wrap the RMK by one root more; returns the wrap's id.

        Raises:
            StateError: The root wraps the RMK already.
        """
        is_recipient = settings.kind in RECIPIENT_KINDS
        store, _ = self._keeper.current()
        root, found = self._keeper.providers.build(settings), Recognised(settings.lasting)
        if root.describe().online:
            _try_out(root)
            found = self._recognised(store, settings)
        _check_new(store, found)

        def build(present: Present) -> NextStore:
            opened = present.opened
            _check_new(opened.store, found)
            found.check_apart(opened.store.wraps, self._keeper.root_settings())
            apart = same_key.renamed(opened, settings, self._keeper.providers.find)
            return next_store.with_wrap(apart, root)

        def events_of(_: Present, new: NextStore) -> list[Event]:
            done = events.root_added(actor, settings.kind, new.store.wraps[-1].root_key_id)
            return [done, *(self._keys_moved(actor, settings.root_key_id) if is_recipient else ())]

        added = self._keeper.commit(
            build,
            events_of,
            # A key's replica in another region opens the same wraps. It was added as a root of its own, so its settings
            # must not replace those of the key it mirrors.
            replace(found, opened=()).settle,
            prepare=self._wrap_keys if is_recipient else None,
        )
        return added.store.wraps[-1].id

    def reach_anew(self, settings: RootSettings, actor: str) -> str:
        """Replace the settings of a root whose present settings no longer open its wrap.

        Returns:
            The id of the wrap that the new settings open; empty if they open none of the wraps that are out of reach.
        """
        store, _ = self._keeper.current()
        closed = [
            wrap
            for wrap in store.wraps
            if wrap.kind == settings.kind and self._state(store, wrap).problem
        ]
        if not closed or settings.kind in RECIPIENT_KINDS:
            return ""
        _try_out(self._keeper.providers.build(settings))
        found = self._recognised(store, settings)
        for wrap in closed:
            if found.unwraps(wrap):
                found.check_apart(store.wraps, self._keeper.root_settings())
                event = events.root_reached_anew(actor, settings.kind, settings.root_key_id)
                self._keeper.replace_settings(found.settle, event)
                return wrap.id
        return ""

    def remove(self, wrap_id: str, actor: str) -> None:
        """Remove the wrap of a recovery root.

        Raises:
            NotFoundError: The store has no wrap of this id.
            StateError: The wrap is that of the mode's root, without which the node would not open.
        """
        self._keeper.commit(
            lambda present: next_store.without_wrap(present.opened, wrap_id),
            lambda old, _: [events.root_removed(actor, *_named(old.opened, wrap_id))],
            prepare=self._unwrap_keys,
        )

    def repair(self, actor: str) -> tuple[str, ...]:
        """Wrap the configuration keys for the same recovery recipients as the RMK; returns what was wrong.

        Raises:
            KeystoreError: A configuration key cannot be opened.
        """
        with self._keeper.changing():
            store, _ = self._keeper.current()
            keys = self._open_keys()
            found = keys.drift(store.recipients)
            if keys.set_recipients(store.recipients):
                moves = [self._keys_moved(actor, one) for one in store.recipients]
                self._keeper.event_log.append([event for moved in moves for event in moved])
        return tuple(f"{one.recipient}: {one.problem}" for one in found)

    def adopt(self, actor: str, find: FindRoot | None = None) -> tuple[str, ...]:
        """Take back the MEKs of former stores that open again; returns their ids.

        Args:
            actor: The person or process that asks, for the events.
            find: Finds the root of a wrap; None asks the roots of the node.
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
        self._keeper.commit(
            lambda present: next_store.adopted(present.opened, found, self._keeper.clock.now()),
            lambda _, __: [events.meks_adopted(actor, mek_id) for mek_id in ids],
        )
        return ids

    # ---- inside ----------------------------------------------------------------------------------

    def _state(self, store: KmsStore, wrap: WrapRecord) -> RootState:
        problem, online, details = "", True, {"root_key_id": wrap.root_key_id}
        try:
            root = self._keeper.providers.find(wrap)
            online = root.describe().online
            if online:
                store.open_ring(store.rmk(root.unwrap(wrap)))
            details |= root.describe().details
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
            details,
        )

    def _open_former(self, raw: bytes, find: FindRoot | None = None) -> KeyRing:
        former = kms_store.parse(raw)
        return opening.open_store(former, find or self._keeper.providers.find, lambda *_: None).ring

    def _wrap_keys(self, change: NextStore) -> None:
        # Runs before the commit. If we die in between, the configuration keys have a wrap for a recipient too many,
        # which is harmless: that recipient has no wrap of the RMK. The other order could leave a recipient who opens
        # the RMK and not the configuration, so that the kit that was handed out would not bring the node back.
        self._open_keys().set_recipients(change.store.recipients)

    def _unwrap_keys(self, change: NextStore) -> None:
        # Runs before the commit. If we die in between, the RMK's wrap still names the recipient, so the command can be
        # repeated. The other order could leave a removed recipient who still opens the configuration keys, unseen.
        keys = self._open_keys()
        stays = set(change.store.recipients)
        if any(wrap.name not in stays for wrap in recipients_in(keys.records)):
            keys.set_recipients(change.store.recipients)

    def _keys_moved(self, actor: str, recipient: str) -> tuple[Event, ...]:
        ids = [record.id for record in self._open_keys().records]
        return tuple(events.key_moved(actor, "configuration", one, place=recipient) for one in ids)

    def _root_of(self, wanted: RootSettings | None) -> RootProvider:
        if wanted is not None:
            return self._keeper.providers.build(wanted)
        store, _ = self._keeper.current()
        return self._keeper.providers.all_for(store, LOCAL).primary

    def _recognised(self, store: KmsStore, wanted: RootSettings) -> Recognised:
        return same_key.recognised(store, wanted, self._keeper.providers.build)

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
                found.settle, events.root_reached_anew(actor, after, wanted.root_key_id)
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
            others = recovery_wraps.without(opened, drop).store.wraps[1:]
            kept = [wrap for wrap in others if not (found and found.unwraps(wrap))]
            if found:
                found.check_apart(kept, self._keeper.root_settings())
            recovery = recovery_wraps.recovery_roots(kept, self._keeper.providers.find)
            roots = RootSet(after, self._root_of(found.wanted if found else None), recovery)
            return next_store.rotated(opened, roots, self._keeper.clock.now())

        def events_of(present: Present, new: NextStore) -> list[Event]:
            old = present.opened
            changed = events.kms_mode_changed(actor, before=old.store.mode, after=after)
            moved = events.key_moved(actor, "rmk", new.store.rmk_id, place=after)
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

        def events_of(_: Present, new: NextStore) -> list[Event]:
            lost = MekState.UNAVAILABLE.value
            return [
                events.kms_mode_changed(actor, before=before.mode, after=after),
                events.key_generated(actor, "rmk", new.store.rmk_id),
                events.key_generated(actor, "mek", new.ring.active.id),
                *(events.key_changed(actor, "mek", mek_id, state=lost) for mek_id in left),
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
            return self._open_former(raw)
        except StrongroomError:
            return None


def _try_out(root: RootProvider) -> None:
    """Wrap and unwrap by a root that is not in use yet.

    The hint of an error must not promise that the root is tried again by itself: no process does so for a root that the
    node does not use.
    """
    try:
        root.check()
    except RootError as error:
        hint = error.hint
        for words in (f"{_BY_ITSELF}; ", f"; {_BY_ITSELF}"):
            hint = hint.replace(words, "")
        raise type(error)(error.message, hint=hint) from error.__cause__


def _check_new(store: KmsStore, found: Recognised) -> None:
    if any(found.wanted.opens(wrap) and not found.refuses(wrap) for wrap in store.wraps):
        raise StateError(f"{found.wanted.root_key_id} wraps the RMK already")


def _described(drift: RecipientDrift) -> str:
    return f"{drift.problem}; run 'tsm security kms roots repair'"


def _with_drift(state: RootState, drift: Sequence[RecipientDrift]) -> RootState:
    """The state with the drift of its recipient: who opens the RMK but not the configuration keys cannot recover a node."""
    wrong = "; ".join(_described(one) for one in drift if one.recipient == state.root_key_id)
    return replace(state, problem=state.problem or wrong)


def _stray(drift: RecipientDrift) -> RootState:
    """The state of a recipient that has wraps of the configuration keys and none of the RMK."""
    who, role = drift.recipient, "configuration keys only"
    return RootState("", AGE, who, role, False, _described(drift), "", "")


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
