"""The kinds of settings: text, number, host, path and so on, each with a check that gives a value its one spelling.

Pure. The catalogue declares the kind of each key. Setting, importing, applying and using a value all call the same
check, so that a wrong value is refused when it is given, and not later when it is used (findings K11, K12).
"""

from collections.abc import Callable
from enum import Enum

from strongroom.system import hosts

MAX_TEXT_CHARACTERS = 64 << 10
_MAX_INTEGER = 2**53
_MAX_PATH_BYTES = 4095
_MAX_COUNT = 64
_MAX_PORT = 65535
_MAX_DIGITS = 1000
_LEVELS = ("trace", "debug", "info", "warn", "error", "fatal", "off")
_LIST = "host:port,host:port"

Check = Callable[[str], str]
"""Returns a value in its one spelling, or raises `ValueError` with words for what the value should be."""


def text(value: str) -> str:
    """Any text that is not too long."""
    if len(value) > MAX_TEXT_CHARACTERS:
        message = f"a text of at most {MAX_TEXT_CHARACTERS} characters"
        raise ValueError(message)
    return value


def integer(value: str) -> str:
    """A whole number from 0."""
    # int() would also accept " 7", "1_000" and digits of other scripts, which are other spellings. A longer text is
    # refused before int() reads it, which would raise an error with a message of its own.
    if not _is_number(value) or int(value) > _MAX_INTEGER:
        message = "a whole number from 0"
        raise ValueError(message)
    return str(int(value))


def count(value: str) -> str:
    """A whole number from 1."""
    if not _is_number(value) or not 1 <= int(value) <= _MAX_COUNT:
        message = f"a whole number from 1 to {_MAX_COUNT}"
        raise ValueError(message)
    return str(int(value))


def port(value: str) -> str:
    """A port of TCP."""
    if not _is_number(value) or not 1 <= int(value) <= _MAX_PORT:
        message = f"a port from 1 to {_MAX_PORT}"
        raise ValueError(message)
    return str(int(value))


def login(value: str) -> str:
    """A login of the application's PostgreSQL role."""
    if value not in {"rails", "rails_a", "rails_b"}:
        message = "rails, rails_a or rails_b"
        raise ValueError(message)
    return value


def boolean(value: str) -> str:
    """`true` or `false`."""
    if value.lower() not in {"true", "false"}:
        message = "true or false"
        raise ValueError(message)
    return value.lower()


def level(value: str) -> str:
    """A level of logging."""
    if value.lower() not in _LEVELS:
        message = f"one of {', '.join(_LEVELS)}"
        raise ValueError(message)
    return value.lower()


def host(value: str) -> str:
    """A name or an address."""
    return hosts.host(value)


def address(value: str) -> str:
    """An address to listen on."""
    return hosts.address(value)


def host_list(value: str) -> str:
    """Hosts with their ports."""
    if "/" in value and "://" not in value:
        message = f"{_LIST} without a path; the znode is set as zookeeper.root"
        raise ValueError(message)
    return hosts.joined(hosts.endpoints(value))


def host_or_socket(value: str) -> str:
    """A name, an address, or the folder of a Unix socket."""
    if value.startswith(("/", "~", "$")):
        return path(value)
    try:
        return hosts.host(value)
    except hosts.HostError as error:
        message = f"{error}; or the absolute path of its socket's folder"
        raise ValueError(message) from error


def replicas(value: str) -> str:
    """The replicas of a component that get its new secret: `found`, `ignored`, or a list of hosts."""
    if value in {"found", "ignored"}:
        return value
    try:
        return hosts.joined(hosts.endpoints(value))
    except hosts.HostError as error:
        message = f"found, ignored, or {_LIST}: {error}"
        raise ValueError(message) from error


def path(value: str) -> str:
    """An absolute path, in which `~` and `$HOME` are not expanded, and therefore refused.

    A relative path would depend on the working directory of the server, which an administrator does not know.
    """
    _check_path(value)
    if not value.startswith("/"):
        message = f"an absolute path, beginning with /, not {value[:80]!r}"
        raise ValueError(message)
    return value


def path_in_data(value: str) -> str:
    """A path that is absolute, or relative to the data directory."""
    _check_path(value)
    return value


def znode(value: str) -> str:
    """The path of a znode, without empty parts, `.` and `..`."""
    parts = value.split("/")
    if (
        value == "/"
        or parts[0]
        or not all(parts[1:])
        or {".", ".."} & set(parts)
        or not value.isprintable()
    ):
        message = "the path of a znode, such as /strongroom"
        raise ValueError(message)
    return value


def name(value: str) -> str:
    """The name of a login or a database: a single line that is not empty."""
    if not value or value != value.strip() or not value.isprintable():
        message = (
            "a name without blanks around it; to have the default again, reset the key with -d"
        )
        raise ValueError(message)
    return text(value)


def _is_number(value: str) -> bool:
    return value.isascii() and value.isdigit() and len(value) <= _MAX_DIGITS


def _check_path(value: str) -> None:
    if not value:
        message = "a path; to have none, or the default again, reset the key with -d"
        raise ValueError(message)
    if value.startswith("~") or "$" in value:
        message = "a path as it is: ~ and $ are the shell's, and nothing here expands them"
        raise ValueError(message)
    if value != value.strip() or not value.isprintable():
        message = "a path without blanks around it and without control characters"
        raise ValueError(message)
    if len(value.encode("utf-8", "surrogateescape")) > _MAX_PATH_BYTES:
        message = f"a path of at most {_MAX_PATH_BYTES} bytes"
        raise ValueError(message)


class Kind(Enum):
    """The kinds that tests enumerate: every host and every path of the catalogue."""

    PLAIN = "plain"
    HOST = "host"
    PATH = "path"


def kind_of(check: Check) -> Kind:
    """The kind to which a check belongs."""
    if check in {host, address, host_list, host_or_socket, replicas}:
        return Kind.HOST
    return Kind.PATH if check in {path, path_in_data} else Kind.PLAIN
