"""Canonical JSON and the strict reader of its members (issue 9 C)."""

import json
from collections.abc import Callable
from enum import Enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom import canonical
from strongroom.canonical import ASCII, ASCII_LINE, UTF_8, Fields, Form, Kind
from strongroom.errors import FormatError
from strongroom.ids import new_id

KIND = Kind("the note", ASCII, most=10_000, hint="write another one")
FORMS = [ASCII, ASCII_LINE, UTF_8]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(), inside, max_size=4),
    max_leaves=12,
)


class Colour(Enum):
    RED = "red"


def fields(**members: object) -> Fields:
    return KIND.loads(KIND.dumps(members))


@pytest.mark.parametrize("form", FORMS)
@given(value=st.dictionaries(st.text(st.characters(codec="utf-8")), VALUES, max_size=4))
def test_what_is_written_is_read_back(form: Form, value: dict[str, object]) -> None:
    kind = Kind("the note", form, most=1 << 20)
    found = kind.loads(kind.dumps(value))
    assert {name: found.value(name) for name in found.names} == value


def test_the_spellings_never_change() -> None:
    value = {"b": [1, None, "ü"], "a": True}
    assert canonical.dumps(value, ASCII) == b'{"a":true,"b":[1,null,"\\u00fc"]}'
    assert canonical.dumps(value, ASCII_LINE) == b'{"a":true,"b":[1,null,"\\u00fc"]}\n'
    assert canonical.dumps(value) == '{"a":true,"b":[1,null,"ü"]}'.encode()


