"""The KMS store of a node of format 1, for `strongroom upgrade`: proved as it lies, backed up, and brought to format 2.

Nothing else reads such a store in a node. Every call may be repeated, so that the next upgrade finishes what a killed one
began.
"""

from collections.abc import Mapping

from strongroom.errors import IntegrityError, StateError
from strongroom.eventlog.base import SYSTEM
from strongroom.eventlog.events import key_events
from strongroom.kms import any_store, from_format_1, next_store
from strongroom.kms import store as kms_store
from strongroom.kms.any_store import HeldKeys
from strongroom.kms.closed_stores import ClosedStore
from strongroom.kms.links import Known
from strongroom.kms.opening import OpenedKeys, open_keys
from strongroom.kms.prover import Prover
from strongroom.kms.store_1 import KmsStore1
from strongroom.roots.settings import RootSettings
from strongroom.services.keys.closed import ClosedStores
from strongroom.services.keys.keeper import PREVIOUS_STORE, KmsPorts, StoreKeeper
from strongroom.services.keys.stored import STORE


class OlderStore:
    """The KMS store of a node whose format may be 1; the caller must ensure that nobody serves the node."""

    def __init__(self, keeper: StoreKeeper, ports: KmsPorts) -> None:
        self._keeper, self._ports = keeper, ports
        self._find = keeper.providers.find
        self._closed = ClosedStores(ports.coordinator, keeper.configuration.open_key)

    @property
    def is_older(self) -> bool:
        """Whether the store is of format 1."""
        return isinstance(any_store.parse(self._keeper.stored()), KmsStore1)

    # ---- as it lies ------------------------------------------------------------------------------

    def check(self) -> None:
        """Ask every root for the keys of the store.

        Raises:
            StateError: The keys are not in order.
        """
        store, raw = self._read()
        ports = self._ports
        prover = Prover(self._find, ports.kept, ports.clock, ports.monotonic)
        proof, _ = prover.prove(store, raw, [lambda: self._check_seen(store, raw)])
        if proof.problems:
            raise StateError(
                f"the keys are not in order: {proof.problems[0]}; nothing was changed",
                hint="put it in order with the release that wrote the node, then upgrade",
            )

    def held(self) -> HeldKeys:
        """The store with its open keys, for a backup.

        Raises:
            StrongroomError: No root opens it.
        """
        store, raw = self._read()
        keys = self._opened(store)
        return HeldKeys(store, kms_store.digest(raw), keys.rmk, keys.ring)

    def root_settings(self) -> tuple[RootSettings, ...]:
        """The settings by which the roots are reached."""
        return self._keeper.root_settings()

    def closed_stores(self) -> Mapping[ClosedStore, bytes]:
        """The bytes of the closed stores, which lie inside the store."""
        return {any_store.reference(raw): raw for raw in self._read()[0].former}

    # ---- to format 2 -----------------------------------------------------------------------------

    def bring(self, actor: str) -> None:
        """Put the store of format 2 in its place, under the lock of keys, which the caller holds.

        Raises:
            IntegrityError: The store is not the one that this node has seen last, or does not prove.
            StrongroomError: No root opens the store.
        """
        if self.is_older:
            self._put(actor)
        self._mark(actor)
        self._keeper.settle()

    def _put(self, actor: str) -> None:
        store, raw = self._read()
        self._check_seen(store, raw)
        change = from_format_1.linked(store, raw, self._opened(store), self._find)
        next_store.prove(change, self._find)
        configuration = self._keeper.configuration
        before = configuration.document()
        values = {STORE: change.raw, PREVIOUS_STORE: raw}
        sealed = {name: configuration.seal_secret(name, value) for name, value in values.items()}
        closed = self._closed.changes(
            change.store, change, before.configuration_key_id, reseals=False
        )
        epoch, digest = change.store.epoch, kms_store.digest(change.raw)
        changing = key_events.kms_store_changing(actor, epoch=epoch, digest=digest)
        self._ports.event_log.append([changing])
        self._keeper.put(before, before.with_values(sealed), change, closed)

    def _mark(self, actor: str) -> None:
        """Tell of the store and mark it as the one seen last, where a mark of format 1 is left (4.3)."""
        store, raw = self._keeper.current()
        mark, seen = self._ports.marks.read(), store.known(raw)
        if mark is not None and mark.key:
            return
        link = store.links[-1]
        if mark is not None and (mark.epoch, mark.digest) != (link.epoch - 1, link.digest):
            raise _replaced(store.epoch, mark.epoch)
        changed = key_events.kms_store_changed(actor, epoch=seen.epoch, digest=seen.digest)
        self._ports.event_log.append([changed])
        self._ports.marks.write(seen)

    def _read(self) -> tuple[KmsStore1, bytes]:
        raw = self._keeper.stored()
        store = any_store.parse(raw)
        if not isinstance(store, KmsStore1):
            raise StateError("the KMS store is not of format 1 any more")
        return store, raw

    def _opened(self, store: KmsStore1) -> OpenedKeys:
        return open_keys(store, self._find, lambda *_: None)

    def _check_seen(self, store: KmsStore1, raw: bytes) -> None:
        """Refuse a store that is older than the last one seen, or another one; mark a newer one (R19)."""
        mark, digest = self._ports.marks.read(), kms_store.digest(raw)
        if mark is not None and (mark.epoch, mark.digest) == (store.epoch, digest):
            return
        if mark is not None and store.epoch <= mark.epoch:
            raise _replaced(store.epoch, mark.epoch)
        # the process that committed this store died before it wrote the event and the mark: both are written now
        changed = key_events.kms_store_changed(SYSTEM, epoch=store.epoch, digest=digest)
        self._ports.event_log.append([changed])
        self._ports.marks.write(Known(store.epoch, digest, b""))


def _replaced(epoch: int, seen: int) -> IntegrityError:
    return IntegrityError(
        f"the KMS store has epoch {epoch}, but epoch {seen} was seen before: it was rolled back or replaced",
        hint="find out why, with the release that wrote the node: 'strongroom recover --accept-epoch N' of it",
    )
