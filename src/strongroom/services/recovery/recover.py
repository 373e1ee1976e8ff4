"""`strongroom recover`: brings a node back whose root, keystore or both are gone (M1, R13).

The operator gives an identity that was kept apart, or shares that combine to one. The recovery makes a new keystore if
the old one is lost, then a new RMK in local mode, since the old root may be lost or in foreign hands, and in every case
a new configuration key: whoever made the copy of the data directory, or read it, may know the old one. A journal in the
coordination service names what is to be replaced; every step may be repeated, so the next run of a killed command
finishes (docs/format/recovery.md 6).
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from strongroom.clock import Clock, format_utc
from strongroom.config import reseal
from strongroom.config.document import ConfigDocument
from strongroom.configuration_keys import records
from strongroom.configuration_keys.keys import ConfigurationKeys
from strongroom.configuration_keys.records import WrapKind
from strongroom.coordination import floors
from strongroom.coordination.base import Change, Coordinator
from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import (
    IntegrityError,
    KeyNotFoundError,
    KeystoreError,
    StrongroomError,
)
from strongroom.eventlog.base import Event
from strongroom.eventlog.events import key_events
from strongroom.ids import new_id
from strongroom.keystore import master_key, replicas
from strongroom.keystore.replicas import KeystoreDirectory
from strongroom.kms import next_store
from strongroom.kms.next_store import NextStore, RootSet
from strongroom.kms.opening import OpenStore
from strongroom.kms.store import KmsStore
from strongroom.roots.base import RootProvider, WrapRecord
from strongroom.roots.registry import LOCAL, RECIPIENT_KINDS
from strongroom.services.keys import regenerate, regeneration
from strongroom.services.keys.keeper import Present, StoreKeeper
from strongroom.services.keys.key_holders import Renewing
from strongroom.services.keys.roots import RootsService
from strongroom.services.keys.rotation_events import rotation_events
from strongroom.services.recovery.journal import JOURNAL, Journal
from strongroom.services.recovery.opener import Identities, NodeOpener, Opened
from strongroom.services.recovery.origin import NOTHING_KNOWN, Known
from strongroom.services.recovery.results import Drilled, Recovered
from strongroom.system import disk, durable, guarded_files
from strongroom.system.durable import sync_folder
from strongroom.system.plural import counted

Report = Callable[[str], None]
_REASON = "the node was recovered"


@dataclass(frozen=True)
class RecoverPorts:
    """The ports through which a recovery works.

    Attributes:
        opener: Opens the node by identities.
        directory: The keystore.
        open_keys: Opens the configuration keys of an installation by the keystore as it is now.
        coordinator: Holds the journal.
        keeper: The KMS store; usable as soon as the keystore is.
        roots: The use cases of roots, to adopt closed stores.
        record_files: The files of the configuration keys' records.
        local_root: Makes the local root that wraps by the configuration key of an id.
        clock: Gives the times of records and file names.
        renewing: Lets the put within it write every entry anew under the next configuration key.
        as_it_is: Takes the state as it is, for an actor and a reason; the puts within it make the anchor anew.
        leave_out: Has the other nodes wait for the new keys; leaves out those that cannot take them, and returns these.
        give: Keeps the new key files for the nodes that wait for them; may be repeated.
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
    renewing: Renewing
    as_it_is: Callable[[str, str], AbstractContextManager[None]]
    leave_out: Callable[[str], tuple[str, ...]] = lambda _: ()
    give: Callable[[str], None] = lambda _: None


