"""Brings a node in order before `strongroom serve` serves it; problems are told, and end no start."""

from typing import TYPE_CHECKING

from strongroom.cli.terminal.session import Session
from strongroom.errors import StrongroomError

if TYPE_CHECKING:
    from strongroom.cli.ports.keys import KeyCommands


def bring_in_order(session: Session) -> None:
    """Do the work at a start: schema, YAML files, leftovers of dead processes, and the check of the keys."""
    from strongroom.doors.http import upkeep
    from strongroom.node import backup
    from strongroom.services.configuration import https_material

    node = session.node
    node.ensure_schema()
    for path in node.configuration.project():
        session.note(f"rewrote {path}")
    if backup.tidy(session.whole_node):
        session.note("let go of what a killed backup or restore had kept")
    for words in upkeep.event_log_problems(session.whole_node):
        session.note(f"event log: {words}")
    for problem in _key_problems(node):
        # the server starts all the same, for requests that need no key; `status` shows the problem
        session.note(f"keys: {problem}")
    if problem := https_material.problem_now(node.configuration, node.clock):
        session.note(f"https listener: {problem}")


def _key_problems(node: "KeyCommands") -> tuple[str, ...]:
    """The problems with the keys; if not even the configuration opens, with a hint."""
    try:
        return node.kms_store.prove().problems
    except StrongroomError as error:
        return (error.with_hint,)
