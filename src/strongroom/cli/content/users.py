"""`strongroom users`: list and create users, set passwords and roles, delete them.

A password comes from a file, from stdin or is asked for; never from the command line.
"""

import argparse
from typing import TYPE_CHECKING

from strongroom.cli.terminal import asking, columns, short_ids
from strongroom.cli.terminal.session import Session
from strongroom.errors import UsageError
from strongroom.system.plural import counted

if TYPE_CHECKING:
    from strongroom.repository.rows import UserRow

_PASSWORD_OPTION = "--password-file"  # noqa: S105 the name of an option


def build_parser(prog: str, verb: str) -> argparse.ArgumentParser:
    """The parser of `users`."""
    parser = argparse.ArgumentParser(prog=prog, description=f"{verb}, their passwords and roles")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    show = commands.add_parser("list", help="show the users of the installation or of a site")
    show.add_argument("--site", metavar="SITE", help="only this site's users, with their roles")
    show.add_argument("--json", action="store_true", help="print them as a JSON list")
    columns.add_options(show)
    short_ids.add_option(show)
    show.set_defaults(run=_list)
    create = commands.add_parser("create", help="create a user")
    create.add_argument("name", metavar="NAME", help="what it signs in with")
    create.add_argument(
        "--full-name", metavar="NAME", default="", help="how people call it; NAME if not given"
    )
    create.add_argument("--server-admin", action="store_true", help="a server administrator")
    create.add_argument("--site", metavar="SITE", help="a site to give it a role on")
    create.add_argument("--role", metavar="ROLE", help="the role on that site, such as Creator")
    _add_password(create)
    create.add_argument(
        "--no-password", action="store_true", help="it signs in with access tokens only"
    )
    create.set_defaults(run=_create)
    password = commands.add_parser("set-password", help="set a user's password; ends its sessions")
    password.add_argument("name", metavar="NAME", help="the user")
    _add_password(password)
    password.add_argument(
        "--revoke-tokens", action="store_true", help="revoke the user's access tokens, too"
    )
    asking.add_option(password, "do not ask before tokens are revoked")
    password.set_defaults(run=_set_password)
    unlock = commands.add_parser("unlock", help="end the pauses after failed sign-ins of a user")
    unlock.add_argument("name", metavar="NAME", help="the user")
    unlock.set_defaults(run=_unlock)
    role = commands.add_parser("set-role", help="set a user's role on a site")
    role.add_argument("name", metavar="NAME", help="the user")
    role.add_argument("role", metavar="ROLE", help="ServerAdministrator, Creator, Viewer ...")
    role.add_argument("--site", metavar="SITE", default="", help="the default site if not given")
    role.set_defaults(run=_set_role)
    delete = commands.add_parser("delete", help="delete a user everywhere")
    delete.add_argument("name", metavar="NAME", help="the user")
    delete.add_argument("--give-to", metavar="NAME", help="who gets what the user owns")
    asking.add_option(delete)
    delete.set_defaults(run=_delete)
    return parser


def _add_password(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(_PASSWORD_OPTION, metavar="FILE", help="file with it; - is stdin")


def _list(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.repository.rows import Query

    if arguments.site is None:
        users = session.node.users.page(session.subject).rows
        found = [(user, "ServerAdministrator" if user.is_server_admin else "") for user in users]
    else:
        site = short_ids.site(session, arguments.site)
        query = Query(sort=(("name", False),))
        page = session.node.users.page_of_site(session.subject, site.id, query)
        found = [(one.user, one.role) for one in page.rows]
    if arguments.json:
        session.out_json([_json(user, role) for user, role in found])
        return 0
    short = short_ids.shortening(arguments, session.node.known_ids.users)
    rows = [[user.name, user.full_name, role or "-", short(user.id)] for user, role in found]
    columns.show(session, arguments, ["NAME", "FULL NAME", "ROLE", "ID"], rows)
    return 0


def _create(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.cli.named_files.passwords import read_password
    from strongroom.services.directory.users import parse_role

    if (arguments.site is None) != (arguments.role is None):
        raise UsageError("--site and --role go together")
    role = None if arguments.role is None else parse_role(arguments.role)
    if arguments.no_password and arguments.password_file is not None:
        raise UsageError("--no-password and --password-file exclude each other")
    users, subject = session.node.users, session.subject
    site = None if arguments.site is None else short_ids.site(session, arguments.site)
    password = None
    if not arguments.no_password:
        password = read_password(
            arguments.password_file, f"password for {arguments.name}", option=_PASSWORD_OPTION
        )
    user = users.create(
        subject,
        arguments.name,
        password=password,
        full_name=arguments.full_name,
        is_server_admin=arguments.server_admin,
    )
    if site is not None and role is not None:
        users.give_role(subject, site.id, user.id, role)
    session.out(f"user {user.name!r} created: {user.id}")
    return 0


def _set_password(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.cli.named_files.passwords import read_password

    user = short_ids.user(session, arguments.name)
    if arguments.revoke_tokens:
        asking.require_of_person(
            arguments, session, f"all access tokens of {user.name!r} will be revoked; go on?"
        )
    password = read_password(
        arguments.password_file, f"new password for {user.name}", option=_PASSWORD_OPTION
    )
    session.node.users.set_password(session.subject, user.id, password)
    session.out(f"the password of {user.name!r} is set, its sessions have ended")
    kept = session.node.tokens.list(session.subject, user.id)
    if arguments.revoke_tokens:
        for token in kept:
            session.node.tokens.revoke(session.subject, token.id)
        session.out(f"{counted(len(kept), 'access token')} revoked")
    elif kept:
        # an attacker who knew the old password may have made an access token (findings S13)
        session.note(
            f"{counted(len(kept), 'access token')} of {user.name!r} can still be used; "
            "revoke them with --revoke-tokens, or one by one with 'strongroom tokens revoke'"
        )
    return 0


def _unlock(arguments: argparse.Namespace, session: Session) -> int:
    user = short_ids.user(session, arguments.name)
    # the server remembers who failed from where
    session.perform("users.unlock", {"user_id": user.id}, session.note)
    session.out(f"{user.name!r} may sign in again")
    return 0


def _set_role(arguments: argparse.Namespace, session: Session) -> int:
    site = short_ids.site(session, arguments.site)
    user = short_ids.user(session, arguments.name)
    now = session.node.users.give_role(session.subject, site.id, user.id, arguments.role)
    session.out(f"the role of {user.name!r} on {site.name!r} is {now.role}")
    return 0


def _delete(arguments: argparse.Namespace, session: Session) -> int:
    user = short_ids.user(session, arguments.name)
    heir = short_ids.user(session, arguments.give_to).id if arguments.give_to else ""
    asking.require_of_person(
        arguments, session, f"the user {user.name!r} will be deleted everywhere; go on?"
    )
    session.node.users.delete(session.subject, user.id, give_to=heir)
    session.out(f"user {user.name!r} deleted")
    return 0


def _json(user: "UserRow", role: str) -> dict[str, object]:
    return {
        "id": user.id,
        "name": user.name,
        "full_name": user.full_name,
        "role": role or None,
        "is_server_admin": user.is_server_admin,
        "has_password": user.password_hash is not None,
        "locked_until": user.locked_until,
        "created_at": user.created_at,
    }
