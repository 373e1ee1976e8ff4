"""The configuration in the form that users are shown: states, masked values, pending changes (P11, Q-14)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from strongroom.config import catalog
from strongroom.config.document import ConfigDocument
from strongroom.config.pending import PendingChanges
from strongroom.secrets import catalog as secrets

MASK = "********"

KeyState = Literal["set", "default", "unset"]


@dataclass(frozen=True)
class ListedKey:
    """A row of `tsm configuration list`.

    Attributes:
        key: Name of the key.
        value: The value in force, masked for a secret; None without a value.
        state: `set`, `default` (not set, but has a default) or `unset`.
        secret: Whether the value is stored encrypted.
        dynamic: Whether a change is in force without a restart.
        has_effect: Whether any code reads the key.
        summary: The purpose of the key; empty for a key that was set by force.
    """

    key: str
    value: str | None
    state: KeyState
    secret: bool
    dynamic: bool
    has_effect: bool
    summary: str


@dataclass(frozen=True)
class PendingChange:
    """A row of `tsm pending-changes list`.

    Attributes:
        key: Name of the parameter.
        value: The new value, masked for a secret; None for a reset to the default.
        needs_restart: Whether the change is in force only after a restart.
    """

    key: str
    value: str | None
    needs_restart: bool


@dataclass(frozen=True)
class PendingView:
    """The pending transaction in the form that users are shown.

    Attributes:
        changes: The changes, sorted by name.
        base_version: Version of the configuration when the transaction began.
        revision: Identifies this state of the transaction, so that `apply` can refuse another one
            (format/pending-changes.md §4.5); empty without changes.
    """

    changes: tuple[PendingChange, ...]
    base_version: int
    revision: str

    @property
    def needs_restart(self) -> bool:
        """Whether any of the changes needs a restart, so that the whole apply does."""
        return any(change.needs_restart for change in self.changes)


def masked(name: str, text: str) -> str:
    """A value as lists show it."""
    return MASK if secrets.is_secret(name) else text


def state_of(values: Mapping[str, str], name: str) -> KeyState:
    """Whether a known key is set, has a default, or neither."""
    if name in values:
        return "set"
    return "unset" if catalog.default_of(name) is None else "default"


def list_keys(document: ConfigDocument) -> list[ListedKey]:
    """Every known key and every key that was set by force, sorted."""
    return [_listed(document.values, name) for name in sorted({*catalog.names(), *document.values})]


def view_pending(pending: PendingChanges, revision: str) -> PendingView:
    """The pending transaction with its secrets masked."""
    rows = (
        PendingChange(
            name, None if text is None else masked(name, text), catalog.needs_restart(name)
        )
        for name, text in sorted(pending.changes.items())
    )
    return PendingView(tuple(rows), pending.base_version, revision)


def _listed(values: Mapping[str, str], name: str) -> ListedKey:
    text = values.get(name)
    return ListedKey(
        key=name,
        value=catalog.default_of(name) if text is None else masked(name, text),
        state=state_of(values, name),
        secret=secrets.is_secret(name),
        dynamic=not catalog.needs_restart(name),
        has_effect=catalog.has_effect(name),
        summary=catalog.summary_of(name),
    )
