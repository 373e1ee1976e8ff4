"""`tsm -s https://host:8850 …`: a command that a node elsewhere carries out, for an administrator who signs in there.

The line is parsed here first, and files are read here: what goes over is words and a value. The password is asked for,
or read from a file; nothing of it is in a command line of this program.
"""

import argparse
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from strongroom.cli import tsm_habits
from strongroom.cli.terminal import streams
from strongroom.cli.terminal.session import Session, SessionOptions
from strongroom.errors import AuthenticationError, StateError, UsageError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from strongroom.doors.control.remote_client import Called
    from strongroom.system.hosts import Endpoint

PORT: Final = 8850
_SERVER: Final = ("-s", "--server")
_OTHER_SERVER: Final = ["topology", "nodes", "get-bootstrap-file"]
"""The command whose own `--server` is where a new node reaches this one; its `-s` is that of tsm."""
_KEPT: Final = ".config/strongroom/controllers"
_LONGEST: Final = 1024
_FLAG: Final = "--trust-admin-controller-cert"
_VALUES: Final = {
    "-u",
    "--username",
    "-p",
    "--password",
    "-s",
    "--server",
    "--password-file",
    "--token-name",
    "--token-file",
    "--controller-ca",
    "--value-file",
}
"""Options with a value that stay on this machine."""


class _Line(NamedTuple):
    """A command line for the node.

    Attributes:
        words: The words behind `tsm`.
        value: A value that was read here; None if the command takes none.
    """

    words: list[str]
    value: str | None


def is_meant(words: list[str], options: SessionOptions) -> bool:
    """Whether a line names a node elsewhere: by `-s`, on a machine where this user has no node.

    Args:
        words: The words behind `tsm`, not parsed as yet: a command that is never remote may have other options.
        options: The options that stand before or after any verb.

    Raises:
        PermissionDeniedError: The line names such a node, and its command is never remote.
    """
    named = _SERVER[:1] if words[: len(_OTHER_SERVER)] == _OTHER_SERVER else _SERVER
    if not any(word.partition("=")[0] in named for word in words) or _has_node(options):
        return False
    from strongroom.doors.control import reach

    if not {"-h", "--help"} & set(words):
        reach.check_command(words)
    return True


def _has_node(options: SessionOptions) -> bool:
    from strongroom.node import environment
    from strongroom.runtime.paths import DataPaths

    try:
        return DataPaths(environment.data_dir(options.data_dir)).is_made()
    except PermissionError:
        # the node of another user: who is not its owner signs in
        return False


def run(words: list[str], parsed: argparse.Namespace, session: Session) -> int:
    """Have the node carry it out; returns the exit code of the command there.

    Raises:
        PermissionDeniedError: A certificate is not accepted.
        AuthenticationError: The sign-in is refused.
        LinkError: The node cannot be reached.
    """
    endpoint = _endpoint(str(_given(parsed, "server")))
    called = _called(endpoint, parsed, session)
    line, who = _line(words, parsed, session), _who(parsed)
    found = _asked(called, line, who)
    if isinstance(found, str):
        # the node did nothing: it wants an answer first
        if not session.confirm(found):
            raise StateError(
                "nothing was changed: the question was not answered with y",
                hint="answer y, or give --yes",
            )
        found = _asked(called, line._replace(words=[*line.words, "--yes"]), who)
    return found if isinstance(found, int) else 1


def _asked(called: "Called", line: _Line, who: "Mapping[str, str]") -> object:
    from strongroom.cli.terminal import on_behalf
    from strongroom.doors.control import reach

    arguments = {"words": line.words, "value": line.value, "asks": streams.can_ask()}
    request = {"verb": reach.COMMAND, "arguments": arguments, **who}
    return called.ask(request, on_behalf.tell).get("result")


def _endpoint(text: str) -> "Endpoint":
    from urllib.parse import urlsplit

    from strongroom.system import hosts

    parts, found = urlsplit(""), None
    with contextlib.suppress(ValueError):  # a HostError is one
        parts = urlsplit(text)
        found = hosts.Endpoint(hosts.host(parts.hostname or ""), parts.port or PORT)
    if found is None or parts.scheme != "https" or parts.username or parts.path.strip("/"):
        raise UsageError(
            f"--server: {text[:80]!r} is no address of a control service",
            hint="such as https://node1.example.org:8850",
        )
    return found


# ---- whom to believe -------------------------------------------------------------------------------


def _called(endpoint: "Endpoint", parsed: argparse.Namespace, session: Session) -> "Called":
    from strongroom.doors.control.remote_client import Called

    return Called("the node", endpoint, _context(endpoint, parsed, session))


