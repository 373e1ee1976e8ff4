"""The configuration as people use it: reading values, collecting pending changes, promoting them, writing the YAML files.

The truth is one document in the coordination service, and each change of it one compare-and-set; the YAML files only
follow, and are written anew at each start. An administrator changes values in two steps: `set` collects them in the
pending transaction, `apply` promotes that as a whole. A secret's value leaves this module through `get`, which writes an
event first. The program itself opens and replaces values by the class beneath (`services.configuration.present`).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from strongroom.config import catalog, texts, versions
from strongroom.config.document import ConfigDocument, check_name
from strongroom.coordination.base import Change, Coordinator
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import (
    ConflictError,
    PermissionDeniedError,
    StorageError,
    UsageError,
)
from strongroom.eventlog.base import EventLog
from strongroom.eventlog.events import secret_events
from strongroom.secrets import catalog as secrets
from strongroom.secrets import enc
from strongroom.services.configuration.pending_store import Decide, Decided, PendingStore
from strongroom.services.configuration.present import ConfigurationKeySource, PresentConfiguration
from strongroom.system.durable import PRIVATE, FileModes

if TYPE_CHECKING:
    from strongroom.config.pending import PendingChanges
    from strongroom.config.views import KeyState, ListedKey, PendingView

LOCK = "configuration"
LOCK_WAIT_S = 10.0  # longest wait for another command; one change takes milliseconds

_APPLIED = "the changes are applied; each start rewrites these files, once there is free space"


class ConfigurationService(PresentConfiguration):
    """The configuration of one installation, as people read and change it."""

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
        super().__init__(coordinator, open_keys)
        self._event_log = event_log
        self._folders = folders
        self._file_modes = file_modes
        self._pending = PendingStore(coordinator, event_log, self.key_of)
        self.checks = self._pending.checks
        self.local_uses: list[Callable[[], Collection[str]]] = []

    # ---- reading ---------------------------------------------------------------------------------

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
        value = self.open_in(document, key, text)
        self._event_log.append([secret_events.secret_revealed(actor, key, reason=reason)])
        return texts.as_text(key, value.reveal())

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
            self._pending.check(pending, self.document(), self.open_in)
            document = self.compare_and_put(
                pending.promote, also=lambda new: self._promotion(pending, loaded.version, new)
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

            self.compare_and_put(
                raised, also=lambda _: {versions.PENDING: Change(None, entry.version)}
            )
            return True

    # ---- projection ------------------------------------------------------------------------------

    def project(self) -> tuple[Path, ...]:
        """Write every service's YAML files by the present document; returns the files that had to be written.

        Raises:
            StorageError: A file cannot be written.
        """
        with self._coordinator.lock(LOCK, wait_s=LOCK_WAIT_S):
            return self._project(self.document())

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

    def _project(self, document: ConfigDocument) -> tuple[Path, ...]:
        from strongroom.config import yaml_files

        return tuple(yaml_files.project(self._folders, document, self._file_modes))

    @staticmethod
    def _check_known(key: str, document: ConfigDocument) -> None:
        if not catalog.is_known(key) and key not in document.values:
            raise catalog.unknown_key(key)
