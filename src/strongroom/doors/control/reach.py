"""From where a verb or a command may be asked for: the class of each, by its words (docs/format/certificates.md 6).

What is not named here is never done for anybody elsewhere, so a new verb is local until somebody decides.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final

from strongroom.errors import PermissionDeniedError


class Reach(StrEnum):
    """The classes."""

    #: Looks, and changes nothing. Other nodes and administrators elsewhere may ask for it.
    READ = "read"
    #: Changes something. Administrators elsewhere may ask for it, by their own name; other nodes have their own.
    CHANGE = "change"
    #: Gives the part of a backup that a node alone has. Other nodes may ask for it, and nobody else.
    NODES = "for nodes only"
    #: Gives out keys or takes the secrets of roots, or works on files of this machine: here only.
    NEVER = "never remote"


HELLO: Final = "hello"
"""How the node is named, and its time."""
COMMAND: Final = "tsm"
"""A command of tsm, by its words."""

VERBS: Final[Mapping[str, Reach]] = {
    "backup.seal": Reach.NEVER,
    "backup.wrap": Reach.NEVER,
    "backup.part": Reach.NODES,
    "backup.copy": Reach.NODES,
    "data-keys.generate": Reach.NEVER,
    "data-keys.unwrap": Reach.NEVER,
    HELLO: Reach.READ,
    "kms.adopt": Reach.NEVER,
    "kms.former.forget": Reach.NEVER,
    "kms.former.list": Reach.READ,
    "kms.roots.add": Reach.NEVER,
    "kms.roots.list": Reach.READ,
    "kms.roots.remove": Reach.NEVER,
    "kms.roots.repair": Reach.NEVER,
    "kms.roots.verify": Reach.READ,
    "kms.status": Reach.READ,
    "kms.rotate": Reach.CHANGE,
    "kms.retire": Reach.NEVER,
    "kms.set-mode": Reach.NEVER,
    "regenerate": Reach.NEVER,
    "users.unlock": Reach.CHANGE,
}
"""Every verb of the node's socket, and the one that only the control service has."""

COMMANDS: Final[Mapping[tuple[str, ...], Reach]] = {
    ("configuration", "get"): Reach.READ,
    ("configuration", "list"): Reach.READ,
    ("configuration", "list-dynamic-keys"): Reach.READ,
    ("configuration", "set"): Reach.CHANGE,
    ("jobs", "list"): Reach.READ,
    ("maintenance", "enter"): Reach.CHANGE,
    ("maintenance", "leave"): Reach.CHANGE,
    ("maintenance", "status"): Reach.READ,
    ("pending-changes", "apply"): Reach.CHANGE,
    ("pending-changes", "discard"): Reach.CHANGE,
    ("pending-changes", "list"): Reach.READ,
    ("security", "kms", "rotate"): Reach.CHANGE,
    ("security", "kms", "status"): Reach.READ,
    ("security", "secrets", "list"): Reach.READ,
    ("security", "secrets", "rotate"): Reach.CHANGE,
    ("security", "secrets", "verify"): Reach.READ,
    ("status",): Reach.READ,
    ("topology", "drain"): Reach.CHANGE,
    ("topology", "list-nodes"): Reach.READ,
    ("topology", "set-node-role"): Reach.CHANGE,
    ("topology", "set-process"): Reach.CHANGE,
    ("topology", "undrain"): Reach.CHANGE,
    ("version",): Reach.READ,
}
"""The commands of tsm that a node carries out for somebody elsewhere."""


def of_verb(verb: str) -> Reach:
    """The class of a verb."""
    return VERBS.get(verb, Reach.NEVER)


def of_command(words: Sequence[str]) -> Reach:
    """The class of a command of tsm, by its words without options before them."""
    for length in range(1, 4):
        found = COMMANDS.get(tuple(words[:length]))
        if found is not None:
            return found
    return Reach.NEVER


def check_command(words: Sequence[str]) -> None:
    """Refuse a command that is done on the node's own machine only.

    Raises:
        PermissionDeniedError: The command is of that class.
    """
    if of_command(words) is Reach.NEVER:
        named = " ".join(one for one in words[:3] if not one.startswith("-"))
        raise PermissionDeniedError(
            f"'tsm {named[:80]}' is {Reach.NEVER}: it gives out keys, takes secrets, or works on files of the node",
            hint="run it on a node, as the owner of its data directory",
        )


def check_verb_of_person(verb: str) -> None:
    """Refuse a verb that an administrator elsewhere may not ask for.

    Raises:
        PermissionDeniedError: The verb is done on the node's own machine only, or for other nodes.
    """
    found = of_verb(verb)
    if found in {Reach.NEVER, Reach.NODES}:
        raise PermissionDeniedError(
            f"{verb[:80]!r} is {found}", hint="run the command on the node itself"
        )


def check_verb_of_node(verb: str, node_id: str) -> None:
    """Refuse a verb that another node may not ask for.

    Raises:
        PermissionDeniedError: The verb changes something, or is done on the node's own machine only.
    """
    found = of_verb(verb)
    if found not in {Reach.READ, Reach.NODES}:
        raise PermissionDeniedError(
            f"{node_id} asks for {verb[:80]!r}, which is {found}: a node changes nothing through another one",
            hint="run the command on that node, which has the same configuration and keys",
        )
