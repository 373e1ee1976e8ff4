"""One form of a name for comparison, stored beside the name; pure.

Uniqueness and look-up of names are case-insensitive, since tabcmd lower-cases site and user names
before it sends them, and must not depend on a database's collation. So every such name has a second
column `<name>_folded` that holds `fold(name)`.
"""

import unicodedata


def fold(name: str) -> str:
    """The canonical caseless form (Unicode D145): equal if only case or composition differ."""
    form = unicodedata.normalize("NFD", name).casefold()
    # a second round, since a few foldings give sequences that decompose or fold once more
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", form).casefold())