class RecoverService:
    """The use cases of `strongroom recover`; the caller must ensure that no server runs on the node meanwhile."""

    def __init__(self, ports: RecoverPorts) -> None:
        self._ports = ports
        self._keeper = ports.keeper
        self._configuration = ports.keeper.configuration

    def drill(
        self, identities: Identities, actor: str, known: Known = NOTHING_KNOWN, *, note: bool = True
    ) -> Drilled:
        """Prove that these identities open RMK and configuration keys now; shows neither.

        Args:
            identities: Identities from a file, or combined from shares.
            actor: The person or process that asks, for the event.
            known: The installation as far as the operator knows it, which the data directory must be of.
            note: Whether to store the time as the wrap's `last_verified`.

        Raises:
            IntegrityError: The data directory is of another installation than the known one.
            StrongroomError: The identities do not open both.
        """
        opened = self._ports.opener.open(identities, known)
        wrap, why = opened.wrap, ""
        if note:
            try:
                self._note(wrap, actor)
            except StrongroomError as error:
                why = error.with_hint
        rmk_id, meks = opened.store.rmk.id, len(tuple(opened.store.ring))
        keys = tuple(sorted(opened.keys))
        closed = tuple(sorted(one for one in opened.records.ids if one not in opened.keys))
        parts = (wrap.kind, wrap.root_key_id, wrap.id, rmk_id, meks, keys, why, closed)
        return Drilled(*parts, opened.fingerprint)

    def plan(self, identities: Identities, known: Known = NOTHING_KNOWN) -> tuple[str, ...]:
        """The steps of `recover` in words, after proving that the identities open the node.

        Raises:
            IntegrityError: The data directory is of another installation than the known one.
            StrongroomError: The identities do not open the node.
        """
        opened = self._ports.opener.open(identities, known)
        if self._journal(opened) is None and self._is_whole(opened):
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
            f"make a new configuration key in the place of {opened.active_id}, and seal all secrets under it",
            f"make a new RMK under {LOCAL} in its care, and a new MEK that encrypts",
            f"wrap {meks} by it, decrypt-only, and the RMK for {recipients}",
            f"drop the wrap of {mode.kind} {mode.root_key_id}",
            *(f"keep {root} beside it, if it answers" for root in online),
        )

    def recover(
        self, identities: Identities, actor: str, report: Report, known: Known = NOTHING_KNOWN
    ) -> Recovered:
        """Bring the node back, or finish the run that was interrupted.

        Args:
            identities: Identities from a file, or combined from shares.
            actor: The person or process that asks, for the events.
            report: Called with a sentence for each step.
            known: The installation as far as the operator knows it, which the data directory must be of.

        Raises:
            IntegrityError: The data directory is of another installation than the known one; nothing was changed.
            StrongroomError: The identities do not open the node; then nothing was changed.
        """
        opened = self._ports.opener.open(identities, known)
        journal = self._journal(opened)
        if journal is None and self._is_whole(opened):
            ring = opened.store.ring
            return Recovered(
                False,
                False,
                opened.store.rmk.id,
                ring.active.id,
                configuration_key_id=opened.active_id,
                fingerprint=opened.fingerprint,
            )
        with self._ports.as_it_is(actor, _REASON):
            return self._bring_back(opened, journal, identities, actor, report)

    def _bring_back(
        self,
        opened: Opened,
        journal: Journal | None,
        identities: Identities,
        actor: str,
        report: Report,
    ) -> Recovered:
        left = self._left_behind(opened)
        if journal is None or self._is_of_before(journal, opened):
            journal = self._begin(opened)
        # The journal says what was lost when it was written. The keystore may have been lost since then, too, so its
        # present state is looked at as well.
        renews = journal.keystore or not self._keys_are_whole()
        if renews:
            report("making a new keystore, and wrapping the configuration keys by it")
            self._renew_keystore(opened, actor)
        if opened.store.rmk.id == journal.rmk_id or not self._is_whole(opened):
            report("making a new configuration key, and a new RMK and a new MEK in local mode")
            journal = self._add_key(journal, opened, actor)
            self._replace_store(journal, opened, identities, actor, report)
        self._settle_key(journal, actor)
        adopted = self._ports.roots.adopt(
            actor, lambda wrap: self._ports.opener.provider(wrap, identities)
        )
        self._finish(journal, opened, actor, "renewed" if renews else "kept")
        present = self._keeper.cache.opened()
        ids = present.rmk.id, present.ring.active.id
        key_id = self._configuration.document().configuration_key_id
        return Recovered(True, renews, *ids, adopted, left, key_id, opened.fingerprint)

    # ---- what there is ---------------------------------------------------------------------------

    def _is_whole(self, opened: Opened) -> bool:
        """Whether keystore and the mode's root both work, so that nothing has to be recovered."""
        if not self._keys_are_whole():
            return False
        store = opened.store.store
        with suppress(StrongroomError):
            root = self._keeper.providers.find(store.wraps[0])
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
        def build(present: Present) -> NextStore:
            now = self._ports.clock.now()
            return next_store.verified(present.opened, frozenset({wrap.id}), now)

        def events_of(present: Present, _: NextStore) -> list[Event]:
            kind, who = wrap.kind, wrap.root_key_id
            return [key_events.recovery_drilled(actor, kind, who, rmk_id=present.opened.rmk.id)]

        self._keeper.commit(build, events_of)

    # ---- the journal -----------------------------------------------------------------------------

    def _journal(self, opened: Opened) -> Journal | None:
        """The journal, refused if it is not of the present store (entries.md 3.4)."""
        found = self._ports.coordinator.get(JOURNAL)
        if found is None:
            return None
        journal = Journal.parse(found.value)
        floors.check_same_store(journal.store, opened.point)
        return journal

    def _is_of_before(self, journal: Journal, opened: Opened) -> bool:
        """Whether the journal is left from an earlier loss: the RMK that it names was replaced, and the node is broken again."""
        return opened.store.rmk.id != journal.rmk_id and not self._is_whole(opened)

    def _begin(self, opened: Opened) -> Journal:
        is_lost = not self._keys_are_whole()
        decided = Journal(opened.store.rmk.id, is_lost, opened.point, new_id(), opened.active_id)
        return self._write(decided)

    def _write(self, journal: Journal) -> Journal:
        found = self._ports.coordinator.get(JOURNAL)
        change = Change(journal.serialize(), found.version if found else 0)
        self._ports.coordinator.put({JOURNAL: change})
        return journal

    def _finish(self, journal: Journal, opened: Opened, actor: str, keystore: str) -> None:
        self._configuration.project()
        self._keeper.prove().check(
            lambda problem: IntegrityError(
                f"the recovered node does not prove: {problem}",
                hint="see to it, then run the command again: it goes on from here",
            )
        )
        # Only the key that was replaced goes: others may open what lies elsewhere, and are nobody's business here.
        keys = self._ports.open_keys(self._configuration.document().installation_id)
        regenerate.remove_unused_keys(
            keys, self._keeper, self._ports.coordinator, actor, among={journal.old_key_id}
        )
        self._ports.give(actor)
        done = key_events.node_recovered(
            actor, opened.wrap.kind, opened.wrap.root_key_id, keystore=keystore
        )
        self._keeper.event_log.append([done])
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
        self._ports.open_keys(self._configuration.document().installation_id).repair()
        alias = self._ports.directory.load().newest
        moved = [
            key_events.key_moved(actor, "configuration", one, place=alias) for one in opened.keys
        ]
        self._keeper.event_log.append([key_events.key_generated(actor, "master", alias), *moved])

    def _ensure_keystore(self) -> None:
        directory = self._ports.directory
        with suppress(KeystoreError):
            directory.repair()
            directory.load()
            return
        self._set_aside()
        directory.create(master_key.new_master_key(self._ports.clock.now()))

    def _set_aside(self) -> None:
        """Rename key files that do not open, instead of deleting them: their password may be found again."""
        directory, stamp = self._ports.directory, format_utc(self._ports.clock.now())
        files = [folder / replicas.FILE_NAME for folder in directory.folders]
        for path in (directory.password_file, *files):
            with suppress(FileNotFoundError):
                _rename(path, path.with_name(f"{path.name}.lost-{stamp.replace(':', '')}"))

    def _openable(self, opened: Opened) -> dict[str, SecretBytes]:
        """The configuration keys that the identity opens, together with those that the keystore still opens."""
        found = dict(opened.keys)
        for record in opened.records.records:
            if record.id not in found:
                with suppress(KeystoreError, KeyNotFoundError):
                    keys = self._ports.open_keys(self._configuration.document().installation_id)
                    found[record.id] = keys.open(record.id)
        return found

    def _left_behind(self, opened: Opened) -> tuple[str, ...]:
        """The ids of configuration keys that a new keystore would lack.

        Raises:
            KeyNotFoundError: A value of the configuration is encrypted under such a key, so the recovery would lose it.
        """
        if self._keys_are_whole():
            return ()
        keys = self._openable(opened)
        left = tuple(sorted(one for one in opened.records.ids if one not in keys))
        if needed := sorted(self._configuration.configuration_keys_in_use(keys) & set(left)):
            raise KeyNotFoundError(
                f"the configuration needs {', '.join(needed)}, which these identities do not open;"
                " nothing was changed",
                hint="give the identity or the shares of a recipient that has these keys as well",
            )
        return left

    def _keep_records(self, opened: Opened) -> None:
        """Copy every file of records, byte for byte, before the records of keys that do not open are removed from it."""
        if not self._left_behind(opened):
            return
        stamp = format_utc(self._ports.clock.now()).replace(":", "")
        for path in self._ports.record_files:
            with suppress(guarded_files.MissingFileError):
                data = guarded_files.read(path, records.MAX_BYTES)
                kept = path.with_name(f"{path.name}.lost-{stamp}")
                durable.write_file(kept, data, durable.PRIVATE)

    def _rewrap_keys(self, opened: Opened, opened_keys: dict[str, SecretBytes]) -> None:
        document = self._configuration.document()
        keys = self._ports.open_keys(document.installation_id)
        alias = self._ports.directory.load().newest
        records = tuple(
            record._replace(
                wraps=(
                    *keys.wrapping.new_record(
                        opened_keys[record.id],
                        key_id=record.id,
                        created_at=record.created_at,
                        alias=alias,
                    ).wraps,
                    *record.of_kind(WrapKind.RECIPIENT),
                )
            )
            for record in opened.records.records
            if record.id in opened_keys
        )
        keys.restore(opened.records.replaced(records, document.configuration_key_id))

    # ---- step 2: configuration key and KMS store -------------------------------------------------

    def _add_key(self, journal: Journal, opened: Opened, actor: str) -> Journal:
        """Add the configuration key of the journal to the records, wrapped for the recovery recipients too."""
        document = self._configuration.document()
        keys = self._ports.open_keys(document.installation_id)
        if keys.present.next != journal.key_id:
            if not journal.key_id or journal.key_id in keys.present.ids:
                # If the records have the key: the keystore was lost once more after the key had been added, and the
                # records that were made anew say nothing of a next key, so this one only decrypts.
                journal = self._write(replace(journal, key_id=new_id()))
            # The put of a regeneration may have been made or not: its key is active if the configuration names it, else
            # it stays and only decrypts.
            keys.settle(document.configuration_key_id)
            key, alias = rng.new_key(), self._ports.directory.load().newest
            now = self._ports.clock.now()
            record = keys.wrapping.new_record(
                key, key_id=journal.key_id, created_at=now, alias=alias
            )
            keys.add_next(keys.wrapping.for_recipients(record, key, opened.store.store.recipients))
        self._keeper.event_log.append(
            [key_events.key_generated(actor, "configuration", journal.key_id)]
        )
        # A regeneration that was under way is given up: its key is not `next` any more, and its master key may be lost.
        # Its journal goes after the records were written, which are under the newest master key since then: without the
        # journal, nothing would explain records under an older one.
        self._drop(regeneration.JOURNAL)
        return journal

    def _replace_store(
        self, journal: Journal, opened: Opened, identities: Identities, actor: str, report: Report
    ) -> None:
        before = list[OpenStore]()
        # before the keys change: a node that does not get the new ones is not asked whether they open there either
        for node_id in self._ports.leave_out(actor):
            report(f"{node_id} is left out: it does not have the new keys; bring it in anew")

        def build(present: Present) -> NextStore:
            store, _ = present.as_stored
            again, _wrap = self._ports.opener.open_store(store, identities)
            before.append(again)
            root = self._ports.local_root(journal.key_id)
            others = self._others(store, report)
            return next_store.rotated(again, RootSet(LOCAL, root, others), self._keeper.clock.now())

        def events_of(_: Present, new: NextStore) -> list[Event]:
            old = before[-1]
            return [
                key_events.rmk_unwrapped(actor, old.rmk.id, opened.wrap.root_key_id),
                key_events.kms_mode_changed(actor, before=old.store.mode, after=LOCAL),
                key_events.key_moved(actor, "rmk", new.store.rmk_id, place=LOCAL),
                *rotation_events(actor, old, new),
            ]

        def write(document: ConfigDocument, values: Mapping[str, bytes]) -> ConfigDocument:
            open_key = self._configuration.open_key
            return reseal.reseal_all(
                document, open_key, open_key(journal.key_id), journal.key_id, values
            )

        with self._keeper.changing():
            self._keeper.commit_unsettled(
                build, events_of, write=write, putting=lambda: self._ports.renewing(journal.key_id)
            )

    def _settle_key(self, journal: Journal, actor: str) -> None:
        """Say in the records, too, that the key which the configuration names is active."""
        document = self._configuration.document()
        keys = self._ports.open_keys(document.installation_id)
        if keys.present.next == document.configuration_key_id:
            # The events come before the records: a run that died between the put and its events finds the key as the
            # next one still, and tells of it.
            told = regenerate.sealing_events(
                actor, document.configuration_key_id, journal.old_key_id, document
            )
            self._keeper.event_log.append(told)
        keys.settle(document.configuration_key_id)

    def _others(self, store: KmsStore, report: Report) -> tuple[RootProvider, ...]:
        """The recovery recipients, and those recovery roots that still answer."""
        kept = []
        for wrap in store.wraps[1:]:
            try:
                root = self._keeper.providers.find(wrap)
                if root.describe().online:
                    root.check()
                kept.append(root)
            except StrongroomError as error:
                report(f"dropping the {wrap.kind} root {wrap.root_key_id}: {error.message}")
        return tuple(kept)


def _rename(path: Path, target: Path) -> None:
    try:
        path.rename(target)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise disk.problem(f"cannot set {path} aside", error) from error
    sync_folder(path.parent)
