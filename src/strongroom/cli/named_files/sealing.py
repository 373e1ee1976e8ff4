"""Options of commands that seal what they write and open what they read with age: recipients, identities, passphrases.

A secret is never the value of an option: passphrases and identities come by file or pipe (`-` is stdin).
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from strongroom.cli.named_files import output_file, small_files
from strongroom.cli.terminal import streams
from strongroom.errors import ConflictError, UsageError
from strongroom.filestore import targets

if TYPE_CHECKING:
    from strongroom.crypto.age import OpenWith, SealTo
    from strongroom.crypto.secret import SecretBytes


class TerminalPrompts:
    """Prompts at the terminal for the plugin of a hardware token; implements `crypto.age.Prompts`."""

    def display_message(self, message: str) -> None:
        """To stderr."""
        streams.note(message)

    def confirm(self, message: str, yes_string: str, no_string: str | None) -> bool | None:
        """Ask for one of two words; without a terminal nobody answers."""
        if not streams.can_ask():
            return None
        return streams.ask(f"{message} ({yes_string}/{no_string or 'no'}): ") == yes_string

    def request_public_string(self, description: str) -> str | None:
        """Ask for a text; without a terminal nobody answers."""
        return streams.ask(f"{description}: ") if streams.can_ask() else None

    def request_passphrase(self, description: str) -> str | None:
        """Ask for a PIN, which is not shown; without a terminal nobody answers."""
        return streams.ask_hidden(f"{description}: ") if streams.can_ask() else None


def add_seal_options(parser: argparse.ArgumentParser) -> None:
    """`--recipient`, `--passphrase-file` and `--new-passphrase-file`, to seal."""
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
        help="seal to the passphrase in this file, its only line of 12 characters or more; - is stdin",
    )
    parser.add_argument(
        "--new-passphrase-file",
        metavar="NEW",
        help="make a passphrase, write it to this new file or named pipe, and seal to it",
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
        help="open with the passphrase in this file, its only line; - is stdin",
    )


def seal_from(arguments: argparse.Namespace) -> "SealTo":
    """The recipients to encrypt to, or a passphrase, from the options; empty without such options.

    Raises:
        UsageError: A recipient is none, the passphrase is too short, or the options exclude each other.
        ConflictError: The file for a new passphrase is there already.
        StorageError: A file cannot be read or written.
    """
    from strongroom.crypto import age, passphrases

    recipients = tuple(dict.fromkeys(age.check_recipient(one) for one in arguments.recipient))
    target = arguments.new_passphrase_file
    if target is not None:
        if recipients or arguments.passphrase_file is not None:
            raise UsageError(
                "--new-passphrase-file goes with neither --recipient nor --passphrase-file",
                hint="age seals to recipients or to one passphrase",
            )
        return age.SealTo(passphrase=_new_passphrase(Path(target)))
    phrase = _passphrase(arguments.passphrase_file)
    return age.SealTo(recipients, None if phrase is None else passphrases.check_new(phrase))


def open_from(arguments: argparse.Namespace) -> "OpenWith":
    """The secrets to open an age file with, from the options; empty without such options.

    Raises:
        UsageError: A file holds no identity, or the options exclude each other.
        StorageError: A file cannot be read.
    """
    from strongroom.crypto import age

    found = [
        identity
        for name in arguments.identity
        for identity in age.parse_identities(small_files.read_lines(name, "the identity"))
    ]
    return age.OpenWith(tuple(found), _passphrase(arguments.passphrase_file))


def _passphrase(name: str | None) -> "SecretBytes | None":
    from strongroom.crypto.secret import SecretBytes

    if name is None:
        return None
    return SecretBytes(small_files.read_value(name, "the passphrase"))


def _new_passphrase(target: Path) -> "SecretBytes":
    from strongroom.crypto import passphrases

    # a file that is there may hold the passphrase of an older export, which nothing else opens
    if targets.look(target, private=True) is targets.Kind.FILE:
        raise ConflictError(
            f"{target} exists already", hint="name a new file for the passphrase, or a named pipe"
        )
    made = passphrases.make()
    # written first: if the command fails later, a file is left that opens nothing; the other order could seal something
    # to a passphrase that nobody has
    output_file.write_private(target, made.reveal() + b"\n")
    return made
