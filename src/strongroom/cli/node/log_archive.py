"""`tsm maintenance ziplogs` and `cleanup`: the service logs for whoever helps, masked once more; what there is to clean up."""

import argparse
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from strongroom.cli.terminal.session import Session
from strongroom.errors import ConflictError, StrongroomError, UsageError
from strongroom.runtime import log_archive
from strongroom.system import durable
from strongroom.system.plural import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from strongroom.cli.ports.commands import CommandServices

_SUFFIX: Final = ".zip"
_FOLDER_KEY: Final = "basefilepath.log_archive"
_DEFAULT_FOLDER: Final = "tabsvc/files/log-archives"


def add_ziplogs(parser: argparse.ArgumentParser) -> None:
    """The arguments of `ziplogs`."""
    parser.add_argument(
        "-f", "--file", default="logs", metavar="NAME", help="name, without a path (default: logs)"
    )
    parser.add_argument(
        "-d", "--with-date", action="store_true", help="append -yyyy-mm-dd, the local date"
    )
    parser.add_argument(
        "-o", "--overwrite", action="store_true", help="replace an archive of that name"
    )
    parser.add_argument(
        "-m", "--minimumdate", metavar="DATE", help="for scripts; all logs are taken"
    )
    for words in (["-l", "--with-latest-dump"], ["-a", "--all"], ["--enable-gdpr"]):
        parser.add_argument(*words, action="store_true", help="for scripts; without effect here")
    parser.set_defaults(run=_zip)


def add_cleanup(parser: argparse.ArgumentParser) -> None:
    """The arguments of `cleanup`, whatever a script asks it to clean."""
    for words in (
        ["-a", "--all"],
        ["-l", "--log-files"],
        ["-t", "--temp-files"],
        ["-q", "--http-requests-table"],
        ["-r", "--redis-cache"],
    ):
        parser.add_argument(
            *words, action="store_true", help="for scripts; see what the command says"
        )
    parser.add_argument(
        "--log-files-retention", metavar="DAYS", help="for scripts; without effect here"
    )
    parser.set_defaults(run=_clean)


def _clean(arguments: argparse.Namespace, session: Session) -> int:
    del arguments
    session.out(
        "Nothing to clean up: logs rotate by themselves, and work that was broken off is removed at the next start."
    )
    return 0


def _zip(arguments: argparse.Namespace, session: Session) -> int:
    node = session.node
    name = arguments.file.removesuffix(_SUFFIX)
    if not name or name.startswith(".") or "/" in name:
        raise UsageError(
            f"{arguments.file!r} is no name of an archive", hint="a name without a path"
        )
    if arguments.with_date:
        name = f"{name}-{node.clock.now().astimezone():%Y-%m-%d}"
    path = _folder(node) / f"{name}{_SUFFIX}"
    if os.path.lexists(path) and not arguments.overwrite:
        raise ConflictError(
            f"{path} exists already", hint="choose another name, -d, or --overwrite"
        )
    durable.make_folder(path.parent, durable.PRIVATE)
    count = log_archive.write(path, _entries(session))
    session.out(f"{counted(count, 'file')} written to {path}")
    session.note(
        "what looks like a secret is masked; names, ids and addresses are not: look before you give it away"
    )
    return 0


def _entries(session: Session) -> "Iterator[tuple[str, str]]":
    node = session.node
    yield from log_archive.logs(node.paths)
    yield "kms-status.json", _told(lambda: asdict(node.kms_store.status()))
    yield (
        "configuration.json",
        _told(
            lambda: {one.key: one.value for one in node.configuration.list() if one.state == "set"}
        ),
    )


def _told(ask: "Callable[[], object]") -> str:
    """A view as JSON; what fails is told in its place, for that is what an archive of logs is made for."""
    try:
        return json.dumps(ask(), indent=1, default=str)
    except StrongroomError as error:
        return json.dumps({"error": error.message})


def _folder(node: "CommandServices") -> Path:
    from strongroom.config import catalog

    held = catalog.check_held(_FOLDER_KEY, node.configuration.effective(_FOLDER_KEY))
    return node.paths.root.absolute() / (held or _DEFAULT_FOLDER)
