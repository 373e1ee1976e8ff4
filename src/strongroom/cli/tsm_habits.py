"""The sign-in options that scripts for Tableau's tsm give with every command (findings K14).

Each command of Tableau's tsm signs in to a controller, by `-u`, `-p`, `-s` and similar options behind any verb. Here
the owner of the data directory may do everything without signing in. So the options are accepted, with a note that they
have no effect. On a machine without a node, `-s` names one elsewhere (`elsewhere`).
"""

import argparse
from typing import TYPE_CHECKING, Any, Final

from strongroom.cli.terminal import parsing
from strongroom.cli.terminal.session import Session
from strongroom.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from strongroom.runtime.paths import DataPaths

PREFIX: Final = "habit_"
_WITH_VALUE: Final = {
    "username": ("-u", "--username"),
    "password": ("-p", "--password"),
    "server": ("-s", "--server"),
    "request_timeout": ("--request-timeout",),
    "password_file": ("--password-file",),
    "token_name": ("--token-name",),
    "token_file": ("--token-file",),
    "controller_ca": ("--controller-ca",),
}
_NO_QUESTION: Final = "--ignore-prompt"
_FLAGS: Final = {"trust": ("--trust-admin-controller-cert",)}
_STOP_WAIT_S: Final = 120.0
_POLL_S: Final = 0.1
_SUPERVISOR = "'systemctl {} strongroom' under systemd; without a supervisor run 'strongroom serve'"


def take_global_options(parser: argparse.ArgumentParser) -> None:
    """Let every command below a parser take the options of tsm that are without effect here, unless it has them itself."""
    for leaf in _leaves(parser):
        parsing.when_complete(leaf, _add_global_options)


def _add_global_options(leaf: argparse.ArgumentParser) -> None:
    taken = {word for action in leaf._actions for word in action.option_strings}  # noqa: SLF001 no other way
    for name, words in _WITH_VALUE.items():
        free = [word for word in words if word not in taken]
        if words[-1] in free:
            leaf.add_argument(*free, dest=PREFIX + name, help=argparse.SUPPRESS)
    for name, words in _FLAGS.items():
        leaf.add_argument(*words, dest=PREFIX + name, action="store_true", help=argparse.SUPPRESS)
    if _NO_QUESTION not in taken:
        # nothing is asked, so nothing is to be said about it
        leaf.add_argument(_NO_QUESTION, action="store_true", help=argparse.SUPPRESS)


def notes(given: argparse.Namespace) -> tuple[str, ...]:
    """The notes about such options on a command line; their values are never shown."""
    found = [
        words[-1]
        for name, words in (*_WITH_VALUE.items(), *_FLAGS.items())
        if getattr(given, PREFIX + name, None)
    ]
    if not found:
        return ()
    sentence = (
        f"without effect here: {', '.join(found)}; the owner of the data directory signs in nowhere"
    )
    if "--password" not in found:
        return (sentence,)
    return (
        sentence,
        "warning: other users of the machine can see a password on a command line; leave it out",
    )


def build_parser(prog: str, verb: str) -> argparse.ArgumentParser:
    """The parser of one of `start`, `stop`, `restart`, `login`, `logout`."""
    purposes = {
        "start": "say how the node is started",
        "stop": "end the server of this node, and wait until it has ended",
        "restart": "say how the node is restarted",
        "login": "nothing: the owner of the data directory signs in nowhere",
        "logout": "nothing: the owner of the data directory signs in nowhere",
    }
    parser = argparse.ArgumentParser(prog=prog, description=purposes[verb])
    if verb == "stop":
        from strongroom.cli.terminal import parsing

        parser.add_argument(
            "--request-timeout",
            type=parsing.seconds,
            default=_STOP_WAIT_S,
            metavar="SECONDS",
            help=f"wait at most this long (default: {_STOP_WAIT_S:.0f})",
        )
    parser.set_defaults(
        run={"start": _start, "stop": _stop, "restart": _restart}.get(verb, _nothing)
    )
    return parser


def _nothing(arguments: argparse.Namespace, session: Session) -> int:
    del arguments
    session.note("nothing to do: the owner of the data directory signs in nowhere")
    return 0


def _start(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.runtime import running

    del arguments
    found = running.find(session.node.paths)
    if found is None:
        raise StateError("tsm starts no server", hint=_SUPERVISOR.format("start"))
    session.out(f"Status: RUNNING at {found.url}")
    return 0


def _restart(arguments: argparse.Namespace, session: Session) -> int:
    del arguments, session
    raise StateError(
        "tsm starts no server, so it does not restart one; nothing was stopped",
        hint=_SUPERVISOR.format("restart"),
    )


def _stop(arguments: argparse.Namespace, session: Session) -> int:
    import os
    import signal

    from strongroom.runtime import running

    paths = session.node.paths
    found = running.find(paths)
    if found is None:
        session.out("Status: STOPPED")
        return 0
    if not found.pid:
        raise StateError(
            "the server is starting; nothing was stopped", hint="run the command again"
        )
    os.kill(found.pid, signal.SIGTERM)
    _await_end(paths, arguments.request_timeout)
    session.out("Status: STOPPED")
    return 0


def _await_end(paths: "DataPaths", limit_s: float) -> None:
    import time

    from strongroom.errors import WaitTimeoutError
    from strongroom.runtime import running

    end = time.monotonic() + limit_s
    while running.find(paths) is not None:
        if time.monotonic() >= end:
            raise WaitTimeoutError(
                f"the server has not ended after {limit_s:.0f} s; it goes on ending",
                hint="look again with 'tsm status'",
            )
        time.sleep(_POLL_S)


def _leaves(parser: argparse.ArgumentParser) -> "Iterator[argparse.ArgumentParser]":
    below: list[Any] = [
        action
        for action in parser._actions  # noqa: SLF001
        if isinstance(action, argparse._SubParsersAction)  # noqa: SLF001
    ]
    if not below:
        yield parser
    for action in below:
        for child in {id(one): one for one in action.choices.values()}.values():
            yield from _leaves(child)
