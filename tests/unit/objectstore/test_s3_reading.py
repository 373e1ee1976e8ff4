"""How a read of the client is taken for an example, and what is read of an answer (ADR 40)."""

import base64
import io
import zlib
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import FlexibleChecksumError, IncompleteReadError

from strongroom.objectstore import s3_reading as reading
from strongroom.objectstore.s3_reading import MOST_ERROR_BYTES

BASE = "https://bucket.s3.eu-central-1.amazonaws.com/"
KEY = "prefix/head/site/one"
SIGNED = (
    b"AWS4-HMAC-SHA256 Credential=AKIA/20261201/eu-central-1/s3/aws4_request,"
    b" SignedHeaders=host;x-amz-date, Signature=00"
)


def sent(url: str = BASE + KEY, /, **headers: bytes) -> Any:
    usual = {"Authorization": SIGNED, "User-Agent": b"Boto3/1"}
    return SimpleNamespace(url=url, headers={**usual, **headers})


def test_a_read_shows_place_region_and_name() -> None:
    assert reading._way_of(sent(), KEY) == (BASE, "eu-central-1", b"Boto3/1")


@pytest.mark.parametrize(
    "request_",
    [
        None,
        sent(BASE + "prefix/head/site/two"),
        sent(BASE + "prefix/head%2Fsite/one"),
        sent(f"{BASE}{KEY}?versionId=1"),
        sent(f"{BASE}?key=/{KEY}"),
        sent(Authorization=b"AWS AKIA:00"),
        sent(Authorization=SIGNED.replace(b"/s3/", b"/s3express/")),
        sent(Authorization=SIGNED.replace(b"AWS4-HMAC", b"AWS4-ECDSA-P256")),
        sent(Authorization=b""),
        sent(**{"x-amz-s3session-token": b"x"}),
    ],
)
def test_a_read_of_another_kind_is_left_to_the_client(request_: Any) -> None:
    assert reading._way_of(request_, KEY) is None


def test_a_code_alone_has_no_words() -> None:
    found: Any = reading._error(404, b"<Error><Code>NoSuchKey</Code></Error>")
    assert found.response["Error"] == {"Code": "NoSuchKey"}


@pytest.mark.parametrize(
    ("told", "code", "message"),
    [
        (
            b"<Error><Code>NoSuchKey</Code><Message>a &lt;b&gt;</Message></Error>",
            "NoSuchKey",
            "a <b>",
        ),
        (b"", "404", "Not Found"),
        (b"<html><body>404</body></html>", "404", "Not Found"),
        (b"<Error><Code>No Such Key</Code></Error>", "404", "Not Found"),
        (b"<Code>" + b"x" * 101 + b"</Code>", "404", "Not Found"),
        (b"<!DOCTYPE x [<!ENTITY a 'b'>]><Code>&a;</Code><Message>&a;</Message>", "404", "&a;"),
        (b"\xff\xfe", "404", "Not Found"),
    ],
)
def test_errors_are_read_without_a_parser(told: bytes, code: str, message: str) -> None:
    found: Any = reading._error(404, told)
    assert found.response["Error"] == {"Code": code, "Message": message}
    assert found.response["ResponseMetadata"]["HTTPStatusCode"] == 404


class Raw(io.BytesIO):
    """A body, as the library gives it."""


def answer(data: bytes, **headers: str) -> Any:
    return SimpleNamespace(raw=Raw(data), headers=headers)


def test_no_more_of_a_range_is_read_than_shows_that_it_is_too_long() -> None:
    long = answer(b"x" * 5000, **{"content-length": "5000"})
    assert reading._at_most(long, 10) == b"x" * 11
    assert long.raw.closed
    unknown = answer(b"x" * 10)
    assert reading._at_most(unknown, 10) == b"x" * 10
    assert unknown.raw.closed
    exact = answer(b"x" * 10, **{"content-length": "10"})
    assert reading._at_most(exact, 10) == b"x" * 10
    assert not exact.raw.closed


def test_a_body_that_ends_before_its_end_is_told() -> None:
    with pytest.raises(IncompleteReadError):
        reading._at_most(answer(b"x" * 9, **{"content-length": "10"}), 10)
    assert reading._length(answer(b"", **{"content-length": "²"})) is None


def test_an_object_is_compared_with_the_checksum_that_the_store_keeps() -> None:
    right = base64.b64encode(zlib.crc32(b"data").to_bytes(4, "big")).decode()
    for none in ("", f"{right}-2"):
        reading._check_sum(b"other", none)
    reading._check_sum(b"data", right)
    with pytest.raises(FlexibleChecksumError, match="checksum"):
        reading._check_sum(b"Data", right)


def test_of_an_error_no_more_is_read_than_any_store_says() -> None:
    assert 4096 <= MOST_ERROR_BYTES <= 1 << 20
