"""`strongroom recover`: brings a node back whose root, keystore or both are gone (M1, R13).

By an identity that a recovery recipient kept apart, or that shares were combined to. A journal in the coordination
service names what is to be replaced, so that a run that was killed is taken up again; the steps are idempotent
(docs/format/recovery.md 6).
"""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from strongroom import durable
from strongroom.clock import Clock, format_utc
from strongroom.coordination.base import Change, Coordinator
from strongroom.crypto.secret import SecretBytes
from strongroom.durable import sync_folder
from strongroom.errors import (
    FormatError,
    IntegrityError,
    KeyNotFoundError,
    KeystoreError,
    StorageError,
    StrongroomError,
)
from strongroom.eventlog import events
from strongroom.eventlog.base import Event
from strongroom.keystore import guarded, key_records, master_key, replicas
from strongroom.keystore.configuration_key import ConfigurationKeys
from strongroom.keystore.key_records import WrapKind
from strongroom.keystore.replicas import KeystoreDirectory
from strongroom.kms.opening import OpenStore
from strongroom.kms.store import KmsStore
from strongroom.roots.base import RECIPIENT_KINDS, RootProvider, WrapRecord
from strongroom.services import kms_change, regenerate
from strongroom.services.kms_change import NextStore, RootSet
from strongroom.services.kms_keeper import StoreKeeper, rotation_events
from strongroom.services.kms_roots import LOCAL, RootsService
from strongroom.services.recover_open import Identities, NodeOpener, Opened
from strongroom.wording import counted

JOURNAL = "journal/recover"
_VERSION = 1
Say = Callable[[str], None]


@dataclass(frozen=True)
class Journal:
    """What a recovery has decided.

    Attributes:
        rmk_id: The RMK that is to be replaced.
        keystore: Whether the keystore is lost.
        v: Version of this form.
    """

    rmk_id: str
    keystore: bool
    v: int = _VERSION

    def serialize(self) -> bytes:
        """Canonical bytes."""
        return json.dumps(asdict(self), sort_keys=True).encode()

    @classmethod
    def parse(cls, raw: bytes) -> "Journal":
        """The journal of its bytes.

        Raises:
            FormatError: It is damaged, or of another version.
        """
        try:
            found = cls(**json.loads(raw))
        except (ValueError, TypeError) as error:
            raise FormatError("the journal of the recovery is damaged") from error
        if found.v != _VERSION:
            raise FormatError(f"the journal of the recovery has version {found.v}")
        return found


@dataclass(frozen=True)
class RecoverPorts:
    """What a recovery works through.

    Attributes:
        opener: Opens by identities.
        directory: The keystore.
        open_keys: The configuration keys, opened by the keystore as it is.
        coordinator: Holds the journal.
        keeper: The KMS store; works once the keystore does.
        roots: The wraps of the RMK.
        record_files: The files of the configuration keys' records.
        local_root: The local root that wraps by a configuration key.
        clock: For times.
    """

    opener: NodeOpener
    directory: KeystoreDirectory
    open_keys: Callable[[str], ConfigurationKeys]
    coordinator: Coordinator
    keeper: StoreKeeper
    roots: RootsService
    local_root: Callable[[str], RootProvider]
    record_files: tuple[Path, ...]
    clock: Clock


@dataclass(frozen=True)
class Drilled:
    """What a drill proved; ids only.

    Attributes:
        kind: Kind of the recovery root.
        recipient: Whose identity it was.
        wrap_id: The wrap of the RMK that opened.
        rmk_id: The RMK.
        meks: How many MEKs opened.
        configuration_keys: Ids of the configuration keys that opened.
        not_opened: Ids of those that did not.
        not_noted: Why the store could not remember it; empty if it does.
    """

    kind: str
    recipient: str
    wrap_id: str
    rmk_id: str
    meks: int
    configuration_keys: tuple[str, ...]
    not_noted: str = ""
    not_opened: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recovered:
    """What a recovery did.

    Attributes:
        done: Whether anything was to be done.
        keystore_renewed: Whether a new keystore was made.
        rmk_id: The RMK from now on.
        mek_id: The MEK that encrypts from now on.
        adopted: MEKs of closed stores that the identity gave back.
        left: Configuration keys that nothing opened; their records lie in `*.lost-<time>`.
    """

    done: bool
    keystore_renewed: bool
    rmk_id: str
    mek_id: str
    adopted: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


