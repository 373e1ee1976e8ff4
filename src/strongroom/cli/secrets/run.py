"""`strongroom run -- CMD`: becomes a program that has secrets of services in its environment, or in files in memory.

The program takes the place of this process, so signals, exit code and process id are its own, and the secrets are gone with
it. No secret is in an argument, on a disk or in a log; each one that is read leaves its event. Nothing is started unless all
secrets were read.
"""

import argparse
import fcntl
import json
import os
import re
import shutil
import signal
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from strongroom.cli.named_files import small_files
from strongroom.cli.terminal import streams
from strongroom.cli.terminal.ended import Ended
from strongroom.cli.terminal.session import Session
from strongroom.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from strongroom.client.vault_service import Identity

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NO_COMMAND, _NOT_STARTED = 127, 126
"""The exit codes of shells for a program that is not there, and for one that cannot be started."""
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
Read = Callable[[str], Mapping[str, object]]


class Wanted(NamedTuple):
    """A variable, and the secret and its field that it shall have."""

    name: str
    path: str
    field: str


def build_parser(prog: str, verb: str) -> argparse.ArgumentParser:
    """The parser of `run`."""
    parser = argparse.ArgumentParser(prog=prog, description=f"{verb} a program with secrets")
    for option, words in (
        ("--secret", "set the variable ENV to a field of a secret; may be repeated"),
        (
            "--secret-file",
            "set ENV to the path of a file in memory with the field; may be repeated",
        ),
    ):
        parser.add_argument(
            option, action="append", default=[], metavar="ENV=PATH#FIELD", help=words
        )
    _add_elsewhere(parser)
    parser.add_argument("command", nargs="+", metavar="CMD", help="the program, and its arguments")
    parser.set_defaults(run=_run)
    return parser


def _add_elsewhere(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--url", metavar="URL", help="ask the Vault door there, instead of the node of this machine"
    )
    parser.add_argument("--token-file", metavar="FILE", help="with --url: the file with a token")
    parser.add_argument("--role-id", metavar="ID", help="with --url: the role that signs in")
    parser.add_argument(
        "--secret-id-file", metavar="FILE", help="with --role-id: the file with a secret id"
    )
    parser.add_argument(
        "--url-ca", metavar="FILE", help="with --url: certificates to verify the node's by"
    )