def _context(
    endpoint: "Endpoint", parsed: argparse.Namespace, session: Session
) -> "ssl.SSLContext":
    """The TLS context: by the file that is named, by what was shown before, or by what is shown now."""
    from strongroom.doors.control import remote_tls

    named, kept = _given(parsed, "controller_ca"), _kept(endpoint)
    if named:
        from strongroom.cli.named_files import small_files

        text = small_files.read_lines(str(named), "the certificate of the authority").decode(
            "ascii", "replace"
        )
        return remote_tls.trusting_context(text)
    if _given(parsed, "trust"):
        return remote_tls.trusting_context(_shown(endpoint, kept, session))
    found = _kept_text(kept)
    if found:
        return remote_tls.trusting_context(found)
    raise AuthenticationError(
        f"nothing says whose certificate is believed at {endpoint.text}",
        hint=f"give the authority's certificate by --controller-ca FILE ('strongroom cluster list-certificates --pem' on a"
        f" node), or {_FLAG} to believe what the node shows now, and from then on",
    )


def _shown(endpoint: "Endpoint", kept: Path, session: Session) -> str:
    """The authority that a node shows now, kept for the next time."""
    from strongroom.crypto import node_certificates
    from strongroom.doors.control import remote_tls
    from strongroom.doors.control.remote_client import Called
    from strongroom.system import durable

    text = Called("the node", endpoint, remote_tls.trusting_context(None)).authority()
    found = node_certificates.from_pem(text.encode())
    if _kept_text(kept) != text:
        words = ":".join(_pairs(node_certificates.fingerprint(found[0])))
        session.note(
            f"the authority of {endpoint.text} is believed from now on; compare SHA-256 with"
            f" 'strongroom cluster list-certificates' on a node: {words}"
        )
        durable.make_folder(kept.parent)
        durable.write_file(kept, text.encode())
    return text


def _kept_text(kept: Path) -> str:
    """The authority that was believed before; empty if there was no look as yet."""
    from strongroom.cli.named_files import small_files

    name = str(kept)
    return small_files.read_lines(name, "the authority").decode("ascii") if kept.exists() else ""


def _pairs(text: str) -> list[str]:
    return [text[at : at + 2].upper() for at in range(0, len(text), 2)]


def _kept(endpoint: "Endpoint") -> Path:
    host = endpoint.host.replace(":", "_").replace("%", "_")
    return Path.home() / _KEPT / f"{host}_{endpoint.port}.pem"


# ---- who asks, and for what ------------------------------------------------------------------------


def _utf8(read: bytes, what: str) -> str:
    try:
        return read.decode()
    except UnicodeDecodeError:
        # the words of Python's error have a byte of what is secret
        raise UsageError(f"{what} is no text in UTF-8", hint="save it as UTF-8") from None


def _who(parsed: argparse.Namespace) -> dict[str, str]:
    """The name with a password or a token, as the call has them."""
    from strongroom.cli.named_files import small_files

    token_name, token_file = _given(parsed, "token_name"), _given(parsed, "token_file")
    if token_name and token_file:
        token = small_files.read_value(str(token_file), "the token", limit=_LONGEST)
        return {"token_name": str(token_name), "token": _utf8(token, "the token")}
    name = _given(parsed, "username")
    if not name:
        raise AuthenticationError(
            "a node elsewhere asks who you are",
            hint="-u NAME, or --token-name NAME --token-file FILE",
        )
    password, file = _given(parsed, "password"), _given(parsed, "password_file")
    if file:
        read = small_files.read_value(str(file), "the password", limit=_LONGEST)
        return {"name": str(name), "password": _utf8(read, "the password")}
    if password:
        streams.note(
            "tsm: warning: other users of the machine can see a password on a command line;"
            " leave -p out, or use --password-file"
        )
        return {"name": str(name), "password": str(password)}
    if not streams.can_ask():
        raise UsageError("a password is needed", hint="give it with --password-file FILE")
    return {"name": str(name), "password": streams.ask_hidden(f"password of {name}: ")}


def _line(words: list[str], parsed: argparse.Namespace, session: Session) -> _Line:
    """The words without what stays here, and the value that the command needs."""
    value = None
    own = set(_VALUES)
    if words[:2] == ["configuration", "set"] and not parsed.default:
        from strongroom.cli.secrets import configuration

        value = configuration.value_of(parsed.key or parsed.name, parsed, session)
        own |= {"-v", "--value"}
    elif getattr(parsed, "value_file", None) is not None:
        from strongroom.cli.secrets import rotation

        value = rotation.read_value(parsed.value_file, parsed.keys).decode()
    return _Line(_without(words, own), value)


def _without(words: list[str], options: set[str]) -> list[str]:
    left, rest = [], iter(words)
    for word in rest:
        name = word.partition("=")[0] if word.startswith("--") else word
        if word == _FLAG:
            continue
        if name not in options:
            left.append(word)
        elif word == name:
            with contextlib.suppress(StopIteration):
                next(rest)
    return left


def _given(parsed: argparse.Namespace, name: str) -> object:
    return getattr(parsed, tsm_habits.PREFIX + name, None)
