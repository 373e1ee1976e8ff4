"""`strongroom jobs` and `tsm jobs`: list, show, cancel and wait for jobs."""

import argparse

from strongroom.cli.terminal import columns, parsing, short_ids, sizes
from strongroom.cli.terminal.session import Session
from strongroom.errors import StateError


def build_parser(prog: str, verb: str) -> argparse.ArgumentParser:
    """The parser of `jobs`."""
    parser = argparse.ArgumentParser(prog=prog, description=f"{verb} on extracts")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    listing = commands.add_parser("list", help="show all jobs, newest first")
    listing.add_argument("--site", metavar="SITE", help="name, content URL or id")
    columns.add_options(listing)
    short_ids.add_option(listing)
    listing.set_defaults(run=_list)
    show = commands.add_parser("show", help="show one job and its receipt")
    show.set_defaults(run=_show)
    cancel = commands.add_parser("cancel", help="ask a job to stop")
    cancel.set_defaults(run=_cancel)
    wait = commands.add_parser(
        "wait", help="wait for a job; runs it here if nobody else works on jobs"
    )
    wait.add_argument("--timeout", type=parsing.seconds, metavar="S", help="wait at most this long")
    wait.set_defaults(run=_wait)
    for command in (show, cancel, wait):
        command.add_argument("id", metavar="ID", help="the job's id, or its first digits")
    for command in (show, wait):
        sizes.add_option(command)
    for command in (listing, show, cancel, wait):
        command.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser


def _list(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.cli.content import waiting

    node = session.node
    site_id = None if arguments.site is None else short_ids.site(session, arguments.site).id
    found = node.jobs.list(site_id)
    waits = node.job_waits.of(found)
    if arguments.json:
        session.out_json([waiting.job_json(job, waits.get(job.id)) for job in found])
        return 0
    heads = ["ID", "STATE", "DONE", "CREATED", "WHAT"]
    short = short_ids.shortening(arguments, node.known_ids.jobs)
    rows = [
        [short(job.id), job.state, f"{job.done}/{job.total}", job.created_at, job.title]
        for job in found
    ]
    columns.show(session, arguments, heads, rows)
    for job_id, words in waits.items():
        session.note(f"job {short(job_id)} waits for {words}")
    return 0


def _show(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.cli.content import waiting

    job = session.node.jobs.show(short_ids.job(session, arguments.id))
    waits_for = session.node.job_waits.of([job]).get(job.id)
    if not arguments.json:
        waiting.show(session, arguments, job)
        if waits_for:
            session.out(f"Waits for: {waits_for}")
        return 0
    session.out_json(waiting.job_json(job, waits_for))
    if job.note:
        session.note(job.note)
    return 0


def _cancel(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.cli.content import waiting

    before = session.node.jobs.show(short_ids.job(session, arguments.id))
    if before.finished_at:
        raise StateError(f"job {before.id} has ended already: {before.state}")
    job = session.node.jobs.cancel(before.id, session.actor)
    if not job.finished_at:
        job = waiting.end_if_abandoned(session, job.id)
    if arguments.json:
        session.out_json(waiting.job_json(job))
    else:
        ending = job.state if job.finished_at else "is asked to stop"
        session.out(f"job {job.id} {ending}")
    return 0


def _wait(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.cli.content import waiting

    job_id = short_ids.job(session, arguments.id)
    ended = waiting.until_ended(session, job_id, arguments.timeout)
    return waiting.tell(session, arguments, ended)
