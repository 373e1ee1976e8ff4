"""The description of a kind of object store: its addresses, and what asks it; pure.

Each kind's module defines its description as `STORE`, and `objectstore.registry` names the module. No other code knows
the kind.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple
from urllib.parse import SplitResult, parse_qsl, urlsplit

from strongroom.errors import UsageError
from strongroom.objectstore.address import Address
from strongroom.objectstore.base import Bucket
from strongroom.roots import addresses

_PART = r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}"
_PREFIX: Final = re.compile(rf"{_PART}(/{_PART}){{0,9}}")


class Option(NamedTuple):
    """An option of an address.

    Attributes:
        pattern: The form of a value; without a pattern a value is the address of a server.
        words: The complaint about another value, behind "the address of the object store".
        default: The value if the option is not given; without one the option may be left out.
    """

    pattern: re.Pattern[str] | None = None
    words: str = ""
    default: str = ""


ENDPOINT: Final = Option()


class StoreKind(NamedTuple):
    """A kind of object store.

    Attributes:
        scheme: The scheme of its addresses; never changes, since entries and backups hold it.
        build: Gives the objects of an address; asks nobody.
        example: An address, for hints.
        container: The names that hold the objects: a pattern for each, and the complaint about another text.
        options: The options of an address, in the order of its one spelling.
        options_words: The options in words: `one region and one endpoint`.
    """

    scheme: str
    build: Callable[[Address], Bucket]
    example: str
    container: tuple[tuple[re.Pattern[str], str], ...]
    options: Mapping[str, Option]
    options_words: str

    def parse(self, text: str) -> Address:
        """The address of a text.

        Raises:
            UsageError: The text is no address of this kind, or one with a user, a password or an unknown option.
        """
        parts, given = self._split(text)
        names = [parts.netloc, *parts.path.strip("/").split("/", len(self.container) - 1)]
        names, rest = names[: len(self.container)], names[len(self.container) :]
        for number, (pattern, words) in enumerate(self.container):
            if not pattern.fullmatch("".join(names[number : number + 1])):
                raise self.refused(words)
        prefix = "".join(rest)
        if prefix and not _PREFIX.fullmatch(prefix):
            raise self.refused(
                "has a prefix with other characters than letters, digits, '.', '_', '-' and single '/'"
            )
        return Address(self.scheme, "/".join(names), prefix, tuple(self._options(given)))

    def refused(self, why: str) -> UsageError:
        """The error of a text that is no address; it is not quoted, since it could hold a password."""
        return UsageError(
            f"the address of the object store {why}", hint=f"for example {self.example}"
        )

    def _split(self, text: str) -> tuple[SplitResult, dict[str, str]]:
        try:
            parts = urlsplit(text.strip())
            options = parse_qsl(
                parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)
            )
        except ValueError:
            raise self.refused("cannot be read as one") from None
        given = dict(options)
        if parts.fragment or len(given) != len(options) or not given.keys() <= self.options.keys():
            raise self.refused(f"has other options than {self.options_words}")
        return parts, given

    def _options(self, given: Mapping[str, str]) -> list[tuple[str, str]]:
        found = []
        for name, option in self.options.items():
            value = given.get(name, option.default)
            if option.pattern is None:
                value = value and addresses.parse(
                    value, what="an object store", example="https://objects.example.org"
                )
            elif (name in given or value) and not option.pattern.fullmatch(value):
                raise self.refused(option.words)
            if value:
                found.append((name, value))
        return found
