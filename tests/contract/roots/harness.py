"""What the one suite of roots needs of each kind: a fresh provider, another key, and knobs that break it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import ClassVar

import pytest
from typing_extensions import override

from strongroom.roots.base import RootProvider
from strongroom.roots.settings import RootSettings
from tests.support import fault_server
from tests.support.fault_server import Backend, Fault, FaultServer, Response
from tests.support.tls import Authority

#: Faults after which another try may help; all others are refusals.
PASSING = frozenset(
    {
        Fault.UNREACHABLE,
        Fault.SLOW,
        Fault.RESET,
        Fault.BAD_TLS,
        Fault.SERVER_ERROR,
        Fault.THROTTLED,
    }
)

#: How long an answer is awaited where no fault is a slow one: only a busy machine answers late.
PATIENCE_S = 30.0
#: Where a slow answer is the fault; a server that has it waits for twice as long (`FaultServer.slow_s`).
IMPATIENCE_S = 1.5

Told = Mapping[Fault, tuple[str, ...]]
#: Fault → why this kind of root cannot have it.
Unfit = Mapping[Fault, str]


class RootLab(ABC):
    """One root in a test environment.

    Attributes:
        unfit: The faults that this kind of root cannot have, and why not.
        form: The form of the wrap of a key that the root itself makes.
        told: Words that an error names (who, which key, which action), by fault; `{key}` is the key.
        identity: Whether somebody is asked, who sees an identity.
        authenticates: Whether this environment notices a changed blob, as the product does.
        settings: As `set-mode` would make them.
        foreign_settings: Of another key that exists and may be used.
    """

    unfit: ClassVar[Unfit] = {}
    form: ClassVar[str] = "direct"
    told: ClassVar[Told] = {}
    authenticates: ClassVar[bool] = True
    identity: ClassVar[bool] = True
    settings: RootSettings
    foreign_settings: RootSettings

    @classmethod
    def faults(cls) -> tuple[Fault, ...]:
        """Those that the lab can bring about."""
        return tuple(fault for fault in Fault if fault not in cls.unfit)

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables that the product's SDK reads; set while a test runs."""
        return {}

    def quicken(self, patch: pytest.MonkeyPatch) -> None:  # noqa: B027 some labs need not
        """Shorten pauses and numbers of tries, so that a test of a failure does not take the whole of them."""

    def await_answers(self, seconds: float, patch: pytest.MonkeyPatch) -> None:  # noqa: B027 some ask nobody
        """Let the product wait for so long for each answer of this root."""

    @abstractmethod
    def root(self, settings: RootSettings | None = None) -> RootProvider:
        """A fresh provider, as after a start; of our own settings if none are given."""

    @contextmanager
    def broken(self, fault: Fault) -> Iterator[None]:
        """Break it until the end of the block."""
        with ExitStack() as undo:
            self.break_it(fault, undo)
            yield

    @abstractmethod
    def break_it(self, fault: Fault, undo: ExitStack) -> None:
        """Break it, and say how that is undone."""


class FrontedLab(RootLab):
    """A root that is asked over a network: a server with faults stands before it."""

    front: FaultServer

    @override
    def break_it(self, fault: Fault, undo: ExitStack) -> None:
        undo.enter_context(self.front.broken(fault))


@contextmanager
def before(
    backend: Backend, folder: Path, answers: Mapping[Fault, Response]
) -> Iterator[tuple[FaultServer, Authority]]:
    """A server with faults before a backend, over TLS, and who vouches for it."""
    authority = Authority(folder / "tls")
    with fault_server.running(backend, authority, answers) as front:
        yield front, authority
