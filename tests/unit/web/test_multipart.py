"""`multipart/mixed` however it is cut into pieces (clients.md 1.4)."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.errors import FormatError
from strongroom.web.api.multipart import MAX_PARTS, boundary_of, read_parts

BOUNDARY = b"0123456789abcdef0123456789abcdef"


def body_of(parts: list[tuple[str, bytes]]) -> bytes:
    made = b""
    for name, content in parts:
        made += (
            b"--" + BOUNDARY + b"\r\nContent-Disposition: form-data; name=" + f'"{name}"; '.encode()
        )
        made += (
            b'filename="f.hyper"\r\nContent-Type: application/octet-stream\r\n\r\n'
            + content
            + b"\r\n"
        )
    return made + b"--" + BOUNDARY + b"--\r\n"


def split(body: bytes, cuts: list[int]) -> Iterator[bytes]:
    places = sorted({min(cut, len(body)) for cut in cuts} | {0, len(body)})
    for start, stop in pairwise(places):
        yield body[start:stop]


# content that looks like the boundary, or like its beginning
_fragments = st.sampled_from(
    [b"\r\n", b"--", BOUNDARY, BOUNDARY[:7], b"\r", b"\n", b"\r\n--" + BOUNDARY[:31]]
)
_contents = st.lists(_fragments | st.binary(max_size=40), max_size=12).map(b"".join)


@given(st.lists(_contents, min_size=1, max_size=3), st.lists(st.integers(0, 2000), max_size=30))
def test_parts_come_out_whole_whatever_the_cuts(contents: list[bytes], cuts: list[int]) -> None:
    contents = [one for one in contents if b"\r\n--" + BOUNDARY not in b"\r\n" + one + b"\r\n"]
    body = body_of([(f"p{number}", one) for number, one in enumerate(contents)])
    found = [(part.name, part.read(10_000)) for part in read_parts(split(body, cuts), BOUNDARY)]
    assert found == [(f"p{number}", one) for number, one in enumerate(contents)]


@given(_contents, st.integers(0, 400))
def test_a_cut_body_is_refused(content: bytes, at: int) -> None:
    whole = body_of([("p", content)])
    ending = len(b"--\r\n")
    cut = whole[: min(at, len(whole) - ending - 1)]
    with pytest.raises(FormatError):
        list(read_parts([cut], BOUNDARY))


def test_unread_parts_are_skipped() -> None:
    body = body_of([("a", b"1" * 100), ("b", b"2")])
    assert [part.name for part in read_parts([body], BOUNDARY)] == ["a", "b"]


def test_a_part_is_read_only_up_to_its_bound() -> None:
    (part,) = list(_first(body_of([("a", b"1" * 100)])))
    with pytest.raises(FormatError, match="longer than 99"):
        part.read(99)


def _first(body: bytes) -> Iterator:  # type: ignore[type-arg]
    yield next(iter(read_parts([body], BOUNDARY)))


def test_the_number_of_parts_is_bounded() -> None:
    body = body_of([(str(number), b"") for number in range(MAX_PARTS + 1)])
    with pytest.raises(FormatError, match="more than"):
        list(read_parts([body], BOUNDARY))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no boundary at all",
        b"--" + BOUNDARY + b"\r\nbad header\r\n\r\nx\r\n--" + BOUNDARY + b"--\r\n",
    ],
    ids=["empty", "text", "header"],
)
def test_what_is_no_multipart_is_a_format_error(body: bytes) -> None:
    with pytest.raises(FormatError):
        list(read_parts([body], BOUNDARY))


def test_names_are_utf8_with_quotes_escaped_as_the_clients_do() -> None:
    body = (
        b"--"
        + BOUNDARY
        + b'\r\nContent-Disposition: form-data; name="tableau_datasource"; filename="'
        + "Umsätze %22x%22.hyper".encode()
        + b'"\r\n\r\nx\r\n--'
        + BOUNDARY
        + b"--\r\n"
    )
    (part,) = list(_first(body))
    assert part.filename == 'Umsätze "x".hyper'


@pytest.mark.parametrize("kind", ["multipart/mixed", "multipart/form-data"])
def test_boundary_is_taken_from_the_content_type(kind: str) -> None:
    assert boundary_of(f'{kind}; boundary="abc"') == b"abc"


@pytest.mark.parametrize("kind", ["", "text/xml", "multipart/mixed", "text/xml; boundary=a"])
def test_other_content_types_are_refused(kind: str) -> None:
    with pytest.raises(FormatError):
        boundary_of(kind)
