"""Ranges and file names of downloads (RFC 9110 section 14)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.doors.http.delivery import Asked, byte_range, content_disposition


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("", None),
        ("bytes=0-0", (0, 1)),
        ("bytes=0-", (0, 100)),
        ("bytes=10-19", (10, 20)),
        ("bytes=90-1000", (90, 100)),
        ("bytes=-10", (90, 100)),
        ("bytes=-1000", (0, 100)),
        ("bytes=0-1,5-6", None),
        ("bytes=20-10", None),
        ("bytes=-", None),
        ("lines=1-2", None),
    ],
)
def test_ranges(header: str, found: tuple[int, int] | None) -> None:
    assert byte_range(header, 100) == found


@pytest.mark.parametrize(
    "header", ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=" + "9" * 50 + "-"]
)
def test_ranges_without_a_byte_of_the_file(header: str) -> None:
    with pytest.raises(ValueError, match="bytes"):
        byte_range(header, 100)


@given(st.text(max_size=40), st.integers(0, 10_000))
def test_any_header_gives_a_range_within_the_file(header: str, size: int) -> None:
    try:
        found = byte_range("bytes=" + header, size)
    except ValueError:
        return
    assert found is None or 0 <= found[0] < found[1] <= size


@pytest.mark.parametrize(
    ("method", "headers", "found"),
    [
        ("GET", {}, (0, 100)),
        ("GET", {"range": "bytes=10-19"}, (10, 20)),
        ("GET", {"range": "bytes=10-19", "if-range": '"a"'}, (10, 20)),
        ("GET", {"range": "bytes=100-"}, (0, 0)),
        ("HEAD", {}, (0, 0)),
        ("GET", {"if-none-match": '"a"'}, (0, 0)),
        ("GET", {"if-match": "*", "range": "bytes=10-19"}, (0, 0)),
        ("GET", {"if-modified-since": "Wed, 01 Jan 2025 00:00:00 GMT"}, (0, 0)),
        ("GET", {"if-unmodified-since": "Wed, 01 Jan 2025 00:00:00 GMT"}, (0, 0)),
    ],
)
def test_what_is_asked_for_before_the_answer_is_known(
    method: str, headers: dict[str, str], found: tuple[int, int]
) -> None:
    """A store far away sends no byte for a request that may end in 304 or 412 (RFC 9110 section 13)."""
    assert Asked(method, headers).first_bytes(100) == found


@given(st.text(max_size=60))
def test_names_cannot_leave_the_header(name: str) -> None:
    header = content_disposition(name)
    assert header.isascii()
    assert header.isprintable()
    assert header.partition('filename="')[2].partition('"')[0].find("/") < 0
