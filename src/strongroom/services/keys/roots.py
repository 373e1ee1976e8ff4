"""The use cases about the wraps of the RMK: recovery roots beside that of the mode, and closed stores that open again.

A root wraps the RMK. The root of the mode is asked in daily use, and chosen in `services.keys.modes`; recovery roots
wrap the same RMK for emergencies.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

from strongroom.configuration_keys.recovery_copy import RecipientDrift, recipients_in
from strongroom.coordination.leases import Check
from strongroom.errors import StateError, StrongroomError
from strongroom.eventlog.base import Event
from strongroom.eventlog.events import key_events
from strongroom.kms import any_store, next_store, same_key
from strongroom.kms import store as kms_store
from strongroom.kms.closed_stores import ClosedStore
from strongroom.kms.keyring import KeyRing
from strongroom.kms.next_store import NextStore
from strongroom.kms.opening import FindRoot, OpenStore
from strongroom.kms.same_key import Recognised
from strongroom.kms.store import KmsStore
from strongroom.roots.base import NEVER, WrapRecord
from strongroom.roots.registry import AGE, RECIPIENT_KINDS
from strongroom.roots.settings import RootSettings
from strongroom.services.keys import trials
from strongroom.services.keys.keeper import Present, StoreKeeper
from strongroom.services.keys.key_recipients import KeyRecipients


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


@dataclass(frozen=True)
class ClosedState:
    """A closed KMS store, as it may be shown.

    Attributes:
        digest: SHA-256 of its bytes, by which it is named.
        epoch: The epoch of that store.
        rmk_id: The RMK of that store.
        meks: The ids of its MEKs.
        roots: Kind and key of each root that would open it.
    """

    digest: str
    epoch: int
    rmk_id: str
    meks: tuple[str, ...]
    roots: tuple[str, ...]


class RootsService:
    """The use cases of `kms roots` and `kms adopt`."""

    def __init__(
        self,
        keeper: StoreKeeper,
        recipients: KeyRecipients,
    ) -> None:
        """Take the ports.

        Args:
            keeper: The KMS store.
            recipients: The recovery recipients of the configuration keys, which have wraps of them as well.
        """
        self._keeper = keeper
        self._recipients = recipients
        self._open_keys = recipients.open_keys

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

        self._keeper.commit(build, lambda _, __: [key_events.roots_verified(actor, len(opened))])
        return self.list() if any(s.problem for s in states) else states

    def add(self, settings: RootSettings, actor: str) -> str:
        """Wrap the RMK by one root more; returns the wrap's id.

        Raises:
            StateError: The root wraps the RMK already.
        """
        is_recipient = settings.kind in RECIPIENT_KINDS
        store, _ = self._keeper.current()
        kms_store.check_room(store, wraps=1)
        root, found = self._keeper.providers.build(settings), Recognised(settings.lasting)
        if root.describe().online:
            trials.try_out(root)
            found = same_key.recognised(store, settings, self._keeper.providers.build)
        _check_new(store, found)

        def build(present: Present) -> NextStore:
            opened = present.opened
            if is_recipient:
                self._recipients.check_others()
            _check_new(opened.store, found)
            found.check_apart(opened.store.wraps, self._keeper.root_settings())
            apart = same_key.renamed(opened, settings, self._keeper.providers.find)
            return next_store.with_wrap(opened, root, apart)

        def events_of(_: Present, new: NextStore) -> list[Event]:
            done = key_events.root_added(actor, settings.kind, new.store.wraps[-1].root_key_id)
            return [done, *(self._keys_moved(actor, settings.root_key_id) if is_recipient else ())]

        added = self._keeper.commit(
            build,
            events_of,
            # A key's replica in another region opens the same wraps. It was added as a root of its own, so its settings
            # must not replace those of the key it mirrors.
            replace(found, opened=()).settle,
            prepare=partial(self._wrap_keys, actor) if is_recipient else None,
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
        trials.try_out(self._keeper.providers.build(settings))
        found = same_key.recognised(store, settings, self._keeper.providers.build)
        for wrap in closed:
            if found.unwraps(wrap):
                found.check_apart(store.wraps, self._keeper.root_settings())
                event = key_events.root_reached_anew(actor, settings.kind, settings.root_key_id)
                self._keeper.replace_settings(found.settle, event)
                return wrap.id
        return ""

    def remove(self, wrap_id: str, actor: str) -> None:
        """Remove the wrap of a recovery root.

        Raises:
            NotFoundError: The store has no wrap of this id.
            StateError: The wrap is that of the mode's root, without which the node would not open.
        """

        def build(present: Present) -> NextStore:
            change = next_store.without_wrap(present.opened, wrap_id)
            if self._keys_left_to(change):
                self._recipients.check_others()
            return change

        self._keeper.commit(
            build,
            lambda old, _: [key_events.root_removed(actor, *_named(old.opened, wrap_id))],
            prepare=partial(self._unwrap_keys, actor),
        )

    def repair(self, actor: str) -> tuple[str, ...]:
        """Wrap the configuration keys for the same recovery recipients as the RMK; returns what was wrong.

        Raises:
            KeystoreError: A configuration key cannot be opened.
        """
        with self._keeper.changing() as check:
            store, _ = self._keeper.current()
            found = self._open_keys().drift(store.recipients)
            # also what a command that was killed has left to one node alone
            if self._recipients.change(store.recipients, actor, check):
                moves = [self._keys_moved(actor, one) for one in store.recipients]
                self._keeper.event_log.append([event for moved in moves for event in moved])
        return tuple(f"{one.recipient}: {one.problem}" for one in found)

    def adopt(self, actor: str, find: FindRoot | None = None) -> tuple[str, ...]:
        """Take back the MEKs of former stores that open again; returns their ids.

        Args:
            actor: The person or process that asks, for the events.
            find: Finds the root of a wrap; None asks the roots of the node.
        """
        found = self._opened_former(find or self._keeper.providers.find)
        if not found:
            return ()
        ids = tuple(mek.id for ring in found.values() for mek in ring)
        self._keeper.commit(
            lambda present: next_store.adopted(present.opened, found, self._keeper.clock.now()),
            lambda _, __: [key_events.meks_adopted(actor, mek_id) for mek_id in ids],
        )
        return ids

    def closed(self) -> tuple[ClosedState, ...]:
        """The closed stores: what they hold, and by which roots they would open.

        Raises:
            IntegrityError: A closed store is missing, or is another one.
        """
        return tuple(_closed_state(one, raw) for one, raw in self._keeper.closed_stores().items())

    def forget(self, digest: str, actor: str) -> None:
        """Give a closed store up for good (docs/format/kms-store.md 7.3).

        Raises:
            NotFoundError: There is no closed store of this digest.
        """
        self._keeper.commit(
            lambda present: next_store.forgotten(present.opened, digest),
            lambda _, __: [key_events.key_removed(actor, "closed store", digest)],
        )

    # ---- inside ----------------------------------------------------------------------------------

    def _opened_former(self, find: FindRoot) -> dict[ClosedStore, KeyRing]:
        """The MEKs of each closed store that opens."""
        found = {}
        for one, raw in self._keeper.closed_stores().items():
            with suppress(StrongroomError):
                found[one] = trials.open_former(raw, find)
        return found

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

    def _wrap_keys(self, actor: str, change: NextStore, check: Check) -> None:
        # Runs before the commit. If we die in between, the configuration keys have a wrap for a recipient too many,
        # which is harmless: that recipient has no wrap of the RMK. The other order could leave a recipient who opens
        # the RMK and not the configuration, so that the kit that was handed out would not bring the node back.
        self._recipients.change(change.store.recipients, actor, check)

    def _unwrap_keys(self, actor: str, change: NextStore, check: Check) -> None:
        # Runs before the commit. If we die in between, the RMK's wrap still names the recipient, so the command can be
        # repeated. The other order could leave a removed recipient who still opens the configuration keys, unseen.
        if self._keys_left_to(change):
            self._recipients.change(change.store.recipients, actor, check)

    def _keys_left_to(self, change: NextStore) -> bool:
        """Whether the configuration keys are wrapped for a recipient for whom the RMK will not be."""
        stays = set(change.store.recipients)
        return any(wrap.name not in stays for wrap in recipients_in(self._open_keys().records))

    def _keys_moved(self, actor: str, recipient: str) -> tuple[Event, ...]:
        ids = [record.id for record in self._open_keys().records]
        return tuple(
            key_events.key_moved(actor, "configuration", one, place=recipient) for one in ids
        )


def _closed_state(one: ClosedStore, raw: bytes) -> ClosedState:
    store = any_store.parse(raw)
    roots = tuple(f"{wrap.kind} {wrap.root_key_id}" for wrap in store.wraps)
    return ClosedState(
        one.digest, one.epoch, store.rmk_id, tuple(mek.id for mek in store.meks), roots
    )


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


def _named(opened: OpenStore, wrap_id: str) -> tuple[str, str]:
    wrap = next(wrap for wrap in opened.store.wraps if wrap.id == wrap_id)
    return wrap.kind, wrap.root_key_id
