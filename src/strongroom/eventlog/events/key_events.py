"""Events about the keys of the installation: its keystore, its KMS stores, its roots and their recovery (C-23)."""

from strongroom.eventlog.base import Event
from strongroom.eventlog.events.making import event

KEY_GENERATED = "KEY_GENERATED"
KEY_MOVED = "KEY_MOVED"
KEY_CHANGED = "KEY_CHANGED"
KEY_REMOVED = "KEY_REMOVED"
KEYSTORE_REPAIRED = "KEYSTORE_REPAIRED"
KMS_MODE_CHANGED = "KMS_MODE_CHANGED"
KMS_STORE_CHANGING = "KMS_STORE_CHANGING"
KMS_STORE_CHANGED = "KMS_STORE_CHANGED"
KMS_STORE_ABANDONED = "KMS_STORE_ABANDONED"
KMS_EPOCH_ACCEPTED = "KMS_EPOCH_ACCEPTED"
ROOT_ADDED = "ROOT_ADDED"
ROOT_REMOVED = "ROOT_REMOVED"
ROOTS_VERIFIED = "ROOTS_VERIFIED"
ROOT_REACHED_ANEW = "ROOT_REACHED_ANEW"
RECOVERY_DRILLED = "RECOVERY_DRILLED"
NODE_RECOVERED = "NODE_RECOVERED"
MEK_ADOPTED = "MEK_ADOPTED"
RMK_UNWRAPPED = "RMK_UNWRAPPED"
MEK_RETIRED = "MEK_RETIRED"
IDENTITY_RENEWED = "IDENTITY_RENEWED"


def key_generated(actor: str, kind: str, key_id: str) -> Event:
    """A new key; `kind` is such as `master key`, `configuration key`, `RMK`, `MEK`, `asset key`."""
    return event(KEY_GENERATED, actor, kind=kind, key_id=key_id)


def key_moved(actor: str, kind: str, key_id: str, *, place: str) -> Event:
    """A key was copied or wrapped to another place: a replica's folder, another root."""
    return event(KEY_MOVED, actor, kind=kind, key_id=key_id, place=place)


def key_changed(actor: str, kind: str, key_id: str, *, state: str) -> Event:
    """A key entered another state, such as `decrypt-only`."""
    return event(KEY_CHANGED, actor, kind=kind, key_id=key_id, state=state)


def key_removed(actor: str, kind: str, key_id: str) -> Event:
    """A key that nothing needs any longer was removed."""
    return event(KEY_REMOVED, actor, kind=kind, key_id=key_id)


def keystore_repaired(actor: str, *, files: int, kept: int) -> Event:
    """Replicas of the key files were replaced by those that open the configuration; `kept` copies lie beside them."""
    return event(KEYSTORE_REPAIRED, actor, files=files, kept=kept)


def identity_renewed(actor: str, *, old: str, new: str, public: str, signature: str) -> Event:
    """The installation got another identity; `old` and `new` are fingerprints.

    `public` is the new public key and `signature` the old identity's statement about it, both in base64.
    """
    return event(IDENTITY_RENEWED, actor, old=old, new=new, public=public, signature=signature)


def kms_mode_changed(actor: str, *, before: str, after: str) -> Event:
    """Another root protects the RMK."""
    return event(KMS_MODE_CHANGED, actor, before=before, after=after)


def kms_store_changing(actor: str, *, epoch: int, digest: str) -> Event:
    """A new version of the KMS store is about to be put; `KMS_STORE_CHANGED` says that it was."""
    return event(KMS_STORE_CHANGING, actor, epoch=epoch, sha256=digest)


def kms_store_changed(actor: str, *, epoch: int, digest: str) -> Event:
    """There is a new version of the KMS store (docs/format/kms-store.md 4.3)."""
    return event(KMS_STORE_CHANGED, actor, epoch=epoch, sha256=digest)


def kms_store_abandoned(actor: str, *, epoch: int, before: str, after: str) -> Event:
    """A KMS store that nothing opens was left behind; before and after are digests (docs/format/kms-store.md 6.3)."""
    return event(KMS_STORE_ABANDONED, actor, epoch=epoch, before=before, after=after)


def kms_epoch_accepted(actor: str, *, epoch: int, digest: str) -> Event:
    """An administrator accepted a KMS store that does not follow from the last one this node has seen."""
    return event(KMS_EPOCH_ACCEPTED, actor, epoch=epoch, sha256=digest)


def root_added(actor: str, kind: str, root_key_id: str) -> Event:
    """The RMK is wrapped by one root more."""
    return event(ROOT_ADDED, actor, kind=kind, root_key_id=root_key_id)


def root_removed(actor: str, kind: str, root_key_id: str) -> Event:
    """The RMK is no longer wrapped by a root."""
    return event(ROOT_REMOVED, actor, kind=kind, root_key_id=root_key_id)


def root_reached_anew(actor: str, kind: str, root_key_id: str) -> Event:
    """The settings by which a root is reached were replaced: another credential or address, the same root key."""
    return event(ROOT_REACHED_ANEW, actor, kind=kind, root_key_id=root_key_id)


def roots_verified(actor: str, count: int) -> Event:
    """Each of `count` roots was asked to unwrap the RMK, and did."""
    return event(ROOTS_VERIFIED, actor, count=count)


def recovery_drilled(actor: str, kind: str, root_key_id: str, *, rmk_id: str) -> Event:
    """An identity or shares were proved to open RMK and configuration keys, in memory; nothing was shown."""
    return event(RECOVERY_DRILLED, actor, kind=kind, root_key_id=root_key_id, rmk_id=rmk_id)


def node_recovered(actor: str, kind: str, root_key_id: str, *, keystore: str) -> Event:
    """The node was opened by a recovery recipient's identity; `keystore` is `kept` or `renewed`."""
    return event(NODE_RECOVERED, actor, kind=kind, root_key_id=root_key_id, keystore=keystore)


def meks_adopted(actor: str, mek_id: str) -> Event:
    """A MEK of a former store is available again."""
    return event(MEK_ADOPTED, actor, mek_id=mek_id)


def rmk_unwrapped(actor: str, rmk_id: str, root: str) -> Event:
    """A root opened the RMK."""
    return event(RMK_UNWRAPPED, actor, rmk_id=rmk_id, root=root)


def mek_retired(actor: str, mek_id: str) -> Event:
    """A MEK that nothing uses left the store."""
    return event(MEK_RETIRED, actor, mek_id=mek_id)
