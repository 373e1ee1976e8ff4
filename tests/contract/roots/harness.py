"""What the one suite of roots needs of each kind: a fresh provider, another key, and knobs that break it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import ClassVar

import pytest

from strongroom.roots.base import RootProvider
from strongroom.roots.settings import RootSettings
from tests.fault_server import Fault

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

Told = Mapping[Fault, tuple[str, ...]]


class RootBench(ABC):
    """One root in a test environment.

    Attributes:
        faults: Those that the bench can bring about; the others do not apply to this kind.
        form: The form of the wrap of a key that the root itself makes.
        told: Words that an error names (who, which key, which action), by fault; `{key}` is the key.
        identity: Whether somebody is asked, who sees an identity.
        authenticates: Whether this environment notices a changed blob, as the product does.
    """

    faults: ClassVar[frozenset[Fault]]
    form: ClassVar[str] = "direct"
    told: ClassVar[Told] = {}
    authenticates: ClassVar[bool] = True
    identity: ClassVar[bool] = True

    @property
    @abstractmethod
    def settings(self) -> RootSettings:
        """As `set-mode` would make them."""

    @property
    @abstractmethod
    def foreign_settings(self) -> RootSettings:
        """Of another key that exists and may be used."""

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables that the product's SDK reads; set while a test runs."""
        return {}

    def quicken(self, patch: pytest.MonkeyPatch) -> None:  # noqa: B027 most benches need not
        """Shorten waits, so that a test of a timeout does not take the whole of it."""

    @abstractmethod
    def root(self, settings: RootSettings | None = None) -> RootProvider:
        """A fresh provider, as after a start; of our own settings if none are given."""

    @abstractmethod
    def broken(self, fault: Fault) -> AbstractContextManager[None]:
        """Break it until the end of the block."""
