"""The forms in which a secret may have leaked, and the search for them."""

import base64
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

#: shorter needles would be found by chance
SHORTEST = 12


@dataclass(frozen=True)
class Find:
    """A secret in a place where it must not be."""

    secret: str
    form: str
    place: str


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


def search(data: bytes, secrets: Mapping[str, bytes], place: str) -> Iterator[Find]:
    """The secrets that some bytes hold."""
    for name, secret in secrets.items():
        for form, needle in forms(secret).items():
            if needle in data:
                yield Find(name, form, place)
                break


def search_files(folder: Path, secrets: Mapping[str, bytes]) -> list[Find]:
    """The secrets in all files below a folder, and in the files' names."""
    finds: list[Find] = []
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder).as_posix()
        finds += search(place.encode(), secrets, f"name {place}")
        if path.is_file() and not path.is_symlink():
            finds += search(path.read_bytes(), secrets, place)
    return finds


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
