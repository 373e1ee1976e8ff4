"""Wraps a new RMK by the recovery roots; if one of them cannot be reached, the rotation fails before any change.

A rotation never drops a recovery root by itself, or an outage at the wrong moment would silently take a way back from
the administrator. Only roots that the operator names are left out.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from strongroom.crypto.secret import SecretBytes
from strongroom.errors import NotFoundError, RootError, StateError
from strongroom.eventlog.base import Event
from strongroom.eventlog.events import key_events
from strongroom.kms.next_store import WrapsKeys
from strongroom.kms.opening import FindRoot, OpenStore
from strongroom.kms.store import KmsStore
from strongroom.roots.base import Context, WrapRecord
from strongroom.roots.registry import RECIPIENT_KINDS


def without(store: KmsStore, drop: Collection[str]) -> KmsStore:
    """The store without the wraps of the recovery roots to give up.

    Raises:
        NotFoundError: The store has no wrap of such an id.
        StateError: A wrap is that of the mode's root, or of a recipient, which is never asked and so never in the way.
    """
    mode, *others = store.wraps
    by_id = {wrap.id: wrap for wrap in others}
    for wrap_id in drop:
        if wrap_id == mode.id:
            raise StateError(
                f"wrap {wrap_id} is that of the KMS mode, and is never dropped",
                hint="change the mode: set-mode",
            )
        if wrap_id not in by_id:
            raise NotFoundError(f"there is no wrap {wrap_id}", hint="see 'kms roots list'")
        if by_id[wrap_id].kind in RECIPIENT_KINDS:
            raise StateError(
                f"wrap {wrap_id} is for a recovery recipient, which is never asked",
                hint="take it away with 'tsm security kms roots remove'",
            )
    kept = tuple(wrap for wrap in others if wrap.id not in drop)
    return replace(store, wraps=(mode, *kept))


def removed(actor: str, opened: OpenStore, drop: Collection[str]) -> list[Event]:
    """The events of wraps that were given up."""
    gone = [wrap for wrap in opened.store.wraps if wrap.id in drop]
    return [key_events.root_removed(actor, wrap.kind, wrap.root_key_id) for wrap in gone]


def recovery_roots(wraps: Iterable[WrapRecord], find_root: FindRoot) -> tuple[WrapsKeys, ...]:
    """The recovery roots that made these wraps; an error of theirs names the option to go on without them."""
    return tuple(_Named(wrap.id, find_root, wrap) for wrap in wraps)


@dataclass(frozen=True)
class _Named:
    """A recovery root together with its present wrap, whose id the hint of an error needs."""

    wrap_id: str
    find_root: FindRoot
    known_by: WrapRecord

    def wrap(self, key: SecretBytes, context: Context) -> WrapRecord:
        try:
            return self.find_root(self.known_by).wrap(key, context)
        except RootError as error:
            raise type(error)(
                f"nothing was changed: a recovery root does not wrap the new RMK: {error.message}",
                hint=f"{error.hint}; or give it up: --drop-root {self.wrap_id}",
            ) from error
