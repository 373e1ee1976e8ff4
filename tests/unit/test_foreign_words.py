"""What libraries say, without what they were given (findings K5)."""

import base64
import html
import json
import traceback
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import psycopg
import pytest
import redis
import requests
from hypothesis import assume, example, given
from hypothesis import strategies as st
from typing_extensions import override

from strongroom import foreign_words
from strongroom.crypto.secret import SecretBytes
from strongroom.system.redaction import MASK

TOKEN = b"tok+Secret/4f~9 Z\n\"line\" 'two' \xc3\xa9"

#: How libraries show what they quote.
SHOWN: dict[str, Callable[[bytes], str]] = {
    "as it is": bytes.decode,
    "repr of bytes": repr,
    "repr of text": lambda raw: repr(raw.decode()),
    "repr of a repr": lambda raw: repr(repr(raw)),
    "bytes read as latin-1": lambda raw: raw.decode("latin-1"),
    "JSON": lambda raw: json.dumps({"value": raw.decode()}),
    "JSON of more than ASCII": lambda raw: json.dumps(raw.decode(), ensure_ascii=False),
    "HTML": lambda raw: html.escape(raw.decode()),
    "URL path": quote,
    "URL query": lambda raw: f"https://h/?q={quote_plus(raw)}&x=1",
    "URL, lower case": lambda raw: quote(raw, safe="").lower(),
    "base64": lambda raw: base64.b64encode(raw).decode(),
    "base64 for URLs": lambda raw: base64.urlsafe_b64encode(raw).decode(),
    "base64 of several lines": lambda raw: base64.encodebytes(raw * 3).decode(),
    "basic credentials": lambda raw: base64.b64encode(b"me:" + raw).decode(),
    "basic credentials of another name": lambda raw: base64.b64encode(b"root:" + raw).decode(),
    "hexadecimal": bytes.hex,
    "hexadecimal in pairs": lambda raw: raw.hex(" "),
    "upper case": lambda raw: raw.decode().upper(),
    "broken over lines": lambda raw: "\n    ".join(raw.decode()),
    "two literals": lambda raw: f"'{raw.decode()[:9]}'\n  '{raw.decode()[9:]}'",
    "UTF-16": lambda raw: raw.decode().encode("utf-16-le").decode("latin-1"),
    "cut short": lambda raw: raw.decode()[:-6] + "...",
    "without its begin": lambda raw: "…" + raw.decode()[5:],
}


def letters(text: str) -> str:
    """What a reader would put together again."""
    return "".join(letter for letter in text.lower() if letter.isalnum())


@pytest.mark.parametrize("how", SHOWN)
def test_a_secret_is_not_shown_in_any_look(how: str) -> None:
    """findings K5: `Invalid header value b'tok-secret…'` was shown on stderr."""
    told = SHOWN[how](TOKEN)
    said = foreign_words.of(ValueError(f"bad value {told} of X"), SecretBytes(TOKEN))
    assert said.startswith("bad value ")
    assert MASK in said
    assert said.endswith(" of X")
    left = letters(said.removeprefix("bad value ").removesuffix(" of X"))
    for secret in (letters(TOKEN.decode()), letters(told)):
        assert not any(left[at : at + 8] in secret for at in range(len(left) - 7)), said


@given(
    secret=st.binary(min_size=6, max_size=80).filter(lambda raw: len(set(raw)) > 3),
    before=st.text(max_size=30),
    after=st.text(max_size=30),
    how=st.sampled_from([repr, bytes.hex, quote, lambda raw: base64.b64encode(raw).decode()]),
)
def test_whatever_the_secret_is(
    secret: bytes, before: str, after: str, how: Callable[[bytes], str]
) -> None:
    told = how(secret)
    shown = told[2:-1] if how is repr else told
    said = foreign_words.of(f"{before} {told} {after}", secret, longest=10_000)
    assert shown.rstrip("=") not in said or len(shown) < 5
    assert said.isprintable()


def _pairs(raw: bytes) -> list[bytes]:
    return [raw[at : at + 2] for at in range(0, len(raw), 2)]


#: How one letter of a secret may be shown, whatever becomes of the others.
LETTERS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "URL": lambda letter: "".join(f"%{byte:02X}" for byte in letter.encode()),
    "URL, lower case": lambda letter: "".join(f"%{byte:02x}" for byte in letter.encode()),
    "bytes": lambda letter: "".join(f"\\x{byte:02x}" for byte in letter.encode()),
    "JSON": lambda letter: "".join(
        f"\\u{int.from_bytes(pair, 'big'):04x}" for pair in _pairs(letter.encode("utf-16-be"))
    ),
    "decimal entity": lambda letter: f"&#{ord(letter)};",
    "entity": lambda letter: f"&#X{ord(letter):x};",
    "HTML": html.escape,
}


@given(
    st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=4, max_size=11),
    st.lists(st.sampled_from(sorted(LETTERS)), min_size=11, max_size=11),
)
@example("p%s&é!x", ["as it is", "URL", "as it is", "URL", "bytes", "as it is", "as it is"])
@example("😀&pin", ["JSON", "HTML", "as it is", "entity", "decimal entity"])
@example("a/b+c=d", ["as it is", "URL", "as it is", "as it is", "bytes", "JSON", "URL"])
def test_a_short_secret_is_masked_however_its_letters_are_mixed(
    secret: str, how: list[str]
) -> None:
    """A library leaves some letters as they are, and no list of whole encodings has that mixture."""
    assume(not foreign_words._ESCAPES.search(secret))
    assume(len(foreign_words._Squeezed(foreign_words._as_it_is(secret), "+").kept) >= 4)
    told = "".join(LETTERS[one](letter) for one, letter in zip(how, secret, strict=False))
    said = foreign_words.of(f"before {told} behind", secret)
    assert said.startswith("before ")
    assert said.endswith(" behind")
    assert MASK in said
    middle = said.removeprefix("before ").removesuffix(" behind")
    # marks that are dropped on both sides may stand beside the mask, and tell nothing
    left = foreign_words._decoded(middle.replace(MASK, ""))
    assert not any(one.letter.isalnum() for one in left), said


