"""`tsm security regenerate-internal-tokens` (A-22, A-23, C-24, Q-04): replaces all internal secrets and keys.

Passwords and certificates come first, each brought into the component that uses it (`services/secrets/rotate`, with
journals of its own), then the keys from master key to MEK. A journal in the coordination service holds the step that is
done and the ids of the new keys, so that the next run of a killed command continues with the same ids. Each step may be
repeated. Exactly one step, `_replace_values`, puts the new keys in force, by a single put: before it every value opens
by the old keys, after it by the new ones. Old keys are removed only after that. Secrets that an administrator supplied
keep their values and are encrypted under the new keys.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from strongroom.config import reseal
from strongroom.config.document import ConfigDocument
from strongroom.configuration_keys.keys import ConfigurationKeys
from strongroom.coordination.base import Change
from strongroom.crypto import rng
from strongroom.errors import FormatError, StateError
from strongroom.eventlog import events
from strongroom.eventlog.base import Event
from strongroom.ids import new_id
from strongroom.keystore import master_key
from strongroom.keystore.replicas import KeystoreDirectory
from strongroom.kms import next_store
from strongroom.kms.next_store import NextStore
from strongroom.secrets import asset_ring, enc
from strongroom.services.keys.keeper import (
    LOCK,
    LOCK_WAIT_S,
    KmsPorts,
    Present,
    StoreKeeper,
    rotation_events,
)
from strongroom.services.secrets import embedded
from strongroom.services.secrets import rotate as secret_rotation
from strongroom.services.secrets.embedded import AssetService
from strongroom.services.secrets.rotate import SecretRotation
from strongroom.services.secrets.scope import Outcome, Planned

JOURNAL = "journal/regenerate"
KEYS = "keys"
"""The word of a scope that stands for the key hierarchy; a scope's other words are those of a secret rotation."""


@dataclass(frozen=True)
class Journal:
    """The decisions and the progress of a run, as they are stored.

    Attributes:
        step: The last step that is done.
        alias: The new master key's alias.
        key_id: The new configuration key's id.
        old_key_id: The configuration key that was active before.
        run: The id under which secrets are rotated.
        only: The scope: `keys` and words of a rotation; empty is everything.
    """

    step: int
    alias: str
    key_id: str
    old_key_id: str
    run: str = ""
    only: tuple[str, ...] = ()

    @property
    def keys(self) -> bool:
        """Whether the run renews the keys."""
        return not self.only or KEYS in self.only

    @property
    def secrets(self) -> tuple[str, ...] | None:
        """The scope of the secret rotation, empty for every secret; None if the run rotates no secret."""
        words = tuple(word for word in self.only if word != KEYS)
        return words if words or not self.only else None

    def serialize(self) -> bytes:
        """Canonical bytes."""
        return json.dumps(asdict(self), sort_keys=True).encode()

    @classmethod
    def parse(cls, raw: bytes) -> "Journal":
        """Parse the bytes of a journal.

        Raises:
            FormatError: The journal is damaged.
        """
        try:
            found = cls(**json.loads(raw))
            return replace(found, only=tuple(found.only))
        except (ValueError, TypeError, RecursionError) as error:
            raise FormatError("the journal of the regeneration is damaged") from error


