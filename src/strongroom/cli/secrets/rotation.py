"""`tsm security secrets rotate|verify` and `tsm security regenerate-internal-tokens`: parsers and printing.

Values of secrets are read from files or stdin, never from the command line, and none is printed.
"""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from strongroom.cli.terminal import asking, parsing
from strongroom.cli.terminal.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from strongroom.crypto.secret import SecretBytes

_STATES = {
    ("rotated", ""): "rotated",
    ("kept", ""): "still the old value",
    ("kept", "old"): "still the old value, in the configuration and in the component",
    (
        "kept",
        "both",
    ): "still the old value in the configuration; the component accepts the new one too",
    (
        "kept",
        "new",
    ): "the configuration has the old value, and the component accepts only the new one",
    ("kept", "neither"): "still the old value in the configuration; the component accepts neither",
    (
        "kept",
        "unknown",
    ): "still the old value in the configuration; what the component accepts is not known",
    ("unfinished", ""): "the new value, but the old one may be valid still",
    (
        "unfinished",
        "old",
    ): "the configuration has the new value, and the component accepts only the old one",
    ("unfinished", "both"): "the new value, but the component accepts the old one still",
    (
        "unfinished",
        "new",
    ): "the new value, in the configuration and in the component; the rest is not done",
    ("unfinished", "neither"): "the new value in the configuration; the component accepts neither",
    (
        "unfinished",
        "unknown",
    ): "the new value in the configuration; what the component accepts is not known",
}
"""State, and what the component accepts → which value holds where (findings K6)."""


