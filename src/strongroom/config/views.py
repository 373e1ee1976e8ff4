"""What people are shown of the configuration: states, masked values, pending changes (P11, Q-14)."""

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
    """One row of `tsm configuration list`.

    Attributes:
        key: Its name.
        value: The value in force, masked if it is a secret; None if there is none.
        state: `set`, `default` (not set, but has a default) or `unset`.
        secret: Whether it is stored encrypted.
        dynamic: Whether a change needs no restart.
        has_effect: Whether anything here reads it.
        summary: What it is for; empty for a key that was set by force.
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
    """One row of `tsm pending-changes list`.

    Attributes:
        key: Which parameter.
        value: Its new value, masked if it is a secret; None: reset to its default.
        needs_restart: Whether it comes into force with a restart only.
    """

    key: str
    value: str | None
    needs_restart: bool


@dataclass(frozen=True)
class PendingView:
    """The pending transaction as people see it.

    Attributes:
        changes: By name.
        base_version: Version of the configuration when it began.
        revision: Which state of the transaction this is: `apply` takes no other than the one shown
            (format/pending-changes.md §4.5); empty if there is none.
    """

    changes: tuple[PendingChange, ...]
    base_version: int
    revision: str

    @property
    def needs_restart(self) -> bool:
        """One change that needs a restart makes the whole apply restart (requirements 3.4)."""
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
