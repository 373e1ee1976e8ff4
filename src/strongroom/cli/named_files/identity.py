"""The fingerprint of an installation on a command line, and its comparison with what a file says.

Who made a file that opens is not known by its opening: whoever knows a public recipient can make such a file. The
fingerprint that the operator noted elsewhere tells it (docs/format/statements.md 2).
"""

import argparse

from strongroom.cli.terminal import streams
from strongroom.errors import IntegrityError, UsageError

_TRIES = 3


def add_option(parser: argparse.ArgumentParser) -> None:
    """`--fingerprint`."""
    parser.add_argument(
        "--fingerprint",
        metavar="F",
        help="refuse whatever is not of the installation with this fingerprint, as its status shows it",
    )


def given(arguments: argparse.Namespace) -> str:
    """The fingerprint of the option in its canonical form; empty without it.

    Raises:
        UsageError: The text is no fingerprint.
    """
    from strongroom.crypto import fingerprint

    return fingerprint.parse(arguments.fingerprint) if arguments.fingerprint is not None else ""


def ask(arguments: argparse.Namespace, what: str) -> None:
    """Ask a person at a terminal for the fingerprint that --fingerprint did not give, before anything is entrusted to it.

    An empty answer goes on as a script without the option does: the origin is not proved, and the command says so. The
    answer takes the place of the option.

    Args:
        arguments: The parsed command line; its `fingerprint` is set by an answer.
        what: The thing whose maker is not known, for the question.

    Raises:
        UsageError: Three answers were no fingerprints.
    """
    if arguments.fingerprint is not None or not streams.can_ask():
        return
    for left in reversed(range(_TRIES)):
        answer = streams.ask(
            f"fingerprint of the installation, as you noted it, to prove whose {what} is"
            " (empty: go on without a proof): "
        )
        if not answer.strip():
            return
        arguments.fingerprint = answer
        try:
            given(arguments)
        except UsageError as error:
            if not left:
                raise
            streams.note(f"{error.message}: {error.hint}")
        else:
            return


def compare(wanted: str, found: str, what: str) -> None:
    """Refuse what is of another installation than the wanted one; anything passes if none is wanted.

    Args:
        wanted: The fingerprint that the operator gave; empty without.
        found: The fingerprint that was found; empty if nothing was signed.
        what: The thing that was looked at, for the message.

    Raises:
        IntegrityError: The fingerprints differ.
    """
    if not wanted or wanted == found:
        return
    whose = f"of the installation {found}" if found else "signed by no installation"
    raise IntegrityError(
        f"{what} is {whose}, not of {wanted}",
        hint="nothing was changed; the fingerprint of an installation is on its shares and in its status",
    )
