"""A node of which nobody serves anything, and consumers over components in memory that know its present values."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from strongroom.clock import FixedClock
from strongroom.errors import NotFoundError
from strongroom.node.opening import Node
from strongroom.services.secrets.rotate import RotationPorts, SecretRotation
from tests.support.memory_consumer import MemoryComponent, MemoryConsumer

if TYPE_CHECKING:
    from strongroom.consumers.base import Consumer
    from strongroom.coordination.base import Coordinator

ACTOR = "os:tester"
REDIS = "redis.password"


class Lab:
    """A node, and consumers over components in memory that know the present values."""

    def __init__(self, node: Node, *consumers: MemoryConsumer) -> None:
        self.node = node
        self.consumers = list(consumers)
        self.clock = FixedClock(node.clock.now())
        self.coordinator: Coordinator = node.coordinator
        for one in consumers:
            one.component.valid = [self.present(one)]

    def present(self, consumer: MemoryConsumer) -> dict[str, bytes]:
        """What the configuration says now; the first of a pair if it says nothing."""
        described = consumer.describe()
        values = {name: self.value(name) for name in described.parameters}
        document = self.node.configuration.document()
        logins = {
            name: document.values[name].encode()
            for name in described.alternates
            if name in document.values
        }
        return {name: value for name, value in values.items() if value is not None} | logins

    def value(self, name: str) -> bytes | None:
        try:
            return self.node.configuration.open_secret(name).reveal()
        except NotFoundError:
            return None

    @property
    def service(self) -> SecretRotation:
        """As a new process has it."""
        ports = RotationPorts(self.coordinator, self.node.events, self.clock)
        consumers: list[Consumer] = list(self.consumers)
        return SecretRotation(self.node.configuration, lambda: consumers, ports)

    def told(self, *ids: str) -> list[dict[str, Any]]:
        found = []
        for record in self.node.events.read():
            details = record["details"]
            assert isinstance(details, Mapping)
            if record["id"] in ids:
                found.append({"id": record["id"], **details})
        return found


def one(node: Node, **options: Any) -> tuple[Lab, MemoryConsumer]:
    consumer = MemoryConsumer(MemoryComponent(), REDIS, **options)
    return Lab(node, consumer), consumer


def candidates(lab: Lab) -> list[bytes]:
    """What the one parameter may be in its component now."""
    return [value.reveal() for value in lab.service.candidates(REDIS)]