class RecoverService:
    """The use cases of `strongroom recover`; whoever calls sees to it that nobody serves the node."""

    def __init__(self, ports: RecoverPorts) -> None:
        self._ports = ports
        self._keeper = ports.keeper
        self._configuration = ports.keeper.configuration

    def drill(self, identities: Identities, actor: str, *, note: bool = True) -> Drilled:
        """Prove that these identities open RMK and configuration keys now; shows neither.

        Args:
            identities: From a file, or combined from shares.
            actor: Who asks.
            note: Whether the store shall remember it as `last_verified`.

        Raises:
            StrongroomError: They do not.
        """
        opened = self._ports.opener.open(identities)
        wrap, why = opened.wrap, ""
        if note:
            try:
                self._note(wrap, actor)
            except StrongroomError as error:
                why = error.message
        rmk_id, meks = opened.store.rmk.id, len(tuple(opened.store.ring))
        keys = tuple(sorted(opened.keys))
        closed = tuple(sorted(one.id for one in opened.records if one.id not in opened.keys))
        return Drilled(wrap.kind, wrap.root_key_id, wrap.id, rmk_id, meks, keys, why, closed)

    def plan(self, identities: Identities) -> tuple[str, ...]:
        """What `recover` would do, in words, once it is proved that it can.

        Raises:
            StrongroomError: The identities do not open the node.
        """
        opened = self._ports.opener.open(identities)
        if self._journal() is None and self._is_whole(opened):
            return ()
        self._left_behind(opened)
        store = opened.store.store
        mode, *others = store.wraps
        online = [f"{w.kind} {w.root_key_id}" for w in others if w.kind not in RECIPIENT_KINDS]
        keys = counted(len(opened.keys), "configuration key")
        keystore = (
            (f"make a new keystore, and wrap {keys} by it",) if not self._keys_are_whole() else ()
        )
        meks = counted(len(store.meks), "MEK")
        recipients = counted(len(store.recipients), "recovery recipient")
        return (
            *keystore,
            f"make a new RMK under {LOCAL} {opened.active_id}, and a new MEK that encrypts",
            f"wrap {meks} by it, decrypt-only, and the RMK for {recipients}",
            f"drop the wrap of {mode.kind} {mode.root_key_id}",
            *(f"keep {root} beside it, if it answers" for root in online),
        )

    def recover(self, identities: Identities, actor: str, say: Say) -> Recovered:
        """Bring the node back, or finish the run that was cut.

        Args:
            identities: From a file, or combined from shares.
            actor: Who asks.
            say: Takes a sentence for each step.

        Raises:
            StrongroomError: The identities do not open the node; then nothing was changed.
        """
        opened = self._ports.opener.open(identities)
        journal = self._journal()
        if journal is None and self._is_whole(opened):
            ring = opened.store.ring
            return Recovered(False, False, opened.store.rmk.id, ring.active.id)
        left = self._left_behind(opened)
        if journal is None or self._is_of_before(journal, opened):
            journal = self._begin(opened)
        # what is there now counts beside the journal, which may be of an earlier loss
        renews = journal.keystore or not self._keys_are_whole()
        if renews:
            say("making a new keystore, and wrapping the configuration keys by it")
            self._renew_keystore(opened, actor)
        if opened.store.rmk.id == journal.rmk_id or not self._is_whole(opened):
            say("making a new RMK and a new MEK in local mode")
            self._replace_store(opened, identities, actor, say)
        adopted = self._ports.roots.adopt(
            actor, lambda wrap: self._ports.opener.provider(wrap, identities)
        )
        self._finish(opened, actor, "renewed" if renews else "kept")
        present = self._keeper.keys.opened()
        return Recovered(True, renews, present.rmk.id, present.ring.active.id, adopted, left)

    # ---- what there is ---------------------------------------------------------------------------

    def _is_whole(self, opened: Opened) -> bool:
        """Whether the keystore and the mode's root work: then there is nothing to recover."""
        if not self._keys_are_whole():
            return False
        store = opened.store.store
        with suppress(StrongroomError):
            root = self._keeper.roots.find(store.wraps[0])
            return root.unwrap(store.wraps[0]) == opened.store.rmk.material
        return False

    def _keys_are_whole(self) -> bool:
        document = self._configuration.document()
        try:
            keys = self._ports.open_keys(document.installation_id)
            keys.verify()
            keys.open(document.configuration_key_id)
        except (KeystoreError, KeyNotFoundError):
            return False
        return True

    def _note(self, wrap: WrapRecord, actor: str) -> None:
        def change(present: OpenStore) -> NextStore:
            now = self._ports.clock.now()
            return kms_change.verified(present, frozenset({wrap.id}), now)

        def told(old: OpenStore, _: NextStore) -> list[Event]:
            kind, who = wrap.kind, wrap.root_key_id
            return [events.recovery_drilled(actor, kind, who, rmk_id=old.rmk.id)]

        self._keeper.change(change, told)

    # ---- the journal -----------------------------------------------------------------------------

    def _journal(self) -> Journal | None:
        found = self._ports.coordinator.get(JOURNAL)
        return None if found is None else Journal.parse(found.value)

    def _is_of_before(self, journal: Journal, opened: Opened) -> bool:
        """Whether it is of an earlier loss: its RMK was replaced, and the node is broken all the same."""
        return opened.store.rmk.id != journal.rmk_id and not self._is_whole(opened)

    def _begin(self, opened: Opened) -> Journal:
        journal = Journal(opened.store.rmk.id, not self._keys_are_whole())
        found = self._ports.coordinator.get(JOURNAL)
        change = Change(journal.serialize(), found.version if found else 0)
        self._ports.coordinator.put({JOURNAL: change})
        return journal

    def _finish(self, opened: Opened, actor: str, keystore: str) -> None:
        self._configuration.project()
        status = self._keeper.prove()
        if not status.is_ok:
            raise IntegrityError(
                f"the recovered node does not prove: {status.problems[0]}",
                hint="see to it, then run the command again: it goes on from here",
            )
        done = events.node_recovered(
            actor, opened.wrap.kind, opened.wrap.root_key_id, keystore=keystore
        )
        self._keeper.log.append([done])
        self._drop(JOURNAL)

    def _drop(self, key: str) -> None:
        found = self._ports.coordinator.get(key)
        if found is not None:
            self._ports.coordinator.put({key: Change(None, found.version)})

    # ---- step 1: the keystore --------------------------------------------------------------------

    def _renew_keystore(self, opened: Opened, actor: str) -> None:
        if not self._keys_are_whole():
            openable = self._openable(opened)
            self._keep_records(opened)
            self._ensure_keystore()
            self._rewrap_keys(opened, openable)
        self._ports.directory.repair()
        installation_id = self._configuration.document().installation_id
        keys = self._ports.open_keys(installation_id)
        keys.repair()
        # a regeneration that was under way knows master keys that are gone; its new keys only decrypt
        self._drop(regenerate.JOURNAL)
        alias = self._ports.directory.load().newest
        moved = [events.key_moved(actor, "configuration", one, place=alias) for one in opened.keys]
        self._keeper.log.append([events.key_generated(actor, "master", alias), *moved])

    def _ensure_keystore(self) -> None:
        directory = self._ports.directory
        with suppress(KeystoreError):
            directory.repair()
            directory.load()
            return
        self._set_aside()
        directory.create(master_key.new_master_key(self._ports.clock.now()))

    def _set_aside(self) -> None:
        """Files that nothing opens are kept under another name: nobody knows what turns up again."""
        directory, stamp = self._ports.directory, format_utc(self._ports.clock.now())
        files = [folder / replicas.FILE_NAME for folder in directory.folders]
        for path in (directory.password_file, *files):
            with suppress(FileNotFoundError):
                _rename(path, path.with_name(f"{path.name}.lost-{stamp.replace(':', '')}"))

    def _openable(self, opened: Opened) -> dict[str, SecretBytes]:
        """The configuration keys that the identity opens, and those that the keystore still does."""
        found = dict(opened.keys)
        for record in opened.records:
            if record.id not in found:
                with suppress(KeystoreError, KeyNotFoundError):
                    keys = self._ports.open_keys(self._configuration.document().installation_id)
                    found[record.id] = keys.open(record.id)
        return found

    def _left_behind(self, opened: Opened) -> tuple[str, ...]:
        """Configuration keys that a new keystore would not have.

        Raises:
            KeyNotFoundError: A value of the configuration needs one of them.
        """
        if self._keys_are_whole():
            return ()
        keys = self._openable(opened)
        left = tuple(sorted(one.id for one in opened.records if one.id not in keys))
        if needed := sorted(self._configuration.configuration_keys_in_use() & set(left)):
            raise KeyNotFoundError(
                f"the configuration needs {', '.join(needed)}, which these identities do not open;"
                " nothing was changed",
                hint="give the identity or the shares of a recipient that has these keys as well",
            )
        return left

    def _keep_records(self, opened: Opened) -> None:
        """A copy of every file of records, byte for byte, before records are left out of them."""
        if not self._left_behind(opened):
            return
        stamp = format_utc(self._ports.clock.now()).replace(":", "")
        for path in self._ports.record_files:
            with suppress(guarded.MissingFileError):
                data = guarded.read(path, key_records.MAX_BYTES)
                kept = path.with_name(f"{path.name}.lost-{stamp}")
                durable.write_file(kept, data, durable.PRIVATE)

    def _rewrap_keys(self, opened: Opened, opened_keys: dict[str, SecretBytes]) -> None:
        keys = self._ports.open_keys(self._configuration.document().installation_id)
        alias = self._ports.directory.load().newest
        keys.restore(
            tuple(
                record._replace(
                    wraps=(
                        *keys.new_record(
                            opened_keys[record.id],
                            key_id=record.id,
                            created_at=record.created_at,
                            alias=alias,
                        ).wraps,
                        *record.of_kind(WrapKind.RECIPIENT),
                    )
                )
                for record in opened.records
                if record.id in opened_keys
            )
        )

    # ---- step 2: the KMS store -------------------------------------------------------------------

    def _replace_store(self, opened: Opened, identities: Identities, actor: str, say: Say) -> None:
        before: list[OpenStore] = []

        def build(store: KmsStore, _: bytes) -> NextStore:
            again, _wrap = self._ports.opener.open_store(store, identities)
            before.append(again)
            root = self._ports.local_root(self._configuration.document().configuration_key_id)
            others = self._others(store, say)
            return kms_change.rotated(again, RootSet(LOCAL, root, others), self._keeper.clock.now())

        def told(new: NextStore) -> list[Event]:
            old = before[-1]
            return [
                events.rmk_unwrapped(actor, old.rmk.id, opened.wrap.root_key_id),
                events.kms_mode_changed(actor, before=old.store.mode, after=LOCAL),
                events.key_moved(actor, "rmk", new.store.rmk_id, place=LOCAL),
                *rotation_events(actor, old, new),
            ]

        self._keeper.replace_closed(build, told, lambda present: present)

    def _others(self, store: KmsStore, say: Say) -> tuple[RootProvider, ...]:
        """Recovery recipients, and roots beside the mode's that still answer."""
        kept = []
        for wrap in store.wraps[1:]:
            try:
                root = self._keeper.roots.find(wrap)
                if root.describe().online:
                    root.check()
                kept.append(root)
            except StrongroomError as error:
                say(f"dropping the {wrap.kind} root {wrap.root_key_id}: {error.message}")
        return tuple(kept)


def _rename(path: Path, target: Path) -> None:
    try:
        path.rename(target)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StorageError(f"cannot set {path} aside: {error.strerror}") from error
    sync_folder(path.parent)
