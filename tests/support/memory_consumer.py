"""A component in memory and its consumer, with faults at a chosen call, for tests of a rotation's order.

The real ones are held to the same port in tests/contract/consumers; nothing of theirs is copied here.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from strongroom.consumers.base import (
    ConsumerDescription,
    Credential,
    SecretCopy,
)
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import ConsumerRefusedError, ConsumerUnavailableError
from strongroom.system.compat import override


class KilledError(BaseException):
    """The process is gone: nothing of ours may catch it."""


@dataclass
class Faults:
    """Counts what goes out, and breaks at one of the calls, before or after it was done.

    Attributes:
        at: The number of the call, from 1; 0 is none.
        after: Whether it was done.
        error: What is raised.
    """

    at: int = 0
    after: bool = False
    error: Callable[[], BaseException] = KilledError
    calls: list[str] = field(default_factory=list)

    def around(self, name: str, call: Callable[[], None]) -> None:
        self.calls.append(name)
        breaks = len(self.calls) == self.at
        if breaks and not self.after:
            raise self.error()
        call()
        if breaks:
            raise self.error()


@dataclass
class MemoryComponent:
    """Who may log in: one user with one or two valid values per parameter set."""

    valid: list[dict[str, bytes]] = field(default_factory=list)
    down: bool = False
    hears: bool = True

    def accepts(self, credential: Credential) -> bool:
        return plain(credential) in self.valid


class MemoryConsumer:
    """The port over a component in memory; `overlaps` false is one value at a time."""

    def __init__(
        self,
        component: MemoryComponent,
        *parameters: str,
        name: str = "memory/one",
        overlaps: bool = True,
        ends_old: bool = True,
        alternates: dict[str, tuple[str, str]] | None = None,
    ) -> None:
        self.component = component
        self.faults = Faults()
        self._described = ConsumerDescription(
            name, "memory", parameters, "in memory", overlaps, ends_old, alternates or {}
        )

    def describe(self) -> ConsumerDescription:
        return self._described

    def admit(self, new: Credential, present: Credential) -> None:
        def change() -> None:
            kept = [plain(present)] if self._described.overlaps else []
            self.component.valid = [*kept, plain(new)]

        self._call("admit", change)

    def login(self, credential: Credential) -> None:
        def check() -> None:
            if not self.component.accepts(credential):
                raise ConsumerRefusedError("the component in memory refused the login")

        self._call("login", check)

    def withdraw(self, old: Credential, present: Credential) -> None:
        def change() -> None:
            if self._described.ends_old:
                self.component.valid = [plain(present)]

        self._call("withdraw", change)

    def take_back(self, new: Credential, present: Credential) -> None:
        def change() -> None:
            self.component.valid = [plain(present)]

        self._call("take-back", change)

    def remarks(self) -> tuple[str, ...]:
        return ()

    def copies(self) -> tuple[SecretCopy, ...]:
        return (SecretCopy(self._described.parameters, "in memory", "hash"),)

    def _call(self, name: str, call: Callable[[], None]) -> None:
        if self.component.down:
            self.faults.calls.append(name)
            raise ConsumerUnavailableError("the component in memory is down")
        self.faults.around(name, call)

    @override
    def __repr__(self) -> str:
        return f"MemoryConsumer({self._described.id})"


def plain(credential: Credential) -> dict[str, bytes]:
    """Values and logins together: both must be right."""
    values = {name: value.reveal() for name, value in credential.values.items()}
    return values | {name: text.encode() for name, text in credential.logins.items()}


def credential(**values: bytes) -> Credential:
    return Credential({name: SecretBytes(value) for name, value in values.items()})
