"""`strongroom recover`: brings a node back whose root, keystore or both are gone (M1, R13).

The operator gives an identity that was kept apart, or shares that combine to one. The recovery makes a new keystore if
the old one is lost, then a new RMK in local mode, since the old root may be lost or in foreign hands, and in every case
a new configuration key: whoever made the copy of the data directory, or read it, may know the old one. A journal in the
coordination service names what is to be replaced; every step may be repeated, so the next run of a killed command
finishes (docs/format/recovery.md 6).
"""

from strongroom.errors import IntegrityError, StrongroomError
from strongroom.eventlog.base import Event
from strongroom.eventlog.events import key_events
from strongroom.ids import new_id
from strongroom.kms import next_store
from strongroom.kms.next_store import NextStore
from strongroom.roots.base import WrapRecord
from strongroom.roots.registry import LOCAL, RECIPIENT_KINDS
from strongroom.services.keys import regenerate
from strongroom.services.keys.keeper import Present
from strongroom.services.recovery import journal as journal_of
from strongroom.services.recovery.condition import Condition
from strongroom.services.recovery.journal import JOURNAL, Journal
from strongroom.services.recovery.lost_keystore import LostKeystore
from strongroom.services.recovery.new_keys import NewKeys
from strongroom.services.recovery.opener import Identities, Opened
from strongroom.services.recovery.origin import NOTHING_KNOWN, Known
from strongroom.services.recovery.ports import RecoverPorts, Report
from strongroom.services.recovery.results import Drilled, Recovered
from strongroom.system.plural import counted

_REASON = "the node was recovered"


class RecoverService:
    """The use cases of `strongroom recover`; the caller must ensure that no server runs on the node meanwhile."""

    def __init__(self, ports: RecoverPorts) -> None:
        self._ports = ports
        self._keeper = ports.keeper
        self._configuration = ports.keeper.configuration
        self._condition = Condition(ports)
        self._keystore = LostKeystore(ports, self._condition)
        self._keys = NewKeys(ports)

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
        if journal_of.find(
            self._ports.coordinator, opened.point
        ) is None and self._condition.is_whole(opened):
            return ()
        self._keystore.left_behind(opened)
        store = opened.store.store
        mode, *others = store.wraps
        online = [f"{w.kind} {w.root_key_id}" for w in others if w.kind not in RECIPIENT_KINDS]
        keys = counted(len(opened.keys), "configuration key")
        keystore = (
            (f"make a new keystore, and wrap {keys} by it",)
            if not self._condition.keys_are_whole()
            else ()
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
        journal = journal_of.find(self._ports.coordinator, opened.point)
        if journal is None and self._condition.is_whole(opened):
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
        left = self._keystore.left_behind(opened)
        if journal is None or self._is_of_before(journal, opened):
            journal = self._begin(opened)
        # The journal says what was lost when it was written. The keystore may have been lost since then, too, so its
        # present state is looked at as well.
        renews = journal.keystore or not self._condition.keys_are_whole()
        if renews:
            report("making a new keystore, and wrapping the configuration keys by it")
            self._keystore.renew(opened, actor)
        if opened.store.rmk.id == journal.rmk_id or not self._condition.is_whole(opened):
            report("making a new configuration key, and a new RMK and a new MEK in local mode")
            journal = self._keys.add_key(journal, opened, actor)
            self._keys.replace_store(journal, opened, identities, actor, report)
        self._keys.settle_key(journal, actor)
        adopted = self._ports.roots.adopt(
            actor, lambda wrap: self._ports.opener.provider(wrap, identities)
        )
        self._finish(journal, opened, actor, "renewed" if renews else "kept")
        present = self._keeper.cache.opened()
        ids = present.rmk.id, present.ring.active.id
        key_id = self._configuration.document().configuration_key_id
        return Recovered(True, renews, *ids, adopted, left, key_id, opened.fingerprint)

    def _note(self, wrap: WrapRecord, actor: str) -> None:
        def build(present: Present) -> NextStore:
            now = self._ports.clock.now()
            return next_store.verified(present.opened, frozenset({wrap.id}), now)

        def events_of(present: Present, _: NextStore) -> list[Event]:
            kind, who = wrap.kind, wrap.root_key_id
            return [key_events.recovery_drilled(actor, kind, who, rmk_id=present.opened.rmk.id)]

        self._keeper.commit(build, events_of)

    def _is_of_before(self, journal: Journal, opened: Opened) -> bool:
        """Whether the journal is left from an earlier loss: the RMK that it names was replaced, and the node is broken again."""
        return opened.store.rmk.id != journal.rmk_id and not self._condition.is_whole(opened)

    def _begin(self, opened: Opened) -> Journal:
        is_lost = not self._condition.keys_are_whole()
        decided = Journal(opened.store.rmk.id, is_lost, opened.point, new_id(), opened.active_id)
        return journal_of.write(self._ports.coordinator, decided)

    def _finish(self, journal: Journal, opened: Opened, actor: str, keystore: str) -> None:
        self._configuration.project()
        self._keeper.prove().check(
            lambda problem: IntegrityError(
                f"the recovered node does not prove: {problem}",
                hint="see to it, then run the command again: it goes on from here",
            )
        )
        # Only the key that was replaced goes: others may open what lies elsewhere, and are nobody's business here.
        keys = self._ports.present_keys()
        regenerate.remove_unused_keys(
            keys, self._keeper, self._ports.coordinator, actor, among={journal.old_key_id}
        )
        self._ports.give(actor)
        done = key_events.node_recovered(
            actor, opened.wrap.kind, opened.wrap.root_key_id, keystore=keystore
        )
        self._keeper.event_log.append([done])
        journal_of.drop(self._ports.coordinator, JOURNAL)
