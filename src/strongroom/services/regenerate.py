"""`tsm security regenerate-internal-tokens` (A-22, A-23, C-24, Q-04): all internal secrets and keys anew.

First passwords and certificates, each into the component that uses it (`services/secret_rotation`,
with journals of its own), then the keys. A journal in the coordination service names the step
reached and the ids of the new keys, so that a run that was killed is taken up where it stopped.
Each step is idempotent; one of them changes which keys count, in a single put. Admin-supplied
secrets keep their values.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

from strongroom.config import reseal
from strongroom.config.document import ConfigDocument
from strongroom.coordination.base import Change
from strongroom.crypto import rng
from strongroom.errors import FormatError, StateError
from strongroom.eventlog import events
from strongroom.eventlog.base import Event
from strongroom.ids import new_id
from strongroom.keystore import master_key
from strongroom.keystore.configuration_key import ConfigurationKeys
from strongroom.keystore.replicas import KeystoreDirectory
from strongroom.secrets import asset_ring, enc
from strongroom.services import assets, kms_change, secret_rotation
from strongroom.services.assets import AssetService
from strongroom.services.kms_keeper import (
    LOCK,
    LOCK_WAIT_S,
    PREVIOUS_STORE,
    KmsPorts,
    StoreKeeper,
    rotation_events,
)
from strongroom.services.kms_sealed import STORE
from strongroom.services.rotation_scope import Outcome, Planned
from strongroom.services.secret_rotation import SecretRotation

JOURNAL = "journal/regenerate"
KEYS = "keys"
"""The word of a scope that means the key hierarchy; the other words are those of a rotation."""


@dataclass(frozen=True)
class Journal:
    """What a run has decided and how far it came.

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
        """Whether the keys are renewed."""
        return not self.only or KEYS in self.only

    @property
    def secrets(self) -> tuple[str, ...] | None:
        """What is rotated, in the words of a rotation; None if nothing is."""
        words = tuple(word for word in self.only if word != KEYS)
        return words if words or not self.only else None

    def serialize(self) -> bytes:
        """Canonical bytes."""
        return json.dumps(asdict(self), sort_keys=True).encode()

    @classmethod
    def parse(cls, raw: bytes) -> "Journal":
        """The journal of its bytes.

        Raises:
            FormatError: It is damaged.
        """
        try:
            found = cls(**json.loads(raw))
            return replace(found, only=tuple(found.only))
        except (ValueError, TypeError) as error:
            raise FormatError("the journal of the regeneration is damaged") from error


@dataclass(frozen=True)
class KeyHolders:
    """The key files of the node, opened afresh each time, since the steps change them."""

    directory: KeystoreDirectory
    open_keys: Callable[[], ConfigurationKeys]


@dataclass(frozen=True)
class Regenerated:
    """What a run did.

    Attributes:
        resumed: Whether it finished one that had been cut; then with that one's scope.
        alias: The new master key's alias; empty if the keys were not in its scope.
        configuration_key_id: The new configuration key's id, or empty.
        secrets: How many values are encrypted now.
        rotated: What became of passwords and certificates.
    """

    resumed: bool
    alias: str
    configuration_key_id: str
    secrets: int
    rotated: tuple[Outcome, ...] = ()


@dataclass(frozen=True)
class RegeneratePlan:
    """What a run would do.

    Attributes:
        resumes: Whether it would finish one that was cut, with that one's scope.
        secrets: The passwords and certificates.
        steps: The steps in their order.
    """

    resumes: bool
    secrets: tuple[Planned, ...]
    steps: tuple[str, ...]


Step = Callable[[Journal, str], None]


