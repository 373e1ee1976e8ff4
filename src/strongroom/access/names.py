"""Brings names of sites, users, groups, projects and content to one form, when they come in; pure.

A name is text for people, chosen by people whom we need not trust. It never becomes part of a path, and must not be
able to look like another name; `repository.folding` compares names.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Final

from strongroom.errors import UsageError

MAX_CHARACTERS = 255
# bound before a name is composed to NFC, which takes time by the square of the number of combining marks (findings S1)
MAX_UNCOMPOSED = 4 * MAX_CHARACTERS
MAX_DESCRIPTION_CHARACTERS = 4000
MAX_TAGS = 200
DEFAULT_SITE_WORD = "default"
_CONTENT_URL = re.compile(r"[A-Za-z0-9_-]*")
# the part of XML 1.0 section 2.3 that the public API uses: no namespace, and no character that ends a name
_XML_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
# Controls, formats, surrogates, unassigned characters, line and paragraph separators: invisible characters, and those
# that turn the direction of the text, would make a name look like another one.
_REFUSED_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"})
_UNSEEN = frozenset(
    "\u115f\u1160\u17b4\u17b5\u3164\uffa0\u2800"
)  # of other categories, but as empty
_JOINERS = frozenset("\u200c\u200d")
# Marks of direction, which names in right-to-left scripts need. `repository.folding` ignores them, so that two names
# cannot differ by them alone.
_MARKS = frozenset("\u061c\u200e\u200f")
_RIGHT_TO_LEFT = frozenset({"R", "AL"})


def canonical(name: str, noun: str) -> str:
    """The name in the form that is stored: NFC, without space at its ends.

    Raises:
        UsageError: The name is empty, too long, or has characters that names may not have.
    """
    too_long = UsageError(f"the name of a {noun} has more than {MAX_CHARACTERS} characters")
    if len(name) > MAX_UNCOMPOSED:
        raise too_long
    form = unicodedata.normalize("NFC", name).strip()
    if not form:
        raise UsageError(f"the name of a {noun} must not be empty")
    if len(form) > MAX_CHARACTERS:
        raise too_long
    _check_characters(form, noun)
    return form


def content_url(text: str) -> str:
    """A site's content URL, checked; `default` is the default site's, stored as empty text.

    Raises:
        UsageError: The text has characters that clients refuse, or is too long.
    """
    if not _CONTENT_URL.fullmatch(text) or len(text) > MAX_CHARACTERS:
        raise UsageError(
            f"not a content URL: {text!r}",
            hint="letters, digits, hyphen and underscore, at most 255 of them",
        )
    return "" if text.lower() == DEFAULT_SITE_WORD else text


def content_url_of(name: str) -> str:
    """A content URL derived from a site's name, by its allowed characters; empty if the name has none."""
    return re.sub(r"[^A-Za-z0-9_-]", "", name)[:MAX_CHARACTERS]


def description(text: str) -> str:
    """A description, checked.

    Raises:
        UsageError: The description is too long.
    """
    if len(text) > MAX_DESCRIPTION_CHARACTERS:
        raise UsageError(f"a description has more than {MAX_DESCRIPTION_CHARACTERS} characters")
    return text


def tag(text: str) -> str:
    """A tag, checked: a short name without quotation marks.

    Raises:
        UsageError: The tag is empty, too long, or has characters that tags may not have.
    """
    form = canonical(text, "tag")
    if '"' in form:
        raise UsageError("a tag must not have a quotation mark in it")
    return form


def check_tags(tags: Sequence[str]) -> None:
    """Refuse more tags than an item may have.

    Raises:
        UsageError: The list is too long.
    """
    if len(tags) > MAX_TAGS:
        raise UsageError(f"an item has at most {MAX_TAGS} tags")


def is_xml_name(text: str) -> bool:
    """Whether an attribute or element of a message may have that name; a namespace declaration may not."""
    return text != "xmlns" and _XML_NAME.fullmatch(text) is not None


LOOKED_AT: Final = 100
"""How many names on each side of an unknown one, in the order of names, are looked at for a likely one."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint that names the closest known name; empty if none is close."""
    if len(name) > MAX_CHARACTERS:
        return ""
    by_form = {candidate.casefold(): candidate for candidate in known}
    close = get_close_matches(name.casefold(), list(by_form), n=1)
    return f"did you mean {by_form[close[0]]!r}?" if close else ""


def _check_characters(name: str, noun: str) -> None:
    for at, character in enumerate(name):
        refused = unicodedata.category(character) in _REFUSED_CATEGORIES or character in _UNSEEN
        if character in _JOINERS:
            refused = not _joins(name, at)
        if character in _MARKS:
            refused = not _has_right_to_left(name)
        if refused:
            raise UsageError(f"the name of a {noun} must not have the character {character!a}")


def _has_right_to_left(name: str) -> bool:
    return any(
        unicodedata.category(one).startswith("L")
        and unicodedata.bidirectional(one) in _RIGHT_TO_LEFT
        for one in name
    )


def _joins(name: str, at: int) -> bool:
    """Whether a joiner is used as it should be: between letters of scripts that need it, or in emoji."""
    around = name[at - 1 : at] + name[at + 1 : at + 2]
    return len(around) == 2 and not any(one.isascii() or one in _JOINERS for one in around)
