"""Tries a staged KMS store on this node, and says so to whoever makes the change (docs/format/key-changes.md 2).

The store is opened by this node's own access to its roots, without any key from memory: what another process of the
installation can open says nothing of this node.
"""

import hashlib
from typing import NamedTuple

from strongroom.clock import format_utc
from strongroom.coordination.base import Change
from strongroom.coordination.floors import Point
from strongroom.errors import IntegrityError, RootError, StrongroomError
from strongroom.eventlog.base import SYSTEM
from strongroom.eventlog.events import key_events, node_events
from strongroom.joining import acknowledgements
from strongroom.joining.acknowledgements import MAX_CAUSE, Acknowledgement
from strongroom.joining.node_keys import NodeKeys
from strongroom.kms import next_store, staged
from strongroom.kms import store as kms_store
from strongroom.kms.links import Continuity
from strongroom.kms.opening import FindRoot
from strongroom.kms.staged import Content, StagedState, StagedStore
from strongroom.kms.store import KmsStore
from strongroom.roots import settings as root_settings
from strongroom.services.keys.keeper import KmsPorts, StoreKeeper


class Tried(NamedTuple):
    """The findings of a trial.

    Attributes:
        wrap: The id of the wrap by which the store opened first; empty if none did.
        digest: SHA-256 of the store, in hexadecimal digits.
        cause: Why the store cannot be used here; empty if it can.
    """

    wrap: str
    digest: str
    cause: str


class TrialOfChange:
    """The part of a node in the changes that others make."""

    def __init__(
        self,
        keeper: StoreKeeper,
        ports: KmsPorts,
        node: tuple[NodeKeys, str],
    ) -> None:
        """Take the ports.

        Args:
            keeper: The KMS store.
            ports: The ports of key management.
            node: The node's own keys, and the id of this process.
        """
        self._keeper = keeper
        self._ports = ports
        self._keys, self._boot = node

    def look(self) -> None:
        """Try what is staged, unless this node has said already what it found, or is not asked.

        Raises:
            StrongroomError: Nothing could be read or written; the next look tries again.
        """
        entry = self._ports.coordinator.get(staged.ENTRY)
        if entry is None:
            return
        change = staged.parse(entry.value)
        if change.state is not StagedState.STAGED:
            return
        name = acknowledgements.entry(change.change_id, self._keys.node_id)
        if self._keys.node_id not in change.nodes or self._ports.coordinator.version(name):
            return
        tried = self._try(change)
        told = [
            node_events.kms_change_tried(change.change_id, epoch=change.epoch, cause=tried.cause)
        ]
        if not tried.cause:
            # The intent is in the log of this node, too: if whoever makes the change dies right behind the put, this
            # node knows the store by it, and goes on from there.
            told.append(
                key_events.kms_store_changing(SYSTEM, epoch=change.epoch, digest=tried.digest)
            )
        self._ports.event_log.append(told)
        word = Acknowledgement(
            change_id=change.change_id,
            staged=hashlib.sha256(entry.value).hexdigest(),
            present=change.present,
            boot=self._boot,
            wrap=tried.wrap,
            cause=tried.cause[:MAX_CAUSE],
            at=format_utc(self._ports.clock.now()),
        )
        self._ports.coordinator.put({name: Change(word.signed(self._keys), 0)})

    # ---- inside ----------------------------------------------------------------------------------

    def _try(self, change: StagedStore) -> Tried:
        try:
            content = self._content(change)
            store = kms_store.parse(content.store)
            self._check_place(change, store, content.store)
            found = self._keeper.find_among(
                None if content.settings is None else root_settings.parse(content.settings)
            )
            wrap = _open_by_every_root(store, found)
            next_store.check_canary(content.store, found)
        except StrongroomError as error:
            return Tried("", "", error.with_hint)
        return Tried(wrap, kms_store.digest(content.store), "")

    def _content(self, change: StagedStore) -> Content:
        configuration = self._keeper.configuration
        installation_id = configuration.document().installation_id
        return change.opened(installation_id, configuration.open_key(change.key_id))

    def _check_place(self, change: StagedStore, store: KmsStore, raw: bytes) -> None:
        """Refuse a store that is not to follow on the present one.

        Raises:
            IntegrityError: The present store is another one, or the staged one does not follow from it.
        """
        present, present_raw = self._keeper.current()
        point = Point(present.epoch, hashlib.sha256(present_raw).digest())
        if point != change.present or store.epoch != change.epoch:
            raise IntegrityError(
                "the staged KMS store is one for another state of the installation"
            )
        found = store.continuity(present.known(present_raw), raw)
        if found not in {Continuity.FOLLOWS, Continuity.BROKEN}:
            raise IntegrityError("the staged KMS store does not follow from the present one")


def _open_by_every_root(store: KmsStore, find_root: FindRoot) -> str:
    """Open a store by each wrap whose root can be asked; returns the id of the first one.

    Raises:
        StrongroomError: A root does not open the store, or none can be asked.
    """
    opened = []
    for wrap in store.wraps:
        root = find_root(wrap)
        if root.describe().online:
            store.open_ring(store.rmk(root.unwrap(wrap)))
            opened.append(wrap.id)
    if not opened:
        raise RootError("no root of the staged KMS store can be asked")
    return opened[0]
