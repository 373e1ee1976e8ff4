"""Pending changes as a state machine against two dictionaries: what is applied, what is pending (C-07, C-19)."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from strongroom import ids
from strongroom.config import catalog, reseal, versions
from strongroom.config.document import ConfigDocument
from strongroom.coordination.local import LocalCoordinator
from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import ConflictError
from strongroom.eventlog.base import Event
from strongroom.secrets import catalog as secrets
from strongroom.secrets import enc
from strongroom.services.configuration.service import ConfigurationService
from tests.support.unread_events import UnreadEvents

ACTOR = "os:anna"
ORDINARY = ["backgrounder.timeout_tasks", "my.setting"]
SECRET = ["redis.password", "ssl.key.passphrase", "my.password"]
texts = st.text(st.characters(codec="utf-8"), max_size=20)


class MemoryKeys:
    def __init__(self) -> None:
        self.keys: dict[str, SecretBytes] = {}

    def open(self, key_id: str) -> SecretBytes:
        return self.keys[key_id]


class MemoryEvents(UnreadEvents):
    def __init__(self) -> None:
        self.events: list[Event] = []

    def append(self, events: Sequence[Event]) -> None:
        self.events += events


class PendingChangesMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        root = Path(self.folder.name)
        LocalCoordinator.create(root / "c.db", root / "locks")
        self.coordinator = LocalCoordinator(root / "c.db", root / "locks")
        self.keys, self.log = MemoryKeys(), MemoryEvents()
        self.services = [
            ConfigurationService(self.coordinator, lambda _: self.keys, self.log, [])
            for _ in range(2)
        ]
        self.applied: dict[str, str] = {}
        self.pending: dict[str, str | None] = {}
        self.changes = 0
        self.shown: str | None = None  # the revision that somebody looked at
        self.is_stale = False

    @initialize()
    def create(self) -> None:
        key_id = self._new_key()
        self.services[0].create(ConfigDocument(ids.new_id(), key_id, {}))
        self.version = 1

    def teardown(self) -> None:  # type: ignore[explicit-override]  # needs Python 3.12
        self.coordinator.close()
        self.folder.cleanup()

    def _new_key(self) -> str:
        key_id = ids.new_id()
        self.keys.keys[key_id] = rng.new_key()
        return key_id

    def _service(self) -> ConfigurationService:
        """Each step by another process."""
        self.changes += 1
        return self.services[self.changes % 2]

    @rule(key=st.sampled_from([*ORDINARY, *SECRET]), value=texts)
    def set_(self, key: str, value: str) -> None:
        if key in ORDINARY and enc.is_enc(value):
            return
        self._service().set(key, value, actor=ACTOR, force=True)
        self.pending[key] = value
        self.is_stale = True

    @rule(key=st.sampled_from(["backgrounder.timeout_tasks", "redis.password"]))
    def reset(self, key: str) -> None:
        self._service().reset(key, actor=ACTOR)
        self.pending[key] = None
        self.is_stale = True

    @rule()
    def discard(self) -> None:
        assert self._service().discard() == bool(self.pending)
        self.version += bool(self.pending)
        self.pending = {}
        self.is_stale = True

    @rule()
    def look(self) -> None:
        view = self._service().pending()
        self.shown, self.is_stale = view.revision if view else None, False

    @precondition(lambda self: self.shown)
    @rule()
    def apply_what_was_shown(self) -> None:
        """pending-changes.md §4.5: nothing else, whatever was discarded and set again meanwhile."""
        if not (self.is_stale and self.pending):
            self._apply(self.shown)
            return
        with pytest.raises(ConflictError, match="not those that were shown"):
            self._service().apply(actor=ACTOR, revision=self.shown)

    @rule()
    def apply(self) -> None:
        self._apply(None)

    def _apply(self, revision: str | None) -> None:
        sealed = self._sealed()
        document = self._service().apply(actor=ACTOR, revision=revision)
        assert (document is not None) == bool(self.pending)
        if document is None:
            return
        self.version += 1
        for key, value in self.pending.items():
            # C-07: the very text, not the value encrypted again
            assert document.values.get(key) == sealed[key]
            if value is None:
                self.applied.pop(key, None)
            else:
                self.applied[key] = value
        self.pending = {}
        self.is_stale = True

    @rule()
    def change_the_configuration_key(self) -> None:
        """The key management does not touch the pending transaction (pending-changes.md §4.3)."""
        service, key_id = self._service(), self._new_key()
        service.compare_and_put(
            lambda document: reseal.reseal_all(
                document, service.open_key, self.keys.keys[key_id], key_id, {}
            )
        )
        self.version += 1

    @precondition(lambda self: self.keys.keys)
    @rule()
    def forget_unused_keys(self) -> None:
        """What `configuration_keys_in_use` leaves out is really needed by nothing."""
        used = self._service().configuration_keys_in_use()
        self.keys.keys = {one: key for one, key in self.keys.keys.items() if one in used}

    def _sealed(self) -> Mapping[str, str | None]:
        service = self.services[0]
        loaded = service._pending.load(service.document())
        return loaded.pending.changes if loaded else {}

    @invariant()
    def what_is_applied(self) -> None:
        fresh = ConfigurationService(self.coordinator, lambda _: self.keys, self.log, [])
        document = fresh.document()
        assert document.version == self.version
        assert document.values.keys() == self.applied.keys()
        for key, value in self.applied.items():
            assert fresh.get(key, actor=ACTOR) == value

    @invariant()
    def what_is_pending(self) -> None:
        view = self.services[0].pending()
        shown = {change.key: change.value for change in view.changes} if view else {}
        assert shown == {
            key: "********" if value is not None and secrets.is_secret(key) else value
            for key, value in self.pending.items()
        }
        assert (self.coordinator.get(versions.PENDING) is None) == (not self.pending)
        if view:
            assert view.needs_restart == any(map(catalog.needs_restart, self.pending))


TestPendingChanges = PendingChangesMachine.TestCase
TestPendingChanges.settings = settings(stateful_step_count=20)