@pytest.mark.parametrize(
    "words", ["100%41 of it", "a\\x41b", "&amp; &#65; &nosuch;", "%ff%fe", "\\ud83d"]
)
def test_escapes_that_are_no_secret_stay_as_they_are(words: str) -> None:
    assert foreign_words.of(words, b"another secret", b"short1") == words


def test_a_secret_that_looks_like_an_escape_is_masked_in_both_looks() -> None:
    for told in ("x%41bcd", "xAbcd", "x%2541bcd", "x&#37;41bcd"):
        assert foreign_words.of(f"it was {told}.", b"x%41bcd") == f"it was {MASK}."


def test_every_secret_in_play_is_looked_for_old_and_new() -> None:
    said = foreign_words.of("old-password or new-password?", b"old-password", "new-password", None)
    assert said == f"{MASK} or {MASK}?"


def test_what_is_no_secret_stays_as_it_was_said() -> None:
    words = "HTTPSConnectionPool(host='bao.example.org', port=8200): Max retries exceeded"
    assert foreign_words.of(OSError(words), TOKEN) == words


@pytest.mark.parametrize("short", [b"7", b"12\n", b" \\ ' ", b"abc"])
def test_of_a_secret_that_is_too_short_to_be_masked_nothing_is_said(short: bytes) -> None:
    assert foreign_words.of(ValueError("7 of 12 abc"), short) == "ValueError"
    assert "7" not in foreign_words.of("7 of 12 abc", short)


def test_a_pin_is_masked_whole() -> None:
    assert foreign_words.of("user_pin='4711' of 1", b"4711") == f"user_pin='{MASK}' of 1"


def test_it_is_one_line_that_does_not_drive_a_terminal() -> None:
    said = foreign_words.of("a\r\n\x1b[2Jb\x00\u202ec\td " + "x" * 999)
    assert said.startswith(r"a \x1b[2Jb\x00\u202ec d xxx")
    assert len(said) == foreign_words.LONGEST
    assert said.endswith("…")


def test_a_page_of_html_costs_nothing_and_hides_nothing_beyond_its_begin() -> None:
    said = foreign_words.of("x" * 8190 + TOKEN.decode() + "y" * (1 << 22), TOKEN)
    assert len(said) == foreign_words.LONGEST


def test_an_exception_without_words_is_told_by_its_name() -> None:
    class MuteError(Exception):
        @override
        def __str__(self) -> str:
            raise RuntimeError("of the library")

    assert foreign_words.of(TimeoutError()) == "TimeoutError"
    assert foreign_words.of(MuteError()) == "MuteError"
    assert foreign_words.named(TimeoutError()) == "TimeoutError"
    assert foreign_words.named(TimeoutError("5 s")) == "TimeoutError: 5 s"
    assert foreign_words.of(b"no \xff text") == "no ÿ text"


def _of_requests(secret: str) -> None:
    requests.get("http://127.0.0.1:1", headers={"X-Vault-Token": secret + "\n\n"}, timeout=1)


def _of_requests_url(secret: str) -> None:
    requests.get(f"http://u:{quote(secret)}@127.0.0.1:x/", timeout=1)


def _of_psycopg(secret: str) -> None:
    psycopg.connect(f"password='{secret}' nothing='1'")


def _of_redis(secret: str) -> None:
    redis.Redis.from_url(f"redis://:{secret}@h:port/0")


def _of_encoding(secret: str) -> None:
    (secret + "ÿé").encode("ascii")


@pytest.mark.parametrize(
    "call", [_of_requests, _of_requests_url, _of_psycopg, _of_redis, _of_encoding]
)
def test_what_real_libraries_quote(call: Callable[[str], None]) -> None:
    """findings K5: each of these errors of a real library, and the traceback that ends in ours."""
    secret = "plAnted-s3cret-0f-us"
    with pytest.raises(Exception) as caught:  # noqa: PT011 whatever it is
        call(secret)
    said = foreign_words.named(caught.value, secret)
    assert said
    assert letters(secret) not in letters(said)
    with pytest.raises(ValueError, match="ours") as ours:
        raise ValueError("ours") from foreign_words.cause(caught.value, secret)
    told = "".join(traceback.format_exception(ours.value))
    assert secret not in told
    assert "in call" in told or call.__name__ in told  # the frames are still there


def test_that_these_libraries_do_quote() -> None:
    """Or the test above would show nothing."""
    with pytest.raises(requests.exceptions.InvalidHeader, match="plAnted"):
        _of_requests("plAnted")


@example("".join(map(chr, range(0x2000))))
@given(st.text())
def test_a_secret_is_squeezed_as_the_text_is_in_which_it_is_looked_for(text: str) -> None:
    """The quick way, which keeps no places, leaves the same letters; else no secret of these letters would be found."""
    assert (
        foreign_words._squeezed(text) == foreign_words._Squeezed(foreign_words._as_it_is(text)).kept
    )
