"""The description of a kind of consumer: its settings, its secrets, and how to build it from them; pure.

Each component's module has one `CONSUMER`; `consumers.registry` names the module. The catalogues of keys and secrets
read it at the start of many a command, so such a module imports nothing slow: its client comes with `build`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from strongroom.consumers.base import Candidates, Consumer
    from strongroom.system.values import Check

Effective = Callable[[str], str | None]
"""The value in force of an ordinary key, checked; None if there is none."""


class Setting(NamedTuple):
    """A setting that tells where the component is, as an ordinary parameter; a rotation reads it at its start.

    Attributes:
        name: The name of the parameter, case-sensitive.
        default: The value in force while it is not set; None if there is none.
        check: The kind of the value (`system.values`).
        summary: The purpose of the parameter.
    """

    name: str
    default: str | None
    check: "Check"
    summary: str


class Password(NamedTuple):
    """A secret parameter that exists for this component.

    Attributes:
        name: The name of the parameter, case-sensitive; the name ends as every secret's does: `….password`,
            `…_password`, `…_secret`.
        use: The component that uses the password.
        is_generated: Whether the node generates the password; otherwise an administrator gives it.
    """

    name: str
    use: str
    is_generated: bool = True


class ConsumerKind(NamedTuple):
    """A kind of consumer.

    Attributes:
        kind: The name of the kind in reports and events; never changes.
        settings: The parameters that tell where the component is.
        build: The consumers that the settings name, none if they name none; imports the component's client, and asks
            nobody. Takes what reads the settings, and the values that a secret may have in its component now.
        passwords: Secret parameters that are its own. Those that the documents of the other product list are in
            `secrets.catalog`, since they are there with and without a component.
    """

    kind: str
    settings: tuple[Setting, ...]
    build: "Callable[[Effective, Candidates], tuple[Consumer, ...]]"
    passwords: tuple[Password, ...] = ()


def authority(component: str, *, without: str) -> str:
    """The summary of a `ca_file`."""
    return f"authority of the TLS certificate of {component}; without it, {without}"
