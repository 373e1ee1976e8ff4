"""A real node, the real service and one consumer: what a rotation does, and what it had chosen."""

from strongroom.consumers.base import Consumer, Credential
from strongroom.node.opening import Node
from strongroom.services.secrets.rotate import RotationPorts, SecretRotation
from strongroom.services.secrets.scope import Outcome

ACTOR = "os:anna"


def configure(node: Node, present: Credential) -> None:
    """The node knows what the component has."""
    seal = node.configuration.seal_secret
    values = {name: seal(name, value.reveal()) for name, value in present.values.items()}
    changed = {**values, **present.logins}
    node.configuration.compare_and_put(lambda document: document.with_values(changed))


def rotation(node: Node, consumer: Consumer) -> SecretRotation:
    """As a new process has it."""
    ports = RotationPorts(node.coordinator, node.events, node.clock)
    return SecretRotation(node.configuration, lambda: [consumer], ports)


def rotate(node: Node, consumer: Consumer) -> Outcome:
    """One run for the one consumer."""
    (outcome,) = rotation(node, consumer).rotate(ACTOR, consumer.describe().parameters[:1])
    return outcome


def configured(node: Node, consumer: Consumer) -> Credential:
    """What the configuration says."""
    return rotation(node, consumer)._steps.configured(consumer)


def chosen(node: Node, consumer: Consumer) -> Credential:
    """What the rotation that failed had chosen."""
    service = rotation(node, consumer)
    (found,) = service.journals.all()
    return Credential(service._steps._opened(found.journal.new), found.journal.new_logins)
