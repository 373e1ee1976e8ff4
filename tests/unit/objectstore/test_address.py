"""Addresses of object stores as administrators give them."""

import pytest

from strongroom.errors import UsageError
from strongroom.objectstore import registry


@pytest.mark.parametrize(
    ("given", "text", "shown"),
    [
        ("s3://bucket", "s3://bucket?region=us-east-1", "s3://bucket"),
        (" s3://bucket/ ", "s3://bucket?region=us-east-1", "s3://bucket"),
        (
            "s3://b.c-d/extracts/one?region=eu-central-1",
            "s3://b.c-d/extracts/one?region=eu-central-1",
            "s3://b.c-d/extracts/one",
        ),
        (
            "s3://bucket/p?endpoint=https://Objects.Example.org:443/&region=r1",
            "s3://bucket/p?region=r1&endpoint=https://objects.example.org",
            "s3://bucket/p at https://objects.example.org",
        ),
        (
            "s3://bucket?endpoint=http%3A%2F%2F127.0.0.1%3A9000",
            "s3://bucket?region=us-east-1&endpoint=http://127.0.0.1:9000",
            "s3://bucket at http://127.0.0.1:9000",
        ),
    ],
)
def test_one_spelling(given: str, text: str, shown: str) -> None:
    found = registry.parse(given)
    assert (found.text, found.shown) == (text, shown)
    assert registry.parse(text) == found


def test_names() -> None:
    assert registry.parse("s3://bucket").name("head/a") == "head/a"
    assert registry.parse("s3://bucket/p/q").name("head/a") == "p/q/head/a"


@pytest.mark.parametrize(
    "given",
    [
        "",
        "disk2",
        "ftp://bucket",
        "s3:bucket",
        "s3://",
        "s3://B",
        "s3://ab/../c",
        "s3://bucket/a//b",
        "s3://bucket/.hidden",
        "s3://bucket/a b",
        "s3://key:secret@bucket",
        "s3://bucket?region=",
        "s3://bucket?region=a&region=b",
        "s3://bucket?region",
        "s3://bucket?colour=red",
        "s3://bucket#part",
        "s3://bucket?endpoint=http://objects.example.org",
        "s3://bucket?endpoint=https://user:secret@host",
        "s3://[bucket",
    ],
)
def test_what_is_refused(given: str) -> None:
    with pytest.raises(UsageError) as caught:
        registry.parse(given)
    assert "secret" not in caught.value.with_hint
