"""`multipart/mixed` however it is cut into pieces (clients.md 1.4)."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.doors.tableau.multipart import MAX_PARTS, boundary_of, read_parts
from strongroom.errors import FormatError

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


FORM = (
    b'--B\r\nContent-Disposition: form-data; name="request_payload"; filename=""\r\n'
    b"Content-Type: text/xml\r\n\r\n<tsRequest/>\r\n"
    b'--B\r\nContent-Disposition: form-data; name="tableau_datasource"; filename="a.hyper"\r\n'
    b"Content-Type: application/octet-stream\r\n\r\n\x00\r\n--C\r\n--Bx\n\rDATA\r\n--B--\r\n"
)
DATA = b"\x00\r\n--C\r\n--Bx\n\rDATA"
# what the public reference writes, and what clients in other languages send (findings T1)
SPELLINGS = {
    "as documented, without a type": FORM.replace(b"form-data; ", b""),
    "a type that is another word": FORM.replace(b"form-data", b"attachment"),
    "without quotation marks": FORM.replace(b'"', b""),
    "in single quotation marks": FORM.replace(b'"', b"'"),
    "in capitals": FORM.replace(
        b"Content-Disposition: form-data; name", b"CONTENT-DISPOSITION:FORM-DATA;NAME"
    ),
    "another order": FORM.replace(
        b'name="tableau_datasource"; filename="a.hyper"',
        b'filename="a.hyper"; name="tableau_datasource"',
    ),
    "the type first": FORM.replace(
        b'Content-Disposition: form-data; name="request_payload"; filename=""\r\nContent-Type: text/xml\r\n',
        b'Content-Type: text/xml\r\nContent-Disposition: name="request_payload"\r\n',
    ),
    "spaces around": FORM.replace(b'; name="', b' ;  name = "'),
    "a folded header": FORM.replace(b"; filename=", b";\r\n\tfilename="),
    "a preamble": b"This is a message with multiple parts.\r\n\r\n" + FORM,
    "a preamble of lines with LF": b"--\nThis is\n\n" + FORM,
    "empty lines before": b"\r\n\r\n" + FORM,
    "an epilogue": FORM + b"\r\nThe end.",
    "no line end at the end": FORM[:-2],
    "spaces behind the boundary": FORM.replace(b"--B\r\n", b"--B \t\r\n"),
    "more headers": FORM.replace(
        b"Content-Type:", b"Content-Transfer-Encoding: binary\r\nContent-Length: 9\r\nContent-Type:"
    ),
    "an extended name": FORM.replace(b'filename="a.hyper"', b"filename*=UTF-8''a.hyper"),
    "a trailing semicolon": FORM.replace(b'"a.hyper"', b'"a.hyper";'),
}


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_of_the_documented_form(name: str, size: int) -> None:
    body = SPELLINGS[name]
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    parts = [
        (p.name, p.filename, b"".join(map(bytes, p.chunks()))) for p in read_parts(chunks, b"B")
    ]
    assert parts == [
        ("request_payload", "", b"<tsRequest/>"),
        ("tableau_datasource", "a.hyper", DATA),
    ]


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("data", [b"DATA\r", b"\r\n", b"", b"a\r\nb"])
def test_lines_that_end_with_lf_alone_leave_the_file_as_it_is(data: bytes, size: int) -> None:
    body = b'--B\nContent-Disposition: name="f"\n\n' + data + b"\n--B--\n"
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    assert [b"".join(map(bytes, p.chunks())) for p in read_parts(chunks, b"B")] == [data]


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/mixed; boundary=B",
        'Multipart/Mixed;Boundary="B"',
        "multipart/form-data; charset=utf-8; boundary=B",
        "multipart/mixed; boundary='B'",
        "multipart/related; type=x; boundary=B;",
    ],
)
def test_boundaries_in_the_clients_spellings(content_type: str) -> None:
    assert boundary_of(content_type) == b"B"


@pytest.mark.parametrize(
    "body",
    [
        b"x" * 70_000,
        b"--B" + b"\t" * 20_000,
        b"--Bx\r\n\r\n",
        b"--B\r\n" + b"a: b\r\n" * 5000,
        b"--B\r\n" + b"a" * 20_000,
        b"--B\r\nno colon\r\n\r\nx\r\n--B--",
        b"--B\r\na: b\r\n\r\nnever ends",
    ],
)
def test_what_is_none_is_refused_within_bounds(body: bytes) -> None:
    chunks = [body] if b"never" in body else [body, *[b"\t" * 1000] * 1000]
    with pytest.raises(FormatError):
        read_all(chunks)


def read_all(chunks: list[bytes]) -> list[tuple[str, bytes]]:
    return [(part.name, part.read(99)) for part in read_parts(chunks, b"B")]


def test_a_part_ends_where_the_next_delimiter_begins_at_once() -> None:
    """Some clients write an empty part without the line end that belongs to its delimiter."""
    body = (
        b'--B\r\nContent-Disposition: name="request_payload"\r\n\r\n'
        b'--B\r\nContent-Disposition: name="tableau_file"\r\n\r\nx\r\n--B--'
    )
    assert read_all([body]) == [("request_payload", b""), ("tableau_file", b"x")]
