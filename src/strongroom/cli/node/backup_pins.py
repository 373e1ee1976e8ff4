"""`strongroom backup pins`: what object stores keep for backups that do not hold their extracts; and the options for such."""

import argparse
from datetime import datetime, timedelta
from typing import Final

from strongroom.cli.terminal import asking, columns, parsing, short_ids
from strongroom.cli.terminal.session import Session
from strongroom.clock import Clock, format_utc
from strongroom.errors import StateError, UsageError

COPY, PIN = "copy", "pin"
_DAYS: Final = 30
_MOST_DAYS: Final = 3660


def add_backup_options(parser: argparse.ArgumentParser) -> None:
    """The options of what makes a backup."""
    parser.add_argument(
        "--extracts",
        choices=(COPY, PIN),
        default=COPY,
        help="copy them (the default), or leave encrypted ones in the object store, which keeps them for so long",
    )
    parser.add_argument(
        "--pin-days",
        type=parsing.number(1, _MOST_DAYS),
        metavar="N",
        help=f"how many days the object store keeps them ({_DAYS})",
    )


def add_restore_options(parser: argparse.ArgumentParser) -> None:
    """The options of what restores one."""
    parser.add_argument(
        "--pinned-from",
        default="",
        metavar="ADDRESS",
        help="the object store in which the extracts are pinned, if it is not the one in force",
    )
    parser.add_argument(
        "--despite-missing",
        action="store_true",
        help="go on if pinned extracts are gone: their content is then without a file, and listed",
    )


def until(arguments: argparse.Namespace, clock: Clock) -> datetime | None:
    """Until when extracts are to be pinned; None to copy them.

    Raises:
        UsageError: A number of days is given for a backup that copies.
    """
    days = arguments.pin_days
    if arguments.extracts == COPY:
        if days is not None:
            raise UsageError("--pin-days goes with --extracts pin", hint="a copy is kept for ever")
        return None
    return clock.now() + timedelta(days=days or _DAYS)


def add_pins(parser: argparse.ArgumentParser) -> None:
    """The arguments of `backup pins`."""
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    shown = verbs.add_parser(
        "list", help="show for which backups extracts are kept, and until when"
    )
    shown.add_argument("--json", action="store_true", help="print them as JSON")
    columns.add_options(shown)
    short_ids.add_option(shown)
    shown.set_defaults(run=_list)
    release = verbs.add_parser("release", help="end a pin before its time")
    release.add_argument("backup", metavar="ID", help="the id of the backup, or its first digits")
    asking.add_option(release, "do not ask before the backup loses its extracts")
    release.set_defaults(run=_release)


def _list(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.node import backup as node_backups

    stores = node_backups.pinned_stores(session.whole_node)
    pins = sorted(
        (one for store in stores for one in store.lasting_pins()), key=lambda one: one.until
    )
    if arguments.json:
        session.out_json(
            [
                {
                    "id": one.id,
                    "file": one.file,
                    "made_at": format_utc(one.made_at),
                    "until": format_utc(one.until),
                    "in_force": one.in_force,
                }
                for one in pins
            ]
        )
        return 0
    short = short_ids.shortening(arguments, lambda: (one.id for one in pins))
    rows = [
        (short(one.id), format_utc(one.until), "in force" if one.in_force else "over", one.file)
        for one in pins
    ]
    columns.show(session, arguments, ("ID", "UNTIL", "STATE", "FILE"), rows)
    return 0


def _release(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.eventlog.events import backup_events
    from strongroom.node import backup as node_backups

    stores = node_backups.pinned_stores(session.whole_node)
    if not stores:
        raise StateError("the extracts lie on the disk, where nothing is pinned")
    found = {one.id: (store, one.file) for store in stores for one in store.lasting_pins()}
    backup = short_ids.whole(arguments.backup, lambda: found, "pin")
    store, file = found.get(backup, (stores[0], backup))
    asking.require(
        arguments,
        session,
        f"the backup {file} loses every extract that was deleted or replaced since it was made; go on?",
        refusal="the pin stays: the release was not agreed to",
        hint="answer y, or use --ignore-prompt",
    )
    if backup in found:
        # before the release: a pin that is gone while the log does not say so would be worse than the reverse
        session.node.events.append(
            [
                backup_events.backup_pin_released(
                    session.actor, backup, name=file, place=store.address
                )
            ]
        )
    store.release(backup)
    session.out(f"Released: {file}")
    return 0