def add_rotate(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `secrets rotate`."""
    rotate = commands.add_parser(
        "rotate", help="give secrets new values, in the components that use them too"
    )
    rotate.add_argument("keys", nargs="*", metavar="KEY", help="a secret parameter")
    rotate.add_argument(
        "--only",
        action="append",
        default=[],
        choices=["passwords", "certs"],
        help="all generated passwords, or all internal certificates; may be given again",
    )
    rotate.add_argument(
        "--value-file", metavar="FILE", help="the new value of one KEY, from a file; - is stdin"
    )
    rotate.add_argument(
        "--dry-run", action="store_true", help="show what would be done, and change nothing"
    )
    rotate.add_argument(
        "--forget-unfinished",
        action="store_true",
        help="give up unfinished rotations of components that are not configured any more",
    )
    rotate.add_argument("--json", action="store_true", help="print what was done as JSON")
    asking.add_option(rotate, "do not ask before unfinished rotations are given up")
    rotate.set_defaults(run=_rotate)


def add_verify(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `secrets verify`."""
    verify = commands.add_parser(
        "verify", help="log in to the configured components with the configured values"
    )
    verify.add_argument("keys", nargs="*", metavar="KEY", help="a secret parameter; none is all")
    verify.add_argument("--json", action="store_true", help="print the result as JSON")
    verify.set_defaults(run=_verify)


def add_regenerate(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `regenerate-internal-tokens`."""
    again = commands.add_parser(
        "regenerate-internal-tokens",
        help="make every internal key and every generated secret anew",
    )
    again.add_argument(
        "--only",
        nargs="+",
        action="extend",
        default=[],
        metavar="WHAT",
        help="keys, passwords, certs, or names of secret parameters",
    )
    again.add_argument(
        "--without-node",
        action="append",
        default=[],
        metavar="N",
        help="leave this other node out: it opens nothing afterwards; may be given again",
    )
    again.add_argument(
        "--dry-run", action="store_true", help="show what would be done, and change nothing"
    )
    again.add_argument(
        "--offline", action="store_true", help="with the server stopped, and kept from starting"
    )
    again.add_argument(
        "--request-timeout",
        type=parsing.number(0, parsing.LONGEST_WAIT_S),
        default=1800,
        metavar="S",
        help="accepted for scripts, not needed; default %(default)s",
    )
    again.add_argument("--json", action="store_true", help="print what was done as JSON")
    again.set_defaults(run=_regenerate)


def _rotate(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.errors import UsageError

    only = [*arguments.only, *arguments.keys]
    if not only:
        raise UsageError(
            "nothing is named", hint="name parameters, or give --only passwords or --only certs"
        )
    rotation = session.node.rotation
    if not arguments.forget_unfinished:
        rotation.refuse_left_over(only)
    if arguments.dry_run:
        _show_plan(map(asdict, rotation.plan(only)), session, as_json=arguments.json)
        return 0
    value = _value(arguments.value_file, only, session)
    if arguments.forget_unfinished:
        asking.require_of_person(
            arguments,
            session,
            "values that unfinished rotations gave to components will be forgotten; go on?",
        )
        rotation.forget_left_over(session.actor, only, given=value is not None)
    outcomes = rotation.rotate(session.actor, only, value=value, report=session.note)
    done = [asdict(one) for one in outcomes]
    if arguments.json:
        session.out_json(done)
    return _tell(done, session, quiet=arguments.json)


def _verify(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.errors import ConsumerError

    done = session.node.rotation.verify(arguments.keys)
    if arguments.json:
        session.out_json([asdict(one) for one in done])
    for one in done:
        if not arguments.json:
            state = "NOT valid" if one.problem else "valid"
            session.out(f"{' '.join(one.parameters)}: {state}  ({one.consumer})")
        if one.problem:
            hint = f"; {one.hint}" if one.hint else ""
            session.note(f"{one.parameters[0]}: {one.problem}{hint}")
    if not done:
        session.note("no component is configured, so nobody was asked")
    return ConsumerError.exit_code if any(one.problem for one in done) else 0


def _regenerate(arguments: argparse.Namespace, session: Session) -> int:
    if arguments.dry_run:
        plan = asdict(session.node.regenerate.plan(arguments.only))
        if arguments.json:
            session.out_json(plan)
            return 0
        _show_plan(plan["secrets"], session, as_json=False)
        for number, step in enumerate(plan["steps"], start=1):
            session.out(f"{number}. {step}")
        return 0
    done = _run(arguments, session)
    if arguments.json:
        session.out_json(done)
        return _tell(done["rotated"], session, quiet=True)
    if done["resumed"]:
        session.out("An earlier run that was interrupted is now finished.")
    code = _tell([one for one in done["rotated"] if one["consumer"]], session, quiet=False)
    if code == 0:
        session.out("Internal tokens were regenerated.")
    if done["alias"]:
        session.note(
            "extracts stay under their MEKs until they are re-encrypted on every site:"
            " strongroom extracts reencrypt --site SITE --wait"
        )
        session.note("node configuration files made before are invalid now: make new ones")
    return code


def regenerate_all(session: Session) -> int:
    """Make every key and generated secret anew, and tell what came of it; returns the exit code."""
    done = session.perform("regenerate", {"only": [], "without_node": []}, session.note)
    return _tell([one for one in done["rotated"] if one["consumer"]], session, quiet=False)


def _run(arguments: argparse.Namespace, session: Session) -> Any:
    report = session.note if arguments.json else session.out
    asked = {"only": arguments.only, "without_node": arguments.without_node}
    if not arguments.offline:
        return session.perform("regenerate", asked, report)
    from strongroom.doors.control import verbs

    with _stopped(session):
        done = verbs.perform(session.node, session.actor, "regenerate", asked, report)
    session.note("the server may be started again: strongroom serve")
    return done


@contextmanager
def _stopped(session: Session) -> "Iterator[None]":
    """The server does not run, and cannot be started, until the end of the block."""
    from strongroom.errors import ConflictError, StateError
    from strongroom.runtime import running

    try:
        held = running.sole_server(session.node.paths)
        held.__enter__()
    except ConflictError as error:
        raise StateError(
            error.message, hint="stop 'strongroom serve' first, or leave out --offline"
        ) from error
    try:
        yield
    finally:
        held.__exit__(None, None, None)


def _value(name: str | None, keys: Sequence[str], session: Session) -> "SecretBytes | None":
    from strongroom.crypto.secret import SecretBytes

    if session.given is not None:
        return SecretBytes(session.given.encode())
    return None if name is None else SecretBytes(read_value(name, keys))


def read_value(name: str, keys: Sequence[str]) -> bytes:
    """The new value of secrets, from a file.

    Raises:
        UsageError: The file holds no such value.
        StorageError: The file cannot be read.
    """
    from strongroom.cli.named_files import small_files
    from strongroom.secrets import catalog

    return small_files.read_setting(
        name, "the new value", lines=any(catalog.is_multiline(key) for key in keys)
    )


def _show_plan(planned: Iterable[Mapping[str, Any]], session: Session, *, as_json: bool) -> None:
    if as_json:
        session.out_json(list(planned))
        return
    for one in planned:
        where = f"{one['consumer']}: {one['where']}" if one["consumer"] else "configuration only"
        session.out(f"{' '.join(one['parameters'])}  ({where})")
        if one["interrupted"]:
            session.note(f"{one['parameters'][0]}: an interrupted rotation would be finished")
    session.note("nothing was changed (--dry-run)")


def _tell(done: Sequence[Mapping[str, Any]], session: Session, *, quiet: bool) -> int:
    """Print what became of each; the exit code says whether all of them are rotated."""
    from strongroom.errors import ConsumerError

    failed = [one for one in done if one["state"] != "rotated"]
    for one in done:
        where = f"  ({one['consumer']})" if one["consumer"] else ""
        if not quiet:
            session.out(f"{' '.join(one['parameters'])}: {_state(one)}{where}")
        for remark in one["remarks"]:
            session.note(f"{one['parameters'][0]}: {remark}")
    for one in failed:
        stage = f" at {one['stage']}" if one["stage"] else ""
        hint = f"; {one['hint']}" if one["hint"] else ""
        session.note(f"{one['parameters'][0]}{stage}: {one['problem']}{hint}")
    return ConsumerError.exit_code if failed else 0


def _state(one: Mapping[str, Any]) -> str:
    return _STATES.get((one["state"], one["accepts"])) or _STATES[one["state"], ""]