def _run(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.node import environment

    variables = [_wanted(text) for text in arguments.secret]
    files = [_wanted(text) for text in arguments.secret_file]
    names = [one.name for one in (*variables, *files)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"the variable {twice[0]} is given twice", hint="give it once")
    inherited = {**environment.inherited(), **session.foreign}
    read = _reader(arguments, session)
    program = _program(arguments.command[0], inherited)
    found = {path: read(path) for path in dict.fromkeys(one.path for one in (*variables, *files))}
    given = {one.name: _text(one, found) for one in variables}
    given |= {one.name: _in_memory(one, found) for one in files}
    session.close()
    return _become(program, arguments.command, {**inherited, **given})


def _wanted(text: str) -> Wanted:
    name, _, place = text.partition("=")
    path, _, field = place.rpartition("#")
    # no part of the text is shown: somebody may have given a secret where its path belongs
    if not (_NAME.fullmatch(name) and path.strip("/") and field):
        raise UsageError(
            "a secret is given as ENV=PATH#FIELD", hint="such as DB_PASSWORD=secret/app/db#password"
        )
    return Wanted(name, path.strip("/"), field)


def _program(name: str, variables: Mapping[str, str]) -> str:
    found = shutil.which(name, path=variables.get("PATH", os.defpath))
    if found is None:
        streams.note(f"strongroom: there is no program {name!r}, or it is not executable")
        raise Ended(_NO_COMMAND)
    return found


def _text(wanted: Wanted, found: Mapping[str, Mapping[str, object]]) -> str:
    text = _field(wanted, found)
    if "\0" in text:
        raise UsageError(
            f"the field {wanted.field!r} of {wanted.path} does not fit into a variable",
            hint="use --secret-file",
        )
    return text


def _field(wanted: Wanted, found: Mapping[str, Mapping[str, object]]) -> str:
    data = found[wanted.path]
    if data.get(wanted.field) is None:
        known = ", ".join(sorted(data)) or "none"
        raise NotFoundError(
            f"the secret {wanted.path} has no field {wanted.field!r}", hint=f"its fields: {known}"
        )
    value = data[wanted.field]
    return value if isinstance(value, str) else json.dumps(value)


def _in_memory(wanted: Wanted, found: Mapping[str, Mapping[str, object]]) -> str:
    """A path to a field in memory that cannot be changed, and that is gone with this process and what it becomes.

    The path has the process id, and not `self`: programs that the program starts close what they inherit.
    """
    content = _field(wanted, found).encode()
    handle = os.memfd_create(wanted.name, os.MFD_ALLOW_SEALING)
    with os.fdopen(handle, "wb", closefd=False) as file:
        file.write(content)
    os.fchmod(handle, 0o400)
    fcntl.fcntl(handle, fcntl.F_ADD_SEALS, _SEALS)
    return f"/proc/{os.getpid()}/fd/{handle}"


def _reader(arguments: argparse.Namespace, session: Session) -> Read:
    """How secrets are read: as the owner of this node, or over the wire as a token or role."""
    elsewhere = (arguments.token_file, arguments.role_id, arguments.secret_id_file)
    if arguments.url is None:
        if any(one is not None for one in (*elsewhere, arguments.url_ca)):
            raise UsageError("an identity goes with --url", hint="give --url https://HOST:PORT")
        _ = session.node  # a directory without a node is told before a program is looked for
        return lambda path: _own(session, path)
    from strongroom.client.vault_service import VaultService

    service = VaultService(arguments.url, _identity(arguments), ca_file=arguments.url_ca)
    return lambda path: service.read_secret(path).data


def _identity(arguments: argparse.Namespace) -> "Identity":
    """The identity of the options; its file is read at once, and once, since it may be standard input."""
    from strongroom.client.vault_service import AppRole, Token
    from strongroom.crypto.secret import SecretBytes

    def read(name: str | None, what: str) -> SecretBytes | None:
        return None if name is None else SecretBytes(small_files.read_value(name, what))

    token = read(arguments.token_file, "the token")
    secret_id = read(arguments.secret_id_file, "the secret id")
    if token is not None and secret_id is None and arguments.role_id is None:
        return Token(small_files.shown(arguments.token_file), read=lambda _: token)
    if secret_id is not None and token is None and arguments.role_id is not None:
        place = small_files.shown(arguments.secret_id_file)
        return AppRole(arguments.role_id, place, read=lambda _: secret_id)
    raise UsageError("--url needs --token-file, or --role-id with --secret-id-file")


def _own(session: Session, path: str) -> Mapping[str, object]:
    """A secret of this node, read as whoever owns the data directory."""
    try:
        data = _of_node(session, path)
    except NotFoundError as error:
        raise NotFoundError(
            f"there is no secret at {path}: {error.message}",
            hint="the path of a mount and of a secret in it, such as secret/app/db",
        ) from error
    if data is None:
        raise NotFoundError(f"the latest version of the secret {path} was deleted")
    return data


def _of_node(session: Session, path: str) -> Mapping[str, object] | None:
    from strongroom.services.service_keys.by import By
    from strongroom.services.service_keys.mounts import KV_1, KV_2
    from strongroom.services.service_keys.secrets import SecretAt

    node = session.node
    mount, rest = node.service_mounts.find(path)
    if mount.kind not in {KV_1, KV_2}:
        raise NotFoundError(f"{mount.path} holds no secrets")
    by = By.local(session.actor, node.events)
    return node.service_secrets.read(by, SecretAt(mount, rest)).data


def _become(program: str, words: list[str], variables: Mapping[str, str]) -> int:
    for one in _IGNORED_BY_PYTHON:  # a signal that is ignored here is ignored by the program, too
        signal.signal(one, signal.SIG_DFL)
    streams.settle()
    try:
        os.execve(program, words, variables)  # noqa: S606 what the caller asked for, without a shell
    except OSError as error:
        streams.note(f"strongroom: {program} cannot be started: {_reason(error)}")
    raise Ended(_NOT_STARTED)


def _reason(error: OSError) -> str:
    from strongroom.system import disk

    return disk.reason(error)
