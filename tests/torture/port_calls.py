"""The calls that a move between roots makes through its ports, and what is to happen at the n-th of them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from strongroom.coordination.local import LocalCoordinator
from strongroom.crypto.secret import SecretBytes
from strongroom.eventlog.jsonl import JsonlEventLog
from strongroom.node import opening, roots
from strongroom.roots.base import Context, RootDescription, RootProvider, WrapRecord
from strongroom.services.keys.epochs import RepositoryMarks
from strongroom.system import durable


@dataclass
class PortCalls:
    """Counts calls, from the moment that it is armed.

    Attributes:
        act: Told the number and the name of each call before it is made.
        armed: Whether calls count.
        names: The calls that were made.
    """

    act: Callable[[int, str], None]
    armed: bool = False
    names: list[str] = field(default_factory=list)

    def called(self, name: str) -> None:
        if self.armed:
            self.names.append(name)
            self.act(len(self.names), name)


@dataclass
class CountedRoot:
    """A root, and a note of each call to it."""

    calls: PortCalls
    inner: RootProvider

    def generate_data_key(self, context: Context) -> tuple[SecretBytes, WrapRecord]:
        self._note("generate_data_key")
        return self.inner.generate_data_key(context)

    def wrap(self, key: SecretBytes, context: Context) -> WrapRecord:
        self._note("wrap")
        return self.inner.wrap(key, context)

    def unwrap(self, record: WrapRecord) -> SecretBytes:
        self._note("unwrap")
        return self.inner.unwrap(record)

    def describe(self) -> RootDescription:
        return self.inner.describe()

    def check(self) -> None:
        self._note("check")
        self.inner.check()

    def _note(self, name: str) -> None:
        self.calls.called(f"{self.inner.describe().kind} {name}")


def watch_roots(calls: PortCalls, patch: pytest.MonkeyPatch) -> None:
    """Every root, ours too."""
    build, local = roots.RootProviders.build, opening.Node.local_root
    patch.setattr(
        roots.RootProviders,
        "build",
        lambda self, settings: CountedRoot(calls, build(self, settings)),
    )
    patch.setattr(
        opening.Node,
        "local_root",
        lambda *given, **more: CountedRoot(calls, local(*given, **more)),
    )


def watch_stores(calls: PortCalls, patch: pytest.MonkeyPatch) -> None:
    """Whatever a move writes: the coordination service, the event log, the marks, files."""
    for owner, name in (
        (LocalCoordinator, "put"),
        (JsonlEventLog, "append"),
        (RepositoryMarks, "write"),
        (durable, "write_file"),
    ):
        patch.setattr(
            owner, name, _counted(calls, f"{owner.__name__} {name}", getattr(owner, name))
        )


def _counted(calls: PortCalls, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def counted(*arguments: Any, **more: Any) -> Any:
        calls.called(name)
        return real(*arguments, **more)

    return counted
