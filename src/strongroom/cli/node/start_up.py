"""Brings a node in order before `strongroom serve` serves it; problems are told, and end no start, but for one.

A state that was put back is not served: older passwords, keys and rights would be in force again.
"""

from typing import TYPE_CHECKING

from strongroom.cli.terminal.session import Session
from strongroom.errors import IntegrityError, StateError, StrongroomError
from strongroom.eventlog.base import SYSTEM
from strongroom.system import version

if TYPE_CHECKING:
    from strongroom.cli.ports.keys import KeyCommands


def take_kept_keys(session: Session) -> None:
    """Take the keys that were kept for this node while it was off, before anything is opened by those that it has.

    Raises:
        StateError: The keys are refused, or a recovery that makes them is not finished: this node does not open what is
            in force.
    """
    if not session.node.paths.services.exists():
        return
    from strongroom.node import kept_keys

    try:
        taken = kept_keys.take(session.whole_node)
    except IntegrityError as error:
        raise StateError(
            f"keys were changed while this node was off, and those that wait for it are refused: {error.message}",
            hint=error.hint or "find out who put them there; the node can be brought in anew",
        ) from error
    if taken:
        session.note("took the keys that were changed while this node was off")
        return
    kept_keys.check_nothing_is_half_done(session.whole_node)


def bring_in_order(session: Session) -> None:
    """Do the work at a start: schema, YAML files, leftovers of dead processes, and the check of the keys.

    Raises:
        IntegrityError: The state contradicts its anchors (docs/format/anchor.md 3.1).
    """
    from strongroom.doors.http import upkeep
    from strongroom.node import backup
    from strongroom.services.configuration import https_material

    node = session.node
    _finish_move(session)
    _finish_password_changes(session)
    _check_software(session)
    node.ensure_schema()
    _check_state(session)
    _check_registered(session)
    _say_software(session)
    for path in node.configuration.project():
        session.note(f"rewrote {path}")
    if backup.tidy(session.whole_node):
        session.note("let go of what a killed backup or restore had kept")
    for words in upkeep.event_log_problems(session.whole_node):
        session.note(f"event log: {words}")
    # a log that does not fit was told here, and the node is served all the same
    node.events.take_as_it_is()
    _give_log_key(session)
    for problem in _key_problems(node):
        # the server starts all the same, for requests that need no key; `status` shows the problem
        session.note(f"keys: {problem}")
    if problem := https_material.problem_now(node.configuration, node.clock):
        session.note(f"https listener: {problem}")


def check_nobody_replaces(session: Session) -> None:
    """Refuse to serve a node of a cluster while another one restores a backup or recovers its keys.

    A start asks before it changes anything, and again when the node is announced.

    Raises:
        StateError: A node does one of both now, or has done so since the first look of this start.
    """
    if not session.node.paths.services.exists():
        return
    from strongroom.node import replacing

    replacing.check_may_serve(session.whole_node)
    if replacing.was_replaced(session.whole_node):
        raise StateError(
            "a restore or a recovery replaced what this node would serve, while it started",
            hint="start it again",
        )


def _finish_move(session: Session) -> None:
    """Do what a killed `strongroom cluster enable` left, if the services of the cluster are in force."""
    if not session.node.paths.enabling.exists():
        return
    from strongroom.node import cluster

    if cluster.finish_at_start(session.whole_node):
        session.note("finished the move into the cluster")


def _finish_password_changes(session: Session) -> None:
    """Do what a killed `strongroom cluster rotate-password` left; a failure is told, since both passwords are kept."""
    if not session.node.paths.services.exists():
        return
    from strongroom.node import service_passwords

    try:
        finished = service_passwords.resume(session.whole_node, SYSTEM)
    except StrongroomError as error:
        session.note(f"a change of a service's password is still to be finished: {error.with_hint}")
        return
    for name in finished:
        session.note(f"finished the change of the password for {name}")


def _check_software(session: Session) -> None:
    """Refuse a node of a cluster by software that does not know what the others have begun with.

    Raises:
        StateError: The software is too old.
    """
    if not session.node.paths.services.exists():
        return
    from strongroom.node import releases

    releases.check_serves(session.whole_node)


def _say_software(session: Session) -> None:
    """Tell the other nodes which software serves this one, before any of them sees it as alive."""
    if not session.node.paths.services.exists():
        return
    from strongroom.node import releases

    if releases.say(session.whole_node):
        session.note(f"told the other nodes that this one has strongroom {version.VERSION}")


def _check_registered(session: Session) -> None:
    """Refuse a node that was left out; one that was in a cluster before there was a registry is registered.

    Raises:
        StateError: Keys were changed without this node, and it does not open the present ones, or it is not registered.
    """
    if not session.node.paths.services.exists():
        return
    from strongroom.node import joining, key_changes

    if joining.ensure_registered(session.whole_node, session.actor):
        session.note("registered this node in its cluster")
    if problem := key_changes.prove_if_stale(session.whole_node):
        raise StateError(
            f"keys were changed without this node, and it does not open them: {problem}",
            hint="give it access to the root, then start it again",
        )


def _give_log_key(session: Session) -> None:
    """Have a node of a cluster sign its event log by a key of its own, if it does not as yet; a failure is told."""
    if not session.node.paths.services.exists():
        return
    from strongroom.node import joining

    try:
        is_new = joining.ensure_log_key(session.whole_node, session.actor)
    except StrongroomError as error:
        session.note(
            f"event log: this node does not sign it by a key of its own: {error.with_hint}"
        )
        return
    if is_new:
        session.note("this node signs its event log by a key of its own from now on")


def _check_state(session: Session) -> None:
    try:
        found = session.node.state_faults()
    except StrongroomError as error:
        session.note(f"the state could not be compared with its anchors: {error.with_hint}")
        return
    for words in found:
        session.note(words)
    if found:
        raise IntegrityError(
            f"the state was put back or changed, and is not served: {found[0]}",
            hint="find out who put it back; if it is to count as it is: strongroom anchor accept --reason TEXT",
        )


def _key_problems(node: "KeyCommands") -> tuple[str, ...]:
    """The problems with the keys; if not even the configuration opens, with a hint."""
    try:
        return node.kms_store.prove().problems
    except StrongroomError as error:
        return (error.with_hint,)
