"""Short ids in lists, and the whole ids that people mean by them (findings F4).

A list shows as many digits of an id as tell it from all others of its kind, eight at least. Every command that takes
such an id takes its first digits, too, eight at least, if they fit one id only. A name comes before the beginning of an
id.
"""

import argparse
import re
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import TYPE_CHECKING, Final, TypeVar

from strongroom.cli.terminal.session import Session
from strongroom.errors import NotFoundError, UsageError
from strongroom.ids import is_id
from strongroom.system.plural import counted

if TYPE_CHECKING:
    from strongroom.repository.rows import ContentRow, SiteRow, UserRow

_FEWEST: Final = 8
_BEGINNING: Final = re.compile(
    r"[0-9a-f]{8}(-[0-9a-f]{0,4}|-[0-9a-f]{4}-[0-9a-f]{0,4}|(-[0-9a-f]{4}){2}-[0-9a-f]{0,4}|(-[0-9a-f]{4}){3}-[0-9a-f]{0,11})?"
)
_MOST_NAMED: Final = 4


def add_option(parser: argparse.ArgumentParser) -> None:
    """`--full-ids`, for a list that shows ids."""
    parser.add_argument(
        "--full-ids", action="store_true", help="show ids whole, not by their first digits"
    )


def shortening(
    arguments: argparse.Namespace, among: Callable[[], Iterable[str]]
) -> Callable[[str], str]:
    """How a list shows the ids of one kind; what is no id stays as it is.

    Args:
        arguments: Of the command.
        among: All ids of that kind, also those that the list leaves out.
    """
    if arguments.full_ids:
        return lambda text: text
    known = sorted({one for one in among() if is_id(one)})
    # of sorted texts the likest ones stand side by side
    digits = max((_alike(*two) + 1 for two in pairwise(known)), default=0)
    digits = max(_FEWEST, digits)
    return lambda text: text[:digits] if is_id(text) else text


def _alike(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    return next(
        (at for at, pair in enumerate(zip(one, other, strict=False)) if len({*pair}) > 1), len(one)
    )


def whole(text: str, known: Callable[[], Iterable[str]], thing: str) -> str:
    """The full id for an id or its beginning; a text that fits no id is returned as it is, and the later look-up refuses it.

    Args:
        text: An id, the beginning of one, or something else.
        known: The ids of that kind, at least those that begin so; asked for only if the text can be a beginning.
        thing: The kind of thing that has such ids, in a word.

    Raises:
        UsageError: The text is the beginning of several ids.
    """
    wanted = text.lower()
    if not _BEGINNING.fullmatch(wanted):
        return text
    found = sorted({one for one in known() if one.startswith(wanted)})
    if len(found) > 1:
        named = ", ".join(found[:_MOST_NAMED]) + (", …" if len(found) > _MOST_NAMED else "")
        raise UsageError(
            f"{text!r} is the beginning of the ids of {counted(len(found), thing)}: {named}",
            hint="give more digits of the id that you mean; nothing was changed",
        )
    return found[0] if found else text


_Row = TypeVar("_Row")


def _found(
    find: Callable[[str], _Row], text: str, known: Callable[[str], Iterable[str]], thing: str
) -> _Row:
    """The row of a name or an id; only a text that is neither is taken for the beginning of an id."""
    try:
        return find(text)
    except NotFoundError:
        meant = whole(text, lambda: known(text.lower()), thing)
        if meant == text:
            raise
        return find(meant)


def site(session: Session, text: str) -> "SiteRow":
    """The site of that name, content URL, id or beginning of an id.

    Raises:
        NotFoundError: No site fits the text.
        UsageError: The text is the beginning of several ids.
    """
    return _found(session.node.sites.find, text, session.node.known_ids.sites, "site")


def user(session: Session, text: str) -> "UserRow":
    """The user of that name, id or beginning of an id.

    Raises:
        NotFoundError: No user fits the text.
        UsageError: The text is the beginning of several ids.
    """
    return _found(session.node.users.find, text, session.node.known_ids.users, "user")


def extract(session: Session, site_id: str, text: str) -> "ContentRow":
    """The extract of that name, id or beginning of an id on a site.

    Raises:
        NotFoundError: No extract of the site fits the text.
        UsageError: The site has several of that name, or the text is the beginning of several ids.
    """
    node = session.node
    return _found(
        lambda meant: node.extract_list.find(site_id, meant),
        text,
        lambda digits: node.known_ids.extracts(site_id, digits),
        "extract",
    )


def job(session: Session, text: str) -> str:
    """The id of the job that is meant.

    Raises:
        UsageError: The text is the beginning of several ids.
    """
    return whole(text, lambda: session.node.known_ids.jobs(text.lower()), "job")


def wrap(session: Session, text: str) -> str:
    """The id of the wrap of the RMK that is meant; asks no root.

    Raises:
        UsageError: The text is the beginning of several ids.
    """
    return whole(
        text, lambda: (one.id for one in session.node.kms_store.current()[0].wraps), "wrap"
    )
