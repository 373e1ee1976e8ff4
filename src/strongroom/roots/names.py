"""Names that become a part of a URL or a path; each is refused unless it stays where it is put. Pure.

A client library resolves `..` and drops empty parts before it asks, so that another key, or another service of the same
server, would be asked with the root's credential.
"""

import re
import unicodedata

from strongroom.errors import UsageError

_STEPS = frozenset({"", ".", ".."})
_LONGEST_SHOWN = 100


def part(text: str, pattern: re.Pattern[str], what: str, *, hint: str = "") -> str:
    """A part of a path; quotes and blanks around the part are taken off.

    Args:
        text: As an operator gives it.
        pattern: The characters that the part may have.
        what: The kind of the name, in the words of an error: `the name of a key`.
        hint: An example of an accepted name.

    Raises:
        UsageError: The text does not match the pattern, or is a step to another folder (`.` or `..`).
    """
    name = text.strip().strip("\"'").strip()
    if pattern.fullmatch(name) is None or name in _STEPS:
        raise _refused(name, what, hint)
    return name


def path(text: str, pattern: re.Pattern[str], what: str, *, hint: str = "") -> str:
    """A path of several parts; one slash before and one behind are taken off.

    Args:
        text: As an operator gives it.
        pattern: The characters that the whole path may have.
        what: The kind of the name, in the words of an error: `a path`.
        hint: An example of an accepted path.

    Raises:
        UsageError: The text does not match the pattern, or a part of it is empty or a step to another folder.
    """
    inner = text.strip().removeprefix("/").removesuffix("/")
    if pattern.fullmatch(inner) is None or _STEPS & set(inner.split("/")):
        raise _refused(text.strip(), what, hint)
    return inner


def label(text: str, what: str, *, longest: int = 255) -> str:
    """A text of one line that is never a part of a path: what can be shown, as it stands.

    Raises:
        UsageError: The label is empty or too long, or holds control characters.
    """
    if not 0 < len(text) <= longest or not text.strip() or not all(map(_can_be_shown, text)):
        raise _refused(text, what, f"1 to {longest} characters that can be shown")
    return text


def _can_be_shown(character: str) -> bool:
    # Python counts every blank but one as not printable; French and Japanese labels have others
    return character.isprintable() or unicodedata.category(character) == "Zs"


def _refused(text: str, what: str, hint: str) -> UsageError:
    return UsageError(f"not {what}: {text[:_LONGEST_SHOWN]!r}", hint=hint)
