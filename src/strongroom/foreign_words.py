"""Makes messages of other libraries and servers fit to be shown: one line, bounded, with the secrets of the call masked.

Libraries quote their arguments in errors: a header's value, a connection string, the line of a key that they cannot
read. So no text of theirs gets into a message or a log of ours except through this module. The caller passes every
secret that the call knew, old and new ones. The text is searched for them, whole and in pieces, as they are and in the
encodings in which libraries show them.
"""

import base64
import html
import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Final, NamedTuple
from urllib.parse import quote, quote_plus

from strongroom.crypto.secret import SecretBytes
from strongroom.system.redaction import MASK, redact

Secret = SecretBytes | bytes | str | None
"""A secret that the call knew; None stands for a secret that is not set."""

LONGEST: Final = 300
_READ = 8192  # characters of a text that are read: the rest of an HTML page says nothing new
# characters of a secret that is masked: masking a shorter one would reveal it by its places
_SHORTEST = 4
# characters of a long secret that are masked as a piece: so many in a row are no accident
_PIECE = 8
_LONG = 12
_PLUS = "+"  # a blank in the query of a URL
#: Runs of `%41`, of `\\x41`, of `\\u0041`, and the entities of HTML.
_ESCAPES = re.compile(
    r"(?:%[0-9a-f]{2})+|(?:\\x[0-9a-f]{2})+|(?:\\u[0-9a-f]{4})+|&(?:#[0-9]{1,7}|#x[0-9a-f]{1,6}|[a-z]{2,8});",
    re.IGNORECASE,
)
#: By the beginning of an escape: its length, and whether it may be half of a pair for one code point.
_WIDTHS: Final = {"%": (3, False), "\\x": (4, False), "\\u": (6, True)}
_DIGITS: Final = {3: 2, 4: 2, 6: 4}


class ForeignError(Exception):
    """The cause of an error of ours, in the place of a library's exception, whose text and arguments could hold a secret.

    Attributes:
        code: The library's number or code of the error, for callers that decide by it; never shown.
    """

    code: str | int = ""


def of(foreign: object, *secrets: Secret, longest: int = LONGEST) -> str:
    """The text of a foreign exception, or a foreign text, in a form that may be shown.

    Args:
        foreign: The exception, a text or bytes.
        secrets: All secrets that the call knew: tokens, passwords, PINs, keys, values old and new.
        longest: The most characters to return.

    Returns:
        A single line without control characters; the name of the exception's class if the text is empty.
    """
    name = type(foreign).__name__ if isinstance(foreign, BaseException) else ""
    known = [material for secret in secrets if (material := _material(secret))]
    if any(len(_squeezed(_text(one))) < _SHORTEST for one in known):
        return name or "(not shown: a secret is too short to be masked)"
    shown = redact(_masked(_read(foreign)[:_READ], known))
    line = "".join(_visible(letter) for letter in " ".join(shown.split()))
    return (line if len(line) <= longest else line[: longest - 1] + "…") or name


def named(error: BaseException, *secrets: Secret) -> str:
    """The class of a library's exception and its words: `ReadTimeout: no answer within 5 s`."""
    name, words = type(error).__name__, of(error, *secrets)
    return name if words == name else f"{name}: {words}"


def cause(error: BaseException, *secrets: Secret, code: str | int = "") -> ForeignError:
    """The exception to raise our error from: it keeps the traceback of the foreign one, with its text masked."""
    kind = type(error)
    stand_in = ForeignError(f"{kind.__module__}.{kind.__qualname__}: {of(error, *secrets)}")
    stand_in.code = code
    return stand_in.with_traceback(error.__traceback__)


# ---- inside --------------------------------------------------------------------------------------


def _read(foreign: object) -> str:
    if isinstance(foreign, bytes):
        return _text(foreign)
    # a library's own __str__ may raise, and its error must not hide the one that is being reported
    with suppress(Exception):
        return str(foreign)
    return ""


def _material(secret: Secret) -> bytes:
    if isinstance(secret, SecretBytes):
        return secret.reveal()
    return secret.encode(errors="surrogatepass") if isinstance(secret, str) else secret or b""


def _text(material: bytes) -> str:
    try:
        return material.decode()
    except UnicodeDecodeError:
        return material.decode("latin-1")


def _masked(text: str, secrets: Iterable[bytes]) -> str:
    secrets = list(secrets)
    hidden = [
        *_found(_Squeezed(_as_it_is(text)), _squeezed_forms, secrets),
        *_found(_Squeezed(_decoded(text), _PLUS), _decoded_forms, secrets),
    ]
    pieces, end = list[str](), 0
    for first, last in _joined(hidden):
        pieces += [text[end:first], MASK]
        end = last
    return "".join((*pieces, text[end:]))


def _found(
    squeezed: "_Squeezed", forms_of: Callable[[bytes], set[str]], secrets: Iterable[bytes]
) -> Iterator[tuple[int, int]]:
    """The places of secrets in a text, each as the position of its first character and the position behind its last."""
    forms = {form for secret in secrets for form in forms_of(secret)}
    hidden = {place for form in forms for place in squeezed.places(form)}
    for first, last in _runs(sorted(hidden)):
        yield squeezed.letters[first].first, squeezed.letters[last].end


