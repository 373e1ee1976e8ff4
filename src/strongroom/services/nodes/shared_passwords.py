"""A password that all nodes use: how the node that changes it tells the others, and how a node follows (services-file.md 5).

The file of services lies on each node, and the password opens the place in which nodes tell each other anything. So no
service hears of a new password before each node has it in its file, and none refuses the old one before the new one
counts on each. A node says so itself, under its own key.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

from strongroom.config.document import ConfigDocument
from strongroom.coordination.base import Change, Coordinator
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import StateError, StrongroomError
from strongroom.eventlog.base import SYSTEM, EventLog
from strongroom.eventlog.events import node_events
from strongroom.ids import new_id
from strongroom.joining import password_change
from strongroom.joining.node_keys import NodeKeys
from strongroom.joining.password_change import PREFIX, PasswordChange, Stage
from strongroom.joining.registry import RegisteredNode
from strongroom.secrets import committed
from strongroom.secrets.committed import ValueKey
from strongroom.services.keys.peers import Peers
from strongroom.services.nodes.service_passwords import ServicePasswords

LOCK: Final = "service-passwords"
WAIT_S: Final = 30.0
"""How long the others are waited for, unless the administrator says otherwise."""
_POLL_S: Final = 0.2


@dataclass(frozen=True)
class SharedPorts:
    """The ports of a change that concerns several nodes.

    Attributes:
        coordinator: The coordination service of the cluster.
        peers: The registry.
        document: Returns the present configuration, for the id of the active key.
        open_key: Opens a configuration key of this node by its id.
        event_log: The log of this node.
        keys: Returns this node's own keys.
        wait_s: How long the others are waited for, in seconds.
    """

    coordinator: Coordinator
    peers: Peers
    document: Callable[[], ConfigDocument]
    open_key: Callable[[str], SecretBytes]
    event_log: EventLog
    keys: Callable[[], NodeKeys]
    wait_s: float = WAIT_S


class OtherNodes:
    """The other nodes, as the one that changes a password sees them; implements `service_passwords.Others`."""

    def __init__(self, ports: SharedPorts, node_id: str) -> None:
        """Take the ports; nothing is read.

        Args:
            ports: The ports.
            node_id: This node.
        """
        self._ports = ports
        self._node_id = node_id

    def sole(self, wait_s: float) -> AbstractContextManager[object]:
        """Keep every other node from changing a password until the end of the block.

        Raises:
            ConflictError: Another node changes one, still after so many seconds.
        """
        return self._ports.coordinator.lock(LOCK, wait_s=wait_s)

    def tell(self, service: str, stage: Stage, password: SecretBytes) -> None:
        """Tell the others that a change has reached a stage; nothing if there are none, and never were.

        Args:
            service: The service's name in the file of services.
            stage: The stage.
            password: The new password.
        """
        found = self._ports.coordinator.get(PREFIX + service)
        if found is None and not self._ports.peers.others():
            return
        known = None if found is None else password_change.parse_change(found.value)
        # the key of a change that is done may be gone by a regeneration, which waits for one that is not
        goes_on = known is not None and (
            stage is Stage.DONE
            or (known.stage is not Stage.DONE and _opened(self._ports, service, known) == password)
        )
        change_id = known.change_id if known is not None and goes_on else new_id()
        change = PasswordChange(
            change_id, stage, self._node_id, self._sealed(service, change_id, password)
        )
        version = 0 if found is None else found.version
        self._ports.coordinator.put({PREFIX + service: Change(change.serialize(), version)})

    def wait(self, service: str) -> None:
        """Wait until each other node has done the present stage.

        Raises:
            StateError: A node has not said so in time; each is named.
        """
        end = time.monotonic() + self._ports.wait_s
        while missing := self._missing(service):
            if time.monotonic() >= end:
                raise StateError(
                    f"{' and '.join(missing)} did not take part within {self._ports.wait_s:g} s: both passwords"
                    f" for {service} are kept, and no node is locked out",
                    hint="start it and run the command again, which goes on from here;"
                    " or take it out: tsm topology remove-nodes -n NODE --force",
                )
            time.sleep(_POLL_S)

    def _missing(self, service: str) -> Sequence[str]:
        others = self._ports.peers.others()
        found = self._ports.coordinator.get(PREFIX + service) if others else None
        if found is None:
            return ()
        change = password_change.parse_change(found.value)
        return [one.node_id for one in others if not self._has_done(service, change, one)]

    def _has_done(self, service: str, change: PasswordChange, node: RegisteredNode) -> bool:
        found = self._ports.coordinator.get(f"{PREFIX}{service}/{node.node_id}")
        if found is None:
            return False
        try:
            answer = password_change.parse_answer(found.value)
            answer.check(self._ports.document().installation_id, node.keys.signing)
        except StrongroomError:
            # each node has the key of the entries' MACs: what a node did not sign, it did not say
            return False
        return (answer.change_id, answer.stage, answer.node_id) == (
            change.change_id,
            change.stage,
            node.node_id,
        )

    def _sealed(self, service: str, change_id: str, password: SecretBytes) -> str:
        document = self._ports.document()
        key_id = document.configuration_key_id
        key = ValueKey(document.installation_id, key_id, self._ports.open_key(key_id))
        return key.seal(password_change.parameter(service, change_id), password.reveal())


class Follower:
    """A node that follows the changes that others make; to be asked regularly, and at news."""

    def __init__(self, ports: SharedPorts, node_id: str) -> None:
        """Take the ports; nothing is read.

        Args:
            ports: The ports.
            node_id: This node.
        """
        self._ports = ports
        self._node_id = node_id

    def follow(self, passwords: ServicePasswords) -> bool:
        """Do on this node what the present stage of a change asks for; returns whether there was anything to do.

        Args:
            passwords: The password of the service on this node.

        Raises:
            StrongroomError: The file cannot be written, or the services do not answer.
        """
        service = passwords.name
        found = self._ports.coordinator.get(PREFIX + service)
        if found is None:
            return False
        change = password_change.parse_change(found.value)
        if change.by == self._node_id or self._has_answered(service, change):
            return False
        # nothing is left to do of a change that is done, and its key may be gone
        is_settled = change.stage is Stage.DONE and not passwords.is_changing
        if not is_settled and passwords.followed(
            change.stage, _opened(self._ports, service, change)
        ):
            self._ports.event_log.append(
                [
                    node_events.service_password_changed(
                        SYSTEM, service, passwords.user, made_by=change.by
                    )
                ]
            )
        self._answer(service, change)
        return True

    def _has_answered(self, service: str, change: PasswordChange) -> bool:
        found = self._ports.coordinator.get(f"{PREFIX}{service}/{self._node_id}")
        if found is None:
            return False
        answer = password_change.parse_answer(found.value)
        return (answer.change_id, answer.stage) == (change.change_id, change.stage)

    def _answer(self, service: str, change: PasswordChange) -> None:
        installation_id = self._ports.document().installation_id
        answer = password_change.answered(
            installation_id, change, self._node_id, self._ports.keys().signing
        )
        name = f"{PREFIX}{service}/{self._node_id}"
        version = self._ports.coordinator.version(name)
        self._ports.coordinator.put({name: Change(answer.serialize(), version)})


def _opened(ports: SharedPorts, service: str, change: PasswordChange) -> SecretBytes:
    return SecretBytes(
        committed.open_text(
            ports.document().installation_id,
            ports.open_key,
            password_change.parameter(service, change.change_id),
            change.text,
        )
    )
