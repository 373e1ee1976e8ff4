"""`strongroom tokens`: make, list and revoke personal access tokens."""

import argparse
from datetime import timedelta
from typing import TYPE_CHECKING

from strongroom.cli.terminal import asking, columns, parsing, short_ids
from strongroom.cli.terminal.session import Session
from strongroom.errors import NotFoundError, StorageError, StrongroomError

if TYPE_CHECKING:
    from strongroom.repository.rows import TokenRow

_DEFAULT_DAYS = 365


def build_parser(prog: str, verb: str) -> argparse.ArgumentParser:
    """The parser of `tokens`."""
    parser = argparse.ArgumentParser(prog=prog, description=f"personal access {verb}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    create = commands.add_parser("create", help="make a token; its secret is shown once")
    create.add_argument("name", metavar="NAME", help="what its user calls it")
    create.add_argument("--user", metavar="USER", required=True, help="who signs in with it")
    create.add_argument(
        "--days",
        type=parsing.number(1, 36500),
        default=_DEFAULT_DAYS,
        help="how long it is valid; default %(default)s",
    )
    create.set_defaults(run=_create)
    show = commands.add_parser("list", help="show tokens, without their secrets")
    show.add_argument("--user", metavar="USER", help="only this user's")
    show.add_argument("--json", action="store_true", help="print them as a JSON list")
    columns.add_options(show)
    short_ids.add_option(show)
    show.set_defaults(run=_list)
    revoke = commands.add_parser("revoke", help="end a token and its sessions")
    revoke.add_argument("token", metavar="TOKEN", help="its id, or its name with --user")
    revoke.add_argument("--user", metavar="USER", help="whose token, if TOKEN is a name")
    asking.add_option(revoke)
    revoke.set_defaults(run=_revoke)
    return parser


def _create(arguments: argparse.Namespace, session: Session) -> int:
    user = short_ids.user(session, arguments.user)
    token, secret = session.node.tokens.create(
        session.subject, user.id, arguments.name, lifetime=timedelta(days=arguments.days)
    )
    session.note(f"token {token.name!r} of {user.name!r} is valid until {token.expires_at}")
    session.note("the secret is shown this once only")
    try:
        # scripts take the last word of the last line
        session.out(f"secret: {secret.reveal().decode('ascii')}")
    except (StrongroomError, BrokenPipeError) as error:
        session.node.tokens.revoke(session.subject, token.id)
        raise StorageError(
            f"the token {token.name!r} was taken back: its secret could not be shown: {error}",
            hint="give standard output a place that takes it, and create the token again",
        ) from error
    return 0


def _list(arguments: argparse.Namespace, session: Session) -> int:
    subject, users = session.subject, session.node.users
    user_id = None if arguments.user is None else short_ids.user(session, arguments.user).id
    tokens = session.node.tokens.list(subject, user_id)
    owners = users.names(subject, {token.user_id for token in tokens})
    if arguments.json:
        session.out_json([_json(token, owners[token.user_id]) for token in tokens])
        return 0
    short = short_ids.shortening(arguments, session.node.known_ids.tokens)
    rows = [
        [
            token.name,
            owners[token.user_id],
            token.expires_at or "-",
            token.last_used_at or "-",
            short(token.id),
        ]
        for token in tokens
    ]
    columns.show(session, arguments, ["NAME", "USER", "EXPIRES AT", "LAST USED AT", "ID"], rows)
    return 0


def _revoke(arguments: argparse.Namespace, session: Session) -> int:
    token = _find(session, arguments.token, arguments.user)
    asking.require_of_person(
        arguments, session, f"the token {token.name!r} will be revoked; go on?"
    )
    session.node.tokens.revoke(session.subject, token.id)
    session.out(f"token {token.name!r} revoked, its sessions have ended")
    return 0


def _find(session: Session, text: str, user: str | None) -> "TokenRow":
    user_id = None if user is None else short_ids.user(session, user).id
    tokens = session.node.tokens.list(session.subject, user_id)
    for token in tokens:
        named = user is not None and token.name.casefold() == text.casefold()
        if token.id == text or named:
            return token
    meant = short_ids.whole(text, lambda: (token.id for token in tokens), "token")
    for token in tokens:
        if token.id == meant:
            return token
    hint = "see 'strongroom tokens list'" if user else "give its id, or its name and --user"
    raise NotFoundError(f"there is no token {text!r}", hint=hint)


def _json(token: "TokenRow", owner: str) -> dict[str, object]:
    return {
        "id": token.id,
        "name": token.name,
        "user": owner,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "last_used_at": token.last_used_at,
    }
