"""`tsm security regenerate-internal-tokens` (A-22, A-23, C-24, Q-04): replaces all internal secrets and keys.

Passwords and certificates come first, each brought into the component that uses it (`services/secrets/rotate`, with
journals of its own), then the keys from master key to MEK. A journal in the coordination service holds the step that is
done and the ids of the new keys, so that the next run of a killed command continues with the same ids. Each step may be
repeated, in a cluster by another node as well (`attempts`). Exactly one step, `_replace_values`, puts the new keys in
force, by a single put: before it every value opens by the old keys, after it by the new ones. Old keys are removed only
after that. Secrets that an administrator supplied keep their values and are encrypted under the new keys.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from strongroom.config import reseal
from strongroom.config.document import ConfigDocument
from strongroom.configuration_keys.keys import ConfigurationKeys
from strongroom.coordination import floors, leases
from strongroom.coordination.base import Change, Coordinator
from strongroom.crypto import rng
from strongroom.errors import StateError
from strongroom.eventlog.base import Event
from strongroom.eventlog.events import key_events, secret_events
from strongroom.ids import new_id
from strongroom.keystore import master_key
from strongroom.kms import next_store
from strongroom.kms.next_store import NextStore
from strongroom.secrets import asset_ring, enc
from strongroom.services.keys import log_signing
from strongroom.services.keys.attempts import Attempts, Progress
from strongroom.services.keys.keeper import (
    LOCK,
    LOCK_WAIT_S,
    KmsPorts,
    Present,
    StoreKeeper,
)
from strongroom.services.keys.key_holders import KeyHolders
from strongroom.services.keys.regeneration import JOURNAL, Journal
from strongroom.services.keys.rotation_events import rotation_events
from strongroom.services.secrets import embedded
from strongroom.services.secrets import rotate as secret_rotation
from strongroom.services.secrets.embedded import AssetService
from strongroom.services.secrets.rotate import SecretRotation
from strongroom.services.secrets.scope import Outcome, Planned


@dataclass(frozen=True)
class Regenerated:
    """The result of a run.

    Attributes:
        resumed: Whether the run finished an interrupted one; its scope was that of the interrupted one.
        alias: The new master key's alias; empty if the keys were not in scope.
        configuration_key_id: The new configuration key's id; empty if the keys were not in scope.
        secrets: How many values of the configuration are encrypted now.
        rotated: The outcome of each password and certificate.
    """

    resumed: bool
    alias: str
    configuration_key_id: str
    secrets: int
    rotated: tuple[Outcome, ...] = ()


@dataclass(frozen=True)
class RegeneratePlan:
    """The plan of a run.

    Attributes:
        resumes: Whether the run would finish an interrupted one, with the scope of that one.
        secrets: The passwords and certificates to rotate.
        steps: The steps in their order.
    """

    resumes: bool
    secrets: tuple[Planned, ...]
    steps: tuple[str, ...]


Step = Callable[[Journal, str], None]


class RegenerateService:
    """The steps and their order."""

    def __init__(
        self,
        holders: KeyHolders,
        keeper: StoreKeeper,
        assets_service: AssetService,
        rotation: SecretRotation,
        ports: KmsPorts,
    ) -> None:
        self._configuration = keeper.configuration
        self._holders = holders
        self._keeper = keeper
        self._assets = assets_service
        self._rotation = rotation
        self._coordinator = ports.coordinator
        self._event_log = ports.event_log
        self._clock = ports.clock
        self._attempts = Attempts(holders, keeper, ports.coordinator, ports.clock)

    def run(
        self, actor: str, report: Callable[[str], None], only: Sequence[str] = ()
    ) -> Regenerated:
        """Make every internal key and secret anew, or finish the run that was interrupted.

        A secret whose component did not accept the new value is named in the result, and does not stop the others.

        Args:
            actor: The person or process that asks, for the events.
            report: Called with one sentence per step.
            only: `keys`, `passwords`, `certs`, names of parameters; empty is everything.

        Raises:
            StateError: Changes are pending, or the keys are not in order now.
            UsageError: The scope names a secret that cannot be rotated.
        """
        with self._alone():
            journal, resumed = self._begin(tuple(only), actor)
            rotated: list[Outcome] = []
            steps = self._steps(journal, report, rotated)
            for number, (step, sentence) in enumerate(steps, start=1):
                report(f"{number * 100 // len(steps)}% - {sentence}")
                if journal.step < number:
                    step(journal, actor)
                    journal = self._advance(journal, number)
            rotated += self._rotation.outstanding(but=rotated)
            self._end()
            count = sum(map(enc.is_enc, self._configuration.document().values.values()))
            return Regenerated(resumed, journal.alias, journal.key_id, count, tuple(rotated))

    def plan(self, only: Sequence[str] = ()) -> RegeneratePlan:
        """The plan of `run`; changes nothing, and asks no component.

        Raises:
            UsageError: The scope names a secret that cannot be rotated.
        """
        found = self._found()
        journal = found or Journal(0, "", "", "", "", self._keeper.point(), tuple(only))
        words = journal.secrets
        secrets = self._rotation.plan(words) if words is not None else []
        steps = self._steps(journal, lambda _: None, [])[journal.step :]
        return RegeneratePlan(found is not None, tuple(secrets), tuple(text for _, text in steps))

    def _steps(
        self, journal: Journal, report: Callable[[str], None], rotated: list[Outcome]
    ) -> "list[tuple[Step, str]]":
        def rotate(_: Journal, actor: str) -> None:
            rotated.extend(self._rotate_secrets(journal, actor, report))

        secrets: list[tuple[Step, str]] = [(rotate, "rotating passwords and certificates")]
        keys: list[tuple[Step, str]] = [
            (self._add_master_key, "adding a new master key to every keystore replica"),
            (self._add_configuration_key, "adding a new configuration key"),
            (self._replace_values, "encrypting the configuration under the new keys"),
            (self._project, "distributing the configuration"),
            (self._retire_configuration_key, "removing the old configuration key"),
            (self._retire_master_keys, "removing old master keys"),
        ]
        return [*(secrets if journal.secrets is not None else []), *(keys if journal.keys else [])]

    # ---- the journal -----------------------------------------------------------------------------

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lock, and change no key file of this node without it: in a cluster it may pass to another node."""
        with self._coordinator.lock(LOCK, wait_s=LOCK_WAIT_S) as lease:
            check = partial(leases.check, self._coordinator, lease)
            with self._attempts.guarded(check):
                yield

    def _begin(self, only: tuple[str, ...], actor: str) -> tuple[Journal, bool]:
        with self._attempts.alone():
            journal, resumed = self._decide(only)
        if journal.keys:
            self._attempts.equal(journal, actor)
        return journal, resumed

    def _decide(self, only: tuple[str, ...]) -> tuple[Journal, bool]:
        found = self._found()
        asked = found or Journal(0, "", "", "", new_id(), self._keeper.point(), only)
        if asked.keys:
            self._holders.check_others()
        if found is not None:
            return self._attempts.go_on(found, self._progress(found)), True
        if asked.secrets is not None:
            # A wrong scope is refused before the journal is written: once stored, every later run would resume it and
            # fail.
            self._rotation.check(asked.secrets)
        journal = self._with_keys(asked) if asked.keys else asked
        return self._attempts.begin(journal), False

    def _with_keys(self, journal: Journal) -> Journal:
        """The journal with the ids of the new keys, chosen before any key is made so that a resumed run knows them."""
        if self._configuration.pending() is not None:
            raise StateError(
                "changes to the configuration are pending",
                hint="apply or discard them first: tsm pending-changes apply|discard",
            )
        self._keeper.status().check(
            lambda problem: StateError(
                f"the keys are not in order: {problem}", hint="see 'tsm security kms status'"
            )
        )
        entry = master_key.new_master_key(self._clock.now(), self._holders.directory.load().aliases)
        old_key_id = self._configuration.document().configuration_key_id
        return replace(journal, alias=entry.alias, key_id=new_id(), old_key_id=old_key_id)

    def _found(self) -> Journal | None:
        """The journal of the run that was interrupted, refused if it is not of this time (entries.md 3.4)."""
        entry = self._coordinator.get(JOURNAL)
        if entry is None:
            return None
        journal = Journal.parse(entry.value)
        floors.check_same_store(journal.store, self._keeper.point())
        present = self._holders.open_keys().present
        is_added = self._progress(journal) is Progress.ADDED
        if is_added:
            self._attempts.check_here(journal, present)
        if journal.keys and (is_added or journal.key_id in present.ids):
            active, upcoming = present.active, present.next
            floors.check_regeneration(journal.key_id, active=active, next_id=upcoming)
        return journal

    def _progress(self, journal: Journal) -> Progress:
        """How far the new keys have come, by the journal."""
        steps = [step for step, _ in self._steps(journal, lambda _: None, [])]
        if not journal.keys or journal.step < steps.index(self._add_master_key) + 1:
            return Progress.NONE
        is_added = journal.step >= steps.index(self._add_configuration_key) + 1
        return Progress.ADDED if is_added else Progress.MASTER_KEY

    def _advance(self, journal: Journal, step: int) -> Journal:
        found = self._coordinator.get(JOURNAL)
        version = 0 if found is None else found.version
        # the step may have put another KMS store, and the journal with it
        present = Journal.parse(found.value) if found else journal
        done = replace(present, step=step)
        self._coordinator.put({JOURNAL: Change(done.serialize(), version)})
        return done

    def _end(self) -> None:
        found = self._coordinator.get(JOURNAL)
        if found is not None:
            self._coordinator.put({JOURNAL: Change(None, found.version)})

    # ---- the steps -------------------------------------------------------------------------------

    def _rotate_secrets(
        self, journal: Journal, actor: str, report: Callable[[str], None]
    ) -> list[Outcome]:
        return self._rotation.rotate(actor, journal.secrets or (), run=journal.run, report=report)

    def _add_master_key(self, journal: Journal, actor: str) -> None:
        directory = self._holders.directory
        present = directory.load()
        if present.find(journal.alias) is None:
            now = present.after(self._clock.now())
            directory.add_alias(journal.alias, rng.new_key(), created_at=now)
        else:
            directory.replicate()
        self._event_log.append([key_events.key_generated(actor, "master", journal.alias)])

    def _add_configuration_key(self, journal: Journal, actor: str) -> None:
        keys = self._holders.open_keys()
        present = next((item for item in keys.records if item.id == journal.key_id), None)
        if present is None:
            key = rng.new_key()
            made = keys.wrapping.new_record(
                key, key_id=journal.key_id, created_at=self._clock.now(), alias=journal.alias
            )
            # The record is wrapped for the recovery recipients before it is stored. If we died after storing a bare
            # one, the node would depend on a key that no recovery kit opens (M1).
            present = keys.wrapping.for_recipients(made, key, self._keeper.current()[0].recipients)
        keys.add_next(present)
        self._event_log.append([key_events.key_generated(actor, "configuration", journal.key_id)])
        # every node has the new keys on its disk before anything is sealed under them
        self._holders.give(actor)

    def _replace_values(self, journal: Journal, actor: str) -> None:
        before = self._configuration.document()
        if before.configuration_key_id == journal.key_id:
            # The run before died between the put and its events. `check_epoch` writes the event of the store, and the
            # events of the values are written here; nothing is put again.
            self._keeper.check_epoch()
            self._event_log.append(
                sealing_events(actor, journal.key_id, journal.old_key_id, before)
            )
            return

        ring = self._assets.ring().with_new_active(embedded.new_key(self._clock))

        def build(present: Present) -> NextStore:
            opened = present.opened
            roots = self._keeper.providers.all_for(opened.store, opened.store.mode, journal.key_id)
            return next_store.rotated(opened, roots, self._clock.now())

        def write(document: ConfigDocument, values: Mapping[str, bytes]) -> ConfigDocument:
            new_key = self._configuration.open_key(journal.key_id)
            more = {
                **values,
                embedded.PARAMETER: asset_ring.serialize(ring),
                log_signing.PARAMETER: log_signing.renewed(self._configuration),
            }
            return reseal.reseal_all(
                document, self._configuration.open_key, new_key, journal.key_id, more
            )

        after, _ = self._keeper.commit_unsettled(
            build,
            lambda old, new: rotation_events(actor, old.opened, new),
            write=write,
            putting=lambda: self._holders.renewing(journal.key_id),
        )
        # the next events are signed by the new key, and begin with the event that says so
        self._holders.checkpoints.forget_signer()
        asset = key_events.key_generated(actor, "asset", ring.active_id)
        self._event_log.append(
            [asset, *sealing_events(actor, journal.key_id, journal.old_key_id, after)]
        )

    def _project(self, journal: Journal, actor: str) -> None:
        if self._holders.others is not None and self._holders.others.is_needed:
            # Other nodes read the puts behind this point by records that call the new key active. They also seal anew
            # what they keep themselves, and sign their logs by the new key, before the former one goes.
            self._holders.open_keys().settle(journal.key_id)
            self._holders.give(actor)
        # the node itself opens its coordination service by these, so they go before the old key does
        names = self._holders.reseal_local(journal.key_id)
        self._event_log.append(
            [secret_events.secret_encrypted(actor, name, journal.key_id) for name in names]
        )
        self._configuration.project()
        self._assets.reseal_all()
        self._drop_old_asset_keys()
        # A power failure may take back the newest checkpoint. Behind this point it could be one of the former key alone,
        # which nobody would take any more.
        self._holders.checkpoints.sync()
        log_signing.drop_former(self._configuration)
        # a repetition of this step makes one more, which does no harm
        self._holders.renew_log_key(actor)

    def _retire_configuration_key(self, journal: Journal, actor: str) -> None:
        keys = self._holders.open_keys()
        keys.settle(journal.key_id)
        self._keeper.settle()
        remove_unused_keys(keys, self._keeper, self._coordinator, actor)
        self._holders.give(actor)

    def _retire_master_keys(self, journal: Journal, actor: str) -> None:
        keys = self._holders.open_keys()
        keys.rewrap(journal.alias)
        directory = self._holders.directory
        # a run that died here may have removed an old key from some replicas only
        directory.replicate()
        for alias in directory.load().aliases:
            if alias not in keys.used_aliases:
                # the event comes first, as for the configuration keys
                self._event_log.append([key_events.key_removed(actor, "master", alias)])
                directory.remove_alias(alias)
        self._holders.give(actor)

    def _drop_old_asset_keys(self) -> None:
        ring = self._assets.ring()
        if ring == ring.only_active():
            return
        sealed = self._configuration.seal_secret(
            embedded.PARAMETER, asset_ring.serialize(ring.only_active())
        )
        self._configuration.compare_and_put(
            lambda document: document.with_values({embedded.PARAMETER: sealed})
        )


