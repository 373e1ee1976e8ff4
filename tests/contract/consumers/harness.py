"""What the one suite of consumers needs of each component: fresh credentials, an eye of its own, and knobs that break it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Generic, Protocol, TypeVar

from strongroom.consumers.base import Consumer, Credential
from strongroom.system.compat import override
from tests.support.components.process import Component

Address = str | tuple[str, int]
"""A Unix socket's path, or host and port."""


class ConsumerLab(ABC):
    """One real component with one user whose secret rotates.

    Attributes:
        ends_sessions: Whether `withdraw` ends the sessions that the old credential opened.
        own_administrator: Whether the user administers itself, so that a wrong administrator's
            password is the user's own.
        changes_component: Whether `admit` and `withdraw` change something in the component; else an
            administrator of it does (a mail provider), and the tests of changes do not apply.
        keeps_plaintext: Whether the component has to have the values as they are (files of keys).
        over_network: Whether calls go over a connection that can be cut.
        silent: The calls that need not ask the component, and so cannot miss it.
    """

    ends_sessions: ClassVar[bool] = True
    own_administrator: ClassVar[bool] = False
    changes_component: ClassVar[bool] = True
    keeps_plaintext: ClassVar[bool] = False
    over_network: ClassVar[bool] = True
    silent: ClassVar[frozenset[str]] = frozenset()

    @property
    @abstractmethod
    def address(self) -> Address:
        """Where the component is."""

    @abstractmethod
    def consumer(
        self, *, address: Address | None = None, wrong_administrator: bool = False
    ) -> Consumer:
        """A new object of ours for the user.

        Args:
            address: Another way to the component, such as a proxy that cuts.
            wrong_administrator: It has no valid password for whoever may change the user.
        """

    @abstractmethod
    def reset(self) -> Credential:
        """Give the user a fresh credential, the only valid one, without our code."""

    @abstractmethod
    def fresh(self, present: Credential) -> Credential:
        """What a rotation would choose next."""

    @abstractmethod
    def accepts(self, credential: Credential) -> bool:
        """Whether other people's client can log in and work; anything but a refusal is an AssertionError."""

    def knows(self, credential: Credential) -> bool:
        """Whether any place of the component still holds it as valid, though it may not be enough for a login."""
        return self.accepts(credential)

    @abstractmethod
    def session(self, credential: Credential) -> "AbstractContextManager[Callable[[], bool]]":
        """An open login by another client; the function says whether it still works."""

    @abstractmethod
    def down(self) -> AbstractContextManager[None]:
        """The component is not there."""

    @abstractmethod
    def hung(self) -> AbstractContextManager[None]:
        """The component takes connections and says nothing."""

    @abstractmethod
    def refusing(self) -> AbstractContextManager[None]:
        """Whoever may change the user may not do so now."""

    @abstractmethod
    def kill(self) -> None:
        """Kill the component, and start it again."""

    @abstractmethod
    def traces(self) -> Iterable[bytes]:
        """Everything that the component has written: logs, files, lists of statements."""

    def forbidden(self, credential: Credential) -> list[bytes]:
        """What may be found in no trace: by default the values themselves."""
        return [value.reveal() for value in credential.values.values()]

    def speaks(self, call: str) -> bool:
        """Whether a call (`admit`, `login`, `withdraw`) asks the component."""
        return call not in self.silent


class Served(Protocol):
    """A component that is a server process of the tests' own."""

    @property
    def component(self) -> Component:
        """The process."""


S = TypeVar("S", bound=Served)


@dataclass
class ServerLab(ConsumerLab, Generic[S]):
    """A component in a process of its own, which can be killed and hung.

    Attributes:
        server: The component.
        stores: The folders in which it keeps what it has to know of its users' secrets.
    """

    server: S
    stores: ClassVar[frozenset[str]] = frozenset()

    @override
    def down(self) -> AbstractContextManager[None]:
        return self.server.component.down(killed=True)

    @override
    def hung(self) -> AbstractContextManager[None]:
        return self.server.component.hung()

    @override
    @contextmanager
    def refusing(self) -> Iterator[None]:
        with ExitStack() as undo:
            self.refuse(undo)
            yield

    @abstractmethod
    def refuse(self, undo: ExitStack) -> None:
        """Take the right from whoever may change the user, and say how it is given back."""

    @override
    def kill(self) -> None:
        with self.down():
            pass

    @override
    def traces(self) -> Iterable[bytes]:
        """Its files and its command line."""
        for path in self.server.component.folder.rglob("*"):
            if path.is_file() and not self.stores & set(path.parts):
                yield path.read_bytes()
        yield Path(f"/proc/{self.server.component.pid}/cmdline").read_bytes()