@dataclass(frozen=True)
class KeyHolders:
    """The key files of the node; `open_keys` reads them anew at each call, since the steps change them."""

    directory: KeystoreDirectory
    open_keys: Callable[[], ConfigurationKeys]


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
        with self._coordinator.lock(LOCK, wait_s=LOCK_WAIT_S):
            journal, resumed = self._begin(tuple(only))
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
        found = self._coordinator.get(JOURNAL)
        journal = Journal.parse(found.value) if found else Journal(0, "", "", "", "", tuple(only))
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

    def _begin(self, only: tuple[str, ...]) -> tuple[Journal, bool]:
        found = self._coordinator.get(JOURNAL)
        if found is not None:
            return Journal.parse(found.value), True
        asked = Journal(0, "", "", "", new_id(), only)
        if asked.secrets is not None:
            # A wrong scope is refused before the journal is written: once stored, every later run would resume it and
            # fail.
            self._rotation.check(asked.secrets)
        journal = self._with_keys(asked) if asked.keys else asked
        self._coordinator.put({JOURNAL: Change(journal.serialize(), 0)})
        return journal, False

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

    def _advance(self, journal: Journal, step: int) -> Journal:
        found = self._coordinator.get(JOURNAL)
        version = 0 if found is None else found.version
        done = replace(journal, step=step)
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
        if directory.load().find(journal.alias) is None:
            directory.add_alias(journal.alias, rng.new_key(), created_at=self._clock.now())
        else:
            directory.replicate()
        self._event_log.append([events.key_generated(actor, "master", journal.alias)])

    def _add_configuration_key(self, journal: Journal, actor: str) -> None:
        keys = self._holders.open_keys()
        present = next((item for item in keys.records if item.id == journal.key_id), None)
        if present is None:
            key = rng.new_key()
            made = keys.new_record(
                key, key_id=journal.key_id, created_at=self._clock.now(), alias=journal.alias
            )
            # The record is wrapped for the recovery recipients before it is stored. If we died after storing a bare
            # one, the node would depend on a key that no recovery kit opens (M1).
            present = keys.for_recipients(made, key, self._keeper.current()[0].recipients)
        keys.add(present)
        self._event_log.append([events.key_generated(actor, "configuration", journal.key_id)])

    def _replace_values(self, journal: Journal, actor: str) -> None:
        before = self._configuration.document()
        if before.configuration_key_id == journal.key_id:
            # The run before died between the put and its events. `check_epoch` writes the event of the store, and the
            # events of the values are written here; nothing is put again.
            self._keeper.check_epoch()
            self._event_log.append(_value_events(actor, journal, before))
            return

        ring = self._assets.ring().with_new_active(embedded.new_key(self._clock))

        def build(present: Present) -> NextStore:
            opened = present.opened
            roots = self._keeper.providers.all_for(opened.store, opened.store.mode, journal.key_id)
            return next_store.rotated(opened, roots, self._clock.now())

        def write(document: ConfigDocument, values: Mapping[str, bytes]) -> ConfigDocument:
            new_key = self._configuration.open_key(journal.key_id)
            more = {**values, embedded.PARAMETER: asset_ring.serialize(ring)}
            return reseal.reseal_all(
                document, self._configuration.open_key, new_key, journal.key_id, more
            )

        after, _ = self._keeper.commit_unsettled(
            build, lambda old, new: rotation_events(actor, old.opened, new), write=write
        )
        asset = events.key_generated(actor, "asset", ring.active_id)
        self._event_log.append([asset, *_value_events(actor, journal, after)])

    def _project(self, journal: Journal, actor: str) -> None:
        del journal, actor
        self._configuration.project()
        self._assets.reseal_all()
        self._drop_old_asset_keys()

    def _retire_configuration_key(self, journal: Journal, actor: str) -> None:
        keys = self._holders.open_keys()
        keys.set_state(journal.key_id)
        self._keeper.settle()
        # A secret rotation seals a new value and then writes its journal, which names the key. Between the two the old
        # key looks unused; the lock keeps it from being removed in that moment.
        with self._coordinator.lock(secret_rotation.LOCK, wait_s=secret_rotation.LOCK_WAIT_S):
            in_use = self._configuration.configuration_keys_in_use()
            for record in keys.load():
                if record.id not in in_use:
                    # The event comes before the removal: if we died after a removal without event, the resumed run
                    # would no longer see the key, and the log would never say that it is gone.
                    self._event_log.append([events.key_removed(actor, "configuration", record.id)])
                    keys.remove(record.id)

    def _retire_master_keys(self, journal: Journal, actor: str) -> None:
        keys = self._holders.open_keys()
        keys.rewrap(journal.alias)
        directory = self._holders.directory
        # a run that died here may have removed an old key from some replicas only
        directory.replicate()
        for alias in directory.load().aliases:
            if alias not in keys.used_aliases:
                # the event comes first, as for the configuration keys
                self._event_log.append([events.key_removed(actor, "master", alias)])
                directory.remove_alias(alias)

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


def _value_events(actor: str, journal: Journal, document: ConfigDocument) -> list[Event]:
    changed = [
        events.key_changed(actor, "configuration", journal.key_id, state="active"),
        events.key_changed(actor, "configuration", journal.old_key_id, state="decrypt-only"),
    ]
    secrets = [
        events.secret_encrypted(actor, name, journal.key_id)
        for name, text in sorted(document.values.items())
        if enc.is_enc(text)
    ]
    return [*changed, *secrets]
