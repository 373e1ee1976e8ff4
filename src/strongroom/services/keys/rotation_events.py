"""The events of a rotation of RMK and MEK, for each command that makes one."""

from strongroom.eventlog.base import Event
from strongroom.eventlog.events import key_events
from strongroom.kms.next_store import NextStore
from strongroom.kms.opening import OpenStore
from strongroom.kms.states import MekState


def rotation_events(actor: str, old: OpenStore, new: NextStore) -> list[Event]:
    """The events of a rotation: RMK and MEK generated, the old RMK removed, the old MEK decrypt-only (C-23)."""
    return [
        key_events.key_generated(actor, "rmk", new.store.rmk_id),
        key_events.key_generated(actor, "mek", new.ring.active.id),
        key_events.key_removed(actor, "rmk", old.store.rmk_id),
        key_events.key_changed(actor, "mek", old.ring.active.id, state=MekState.DECRYPT_ONLY.value),
    ]
