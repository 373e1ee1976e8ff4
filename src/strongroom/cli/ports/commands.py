"""The services of a node that commands may use, by topic; the stores behind the services are not among them."""

from typing import Protocol

from strongroom.cli.ports.content import ContentCommands
from strongroom.cli.ports.keys import KeyCommands, KeyUse
from strongroom.cli.ports.node import NodeCommands
from strongroom.cli.ports.secrets import SecretCommands
from strongroom.doors.control.ports import ControlServices


class CommandServices(
    ContentCommands, KeyCommands, KeyUse, SecretCommands, NodeCommands, ControlServices, Protocol
):
    """The services behind all commands, and the verbs of the socket, which a command performs itself where nothing serves."""
