"""Recovery roots that a new RMK is wrapped by: if one cannot be reached, a rotation fails before any change.

Only a recovery root that the operator names is left out: a rotation never drops a way back by itself.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from strongroom.crypto.secret import SecretBytes
from strongroom.errors import NotFoundError, RootError, StateError
from strongroom.eventlog import events
from strongroom.eventlog.base import Event
from strongroom.kms.opening import FindRoot, OpenStore
from strongroom.roots.base import RECIPIENT_KINDS, Context, WrapRecord
from strongroom.services.kms_change import WrapsKeys


def without(opened: OpenStore, drop: Collection[str]) -> OpenStore:
    """The opened store without the wraps of recovery roots that are given up.

    Raises:
        NotFoundError: There is no wrap of such an id.
        StateError: It is that of the mode's root, or of a recipient that is never asked.
    """
    mode, *others = opened.store.wraps
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
    return replace(opened, store=replace(opened.store, wraps=(mode, *kept)))


def removed(actor: str, opened: OpenStore, drop: Collection[str]) -> list[Event]:
    """What the event log is told of the wraps that were given up."""
    gone = [wrap for wrap in opened.store.wraps if wrap.id in drop]
    return [events.root_removed(actor, wrap.kind, wrap.root_key_id) for wrap in gone]


def recovery_roots(wraps: Iterable[WrapRecord], find_root: FindRoot) -> tuple[WrapsKeys, ...]:
    """The roots behind some wraps, whose errors say how to do without them."""
    return tuple(_Named(wrap.id, find_root, wrap) for wrap in wraps)


@dataclass(frozen=True)
class _Named:
    """A recovery root that knows by which wrap it is known."""

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
