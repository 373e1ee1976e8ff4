"""Asks before something goes that nobody brings back; one word takes every question away (findings F4).

Where a loss is known, nothing is done without an answer: not on a terminal, and not in a script either. Where a command
only does what it is called, a person at a terminal is asked, who may have mistyped; a script is not, which says what it
means.
"""

import argparse
from collections.abc import Mapping
from typing import Final

from strongroom.cli.terminal.session import Session
from strongroom.errors import StateError

ASKED: Final[Mapping[str, str]] = {
    "strongroom access policy delete": "a policy",
    "strongroom access token revoke": "a token of a service, with all that it made",
    "strongroom backup pins release": "the extracts of a backup that were deleted since it was made",
    "strongroom backup restore": "all sites, users and extracts of the node",
    "strongroom cluster renew": "with --authority, the authority that every tsm elsewhere believes",
    "strongroom keys schedule-deletion": "a service key, after some days",
    "strongroom sites delete": "a site with everything on it",
    "strongroom sites set-mode": "the encryption of a site's extracts",
    "strongroom tokens revoke": "an access token",
    "strongroom upgrade": "the way back: an earlier release opens nothing of the node",
    "strongroom users delete": "a user",
    "strongroom users set-password": "with --revoke-tokens, the user's access tokens",
    "tsm maintenance enter": "the service, until 'tsm maintenance leave'",
    "tsm maintenance restore": "all sites, users and extracts of the node",
    "tsm pending-changes apply": "the service, for the moment of a restart",
    "tsm pending-changes discard": "the pending changes",
    "tsm security identity renew": "the fingerprint that is on paper",
    "tsm security kms accept": "the proof that nobody else made the KMS store",
    "tsm security kms former forget": "a closed KMS store, with its MEKs",
    "tsm security kms retire": "a MEK",
    "tsm security kms roots remove": "a way to open the keys",
    "tsm security kms rotate": "with --drop-root, a way to open the keys",
    "tsm security kms set-mode": "with --abandon-external-keys, the present keys; with --drop-root, a way to open them",
    "tsm security secrets rotate": "with --forget-unfinished, what a rotation had begun",
    "tsm topology drain": "the service of one node, until 'tsm topology undrain'",
    "tsm topology remove-nodes": "a node",
    "tsm topology set-process": "the last web service or backgrounder of the installation",
}
"""Every command that asks, and what goes; `set-mode` stands for all its modes. A test looks for those that are missing."""


def add_option(parser: argparse.ArgumentParser, text: str = "do not ask") -> None:
    """The one word for "do not ask", as all of its writers know it: `-y`, `--yes`, and tsm's `--ignore-prompt`."""
    parser.add_argument("-y", "--yes", "--ignore-prompt", action="store_true", help=text)


def require(
    arguments: argparse.Namespace,
    session: Session,
    question: str,
    *,
    refusal: str = "nothing was changed: the question was not answered with y",
    hint: str = "answer y, or give --yes",
) -> None:
    """Go on only if the user agrees, by `--yes` or by an answer on standard input.

    Raises:
        StateError: The user does not agree.
    """
    if not arguments.yes and not session.confirm(question):
        raise StateError(refusal, hint=hint)


def require_of_person(arguments: argparse.Namespace, session: Session, question: str) -> None:
    """Go on only if the user agrees; without a terminal, as in a script, go on without a question.

    Raises:
        StateError: The user does not agree.
    """
    if session.can_ask:
        require(arguments, session, question)
