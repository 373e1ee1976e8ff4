"""The caseless form of a name, by which names are compared, stored beside the name; pure.

Uniqueness and look-up of names are case-insensitive, since tabcmd lower-cases site and user names
before it sends them, and must not depend on a database's collation. So every such name has a second
column `<name>_folded` that holds `fold(name)`.
"""

import unicodedata

# No stored name is longer. Sorting combining marks takes time by the square of their number: a longer text of a
# stranger's request could hold the interpreter's lock for seconds (findings S1).
MAX_CHARACTERS = 1024


# marks of direction are invisible, so names that differ by them alone must count as equal
_UNSEEN_MARKS = dict.fromkeys(map(ord, "\u061c\u200e\u200f"))


def fold(name: str) -> str:
    """The canonical caseless form (Unicode D145): equal if only case or composition differ.

    A text that is longer than any stored name is returned unchanged, and equals no folded name.
    """
    if len(name) > MAX_CHARACTERS:
        return name
    name = name.translate(_UNSEEN_MARKS)
    form = unicodedata.normalize("NFD", name).casefold()
    # a second round, since a few foldings give sequences that decompose or fold once more
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", form).casefold())