def remove_unused_keys(
    keys: ConfigurationKeys,
    keeper: StoreKeeper,
    coordinator: Coordinator,
    actor: str,
    *,
    among: Collection[str] | None = None,
) -> None:
    """Remove the configuration keys that neither a version of the configuration nor a journal names.

    Args:
        keys: The records.
        keeper: The KMS store, with the configuration and the event log.
        coordinator: Holds the lock of secret rotations.
        actor: The person or process that asks, for the events.
        among: The ids of the keys that may go; None is all.
    """
    # A secret rotation seals a new value and then writes its journal, which names the key. Between the two the old key
    # looks unused; the lock keeps it from being removed in that moment.
    with coordinator.lock(secret_rotation.LOCK, wait_s=secret_rotation.LOCK_WAIT_S):
        in_use = keeper.configuration.configuration_keys_in_use()
        for record in keys.load():
            if record.id not in in_use and (among is None or record.id in among):
                # The event comes before the removal: if we died after a removal without event, the resumed run would no
                # longer see the key, and the log would never say that it is gone.
                keeper.event_log.append([key_events.key_removed(actor, "configuration", record.id)])
                keys.remove(record.id)


def sealing_events(
    actor: str, key_id: str, old_key_id: str, document: ConfigDocument
) -> list[Event]:
    """The events of a configuration whose secrets were all sealed under another key."""
    changed = [
        key_events.key_changed(actor, "configuration", key_id, state="active"),
        key_events.key_changed(actor, "configuration", old_key_id, state="decrypt-only"),
    ]
    secrets = [
        secret_events.secret_encrypted(actor, name, key_id)
        for name, text in sorted(document.values.items())
        if enc.is_enc(text)
    ]
    return [*changed, *secrets]
