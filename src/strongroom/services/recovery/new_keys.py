"""The second step of a recovery: a new configuration key, RMK and MEK (docs/format/recovery.md 6.3, steps 2 and 3).

Whoever made the data directory, or had a copy of it, may know those of before.
"""

from collections.abc import Mapping
from dataclasses import replace

from strongroom.config import reseal
from strongroom.config.document import ConfigDocument
from strongroom.crypto import rng
from strongroom.errors import StrongroomError
from strongroom.eventlog.base import Event
from strongroom.eventlog.events import key_events
from strongroom.ids import new_id
from strongroom.kms import next_store
from strongroom.kms.next_store import NextStore, RootSet
from strongroom.kms.opening import OpenStore
from strongroom.kms.store import KmsStore
from strongroom.roots.base import RootProvider
from strongroom.roots.registry import LOCAL
from strongroom.services.keys import regenerate, regeneration
from strongroom.services.keys.keeper import Present
from strongroom.services.keys.rotation_events import rotation_events
from strongroom.services.recovery import journal as journal_of
from strongroom.services.recovery.journal import Journal
from strongroom.services.recovery.opener import Identities, Opened
from strongroom.services.recovery.ports import RecoverPorts, Report


class NewKeys:
    """Brings keys into force that nobody knows who had a copy of the node."""

    def __init__(self, ports: RecoverPorts) -> None:
        self._ports = ports
        self._keeper = ports.keeper
        self._configuration = ports.keeper.configuration

    def add_key(self, journal: Journal, opened: Opened, actor: str) -> Journal:
        """Add the configuration key of the journal to the records, wrapped for the recovery recipients too."""
        document = self._configuration.document()
        keys = self._ports.open_keys(document.installation_id)
        if keys.present.next != journal.key_id:
            if not journal.key_id or journal.key_id in keys.present.ids:
                # If the records have the key: the keystore was lost once more after the key had been added, and the
                # records that were made anew say nothing of a next key, so this one only decrypts.
                journal = journal_of.write(
                    self._ports.coordinator, replace(journal, key_id=new_id())
                )
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
        journal_of.drop(self._ports.coordinator, regeneration.JOURNAL)
        return journal

    def replace_store(
        self, journal: Journal, opened: Opened, identities: Identities, actor: str, report: Report
    ) -> None:
        """Put the KMS store under the new configuration key, with a new RMK and a new active MEK, and all else with it.

        Args:
            journal: The journal, whose key `add_key` has added.
            opened: The node, as the identities opened it.
            identities: The identities that opened it.
            actor: The person or process that asks, for the events.
            report: Called with a sentence for each root and node that is left out.

        Raises:
            StrongroomError: The new store does not prove, or cannot be put; the old one is in force still.
        """
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

    def settle_key(self, journal: Journal, actor: str) -> None:
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
