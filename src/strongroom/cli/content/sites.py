"""`strongroom sites`: list and create sites, set their encryption mode, delete them."""

import argparse
from typing import TYPE_CHECKING

from strongroom.cli.terminal import asking, columns, short_ids
from strongroom.cli.terminal.session import Session
from strongroom.errors import UsageError
from strongroom.system.plural import counted

if TYPE_CHECKING:
    from strongroom.repository.rows import SiteRow

_MODES = "disabled, enabled or enforced"


def build_parser(prog: str, verb: str) -> argparse.ArgumentParser:
    """The parser of `sites`."""
    parser = argparse.ArgumentParser(prog=prog, description=f"{verb} and their encryption modes")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    show = commands.add_parser("list", help="show all sites")
    show.add_argument("--json", action="store_true", help="print them as a JSON list")
    columns.add_options(show)
    short_ids.add_option(show)
    show.set_defaults(run=_list)
    create = commands.add_parser("create", help="create a site")
    create.add_argument("name", metavar="NAME", help="what people call it")
    create.add_argument("--url", metavar="URL", help="content URL; made of the name if not given")
    create.add_argument("--mode", metavar="MODE", help=_MODES)
    create.add_argument("--json", action="store_true", help="print the site as JSON")
    create.set_defaults(run=_create)
    mode = commands.add_parser("set-mode", help="set a site's encryption mode")
    mode.add_argument("site", metavar="SITE", help="name, content URL or id")
    mode.add_argument("mode", metavar="MODE", help=_MODES)
    mode.add_argument(
        "--keep-encrypted", action="store_true", help="with disabled: decrypt nothing"
    )
    asking.add_option(mode, "do not ask before a decryption")
    mode.set_defaults(run=_set_mode)
    default = commands.add_parser("default-mode", help="show or set the mode of new sites")
    default.add_argument("mode", metavar="MODE", nargs="?", help=_MODES)
    default.set_defaults(run=_default_mode)
    delete = commands.add_parser("delete", help="delete a site with everything on it")
    delete.add_argument("site", metavar="SITE", help="name, content URL or id")
    asking.add_option(delete)
    delete.set_defaults(run=_delete)
    return parser


def _list(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.repository.rows import SiteMode

    sites = session.node.sites.page(session.subject).rows
    if arguments.json:
        session.out_json([_json(site) for site in sites])
        return 0
    heads = ["NAME", "CONTENT URL", "MODE", "STATE", "ID"]
    short = short_ids.shortening(arguments, lambda: (site.id for site in sites))
    rows = [
        [site.name, site.content_url or "-", SiteMode(site.mode).word, site.state, short(site.id)]
        for site in sites
    ]
    columns.show(session, arguments, heads, rows)
    return 0


def _create(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.repository.rows import SiteMode
    from strongroom.services.directory.sites import SiteChanges, parse_mode

    mode = None if arguments.mode is None else parse_mode(arguments.mode)
    changes = SiteChanges(content_url=arguments.url, mode=mode)
    site = session.node.sites.create(session.subject, arguments.name, changes)
    if arguments.json:
        session.out_json(_json(site))
    else:
        session.out(f"site {site.name!r} created, encryption {SiteMode(site.mode).word}: {site.id}")
    return 0


def _set_mode(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.repository.rows import SiteMode
    from strongroom.services.directory.sites import parse_mode

    mode = parse_mode(arguments.mode)
    if arguments.keep_encrypted and mode is not SiteMode.DISABLED:
        raise UsageError("--keep-encrypted goes with the mode disabled only")
    sites = session.node.sites
    site = short_ids.site(session, arguments.site)
    if site.mode == mode:
        session.note(f"nothing to do: the mode of {site.name!r} is {mode.word} already")
        return 0
    if mode is SiteMode.DISABLED and not arguments.keep_encrypted:
        _ask_before_decryption(arguments, session, site)
    changed = sites.set_mode(
        session.subject, site.id, mode, keep_encrypted=arguments.keep_encrypted
    )
    session.out(f"the mode of {site.name!r} is {mode.word}")
    if changed.job is not None:
        session.note(
            f"job {changed.job.id} is queued for its extracts;"
            f" wait for it with 'strongroom jobs wait {changed.job.id}'"
        )
    return 0


def _ask_before_decryption(
    arguments: argparse.Namespace, session: Session, site: "SiteRow"
) -> None:
    count = session.node.sites.encrypted_count(site.id)
    if count:
        asking.require(
            arguments,
            session,
            f"{counted(count, 'encrypted extract')} of {site.name!r} will be decrypted; go on?",
        )


def _default_mode(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.services.directory.sites import parse_mode

    if arguments.mode is not None:
        mode = parse_mode(arguments.mode)
        session.node.sites.set_default_mode(session.subject, mode)
    session.out(session.node.sites.default_mode().word)
    return 0


def _delete(arguments: argparse.Namespace, session: Session) -> int:
    site = short_ids.site(session, arguments.site)
    asking.require(
        arguments, session, f"the site {site.name!r} and everything on it will be deleted; go on?"
    )
    files = session.node.sites.delete(session.subject, site.id)
    session.node.content.delete_files(files)
    session.out(f"site {site.name!r} deleted with {counted(len(files), 'file')}")
    return 0


def _json(site: "SiteRow") -> dict[str, object]:
    from strongroom.repository.rows import SiteMode

    return {
        "id": site.id,
        "name": site.name,
        "content_url": site.content_url,
        "mode": SiteMode(site.mode).word,
        "state": site.state,
        "user_quota": site.user_quota,
        "storage_quota": site.storage_quota,
        "created_at": site.created_at,
    }
