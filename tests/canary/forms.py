"""The forms in which a secret may have leaked, and the search for them."""

import base64
import urllib.parse
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

#: shorter needles would be found by chance
SHORTEST = 12
#: Bytes of which the searched data are seen to consist; a needle of twice as many holds one whole, wherever it stands.
_WORD = 8


@dataclass(frozen=True)
class Find:
    """A secret in a place where it must not be."""

    secret: str
    form: str
    place: str


class _Needle(NamedTuple):
    secret: str
    form: str
    data: bytes


@cache
def forms(secret: bytes) -> Mapping[str, bytes]:
    """Every form that is searched for, by its name."""
    found = {
        "raw": secret,
        "hex": secret.hex().encode(),
        "HEX": secret.hex().upper().encode(),
        "percent": b"".join(b"%%%02X" % byte for byte in secret),
        "url": urllib.parse.quote_from_bytes(secret, safe="").encode(),
        "utf-16-le": _wide(secret, 0),
        "utf-16-be": _wide(secret, 1),
    }
    for phase in range(3):
        core = _base64_core(secret, phase)
        found[f"base64+{phase}"] = core
        found[f"base64url+{phase}"] = core.translate(bytes.maketrans(b"+/", b"-_"))
    return {name: form for name, form in found.items() if len(form) >= SHORTEST}


class Search:
    """Finds secrets in bytes; all of them at once, so that hundreds take no longer than a few."""

    def __init__(self, secrets: Mapping[str, bytes]) -> None:
        self._short: list[_Needle] = []
        self._by_word: dict[int, list[_Needle]] = defaultdict(list)
        for name, secret in secrets.items():
            for form, data in forms(secret).items():
                self._add(_Needle(name, form, data))

    def _add(self, needle: _Needle) -> None:
        if len(needle.data) < 2 * _WORD - 1:
            self._short.append(needle)
            return
        # whatever stands before it, one of these words is a whole one of the data
        for start in range(_WORD):
            word = needle.data[start : start + _WORD]
            self._by_word[int.from_bytes(word, "little")].append(needle)

    def run(self, data: bytes, place: str) -> Iterator[Find]:
        """The secrets that some bytes hold, each in one form."""
        words = memoryview(data)[: len(data) // _WORD * _WORD].cast("Q")
        maybe: list[_Needle] = []
        # nearly all data have none of the words: a set of them takes four times as long as this look
        if not self._by_word.keys().isdisjoint(words):
            found_words = self._by_word.keys() & set(words)
            maybe = [needle for word in found_words for needle in self._by_word[word]]
        found: dict[str, str] = {}
        for secret, form, needle in (*self._short, *maybe):
            if secret not in found and needle in data:
                found[secret] = form
        for secret, form in found.items():
            yield Find(secret, form, place)

    def files(self, folder: Path) -> list[Find]:
        """The secrets in all files below a folder, and in the files' names."""
        finds: list[Find] = []
        for path in sorted(folder.rglob("*")):
            place = path.relative_to(folder).as_posix()
            finds += self.run(place.encode(), f"name {place}")
            if path.is_file() and not path.is_symlink():
                finds += self.run(path.read_bytes(), place)
        return finds


def search(data: bytes, secrets: Mapping[str, bytes], place: str) -> Iterator[Find]:
    """The secrets that some bytes hold."""
    return Search(secrets).run(data, place)


def search_files(folder: Path, secrets: Mapping[str, bytes]) -> list[Find]:
    """The secrets in all files below a folder, and in the files' names."""
    return Search(secrets).files(folder)


def without(finds: Iterable[Find], secret: str, place: str) -> list[Find]:
    """The finds but those of a secret in the one place where it may be."""
    return [find for find in finds if (find.secret, find.place) != (secret, place)]


def describe(finds: Iterable[Find]) -> str:
    """One line each, without any value."""
    return "\n".join(f"{find.secret} as {find.form} in {find.place}" for find in finds)


def _base64_core(secret: bytes, phase: int) -> bytes:
    """What base64 makes of a secret that begins `phase` bytes into a group, without the characters that neighbours decide."""
    text = base64.b64encode(b"\0" * phase + secret)
    start = (0, 2, 3)[phase]
    stop = len(secret) + phase
    return text[start : stop // 3 * 4]


def _wide(secret: bytes, offset: int) -> bytes:
    wide = bytearray(2 * len(secret))
    wide[offset::2] = secret
    return bytes(wide)
