"""Options of commands that seal what they write and open what they read with age: recipients, identities, passphrases.

A secret is never the value of an option: passphrases and identities come by file or pipe (`-` is stdin).
"""

import argparse
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from strongroom.errors import StorageError, UsageError

if TYPE_CHECKING:
    from strongroom.crypto.age import OpenWith, SealTo
    from strongroom.crypto.secret import SecretBytes

LARGEST_FILE = 64 * 1024
"""Bytes; identity files, passphrases and shares are some hundred."""


class TerminalPrompts:
    """Whoever sits at the terminal, for the plugin of a hardware token; implements `crypto.age.Prompts`."""

    def display_message(self, message: str) -> None:
        """To stderr."""
        sys.stderr.write(message + "\n")

    def confirm(self, message: str, yes_string: str, no_string: str | None) -> bool | None:
        """Ask for one of two words; without a terminal nobody answers."""
        if not sys.stdin.isatty():
            return None
        return input(f"{message} ({yes_string}/{no_string or 'no'}): ") == yes_string

    def request_public_string(self, description: str) -> str | None:
        """Ask for a text; without a terminal nobody answers."""
        return input(f"{description}: ") if sys.stdin.isatty() else None

    def request_passphrase(self, description: str) -> str | None:
        """Ask for a PIN, which is not shown; without a terminal nobody answers."""
        import getpass

        return getpass.getpass(f"{description}: ") if sys.stdin.isatty() else None


def add_seal_options(parser: argparse.ArgumentParser) -> None:
    """`--recipient` and `--passphrase-file`, to seal."""
    parser.add_argument(
        "--recipient",
        action="append",
        default=[],
        metavar="R",
        help="seal to this age recipient (age1…); may be given again",
    )
    parser.add_argument(
        "--passphrase-file",
        metavar="FILE",
        help="seal to the passphrase in the first line of this file; - is stdin",
    )


def add_open_options(parser: argparse.ArgumentParser) -> None:
    """`--identity` and `--passphrase-file`, to open."""
    parser.add_argument(
        "--identity",
        action="append",
        default=[],
        metavar="FILE",
        help="open with the age identities of this file; - is stdin; may be given again",
    )
    parser.add_argument(
        "--passphrase-file",
        metavar="FILE",
        help="open with the passphrase in the first line of this file; - is stdin",
    )


def seal_from(arguments: argparse.Namespace) -> "SealTo":
    """Whom the options say to seal to; empty without any.

    Raises:
        UsageError: A recipient is none, or the options exclude each other.
        StorageError: The file cannot be read.
    """
    from strongroom.crypto import age

    recipients = tuple(dict.fromkeys(age.check_recipient(one) for one in arguments.recipient))
    return age.SealTo(recipients, _passphrase(arguments.passphrase_file))


def open_from(arguments: argparse.Namespace) -> "OpenWith":
    """What the options give to open with; empty without any.

    Raises:
        UsageError: A file holds no identity, or the options exclude each other.
        StorageError: A file cannot be read.
    """
    from strongroom.crypto import age

    found = [
        identity
        for name in arguments.identity
        for identity in age.parse_identities(read_secret(name, "the identity"))
    ]
    return age.OpenWith(tuple(found), _passphrase(arguments.passphrase_file))


def read_secret(name: str, what: str) -> bytes:
    """A small file, a pipe, or stdin (`-`), read once to its end.

    Raises:
        UsageError: It is a directory or a device, or longer than it can rightly be.
        StorageError: It cannot be read.
    """
    try:
        if name == "-":
            data = _read_all(sys.stdin.buffer)
        else:
            # open() and not Path.read_bytes: a pipe is read just once, and never beyond the bound
            with Path(name).open("rb") as source:
                _check_kind(source, name, what)
                data = _read_all(source)
    except OSError as error:
        raise StorageError(f"cannot read {what} from {name}: {error.strerror}") from error
    if len(data) > LARGEST_FILE:
        raise UsageError(f"{name} has more than {LARGEST_FILE} bytes: it is not {what}")
    return data


def _read_all(source: BinaryIO) -> bytes:
    parts: list[bytes] = []
    left = LARGEST_FILE + 1
    while left and (part := source.read(left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _check_kind(source: BinaryIO, name: str, what: str) -> None:
    import os

    mode = os.fstat(source.fileno()).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
        raise UsageError(f"{name} is neither a file nor a pipe: {what} is not read from it")


def _passphrase(name: str | None) -> "SecretBytes | None":
    from strongroom.crypto.secret import SecretBytes

    if name is None:
        return None
    line = read_secret(name, "the passphrase").split(b"\n", 1)[0].removesuffix(b"\r")
    if not line:
        raise UsageError(f"the first line of {name} is empty: there is no passphrase in it")
    return SecretBytes(line)
