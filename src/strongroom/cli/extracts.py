"""`strongroom extracts`: list the extracts of a site, and encrypt, decrypt, re-encrypt and rewrap them.

What tabcmd cannot say (clients.md, section 0): counts, a receipt, and an exit code that means something.
"""

import argparse
from typing import TYPE_CHECKING

from strongroom.cli.session import Session
from strongroom.errors import UsageError

if TYPE_CHECKING:
    from strongroom.bootstrap import Node
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
    listing.set_defaults(run=_list)
    for name, (kind, text) in _VERBS.items():
        _add_work(commands.add_parser(name, help=text, description=text), kind)
    return parser


def _add_work(command: argparse.ArgumentParser, kind: str) -> None:
    command.add_argument("--site", required=True, metavar="SITE", help="name, content URL or id")
    command.add_argument("--item", metavar="NAME_OR_ID", help="this extract alone")
    command.add_argument("--wait", action="store_true", help="until the job has ended")
    command.add_argument("--timeout", type=float, metavar="S", help="wait at most this long")
    command.add_argument("--json", action="store_true", help="print the job as JSON")
    if kind == "encrypt_extracts":
        command.add_argument(
            "--new-data-key",
            action="store_true",
            help="re-encrypt what is under an old MEK instead of rewrapping it",
        )
    command.set_defaults(run=_work, kind=kind, new_data_key=False)


def _list(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.cli import columns
    from strongroom.services import extract_list

    node = session.node
    site = node.sites.find(arguments.site)
    found = [_json(node, row) for row in extract_list.of_site(node.repository, site.id)]
    if arguments.json:
        session.out_json(found)
        return 0
    names = ("name", "kind", "state", "mek_id", "bytes", "path")
    rows = [
        [str(one[name] or "-") if name != "bytes" else str(one[name]) for name in names]
        for one in found
    ]
    columns.show(session, [name.upper().replace("_", " ") for name in names], rows)
    return 0


def _json(node: "Node", row: "ContentRow") -> dict[str, object]:
    from strongroom.repository.rows import ContentState

    return {
        "id": row.id,
        "name": row.name,
        "kind": row.kind,
        "state": ContentState(row.state).words,
        "mek_id": row.mek_id or None,
        "bytes": row.plaintext_bytes,
        "path": str(node.files.path(row.storage_key)),
    }


def _work(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.cli import waiting
    from strongroom.jobs.model import JobKind
    from strongroom.services import extract_list

    if arguments.timeout is not None and not arguments.wait:
        raise UsageError("--timeout goes with --wait only")
    node = session.node
    site = node.sites.find(arguments.site)
    only = None
    if arguments.item is not None:
        only = [extract_list.find(node.repository, site.id, arguments.item).id]
    job = node.jobs.enqueue(
        JobKind(arguments.kind),
        site.id,
        session.actor,
        content_ids=only,
        options={"new_data_key": arguments.new_data_key},
    )
    if arguments.wait:
        ended = waiting.until_ended(session, job.id, arguments.timeout)
        return waiting.tell(session, ended, as_json=arguments.json)
    if arguments.json:
        session.out_json(waiting.job_json(job))
    else:
        session.out(f"job {job.state}: {job.id}")
    if not waiting.backgrounder_runs(session):
        session.note(
            f"nobody works on jobs now: 'strongroom jobs wait {job.id}' does, and 'strongroom serve'"
        )
    return 0
