"""Configuration: reading, pending changes, promotion, projection; and the key management's own door.

Each change is one compare-and-set in the coordination service; YAML files follow it. Values of secrets leave this
module only through `get` (with an event) and `open_secret` (for the program itself).
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from strongroom.config import catalog, texts, versions
from strongroom.config.document import ConfigDocument, check_name
from strongroom.coordination.base import Change, Coordinator
from strongroom.crypto.secret import SecretBytes
from strongroom.durable import PRIVATE, Access
from strongroom.errors import (
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    StorageError,
    UsageError,
)
from strongroom.eventlog import events
from strongroom.eventlog.base import EventLog
from strongroom.secrets import catalog as secrets
from strongroom.secrets import enc
from strongroom.services.pending_store import Decide, Decided, PendingStore

if TYPE_CHECKING:
    from datetime import datetime

    from strongroom.config.pending import PendingChanges
    from strongroom.config.views import KeyState, ListedKey, PendingView

LOCK = "configuration"
LOCK_WAIT_S = 10.0
"""Longest wait for another command; one change takes milliseconds."""
_ATTEMPTS = 5

Extra = Callable[[ConfigDocument], Mapping[str, Change]]


class ConfigurationKeySource(Protocol):
    """Where configuration keys come from: the records beside the keystore."""

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
        access: Access = PRIVATE,
    ) -> None:
        """Take the ports.

        Args:
            coordinator: Holds the truth.
            open_keys: Opens the configuration keys of an installation id; called at first need.
            event_log: Takes the events.
            folders: The services' folders, which get the YAML files.
            access: Modes and group of those.
        """
        self._coordinator = coordinator
        self._open_keys = open_keys
        self._events = event_log
        self._folders = folders
        self._access = access
        self._keys: dict[str, SecretBytes] = {}
        self._pending = PendingStore(coordinator, event_log, self._key)

    # ---- reading ---------------------------------------------------------------------------------

    def document(self) -> ConfigDocument:
        """The present configuration.

        Raises:
            StateError: There is none yet.
        """
        return versions.load(self._coordinator).document

    @property
    def version(self) -> int:
        """The present document's version; grows with every change."""
        return self.document().version

    def get(
        self, key: str, *, actor: str, reveal_key_material: bool = False, reason: str = ""
    ) -> str | None:
        """The applied value of a key, or its default; None if it has neither (C-25, P11).

        A secret's value is preceded by an event, synced before it is returned (P16).

        Args:
            key: Its name.
            actor: Who reads.
            reveal_key_material: Whether the reader asked for key material as such (Q-13).
            reason: Why, in the reader's words; kept in the event.

        Raises:
            NotFoundError: Nobody knows the key.
            PermissionDeniedError: It is key material and was not asked for as such.
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
        self._events.append([events.secret_revealed(actor, key, reason=reason)])
        return texts.as_text(key, value.reveal())

    def effective(self, key: str) -> str | None:
        """The value in force of an ordinary key, for the program itself; leaves no event."""
        if secrets.is_secret(key):
            raise UsageError(f"{key!r} is a secret: open_secret opens it")
        return self.document().values.get(key, catalog.default_of(key))

    def state(self, key: str) -> "KeyState":
        """Whether a key is set, has a default, or neither.

        Raises:
            NotFoundError: Nobody knows the key.
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
        """Whether changes are pending, even such as do not open."""
        return self._coordinator.version(versions.PENDING) > 0

    def pending(self) -> "PendingView | None":
        """The pending transaction, secrets masked (Q-14); None if there is none.

        Raises:
            IntegrityError: It does not open.
        """
        from strongroom.config import views

        loaded = self._pending.load(self.document())
        return views.view_pending(loaded.pending, loaded.revision) if loaded else None

    def set(self, key: str, value: str, *, actor: str, force: bool = False) -> "PendingView":
        """Put a new value into the pending transaction; a secret is encrypted here and now.

        Args:
            key: Its name.
            value: The new value.
            actor: Who sets it.
            force: Take a key that nobody knows.

        Raises:
            NotFoundError: Nobody knows the key.
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
            NotFoundError: Nobody knows the key.
            PermissionDeniedError: Only the key management changes it.
            ConflictError: Another command holds the configuration.
        """
        return self._change_pending(key, None, actor=actor, force=False)

    def stage(self, decide: Decide, *, actor: str) -> "PendingView":
        """Put several changes into the pending transaction at once, or none.

        Args:
            decide: Gives them, checked, while the configuration is held.
            actor: Who changes.

        Raises:
            UsageError: It would grow too long.
            ConflictError: Another command holds the configuration.
        """
        from strongroom.config import views

        with self._coordinator.lock(LOCK, wait_s=LOCK_WAIT_S):
            staged = self._pending.stage(self.document(), decide, actor)
            return views.view_pending(staged.pending, staged.revision)

    def apply(
        self, *, actor: str, revision: str | None = None, wait_s: float = LOCK_WAIT_S
    ) -> ConfigDocument | None:
        """Promote the pending transaction: its very texts become current (C-07). None if none is.

        Args:
            actor: Who applies.
            revision: `PendingView.revision` that was shown to the actor; another one is refused.
            wait_s: Longest wait for another command.

        Raises:
            ConflictError: The transaction changed meanwhile, or another command holds the lock.
        """
        with self._coordinator.lock(LOCK, wait_s=wait_s):
            loaded = self._pending.load(self.document())
            if loaded is None:
                self._project(self.document())  # an apply that was killed may have left them behind
                return None
            pending = loaded.pending
            if revision not in {None, loaded.revision}:
                raise ConflictError(
                    "the pending changes are not those that were shown",
                    hint="look at them with 'tsm pending-changes list' and apply again",
                )
            document = self._put(
                pending.promote, lambda new: self._promotion(pending, loaded.version, new)
            )
            named = " ".join(sorted(filter(secrets.is_secret, pending.changes)))
            told = events.configuration_applied(
                actor, version=document.version, keys=len(pending.changes), secrets=named
            )
            self._events.append([told])
            try:
                self._project(document)
            except StorageError as error:
                raise StorageError(
                    error.message, hint="the changes are applied; each start rewrites these files"
                ) from error
            return document

    def discard(self) -> bool:
        """Throw the pending transaction away, even one that does not open; False if there is none.

        Raises:
            ConflictError: Another command holds the configuration.
        """
        with self._coordinator.lock(LOCK, wait_s=LOCK_WAIT_S):
            entry = self._coordinator.get(versions.PENDING)
            if entry is None:
                return False
            self._coordinator.put({versions.PENDING: Change(None, entry.version)})
            return True

    # ---- projection ------------------------------------------------------------------------------

    def project(self) -> tuple[Path, ...]:
        """Bring every service's YAML files to the truth; gives the files that had to be written.

        Raises:
            StorageError: A file cannot be written.
        """
        with self._coordinator.lock(LOCK, wait_s=LOCK_WAIT_S):
            return self._project(self.document())

    def differing_files(self) -> tuple[Path, ...]:
        """The YAML files that are not what they should be."""
        from strongroom.config import yaml_files

        return tuple(yaml_files.differing(self._folders, self.document(), self._access))

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
            key_id: Its id.
            moment: The present.
            hierarchy: Values of `kms.persistent_store` and `asset.keys`.
        """
        from strongroom.secrets.generate import generated_values

        values = {**generated_values(moment), **hierarchy}
        sealed = {name: enc.seal_value(key, key_id, name, value) for name, value in values.items()}
        return ConfigDocument(installation_id, key_id, sealed)

    def create(self, document: ConfigDocument) -> None:
        """Store the first document; the same one again is no error.

        Raises:
            ConflictError: There is another configuration.
        """
        from strongroom.config.reseal import check_sealed

        check_sealed(document)
        versions.create(self._coordinator, document)

    def compare_and_put(
        self,
        mutate: Callable[[ConfigDocument], ConfigDocument],
        *,
        also: Mapping[str, Change] | None = None,
        expected_version: int | None = None,
    ) -> ConfigDocument:
        """Change the document and other coordination entries in one transaction. Projects nothing.

        Args:
            mutate: Gives the next document (`with_values`); may be called again after a lost race.
            also: Further entries that change with it.
            expected_version: The version that must be present; then nothing is tried again.

        Raises:
            ConflictError: Somebody else was faster.
        """
        return self._put(mutate, lambda _: also or {}, expected_version)

    def open_secret(self, name: str) -> SecretBytes:
        """A secret's value, for the program itself; leaves no event.

        Raises:
            NotFoundError: It is not set.
            IntegrityError: It does not open.
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
        """An `ENC(...)` text of a value, under the active or a named configuration key."""
        document = self.document()
        key_id = key_id or document.configuration_key_id
        return enc.seal_value(self._key(document, key_id), key_id, name, value)

    def open_key(self, key_id: str) -> SecretBytes:
        """The configuration key of an id, for `config.reseal.reseal_all`."""
        return self._key(self.document(), key_id)

    def configuration_keys_in_use(self) -> frozenset[str]:
        """Ids of the configuration keys that the current, the kept or the pending version needs, or a journal."""
        from strongroom.config import rotation
        from strongroom.config.pending import key_id_of_pending
        from strongroom.config.reseal import key_ids_in

        document = self.document()
        used = {document.configuration_key_id, *key_ids_in(document.values)}
        previous = versions.load_previous(self._coordinator)
        if previous is not None:
            used |= {previous.configuration_key_id, *key_ids_in(previous.values)}
        entry = self._coordinator.get(versions.PENDING)
        if entry is not None:
            used.add(key_id_of_pending(entry.value))
            loaded = self._pending.load(document)
            used |= key_ids_in(loaded.pending.changes) if loaded else set()
        return frozenset(used | rotation.key_ids(self._coordinator.get, secrets.SECRETS))

    def forget_previous(self) -> None:
        """Drop the kept version, so that it holds on to no configuration key."""
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
        """What belongs to a promotion: the transaction goes, a running server is asked to reload."""
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

        return tuple(yaml_files.project(self._folders, document, self._access))

    def _open_value(self, document: ConfigDocument, name: str, text: str) -> SecretBytes:
        key = self._key(document, enc.key_id_of(text))
        return SecretBytes(enc.open_value(key, name, text))

    def _key(self, document: ConfigDocument, key_id: str) -> SecretBytes:
        # a key that is not known yet may have been added by another process: the source is opened anew
        if key_id not in self._keys:
            self._keys[key_id] = self._open_keys(document.installation_id).open(key_id)
        return self._keys[key_id]

    @staticmethod
    def _check_known(key: str, document: ConfigDocument) -> None:
        if not catalog.is_known(key) and key not in document.values:
            raise catalog.unknown_key(key)
