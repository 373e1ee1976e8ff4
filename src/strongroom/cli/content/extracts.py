"""`strongroom extracts`: list the extracts of a site, and encrypt, decrypt, re-encrypt and rewrap them.

What tabcmd cannot say (clients.md, section 0): counts, a receipt, and an exit code that means something.
"""

import argparse
from typing import TYPE_CHECKING, TypedDict

from strongroom.cli.content import extract_store
from strongroom.cli.terminal import columns, parsing, short_ids, shown_paths, sizes
from strongroom.cli.terminal.session import Session
from strongroom.errors import UsageError

if TYPE_CHECKING:
    from strongroom.repository.rows import ContentRow

_VERBS = {
    "encrypt": ("encrypt_extracts", "encrypt what is not, bring the rest under the active MEK"),
    "decrypt": ("decrypt_extracts", "decrypt every extract"),
    "reencrypt": ("rekey_extracts", "give every encrypted extract a new data key"),
    "rewrap": ("rewrap_extracts", "bring the data keys under the active MEK, bodies untouched"),
}


def build_parser(prog: str, verb: str) -> argparse.ArgumentParser:
    """The parser of `extracts`."""
    parser = argparse.ArgumentParser(prog=prog, description=f"{verb} of a site, encrypted or not")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    listing = commands.add_parser("list", help="show the extracts of a site")
    listing.add_argument("--site", required=True, metavar="SITE", help="name, content URL or id")
    listing.add_argument("--json", action="store_true", help="print them as a JSON list")
    columns.add_options(listing)
    short_ids.add_option(listing)
    shown_paths.add_option(listing)
    sizes.add_option(listing)
    listing.set_defaults(run=_list)
    for name, (kind, text) in _VERBS.items():
        _add_work(commands.add_parser(name, help=text, description=text), kind)
    extract_store.add_commands(commands)
    return parser


def _add_work(command: argparse.ArgumentParser, kind: str) -> None:
    command.add_argument("--site", required=True, metavar="SITE", help="name, content URL or id")
    command.add_argument("--item", metavar="NAME_OR_ID", help="this extract alone")
    command.add_argument("--wait", action="store_true", help="until the job has ended")
    command.add_argument(
        "--timeout", type=parsing.seconds, metavar="S", help="wait at most this long"
    )
    command.add_argument("--json", action="store_true", help="print the job as JSON")
    sizes.add_option(command)
    command.add_argument(
        "--verify",
        action="store_true",
        help="look into every file at the end, also of extracts that are right by their rows",
    )
    if kind == "encrypt_extracts":
        command.add_argument(
            "--new-data-key",
            action="store_true",
            help="re-encrypt what is under an old MEK instead of rewrapping it",
        )
    command.set_defaults(run=_work, kind=kind, new_data_key=False)


def _list(arguments: argparse.Namespace, session: Session) -> int:
    extracts = session.node.extract_list
    site = short_ids.site(session, arguments.site)
    found = [_json(row, extracts.place(row)) for row in extracts.of_site(site.id)]
    if arguments.json:
        session.out_json(found)
        return 0
    short_id = short_ids.shortening(arguments, lambda: (one["mek_id"] or "" for one in found))
    short_path = shown_paths.shortening(arguments, session)
    heads = ["NAME", "KIND", "STATE", "MEK ID", sizes.heading(arguments), "PATH"]
    rows = [
        [
            one["name"],
            one["kind"],
            one["state"],
            short_id(one["mek_id"] or "-"),
            sizes.cell(arguments, one["bytes"]),
            short_path(one["path"]),
        ]
        for one in found
    ]
    columns.show(session, arguments, heads, rows)
    return 0


class _Extract(TypedDict):
    """An extract in the JSON that scripts read."""

    id: str
    name: str
    kind: str
    state: str
    mek_id: str | None
    bytes: int
    path: str


def _json(row: "ContentRow", path: str) -> _Extract:
    from strongroom.repository.rows import ContentState

    return {
        "id": row.id,
        "name": row.name,
        "kind": row.kind,
        "state": ContentState(row.state).words,
        "mek_id": row.mek_id or None,
        "bytes": row.plaintext_bytes,
        "path": path,
    }


def _work(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.cli.content import waiting
    from strongroom.jobs.model import JobKind

    if arguments.timeout is not None and not arguments.wait:
        raise UsageError("--timeout goes with --wait only")
    node = session.node
    site = short_ids.site(session, arguments.site)
    only = None
    if arguments.item is not None:
        only = [short_ids.extract(session, site.id, arguments.item).id]
    job = node.jobs.enqueue(
        JobKind(arguments.kind),
        site.id,
        session.actor,
        content_ids=only,
        options={"new_data_key": arguments.new_data_key, "verify": arguments.verify},
    )
    if arguments.wait:
        ended = waiting.until_ended(session, job.id, arguments.timeout)
        return waiting.tell(session, arguments, ended)
    if arguments.json:
        session.out_json(waiting.job_json(job))
    else:
        session.out(f"job {job.state}: {job.id}")
    if not waiting.backgrounder_runs(session):
        session.note(
            f"nobody works on jobs now: 'strongroom jobs wait {job.id}' does, and 'strongroom serve'"
        )
    return 0