def _joined(found: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The same places, with overlapping ones joined."""
    begin = end = -1
    for first, last in sorted(found):
        if first > end:
            if end >= 0:
                yield begin, end
            begin, end = first, last
        end = max(end, last)
    if end >= 0:
        yield begin, end


class _Letter(NamedTuple):
    """A letter, and the place of the characters in the text that stand for it."""

    letter: str
    first: int
    end: int


def _as_it_is(text: str) -> Iterator[_Letter]:
    for place, letter in enumerate(text):
        yield _Letter(letter, place, place + 1)


def _decoded(text: str) -> Iterator[_Letter]:
    """The letters of a text with every escape that libraries use resolved once."""
    place = 0
    for found in _ESCAPES.finditer(text):
        yield from (_Letter(text[at], at, at + 1) for at in range(place, found.start()))
        yield from _resolved(found)
        place = found.end()
    yield from (_Letter(text[at], at, at + 1) for at in range(place, len(text)))


def _resolved(found: re.Match[str]) -> Iterator[_Letter]:
    run, first = found[0], found.start()
    if run.startswith("&"):
        yield from (_Letter(letter, first, found.end()) for letter in html.unescape(run))
        return
    width, is_wide = _WIDTHS[run[:2].lower() if run[0] == "\\" else "%"]
    units = [
        int(run[at + width - _DIGITS[width] : at + width], 16) for at in range(0, len(run), width)
    ]
    foreign, sizes = _letters_of(units, is_wide=is_wide)
    for letter, size in zip(foreign, sizes, strict=True):
        yield _Letter(letter, first, first + size * width)
        first += size * width


def _letters_of(units: list[int], *, is_wide: bool) -> tuple[str, list[int]]:
    """The text of a run of escapes, and how many escapes each letter of it took."""
    if is_wide:
        raw = b"".join(unit.to_bytes(2, "big") for unit in units)
        foreign = raw.decode("utf-16-be", "surrogatepass")
        return foreign, [2 if ord(letter) > 0xFFFF else 1 for letter in foreign]
    raw = bytes(units)
    foreign = _text(raw)
    is_utf8 = foreign.encode(errors="surrogatepass") == raw
    return foreign, [len(letter.encode()) if is_utf8 else 1 for letter in foreign]


class _Squeezed:
    """A text without the characters that libraries insert when they quote: line breaks, quotes, escapes.

    Args:
        letters: The letters of the text.
        dropped: Further characters to leave out.
    """

    def __init__(self, letters: Iterable[_Letter], dropped: str = "") -> None:
        self.letters = [
            one for one in letters if _is_kept(one.letter) and one.letter not in dropped
        ]
        self.kept = "".join(_folded(one.letter) for one in self.letters)

    def places(self, form: str) -> Iterator[int]:
        """The places of a form of a secret, or of pieces of it that are long enough."""
        length = len(form)
        step = length if length < _LONG else _PIECE
        wanted = {form[start : start + step] for start in range(length - step + 1)}
        for start in range(len(self.kept) - step + 1):
            if self.kept[start : start + step] in wanted:
                yield from range(start, start + step)


def _is_kept(letter: str) -> bool:
    return letter.isprintable() and not letter.isspace() and letter not in "\\'\""


def _folded(letter: str) -> str:
    lower = letter.lower()
    return lower if len(lower) == 1 else letter


class _Folding(dict[int, str | None]):
    """A table for `str.translate` that squeezes a text; nothing of the text is kept in it, which may be a secret."""

    def __missing__(self, point: int) -> str | None:
        return _folded(chr(point)) if _is_kept(chr(point)) else None


_FOLDING: Final = _Folding({point: _Folding().__missing__(point) for point in range(256)})


def _squeezed(text: str) -> str:
    """Squeeze a text as `_Squeezed` does, without the places of the letters: a secret has thousands of them."""
    return text.translate(_FOLDING)


def _decoded_forms(secret: bytes) -> set[str]:
    """The forms of a secret in a text whose escapes were resolved, for a secret that itself looks like an escape, too."""
    text = _text(secret)
    texts = (
        {text, "".join(one.letter for one in _decoded(text))} if _ESCAPES.search(text) else {text}
    )
    squeezed = {_squeezed(one.replace(_PLUS, "")) for one in texts}
    return {form for form in squeezed if len(form) >= _SHORTEST}


def _squeezed_forms(secret: bytes) -> set[str]:
    squeezed = {_squeezed(form) for form in _forms(secret)}
    return {form for form in squeezed if len(form) >= _SHORTEST}


def _forms(secret: bytes) -> Iterator[str]:
    """The forms in which libraries show a secret; letter case and escaping are dealt with elsewhere."""
    text = _text(secret)
    yield from (text, secret.decode("latin-1"), repr(secret)[2:-1], secret.hex(), secret.hex(":"))
    yield from (repr(text)[1:-1], json.dumps(text)[1:-1], html.escape(text))
    yield from (quote(secret), quote(secret, safe=""), quote_plus(secret))
    # in base64 a secret looks different by the number of bytes before it, modulo three
    for skipped in range(3):
        bits = 8 * (skipped + len(secret))
        encoded = base64.b64encode(bytes(skipped) + secret).decode("ascii")
        core = encoded[-(-8 * skipped // 6) : bits // 6]
        yield from (core, core.translate({43: "-", 47: "_"}), quote(core, safe=""))


def _runs(places: list[int]) -> Iterator[tuple[int, int]]:
    """First and last number of each run of consecutive numbers."""
    begin = 0
    for number, place in enumerate(places):
        if number + 1 == len(places) or places[number + 1] != place + 1:
            yield places[begin], place
            begin = number + 1


def _visible(letter: str) -> str:
    return letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
