"""The password of a node's own user at ZooKeeper or PostgreSQL: made anew, or taken over from the administrator.

The password opens the place where everything else lies, so it stands in the node's file of services alone, and two rules
hold at every moment (docs/format/services-file.md 4): the service takes a password only if it is in the file, and the
file forgets one only when nothing needs it any more. So a process that is killed anywhere leaves a node that opens, and
the next run goes on with the password that was made.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from strongroom.cluster.services_file import Passwords, ServicesFile
from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import CoordinationError, StateError, StorageError
from strongroom.eventlog.base import Event, EventLog
from strongroom.eventlog.events import node_events
from strongroom.joining.password_change import Stage
from strongroom.secrets.committed import ValueKey

_REFUSALS = (CoordinationError, StorageError)
_SOLE_WAIT_S: Final = 5.0
"""How long a change waits for another one to end."""


class Service(Protocol):
    """A service, and the node's user in it."""

    @property
    def name(self) -> str:
        """The service's name in the file of services."""
        ...

    @property
    def user(self) -> str:
        """The user's name."""
        ...

    def check(self, password: SecretBytes) -> None:
        """Prove that a login by this password alone opens all that is the user's.

        Raises:
            CoordinationError: ZooKeeper refuses, or does not answer.
            StorageError: PostgreSQL refuses, or does not answer.
            StateError: A login would prove nothing.
        """
        ...

    def admit(self, found: Passwords, new: SecretBytes) -> None:
        """Have the service take the new password, and the present one beside it if it can; may be repeated."""
        ...

    def withdraw(self, present: SecretBytes) -> None:
        """Have the service take the present password alone; may be repeated."""
        ...


class PasswordFile(Protocol):
    """The node's file of services."""

    @property
    def file(self) -> ServicesFile:
        """The file as it is now."""
        ...

    def changing(self) -> AbstractContextManager[object]:
        """Keep other processes from writing it until the end of the block."""
        ...

    def passwords(self, name: str) -> Passwords:
        """The passwords of a service."""
        ...


class Others(Protocol):
    """The other nodes of the cluster, which have the same password in files of their own."""

    def sole(self, wait_s: float) -> AbstractContextManager[object]:
        """Keep every other node from changing a password until the end of the block.

        Raises:
            ConflictError: Another node changes one, still after so many seconds.
        """
        ...

    def tell(self, service: str, stage: Stage, password: SecretBytes) -> None:
        """Tell them that a change has reached a stage."""
        ...

    def wait(self, service: str) -> None:
        """Wait until each has done that stage.

        Raises:
            StateError: A node did not do it in time.
        """
        ...


@dataclass(frozen=True)
class PasswordPorts:
    """The ports of a change.

    Attributes:
        file: The node's file of services.
        write: Writes the file, synced.
        key: Returns the configuration key under which the password of a service is sealed.
        others: The other nodes.
        event_log: The node's event log.
    """

    file: PasswordFile
    write: Callable[[ServicesFile], None]
    key: Callable[[str], ValueKey]
    others: Others
    event_log: EventLog


class Changed(NamedTuple):
    """A change that is done.

    Attributes:
        resumed: Whether an interrupted change was finished, and no other was begun.
    """

    resumed: bool