class RegenerateService:
    """The steps and their order (architecture, section 5, Keystore)."""

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
        self._log = ports.log
        self._clock = ports.clock

    def run(self, actor: str, say: Callable[[str], None], only: Sequence[str] = ()) -> Regenerated:
        """Make every internal key and secret anew, or finish the run that was cut.

        What a component did not take is named in the result, and does not stop the rest.

        Args:
            actor: Who asks.
            say: Takes one sentence per step.
            only: `keys`, `passwords`, `certs`, names of parameters; empty is everything.

        Raises:
            StateError: Changes are pending, or the keys are not in order now.
            UsageError: The scope names what cannot be rotated.
        """
        with self._coordinator.lock(LOCK, wait_s=LOCK_WAIT_S):
            journal, resumed = self._begin(tuple(only))
            rotated: list[Outcome] = []
            steps = self._steps(journal, say, rotated)
            for number, (step, sentence) in enumerate(steps, start=1):
                say(f"{number * 100 // len(steps)}% - {sentence}")
                if journal.step < number:
                    step(journal, actor)
                    journal = self._advance(journal, number)
            rotated += self._rotation.outstanding(but=rotated)
            self._end()
            count = sum(map(enc.is_enc, self._configuration.document().values.values()))
            return Regenerated(resumed, journal.alias, journal.key_id, count, tuple(rotated))

    def plan(self, only: Sequence[str] = ()) -> RegeneratePlan:
        """What `run` would do; changes nothing, and asks no component.

        Raises:
            UsageError: The scope names what cannot be rotated.
        """
        found = self._coordinator.get(JOURNAL)
        journal = Journal.parse(found.value) if found else Journal(0, "", "", "", "", tuple(only))
        words = journal.secrets
        secrets = self._rotation.plan(words) if words is not None else []
        steps = self._steps(journal, lambda _: None, [])[journal.step :]
        return RegeneratePlan(found is not None, tuple(secrets), tuple(text for _, text in steps))

    def _steps(
        self, journal: Journal, say: Callable[[str], None], rotated: list[Outcome]
    ) -> "list[tuple[Step, str]]":
        def rotate(_: Journal, actor: str) -> None:
            rotated.extend(self._rotate_secrets(journal, actor, say))

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
            # refused here, before the journal: later it would be in the way of every other run
            self._rotation.check(asked.secrets)
        journal = self._with_keys(asked) if asked.keys else asked
        self._coordinator.put({JOURNAL: Change(journal.serialize(), 0)})
        return journal, False

    def _with_keys(self, journal: Journal) -> Journal:
        """Decide on the new keys' names."""
        if self._configuration.pending() is not None:
            raise StateError(
                "changes to the configuration are pending",
                hint="apply or discard them first: tsm pending-changes apply|discard",
            )
        status = self._keeper.status()
        if not status.is_ok:
            raise StateError(
                f"the keys are not in order: {status.problems[0]}",
                hint="see 'tsm security kms status'",
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
        self, journal: Journal, actor: str, say: Callable[[str], None]
    ) -> list[Outcome]:
        return self._rotation.rotate(actor, journal.secrets or (), run=journal.run, say=say)

    def _add_master_key(self, journal: Journal, actor: str) -> None:
        directory = self._holders.directory
        if directory.load().find(journal.alias) is None:
            directory.add_alias(journal.alias, rng.new_key(), created_at=self._clock.now())
        else:
            directory.replicate()
        self._log.append([events.key_generated(actor, "master", journal.alias)])

    def _add_configuration_key(self, journal: Journal, actor: str) -> None:
        keys = self._holders.open_keys()
        present = next((item for item in keys.records if item.id == journal.key_id), None)
        if present is None:
            key = rng.new_key()
            made = keys.new_record(
                key, key_id=journal.key_id, created_at=self._clock.now(), alias=journal.alias
            )
            # from its first moment: a kill after this must not leave a key that no share opens (M1)
            present = keys.for_recipients(made, key, self._keeper.current()[0].recipients)
        keys.add(present)
        self._log.append([events.key_generated(actor, "configuration", journal.key_id)])

    def _replace_values(self, journal: Journal, actor: str) -> None:
        before = self._configuration.document()
        if before.configuration_key_id == journal.key_id:
            # killed between the put and its events; the store's own is told by `check_epoch`
            self._keeper.check_epoch()
            self._log.append(_value_events(actor, journal, before))
            return
        opened = self._keeper.keys.opened()
        roots = self._keeper.roots.all_for(opened.store, opened.store.mode, journal.key_id)
        change = kms_change.rotated(opened, roots, self._clock.now())
        kms_change.prove(change, self._keeper.roots.find)
        ring = self._assets.ring().with_new_active(assets.new_key(self._clock))
        values = {
            STORE: change.raw,
            PREVIOUS_STORE: self._configuration.open_secret(STORE).reveal(),
            assets.PARAMETER: asset_ring.serialize(ring),
        }
        after = reseal.reseal_all(
            before,
            self._configuration.open_key,
            self._configuration.open_key(journal.key_id),
            journal.key_id,
            values,
        )
        self._configuration.compare_and_put(lambda _: after, expected_version=before.version)
        self._keeper.tell(rotation_events(actor, opened, change), change)
        asset = events.key_generated(actor, "asset", ring.active_id)
        self._log.append([asset, *_value_events(actor, journal, after)])

    def _project(self, journal: Journal, actor: str) -> None:
        del journal, actor
        self._configuration.project()
        self._assets.reseal_all()
        self._drop_old_asset_keys()

    def _retire_configuration_key(self, journal: Journal, actor: str) -> None:
        keys = self._holders.open_keys()
        keys.set_state(journal.key_id)
        self._keeper.settle()
        # a rotation may have sealed a value under the old key, and have written no journal yet
        with self._coordinator.lock(secret_rotation.LOCK, wait_s=secret_rotation.LOCK_WAIT_S):
            in_use = self._configuration.configuration_keys_in_use()
            for record in keys.load():
                if record.id not in in_use:
                    # told before it is done: a resumed run no longer sees what was removed
                    self._log.append([events.key_removed(actor, "configuration", record.id)])
                    keys.remove(record.id)

    def _retire_master_keys(self, journal: Journal, actor: str) -> None:
        keys = self._holders.open_keys()
        keys.rewrap(journal.alias)
        directory = self._holders.directory
        directory.replicate()  # a killed run may have removed an old key from some replicas only
        for alias in directory.load().aliases:
            if alias not in keys.used_aliases:
                self._log.append([events.key_removed(actor, "master", alias)])
                directory.remove_alias(alias)

    def _drop_old_asset_keys(self) -> None:
        ring = self._assets.ring()
        if ring == ring.only_active():
            return
        sealed = self._configuration.seal_secret(
            assets.PARAMETER, asset_ring.serialize(ring.only_active())
        )
        self._configuration.compare_and_put(
            lambda document: document.with_values({assets.PARAMETER: sealed})
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
