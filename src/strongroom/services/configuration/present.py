"""The present configuration: its values opened, and its document replaced as a whole by one compare-and-set.

This is the door of the program itself: the key management, the rotations and the consumers open secrets by it without an
event of their own, since each tells what it does by its own events. A person's readings and changes go through
`services.configuration.service`, which adds the events, the pending transaction and the YAML files.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Protocol

from strongroom.config import catalog, versions
from strongroom.config.document import ConfigDocument
from strongroom.coordination.base import Change, Coordinator
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import ConflictError, NotFoundError, UsageError
from strongroom.secrets import catalog as secrets
from strongroom.secrets import committed
from strongroom.secrets.committed import ValueKey

if TYPE_CHECKING:
    from datetime import datetime

_ATTEMPTS = 5

Extra = Callable[[ConfigDocument], Mapping[str, Change]]
"""Further entries that change in one transaction with the document, given the next document."""


class ConfigurationKeySource(Protocol):
    """Opens configuration keys, normally from the records beside the keystore."""

    def open(self, key_id: str) -> SecretBytes:
        """The key of an id."""
        ...


class PresentConfiguration:
    """The document of one installation, and the keys that open its values."""

    def __init__(
        self, coordinator: Coordinator, open_keys: Callable[[str], ConfigurationKeySource]
    ) -> None:
        """Take the ports.

        Args:
            coordinator: Holds the document.
            open_keys: Opens the configuration keys of an installation id; called at first need.
        """
        self._coordinator = coordinator
        self._open_keys = open_keys
        self._keys: dict[str, SecretBytes] = {}

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

    def effective(self, key: str) -> str | None:
        """The value in force of an ordinary key, for the program itself; leaves no event."""
        if secrets.is_secret(key):
            raise UsageError(f"{key!r} is a secret: open_secret opens it")
        return self.document().values.get(key, catalog.default_of(key))

    # ---- opening ---------------------------------------------------------------------------------

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
        return self.open_in(document, name, text)

    def seal_secret(self, name: str, value: bytes, key_id: str | None = None) -> str:
        """Encrypt a value to an `ENC(...)` text, under the active or a named configuration key."""
        document = self.document()
        key_id = key_id or document.configuration_key_id
        key = self.key_of(document, key_id)
        return ValueKey(document.installation_id, key_id, key).seal(name, value)

    def open_text(self, name: str, text: str) -> SecretBytes:
        """A value of a parameter that lies elsewhere than in the present document, such as in a journal.

        Raises:
            IntegrityError: The text does not open as this parameter's value.
        """
        return self.open_in(self.document(), name, text)

    def open_key(self, key_id: str) -> SecretBytes:
        """The configuration key of an id, for `config.reseal.reseal_all`."""
        return self.key_of(self.document(), key_id)

    def open_in(self, document: ConfigDocument, name: str, text: str) -> SecretBytes:
        """A value of a parameter, encrypted by a key of this document's installation.

        Raises:
            IntegrityError: The text does not open as this parameter's value.
        """
        open_key = partial(self.key_of, document)
        return SecretBytes(committed.open_text(document.installation_id, open_key, name, text))

    def key_of(self, document: ConfigDocument, key_id: str) -> SecretBytes:
        """The configuration key of an id in the installation of a document, opened once for each process."""
        # a key that this process has not opened yet may be new, added by another process: read the records again
        if key_id not in self._keys:
            self._keys[key_id] = self._open_keys(document.installation_id).open(key_id)
        return self._keys[key_id]

    # ---- replacing -------------------------------------------------------------------------------

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
                extra = also(document) if also else {}
                versions.advance(self._coordinator, present, document, extra)
            except ConflictError:
                if attempts == 0:
                    raise
            else:
                return document

    def forget_previous(self) -> None:
        """Delete the previous version of the document, so that no configuration key is needed for it any more."""
        entry = self._coordinator.get(versions.PREVIOUS)
        if entry is not None:
            self._coordinator.put({versions.PREVIOUS: Change(None, entry.version)})

    # ---- who follows ----------------------------------------------------------------------------

    def on_change(self, notice: Callable[[], None]) -> Callable[[], None]:
        """Call `notice` whenever another version is current, from a thread; what is returned ends that."""
        return self._coordinator.watch(versions.CURRENT, lambda _: notice())

    def on_restart(self, notice: Callable[[], None]) -> Callable[[], None]:
        """The same when a version asks a running server to reload (C-20)."""
        return self._coordinator.watch(versions.RESTART, lambda _: notice())
