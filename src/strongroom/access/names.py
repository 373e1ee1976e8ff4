"""Names of sites, users, groups, projects and content: brought to one form once, at the edge; pure.

A name is data for people. It never becomes part of a path; `repository.folding` compares it.
"""

import re
import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches

from strongroom.errors import UsageError

MAX_CHARACTERS = 255
MAX_DESCRIPTION_CHARACTERS = 4000
DEFAULT_SITE_WORD = "default"
_CONTENT_URL = re.compile(r"[A-Za-z0-9_-]*")
# controls, surrogates, unassigned, line and paragraph separators, and formats: a name must not look like another one,
# so nothing in it is unseen or turns the direction of the text around it
_REFUSED_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"})
_UNSEEN = frozenset(
    "\u115f\u1160\u17b4\u17b5\u3164\uffa0\u2800"
)  # of other categories, but as empty
_JOINERS = frozenset("\u200c\u200d")


def canonical(name: str, noun: str) -> str:
    """The name in the form that is stored: NFC, without space at its ends.

    Raises:
        UsageError: It is empty, too long, or has characters that names may not have.
    """
    form = unicodedata.normalize("NFC", name).strip()
    if not form:
        raise UsageError(f"the name of a {noun} must not be empty")
    if len(form) > MAX_CHARACTERS:
        raise UsageError(f"the name of a {noun} has more than {MAX_CHARACTERS} characters")
    _check_characters(form, noun)
    return form


def content_url(text: str) -> str:
    """A site's content URL, checked; `default` is the default site's, stored as empty text.

    Raises:
        UsageError: It has characters that the real clients refuse, or is too long.
    """
    if not _CONTENT_URL.fullmatch(text) or len(text) > MAX_CHARACTERS:
        raise UsageError(
            f"not a content URL: {text!r}",
            hint="letters, digits, hyphen and underscore, at most 255 of them",
        )
    return "" if text.lower() == DEFAULT_SITE_WORD else text


def content_url_of(name: str) -> str:
    """A content URL made of a site's name: what may stay stays; empty if nothing may."""
    return re.sub(r"[^A-Za-z0-9_-]", "", name)[:MAX_CHARACTERS]


def description(text: str) -> str:
    """A description, checked.

    Raises:
        UsageError: It is too long.
    """
    if len(text) > MAX_DESCRIPTION_CHARACTERS:
        raise UsageError(f"a description has more than {MAX_DESCRIPTION_CHARACTERS} characters")
    return text


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint that names the closest known name; empty if none is close."""
    by_form = {candidate.casefold(): candidate for candidate in known}
    close = get_close_matches(name.casefold(), list(by_form), n=1)
    return f"did you mean {by_form[close[0]]!r}?" if close else ""


def _check_characters(name: str, noun: str) -> None:
    for at, character in enumerate(name):
        refused = unicodedata.category(character) in _REFUSED_CATEGORIES or character in _UNSEEN
        if character in _JOINERS:
            refused = not _joins(name, at)
        if refused:
            raise UsageError(f"the name of a {noun} must not have the character {character!a}")


def _joins(name: str, at: int) -> bool:
    """Whether a joiner stands where it has a use: between letters of scripts that have one, or in emoji."""
    around = name[at - 1 : at] + name[at + 1 : at + 2]
    return len(around) == 2 and not any(one.isascii() or one in _JOINERS for one in around)