class ServicePasswords:
    """Changes the password of one service."""

    def __init__(self, ports: PasswordPorts, service: Service) -> None:
        """Take the ports; nothing is asked."""
        self._ports = ports
        self._service = service

    @property
    def name(self) -> str:
        """The service's name in the file of services."""
        return self._service.name

    @property
    def user(self) -> str:
        """The name of the node's user in the service."""
        return self._service.user

    @property
    def is_changing(self) -> bool:
        """Whether a change was interrupted."""
        return self._ports.file.file.is_changing(self._service.name)

    def rotate(self, actor: str, report: Callable[[str], None]) -> Changed:
        """Make a new password, have the service take it, prove it, and have the service refuse the old one.

        Args:
            actor: The person or process that asks, for the events.
            report: Is told each step.

        Raises:
            StateError: Another node did not take part, or the service asks for no password.
            ConflictError: Another process changes a password.
            CoordinationError: ZooKeeper refuses or does not answer; the next run goes on from there.
            StorageError: PostgreSQL or the disk refuses; the next run goes on from there.
        """
        with self._ports.others.sole(_SOLE_WAIT_S), self._ports.file.changing():
            resumed = self.is_changing
            if not resumed:
                self._begin(actor, report)
            self._finish(actor, report)
        return Changed(resumed)

    def resume(self, actor: str, report: Callable[[str], None]) -> bool:
        """Finish a change that was interrupted; returns whether there was one. Raises as `rotate`."""
        if not self.is_changing:
            return False
        with self._ports.others.sole(0), self._ports.file.changing():
            # another process may have finished it while this one waited
            is_left = self._ports.file.file.is_changing(self._service.name)
            if is_left:
                self._finish(actor, report)
        return is_left

    def take_over(self, actor: str, password: SecretBytes) -> None:
        """Use a password that the administrator has set at the service; an interrupted change is given up.

        Raises:
            CoordinationError: ZooKeeper refuses the password somewhere, or does not answer; nothing was changed.
            StorageError: PostgreSQL refuses it, or does not answer; nothing was changed.
            StateError: A login would prove nothing.
            ConflictError: Another process changes a password.
        """
        name, service = self._service.name, self._service
        with self._ports.file.changing():
            service.check(password)
            was_changing = self.is_changing
            # the event goes into the services, which this node may be able to open by no other password; what an
            # interrupted change had made is forgotten: the check has shown that nothing needs it
            file = self._ports.file.file.begun(name, password, self._ports.key(name))
            self._ports.write(file)
            self._log(
                node_events.service_password_changed(
                    actor, name, service.user, made_by="administrator"
                )
            )
            if was_changing:
                service.withdraw(password)
                self._log(node_events.service_password_withdrawn(actor, name, service.user))
            self._ports.write(file.replaced(name, password, self._ports.key(name)))

    def followed(self, stage: Stage, password: SecretBytes) -> bool:
        """Do in this node's file what a change asks for that another node makes; may be repeated.

        Args:
            stage: The stage that the change has reached.
            password: The new password.

        Returns:
            Whether the new password came in force here by this call.

        Raises:
            ConflictError: Another process changes a password.
            StorageError: The disk refuses.
        """
        name, came = self._service.name, False
        with self._ports.file.changing():
            found, file = self._ports.file.passwords(name), self._ports.file.file
            if password not in (found.present, found.next):
                file = file.begun(name, password, self._ports.key(name))
            if stage is not Stage.SPREAD and found.present != password:
                # the old one is the former one until the service refuses it
                file, came = file.switched(name), True
            if stage is Stage.DONE:
                file = file.settled(name)
            if file != self._ports.file.file:
                self._ports.write(file)
        return came

    def _begin(self, actor: str, report: Callable[[str], None]) -> None:
        name, service = self._service.name, self._service
        service.check(self._ports.file.passwords(name).present)
        report(f"sealing a new password for {name} on this node")
        self._log(node_events.service_password_changing(actor, name, service.user))
        file = self._ports.file.file
        self._ports.write(file.begun(name, rng.new_password(), self._ports.key(name)))

    def _finish(self, actor: str, report: Callable[[str], None]) -> None:
        """Go on from the step that the file tells."""
        name, service = self._service.name, self._service
        found = self._ports.file.passwords(name)
        others = self._ports.others
        if found.next is not None:
            others.tell(name, Stage.SPREAD, found.next)
            others.wait(name)
            report(f"having {name} take the new password")
            service.admit(found, found.next)
            service.check(found.next)
            self._log(
                node_events.service_password_changed(
                    actor, name, service.user, made_by="strongroom"
                )
            )
            self._ports.write(self._ports.file.file.switched(name))
            found = self._ports.file.passwords(name)
        others.tell(name, Stage.IN_FORCE, found.present)
        others.wait(name)
        report(f"having {name} refuse the old password")
        service.withdraw(found.present)
        if found.former is not None:
            self._require_refused(found.former)
        # last, since a service that does not answer refuses everything
        service.check(found.present)
        self._log(node_events.service_password_withdrawn(actor, name, service.user))
        self._ports.write(self._ports.file.file.settled(name))
        others.tell(name, Stage.DONE, found.present)

    def _require_refused(self, former: SecretBytes) -> None:
        try:
            self._service.check(former)
        except _REFUSALS:
            return
        raise StateError(
            f"{self._service.name} takes the old password still",
            hint="see who else sets it there, then run the command again",
        )

    def _log(self, event: Event) -> None:
        self._ports.event_log.append([event])
