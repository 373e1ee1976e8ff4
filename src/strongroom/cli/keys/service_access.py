"""`strongroom access`: who may use service keys and secrets: policies, tokens, roles."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from strongroom.cli.named_files import small_files
from strongroom.cli.terminal import asking, columns
from strongroom.cli.terminal.session import Session
from strongroom.errors import NotFoundError, StorageError, StrongroomError, UsageError

if TYPE_CHECKING:
    from strongroom.repository.service_rows import ServiceTokenRow
    from strongroom.services.service_keys.by import By


def build_parser(prog: str, verb: str) -> argparse.ArgumentParser:
    """The parser of `access`."""
    parser = argparse.ArgumentParser(prog=prog, description=f"{verb} of programs to keys")
    nouns = parser.add_subparsers(required=True, metavar="NOUN")
    _add_policies(nouns.add_parser("policy", help="what a program may do"))
    _add_tokens(nouns.add_parser("token", help="tokens of programs"))
    _add_roles(nouns.add_parser("approle", help="roles by which programs sign in"))
    return parser


def _add_policies(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    write = commands.add_parser("write", help="write a policy")
    write.add_argument("name", metavar="NAME", help="the policy")
    write.add_argument("file", metavar="FILE", help="its text, in HCL or JSON; - is standard input")
    write.set_defaults(run=_write_policy)
    show = commands.add_parser("list", help="show the names of all policies")
    show.add_argument("--json", action="store_true", help="print them as a JSON list")
    columns.add_options(show)
    show.set_defaults(run=_list_policies)
    one = commands.add_parser("show", help="show the text of a policy")
    one.add_argument("name", metavar="NAME", help="the policy")
    one.set_defaults(run=_show_policy)
    delete = commands.add_parser("delete", help="delete a policy")
    delete.add_argument("name", metavar="NAME", help="the policy")
    asking.add_option(delete)
    delete.set_defaults(run=_delete_policy)


def _add_tokens(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    create = commands.add_parser("create", help="make a token, which is shown once")
    create.add_argument(
        "--policy", action="append", required=True, metavar="P", help="a policy; may be repeated"
    )
    how_long = create.add_mutually_exclusive_group()
    how_long.add_argument(
        "--ttl", metavar="D", default="", help="how long it lives, as 1h or 30d; default 32d"
    )
    how_long.add_argument(
        "--period",
        metavar="D",
        default="",
        help="how long it lives after each renewal, with no end but that; for what runs for years",
    )
    create.add_argument(
        "--name", metavar="NAME", default="token", help="its name in events; default %(default)s"
    )
    create.set_defaults(run=_create_token)
    show = commands.add_parser("list", help="show all tokens, without their secrets")
    show.add_argument("--json", action="store_true", help="print them as a JSON list")
    columns.add_options(show)
    show.set_defaults(run=_list_tokens)
    revoke = commands.add_parser("revoke", help="end a token and all that it made")
    revoke.add_argument("accessor", metavar="ACCESSOR", help="its accessor")
    asking.add_option(revoke)
    revoke.set_defaults(run=_revoke_token)


def _add_roles(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    create = commands.add_parser("create", help="make a role, and a secret id that is shown once")
    create.add_argument("name", metavar="NAME", help="the role")
    create.add_argument(
        "--policy", action="append", required=True, metavar="P", help="a policy; may be repeated"
    )
    create.set_defaults(run=_create_role)


def _by(session: Session) -> "By":
    from strongroom.services.service_keys.by import By

    return By.local(session.actor, session.node.events)


# ---- policies ------------------------------------------------------------------------------------


def _write_policy(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.access.acl_text import MAX_BYTES

    raw = small_files.read_bytes(arguments.file, "policy", limit=MAX_BYTES)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise UsageError(f"{arguments.file} is no text in UTF-8") from None
    session.node.service_policies.write(_by(session), arguments.name, text)
    session.out(f"policy {arguments.name!r} written")
    return 0


def _list_policies(arguments: argparse.Namespace, session: Session) -> int:
    names = session.node.service_policies.names(_by(session))
    if arguments.json:
        session.out_json(names)
    else:
        session.out_lines(names)
    return 0


def _show_policy(arguments: argparse.Namespace, session: Session) -> int:
    text = session.node.service_policies.read(_by(session), arguments.name)
    session.out_value(text.rstrip("\n"))
    return 0


def _delete_policy(arguments: argparse.Namespace, session: Session) -> int:
    asking.require_of_person(
        arguments, session, f"the policy {arguments.name!r} will be deleted; go on?"
    )
    session.node.service_policies.delete(_by(session), arguments.name)
    session.out(f"policy {arguments.name!r} deleted")
    return 0


# ---- tokens --------------------------------------------------------------------------------------


def _create_token(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.access import service_tokens
    from strongroom.services.service_keys.tokens import Wanted

    by, tokens = _by(session), session.node.service_tokens
    wanted = Wanted(
        name=arguments.name,
        policies=arguments.policy,
        ttl_s=service_tokens.seconds(arguments.ttl, "--ttl"),
        period_s=service_tokens.seconds(arguments.period, "--period"),
        is_orphan=True,
    )
    _check_policies(session, arguments.policy)
    made = tokens.create(by, wanted)
    session.note(f"token {made.token.id} is valid until {made.token.expires_at or 'it is revoked'}")
    session.note("the token is shown this once only")
    # scripts take the last word of the last line
    shown = f"token: {made.secret.reveal().decode('ascii')}"
    _show_once(session, [shown], lambda: tokens.revoke(by, made.token))
    return 0


def _check_policies(session: Session, names: list[str]) -> None:
    """Note policies that nobody wrote: they allow nothing until somebody does."""
    known = session.node.service_policies.written()
    for name in names:
        if name.lower() not in known:
            session.note(f"there is no policy {name!r} as yet; it allows nothing")


def _list_tokens(arguments: argparse.Namespace, session: Session) -> int:
    tokens = session.node.service_tokens.list()
    if arguments.json:
        session.out_json([_json(token) for token in tokens])
        return 0
    rows = [
        [token.id, token.name, ",".join(token.policies), token.expires_at or "-"]
        for token in tokens
    ]
    columns.show(session, arguments, ["ACCESSOR", "NAME", "POLICIES", "EXPIRES AT"], rows)
    return 0


def _revoke_token(arguments: argparse.Namespace, session: Session) -> int:
    tokens = session.node.service_tokens
    found = [one for one in tokens.list() if one.id == arguments.accessor]
    if not found:
        raise NotFoundError(
            f"there is no token with the accessor {arguments.accessor!r}",
            hint="see 'strongroom access token list'",
        )
    asking.require_of_person(arguments, session, f"the token {found[0].id} will end; go on?")
    tokens.revoke(_by(session), found[0])
    session.out(f"token {found[0].id} and all that it made have ended")
    return 0


def _json(token: "ServiceTokenRow") -> dict[str, object]:
    return {
        "accessor": token.id,
        "name": token.name,
        "policies": list(token.policies),
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "parent": token.parent_id or None,
    }


# ---- roles ---------------------------------------------------------------------------------------


def _create_role(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.services.service_keys.roles import OWN

    by, roles = _by(session), session.node.service_roles
    _check_policies(session, arguments.policy)
    name = f"{OWN}/{arguments.name}"
    role = roles.write(by, name, {"token_policies": [one.lower() for one in arguments.policy]})
    made = roles.make_secret_id(by, name, metadata={})
    session.note("the secret id is shown this once only")
    lines = [f"role id: {role.role_id}", f"secret id: {made.secret.reveal().decode('ascii')}"]
    _show_once(session, lines, lambda: roles.destroy_secret_id(by, name, accessor=made.row.id))
    return 0


def _show_once(session: Session, lines: list[str], take_back: Callable[[], None]) -> None:
    try:
        for line in lines:
            session.out(line)
    except (StrongroomError, BrokenPipeError) as error:
        take_back()
        raise StorageError(
            f"what was made was taken back: its secret could not be shown: {error}",
            hint="give standard output a place that takes it, and do it again",
        ) from error
