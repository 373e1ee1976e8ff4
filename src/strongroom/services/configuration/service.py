"""The configuration: reading values, collecting pending changes, promoting them, and writing the services' YAML files.

The truth is one document in the coordination service, and each change of it one compare-and-set; the YAML files only
follow, and are written anew at each start. An administrator changes values in two steps: `set` collects them in the
pending transaction, `apply` promotes that as a whole. The key management changes key values directly
(`compare_and_put`). A secret's value leaves this module through `get`, which writes an event first, and through
`open_secret`, for the program itself.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from strongroom.config import catalog, texts, versions
from strongroom.config.document import ConfigDocument, check_name
from strongroom.coordination.base import Change, Coordinator
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import (
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    StorageError,
    UsageError,
)
from strongroom.eventlog.base import EventLog
from strongroom.eventlog.events import secret_events
from strongroom.secrets import catalog as secrets
from strongroom.secrets import committed, enc
from strongroom.secrets.committed import ValueKey
from strongroom.services.configuration.pending_store import Decide, Decided, PendingStore
from strongroom.system.durable import PRIVATE, FileModes

if TYPE_CHECKING:
    from datetime import datetime

    from strongroom.config.pending import PendingChanges
    from strongroom.config.views import KeyState, ListedKey, PendingView

LOCK = "configuration"
LOCK_WAIT_S = 10.0  # longest wait for another command; one change takes milliseconds
_ATTEMPTS = 5

Extra = Callable[[ConfigDocument], Mapping[str, Change]]
_APPLIED = "the changes are applied; each start rewrites these files, once there is free space"


class ConfigurationKeySource(Protocol):
    """Opens configuration keys, normally from the records beside the keystore."""

    def open(self, key_id: str) -> SecretBytes:
        """The key of an id."""
        ...


class ConfigurationService:
    """The configuration of one installation."""

    def __init__(
        self,
        coordinator: Coordinator,
        open_keys: Callable[[str], ConfigurationKeySource],
        event_log: EventLog,
        folders: Sequence[Path],
        file_modes: FileModes = PRIVATE,
    ) -> None:
        """Take the ports.

        Args:
            coordinator: Holds the document and the pending transaction.
            open_keys: Opens the configuration keys of an installation id; called at first need.
            event_log: The log to which changes and readings are appended.
            folders: The services' folders, which get the YAML files.
            file_modes: Modes and group of those files.
        """
        self._coordinator = coordinator
        self._open_keys = open_keys
        self._event_log = event_log
        self._folders = folders
        self._file_modes = file_modes
        self._keys: dict[str, SecretBytes] = {}
        self._pending = PendingStore(coordinator, event_log, self._key)
        self.checks = self._pending.checks
        self.local_uses: list[Callable[[], Collection[str]]] = []

    # ---- reading ---------------------------------------------------------------------------------

    def document(self) -> ConfigDocument:
        """The present configuration.

        Raises:
            StateError: The installation has no configuration yet.
        """
        return versions.load(self._coordinator).document

    @property
    def version(self) -> int:
        """The present document's version; grows with every change."""
        return self.document().version

    def get(
        self, key: str, *, actor: str, reveal_key_material: bool = False, reason: str = ""
    ) -> str | None:
        """The applied value of a key, or its default; None if the key has neither (C-25, P11).

        For a secret, an event is written and synced before the value is returned (P16).

        Args:
            key: Name of the key.
            actor: The person or process that reads, for the event.
            reveal_key_material: Whether the reader asked for key material as such (Q-13).
            reason: The reader's own reason, kept in the event.

        Raises:
            NotFoundError: The catalogue has no such key, and no value is set under that name.
            PermissionDeniedError: The key holds key material, and `reveal_key_material` is false.
        """
        document = self.document()
        self._check_known(key, document)
        text = document.values.get(key)
        if text is None:
            return catalog.default_of(key)
        if not secrets.is_secret(key):
            return text
        if secrets.is_key_material(key) and not reveal_key_material:
            raise PermissionDeniedError(
                f"{key!r} is key material", hint="add --reveal-key-material if you must see it"
            )
        value = self._open_value(document, key, text)
        self._event_log.append([secret_events.secret_revealed(actor, key, reason=reason)])
        return texts.as_text(key, value.reveal())

    def effective(self, key: str) -> str | None:
        """The value in force of an ordinary key, for the program itself; leaves no event."""
        if secrets.is_secret(key):
            raise UsageError(f"{key!r} is a secret: open_secret opens it")
        return self.document().values.get(key, catalog.default_of(key))

    def state(self, key: str) -> "KeyState":
        """Whether a key is set, has a default, or neither.

        Raises:
            NotFoundError: The catalogue has no such key, and no value is set under that name.
        """
        from strongroom.config import views

        document = self.document()
        self._check_known(key, document)
        return views.state_of(document.values, key)

    def list(self) -> "list[ListedKey]":
        """Every key, secrets masked."""
        from strongroom.config import views

        return views.list_keys(self.document())

    # ---- pending changes -------------------------------------------------------------------------

    @property
    def has_pending(self) -> bool:
        """Whether changes are pending, even if they do not open."""
        return self._coordinator.version(versions.PENDING) > 0

    def pending(self) -> "PendingView | None":
        """The pending transaction, secrets masked (Q-14); None if nothing is pending.

        Raises:
            IntegrityError: The transaction does not open by the keys of this node.
        """
        from strongroom.config import views

        loaded = self._pending.load(self.document())
        return views.view_pending(loaded.pending, loaded.revision) if loaded else None

    def set(self, key: str, value: str, *, actor: str, force: bool = False) -> "PendingView":
        """Put a new value into the pending transaction; a secret is encrypted before it is stored.

        Args:
            key: Name of the key.
            value: The new value.
            actor: The person or process that sets the value, for the event.
            force: Accept a key that is not in the catalogue.

        Raises:
            NotFoundError: The catalogue has no such key, and no value is set under that name.
            PermissionDeniedError: Only the key management changes it.
            UsageError: The key cannot have this value.
            ConflictError: Another command holds the configuration.
        """
        texts.check_text(key, value)
        if not secrets.is_secret(key):
            value = catalog.check_value(key, value)
            if enc.is_enc(value):
                raise UsageError(
                    f"the value of {key!r} may not begin with 'ENC('",
                    hint="only secrets are stored in that form",
                )
        return self._change_pending(key, value, actor=actor, force=force)

    def reset(self, key: str, *, actor: str) -> "PendingView":
        """Put the return to a key's default into the pending transaction.

        Raises:
            NotFoundError: The catalogue has no such key, and no value is set under that name.
            PermissionDeniedError: Only the key management changes it.
            ConflictError: Another command holds the configuration.
        """
        return self._change_pending(key, None, actor=actor, force=False)

    def stage(self, decide: Decide, *, actor: str) -> "PendingView":
        """Put several changes into the pending transaction at once, or none.

        Args:
            decide: Returns the checked changes; called under the configuration's lock.
            actor: The person or process that changes the configuration, for the events.

        Raises:
            UsageError: The transaction, or the configuration after it, would be too long.
            ConflictError: Another command holds the configuration.
        """
        from strongroom.config import views

        with self._coordinator.lock(LOCK, wait_s=LOCK_WAIT_S):
            staged = self._pending.stage(self.document(), decide, actor)
            return views.view_pending(staged.pending, staged.revision)

    def apply(
        self, *, actor: str, revision: str | None = None, wait_s: float = LOCK_WAIT_S
    ) -> ConfigDocument | None:
        """Promote the pending transaction, its encrypted texts as they are (C-07); None if nothing is pending.

        Args:
            actor: The person or process that applies the changes, for the event.
            revision: `PendingView.revision` that was shown to the actor; another one is refused.
            wait_s: Longest wait for another command.

        Raises:
            ConflictError: The transaction changed meanwhile, or another command holds the lock.
            UsageError: A pending value is one that its key cannot have.
        """
        with self._coordinator.lock(LOCK, wait_s=wait_s):
            loaded = self._pending.load(self.document())
            if loaded is None:
                # an `apply` that died after its put has left the YAML files as they were before it
                self._project(self.document())
                return None
            pending = loaded.pending
            if revision not in {None, loaded.revision}:
                raise ConflictError(
                    "the pending changes are not those that were shown",
                    hint="look at them with 'tsm pending-changes list' and apply again",
                )
            catalog.check_pending(pending.changes)
            self._pending.check(pending, self.document(), self._open_value)
            document = self._put(
                pending.promote, lambda new: self._promotion(pending, loaded.version, new)
            )
            named = sorted(filter(secrets.is_secret, pending.changes))
            applied = secret_events.configuration_applied(
                actor, version=document.version, keys=len(pending.changes), secrets=named
            )
            self._event_log.append(applied)
            try:
                self._project(document)
            except StorageError as error:
                raise StorageError(error.message, hint=_APPLIED) from error
            return document

    def discard(self) -> bool:
        """Throw the pending transaction away, even one that does not open; False if nothing was pending.

        The document's floor rises to the transaction's number, so that it cannot be put back (entries.md 3.2).

        Raises:
            ConflictError: Another command holds the configuration.
        """
        with self._coordinator.lock(LOCK, wait_s=LOCK_WAIT_S):
            entry = self._coordinator.get(versions.PENDING)
            if entry is None:
                return False
            number = self._pending.number_of(entry.value)

            def raised(old: ConfigDocument) -> ConfigDocument:
                return old.with_values({})._replace(pending_floor=max(old.pending_floor, number))

            self._put(raised, lambda _: {versions.PENDING: Change(None, entry.version)})
            return True

    # ---- who follows ----------------------------------------------------------------------------

    def on_change(self, notice: Callable[[], None]) -> Callable[[], None]:
        """Call `notice` whenever another version is current, from a thread; what is returned ends that."""
        return self._coordinator.watch(versions.CURRENT, lambda _: notice())

    def on_restart(self, notice: Callable[[], None]) -> Callable[[], None]:
        """The same when a version asks a running server to reload (C-20)."""
        return self._coordinator.watch(versions.RESTART, lambda _: notice())

    # ---- projection ------------------------------------------------------------------------------

    def project(self) -> tuple[Path, ...]:
        """Write every service's YAML files by the present document; returns the files that had to be written.

        Raises:
            StorageError: A file cannot be written.
        """
        with self._coordinator.lock(LOCK, wait_s=LOCK_WAIT_S):
            return self._project(self.document())

    # ---- the key management's door ---------------------------------------------------------------

    def initial_document(
        self,
        installation_id: str,
        key: SecretBytes,
        key_id: str,
        moment: "datetime",
        hierarchy: Mapping[str, bytes],
    ) -> ConfigDocument:
        """The first document, with a fresh value for every generated secret; nothing is stored.

        Args:
            installation_id: UUID of the installation.
            key: The first configuration key.
            key_id: Id of that key.
            moment: The present.
            hierarchy: Values of `kms.persistent_store` and `asset.keys`.
        """
        from strongroom.secrets.generate import generated_values

        values = {**generated_values(moment), **hierarchy}
        sealing = ValueKey(installation_id, key_id, key)
        sealed = {name: sealing.seal(name, value) for name, value in values.items()}
        return ConfigDocument(installation_id, key_id, sealed)

    def create(self, document: ConfigDocument) -> None:
        """Store the first document; storing the same one again is no error, so that creating a node can be resumed.

        Raises:
            ConflictError: The installation has another configuration already.
        """
        from strongroom.config.reseal import check_sealed

        check_sealed(document)
        versions.create(self._coordinator, document)

    def compare_and_put(
        self,
        mutate: Callable[[ConfigDocument], ConfigDocument],
        *,
        also: Extra | None = None,
        expected_version: int | None = None,
    ) -> ConfigDocument:
        """Change the document and other coordination entries in one transaction; writes no YAML file.

        Args:
            mutate: Returns the next document (`with_values`); called again if another change came first.
            also: Returns further entries that change in the same transaction, given the next document.
            expected_version: The version that must be present; given, a lost race is not tried again.

        Raises:
            ConflictError: Another change came first.
        """
        return self._put(mutate, also or (lambda _: {}), expected_version)

    def open_secret(self, name: str) -> SecretBytes:
        """A secret's value, for the program itself; leaves no event.

        Raises:
            NotFoundError: The secret is not set.
            IntegrityError: The stored value does not open by the configuration keys.
        """
        document = self.document()
        text = document.values.get(name)
        if text is None:
            raise NotFoundError(
                f"the secret {name!r} is not set",
                hint=f"set it with 'tsm configuration set -k {name}'",
            )
        return self._open_value(document, name, text)

    def seal_secret(self, name: str, value: bytes, key_id: str | None = None) -> str:
        """Encrypt a value to an `ENC(...)` text, under the active or a named configuration key."""
        document = self.document()
        key_id = key_id or document.configuration_key_id
        key = self._key(document, key_id)
        return ValueKey(document.installation_id, key_id, key).seal(name, value)

    def open_text(self, name: str, text: str) -> SecretBytes:
        """A value of a parameter that lies elsewhere than in the present document, such as in a journal.

        Raises:
            IntegrityError: The text does not open as this parameter's value.
        """
        return self._open_value(self.document(), name, text)

    def open_key(self, key_id: str) -> SecretBytes:
        """The configuration key of an id, for `config.reseal.reseal_all`."""
        return self._key(self.document(), key_id)

    def configuration_keys_in_use(
        self, opened: Mapping[str, SecretBytes] | None = None
    ) -> frozenset[str]:
        """Ids of the configuration keys that the current, previous or pending version needs, a journal, or a local use.

        Other keys may be removed. Those of pending values are named inside the sealed transaction, which is therefore
        opened: by the keystore's keys, or by `opened`. If its own key is not there, only that one is counted for it.

        Args:
            opened: Configuration keys by id, where the keystore may be lost; None to open keys by the keystore.
        """
        from strongroom.services.configuration import keys_in_use

        used = keys_in_use.of(self.document(), self._coordinator, self._pending, opened)
        return used.union(*(uses() for uses in self.local_uses))

    def forget_previous(self) -> None:
        """Delete the previous version of the document, so that no configuration key is needed for it any more."""
        entry = self._coordinator.get(versions.PREVIOUS)
        if entry is not None:
            self._coordinator.put({versions.PREVIOUS: Change(None, entry.version)})

    # ---- inside ----------------------------------------------------------------------------------

    def _change_pending(
        self, key: str, value: str | None, *, actor: str, force: bool
    ) -> "PendingView":
        def decide(document: ConfigDocument, _: "PendingChanges") -> Decided:
            if not force:
                self._check_known(key, document)
            if secrets.is_key_hierarchy(key):
                raise PermissionDeniedError(
                    f"{key!r} is changed by the key management only",
                    hint="see 'tsm security kms' and 'tsm security regenerate-internal-tokens'",
                )
            return Decided({key: value})

        check_name(key)
        return self.stage(decide, actor=actor)

    def _promotion(
        self, pending: "PendingChanges", version: int, document: ConfigDocument
    ) -> Mapping[str, Change]:
        """The entries that change with a promotion: the transaction is deleted, and a running server asked to reload."""
        gone = {versions.PENDING: Change(None, version)}
        if not any(catalog.needs_restart(name) for name in pending.changes):
            return gone
        asked = str(document.version).encode()
        return {
            **gone,
            versions.RESTART: versions.set_entry(self._coordinator, versions.RESTART, asked),
        }

    def _put(
        self,
        mutate: Callable[[ConfigDocument], ConfigDocument],
        extra: Extra,
        expected_version: int | None = None,
    ) -> ConfigDocument:
        from strongroom.config.reseal import check_sealed

        attempts = _ATTEMPTS if expected_version is None else 1
        while True:
            attempts -= 1
            present = versions.load(self._coordinator)
            if expected_version not in {None, present.document.version}:
                raise ConflictError(
                    f"the configuration has version {present.document.version},"
                    f" not {expected_version}",
                    hint="look at the present state and try again",
                )
            document = mutate(present.document)._replace(version=present.document.version + 1)
            check_sealed(document)
            try:
                versions.advance(self._coordinator, present, document, extra(document))
            except ConflictError:
                if attempts == 0:
                    raise
            else:
                return document

    def _project(self, document: ConfigDocument) -> tuple[Path, ...]:
        from strongroom.config import yaml_files

        return tuple(yaml_files.project(self._folders, document, self._file_modes))

    def _open_value(self, document: ConfigDocument, name: str, text: str) -> SecretBytes:
        open_key = partial(self._key, document)
        return SecretBytes(committed.open_text(document.installation_id, open_key, name, text))

    def _key(self, document: ConfigDocument, key_id: str) -> SecretBytes:
        # a key that this process has not opened yet may be new, added by another process: read the records again
        if key_id not in self._keys:
            self._keys[key_id] = self._open_keys(document.installation_id).open(key_id)
        return self._keys[key_id]

    @staticmethod
    def _check_known(key: str, document: ConfigDocument) -> None:
        if not catalog.is_known(key) and key not in document.values:
            raise catalog.unknown_key(key)
