"""`strongroom keys`: the keys that other people's programs use through a door."""

import argparse
from typing import TYPE_CHECKING

from strongroom.cli.terminal import asking, columns, parsing
from strongroom.cli.terminal.session import Session

if TYPE_CHECKING:
    from strongroom.repository.service_rows import ServiceKeyRow
    from strongroom.services.service_keys.by import By

_DEFAULT_DAYS = 30
_KINDS = (
    *("aes256-gcm", "aes256-gcm-derived", "aes256-gcm-convergent"),
    *("hmac", "ed25519", "ecdsa-p256"),
)
_ON_ONE = (
    ("show", "show a key and its versions"),
    ("rotate", "give a key a new version, which makes what is new"),
    ("disable", "let nobody use a key"),
    ("enable", "let a key be used again"),
    ("cancel-deletion", "keep a key that waits for its deletion; it is disabled then"),
)


def build_parser(prog: str, verb: str) -> argparse.ArgumentParser:
    """The parser of `keys`."""
    parser = argparse.ArgumentParser(prog=prog, description=f"service {verb}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    create = commands.add_parser("create", help="make a key")
    create.add_argument("name", metavar="NAME", help="what programs call it")
    create.add_argument(
        "--kind", choices=_KINDS, default=_KINDS[0], help="what it is for; default %(default)s"
    )
    create.add_argument(
        "--exportable", action="store_true", help="let its material be exported; for good"
    )
    create.set_defaults(run=_create)
    show = commands.add_parser("list", help="show all keys")
    show.add_argument("--json", action="store_true", help="print them as a JSON list")
    columns.add_options(show)
    show.set_defaults(run=_list)
    for name, words in _ON_ONE:
        one = commands.add_parser(name, help=words)
        one.add_argument("name", metavar="NAME", help="the key")
        if name == "show":
            one.add_argument("--json", action="store_true", help="print it as a JSON object")
        one.set_defaults(run=_RUNS[name])
    schedule = commands.add_parser(
        "schedule-deletion", help="let nobody use a key, and remove it for good after some days"
    )
    schedule.add_argument("name", metavar="NAME", help="the key")
    schedule.add_argument(
        "--days",
        type=parsing.number(1, 365),
        default=_DEFAULT_DAYS,
        help="how long it waits; default %(default)s",
    )
    asking.add_option(schedule)
    schedule.set_defaults(run=_schedule)
    reseal = commands.add_parser(
        "reseal", help="bring all keys and secrets of services under the active MEK"
    )
    reseal.set_defaults(run=_reseal)
    return parser


def _by(session: Session) -> "By":
    from strongroom.services.service_keys.by import By

    return By.local(session.actor, session.node.events)


def _create(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.service_keys.model import KeyKind
    from strongroom.services.service_keys.keys import own

    kind = KeyKind(arguments.kind)
    session.node.service_keys.create(
        _by(session), own(arguments.name), kind, exportable=arguments.exportable
    )
    session.out(f"key {arguments.name!r} of the kind {kind.value} created")
    return 0


def _list(arguments: argparse.Namespace, session: Session) -> int:
    keys = session.node.service_keys.all()
    if arguments.json:
        session.out_json([_json(key) for key in keys])
        return 0
    rows = [[key.name, key.kind, str(key.latest), _state(key)] for key in keys]
    columns.show(session, arguments, ["NAME", "KIND", "VERSION", "STATE"], rows)
    return 0


def _show(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.services.service_keys.keys import own

    key, versions = session.node.service_keys.show(own(arguments.name))
    if arguments.json:
        listed = [
            {
                "version": one.version,
                "created_at": one.created_at,
                "mek_id": one.mek_id,
                "public": one.public,
            }
            for one in versions
        ]
        session.out_json({**_json(key), "versions": listed})
        return 0
    session.out(f"{key.name}: {key.kind}, {_state(key)}{', exportable' if key.exportable else ''}")
    for one in versions:
        session.out(f"version {one.version} of {one.created_at}, sealed under MEK {one.mek_id}")
    return 0


def _rotate(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.services.service_keys.keys import own

    key = session.node.service_keys.rotate(_by(session), own(arguments.name))
    session.out(f"key {key.name!r} has version {key.latest} now")
    return 0


def _disable(arguments: argparse.Namespace, session: Session) -> int:
    return _set_enabled(arguments, session, enabled=False)


def _enable(arguments: argparse.Namespace, session: Session) -> int:
    return _set_enabled(arguments, session, enabled=True)


def _set_enabled(arguments: argparse.Namespace, session: Session, *, enabled: bool) -> int:
    from strongroom.services.service_keys.keys import own

    key = session.node.service_keys.set_enabled(_by(session), own(arguments.name), enabled=enabled)
    session.out(f"key {key.name!r} is {_state(key)}")
    return 0


def _schedule(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.services.service_keys.keys import own

    name = arguments.name
    session.node.service_keys.show(own(name))
    asking.require_of_person(
        arguments,
        session,
        f"what was encrypted by the key {name!r} will be lost in {arguments.days} days; go on?",
    )
    gone_at = session.node.service_keys.schedule_deletion(_by(session), own(name), arguments.days)
    session.out(f"key {name!r} is of no use from now on, and gone at {gone_at}")
    session.note(f"until then: strongroom keys cancel-deletion {name}")
    return 0


def _cancel(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.services.service_keys.keys import own

    key = session.node.service_keys.cancel_deletion(_by(session), own(arguments.name))
    session.out(f"key {key.name!r} stays; it is {_state(key)}")
    return 0


def _reseal(arguments: argparse.Namespace, session: Session) -> int:
    del arguments
    keys, values = session.node.service_keys.reseal(_by(session))
    session.out(f"{keys} versions of keys and {values} of secrets are under the active MEK now")
    return 0


_RUNS = {
    "show": _show,
    "rotate": _rotate,
    "disable": _disable,
    "enable": _enable,
    "cancel-deletion": _cancel,
}


def _state(key: "ServiceKeyRow") -> str:
    return key.state if key.delete_at is None else f"{key.state} at {key.delete_at}"


def _json(key: "ServiceKeyRow") -> dict[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "kind": key.kind,
        "state": key.state,
        "latest": key.latest,
        "exportable": key.exportable,
        "created_at": key.created_at,
        "delete_at": key.delete_at,
    }