REFUSED = {
    "nothing": b"",
    "cut": b'{"a":1',
    "more than one": b'{"a":1}{}',
    "a list": b"[]",
    "null": b"null",
    "a member twice": b'{"a":1,"a":1}',
    "a member twice, two values": b'{"a":1,"a":2}',
    "no order": b'{"b":1,"a":1}',
    "a blank": b'{"a": 1}',
    "a line break": b'{"a":1}\n',
    "NaN": b'{"a":NaN}',
    "infinite": b'{"a":Infinity}',
    "infinite by overflow": b'{"a":1e400}',
    "a number with an exponent": b'{"a":1e2}',
    "minus nothing": b'{"a":-0}',
    "a number of 5,000 digits": b'{"a":%s}' % (b"9" * 5000),
    "another escape": b'{"a":"\\u0062"}',
    "no escape": '{"a":"ü"}'.encode(),
    "Latin 1": b'{"a":"\xfc"}',
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "too long": b'{"a":"%s"}' % (b"x" * 10_000),
    "too deep": b'{"a":%s1%s}' % (b"[" * 32, b"]" * 32),
    "far too deep": b"[" * 9_000,
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
def test_every_other_spelling_is_refused(data: bytes) -> None:
    """Each refusal names the document and its hint, and keeps no cause, which would hold the bytes."""
    with pytest.raises(FormatError, match=r"^the note is damaged: ") as caught:
        KIND.loads(data)
    assert caught.value.hint == "write another one"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_as_deep_as_allowed() -> None:
    deep = b'{"a":%s%s}' % (b"[" * 31, b"]" * 31)
    assert KIND.loads(deep).names == {"a"}


def test_half_a_character_has_no_spelling_in_utf_8() -> None:
    kind = Kind("the note", UTF_8, most=100)
    with pytest.raises(UnicodeEncodeError):
        kind.dumps({"a": "\ud800"})
    with pytest.raises(FormatError):
        kind.loads(b'{"a":"\\ud800"}')


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_json_has_not_is_not_written(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical.dumps(value)


Take = Callable[[Fields], object]
SECRET = "c2VjcmV0IHZhbHVl?"
WRONG: dict[str, tuple[object, Take, str]] = {
    "text": (1, lambda one: one.text("x"), "'x' is no text"),
    "flag": (1, lambda one: one.flag("x"), "'x' is no yes or no"),
    "number": ("1", lambda one: one.number("x"), "'x' is no whole number"),
    "number, yes": (True, lambda one: one.number("x"), "'x' is no whole number"),
    "number, float": (1.0, lambda one: one.number("x"), "'x' is no whole number"),
    "number, too small": (1, lambda one: one.number("x", least=2), "'x' is less than 2"),
    "measure": (True, lambda one: one.measure("x"), "'x' is no number"),
    "id": (SECRET, lambda one: one.id("x"), "'x' is no id"),
    "id, upper case": (new_id().upper() + "A", lambda one: one.id("x"), "'x' is no id"),
    "ids": ([SECRET], lambda one: one.ids("x"), "'x' is no id"),
    "ids, no list": (SECRET, lambda one: one.ids("x"), "'x' is no list"),
    "time": (SECRET, lambda one: one.time("x"), "'x' is no time"),
    "raw": (SECRET, lambda one: one.raw("x"), "'x' is no canonical base64"),
    "raw, number": (1, lambda one: one.raw("x"), "'x' is no canonical base64"),
    "raw, unused bits": ("YR==", lambda one: one.raw("x"), "'x' is no canonical base64"),
    "raw, no ASCII": ("ü", lambda one: one.raw("x"), "'x' is no canonical base64"),
    "raws": (["YQ==", "YR=="], lambda one: one.raws("x"), "'x' is no canonical base64"),
    "hex": ("AB", lambda one: one.hexadecimal("x", 1), "'x' is no 1 bytes"),
    "hex, length": ("ab", lambda one: one.hexadecimal("x", 2), "'x' is no 2 bytes"),
    "one of": ("blue", lambda one: one.one_of("x", Colour), "'x' is none of the values"),
    "one of, a list": (["red"], lambda one: one.one_of("x", Colour), "'x' is none of the values"),
    "texts": ([SECRET, 1], lambda one: one.texts("x"), "'x' is no list of texts"),
    "text map": ({"a": 1}, lambda one: one.text_map("x"), "'x' has a member that is no text"),
    "text map, list": ([], lambda one: one.text_map("x"), "'x' is no object"),
    "inner": (SECRET, lambda one: one.inner("x"), "something else stands in the place"),
    "objects": ([{}, SECRET], lambda one: one.objects("x"), "something else stands in the place"),
    "missing": (1, lambda one: one.value("y"), "'y' is missing"),
}


@pytest.mark.parametrize(("value", "take", "words"), WRONG.values(), ids=WRONG.keys())
def test_a_member_of_another_type_is_refused(value: object, take: Take, words: str) -> None:
    """The refusal quotes no value: it may be a key."""
    with pytest.raises(FormatError, match=f"^the note is damaged: {words}") as caught:
        take(fields(x=value))
    assert SECRET not in caught.value.message
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_members_of_the_right_type() -> None:
    own, moment = new_id(), "2026-01-02T03:04:05Z"
    one = fields(i=own, t=moment, n=0, f=1.5, b="YQ==", h="ab", c="red", o=None, y=True)
    assert (one.id("i"), one.time("t"), one.number("n"), one.measure("f")) == (own, moment, 0, 1.5)
    assert (one.raw("b"), one.hexadecimal("h", 1), one.flag("y")) == (b"a", "ab", True)
    assert one.one_of("c", Colour) is Colour.RED
    assert (one.optional("o", Fields.time), one.optional("t", Fields.time)) == (None, moment)
    many = fields(i=[own], b=["YQ=="], t=["x"], m={"k": "v"}, o=[{"k": "v"}], p={"k": "v"})
    assert (many.ids("i"), many.raws("b"), many.texts("t")) == ((own,), (b"a",), ("x",))
    assert many.text_map("m") == {"k": "v"}
    assert [inner.text("k") for inner in (*many.objects("o"), many.inner("p"))] == ["v", "v"]


def test_names_version_and_count() -> None:
    one = fields(a=1, b=[1, 2])
    one.check_names(("a", "b"))
    one.check_names(("a",), optional=("b", "c"))
    one.check_version("a", 1)
    one.check_count("b", "numbers", 2)
    for names in (("a",), ("a", "b", "c")):
        with pytest.raises(FormatError, match="a member is missing or not known"):
            one.check_names(names)
    for known in (2, "1", True):
        with pytest.raises(FormatError, match=f"known here is {known}"):
            one.check_version("a", known)
    with pytest.raises(FormatError, match="the note has 2 numbers, more than 1"):
        one.check_count("b", "numbers", 1)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b'{"format": "x"}', "x"),
        (b'{"format": "x"', None),
        (b"[1]", None),
        (b"\xff", None),
        (b"[" * 100_000, None),
        (json.dumps({"a": 1}).encode(), None),
    ],
    ids=["loose", "cut", "list", "binary", "deep", "another"],
)
def test_a_peek_refuses_nothing(data: bytes, found: object) -> None:
    assert canonical.peek(data, "format") == found
