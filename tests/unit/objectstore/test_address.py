"""Addresses of object stores as administrators give them."""

import pytest

from strongroom.errors import UsageError
from strongroom.objectstore import azure_connection, registry


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
        (
            "az://account/container/",
            "az://account/container",
            "az://account/container",
        ),
        (
            "AZ://account/con-tainer/p/q?client_id=1-a&endpoint=http://127.0.0.1:10000/",
            "az://account/con-tainer/p/q?endpoint=http://127.0.0.1:10000&client_id=1-a",
            "az://account/con-tainer/p/q at http://127.0.0.1:10000",
        ),
        ("gs://bucket_1.example/p/", "gs://bucket_1.example/p", "gs://bucket_1.example/p"),
        (
            "gs://bucket?endpoint=https://name.p.googleapis.com",
            "gs://bucket?endpoint=https://name.p.googleapis.com",
            "gs://bucket at https://name.p.googleapis.com",
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
        "gs://B",
        "gs://bucket?region=eu",
        "az://account",
        "az://account/",
        "az://account/con--tainer",
        "az://ac-count/container",
        "az://account/container//a",
        "az://account:secret@x/container",
        "az://account/container?region=r1",
        "az://account/container?client_id=a/b",
    ],
)
def test_what_is_refused(given: str) -> None:
    with pytest.raises(UsageError) as caught:
        registry.parse(given)
    assert "secret" not in caught.value.with_hint


@pytest.mark.parametrize(
    ("given", "url", "root"),
    [
        ("az://account/con", "https://account.blob.core.windows.net", ""),
        (
            "az://account/con?endpoint=https://account.blob.core.chinacloudapi.cn",
            "https://account.blob.core.chinacloudapi.cn",
            "",
        ),
        ("az://account/con?endpoint=http://127.0.0.1:10000", "http://127.0.0.1:10000", "/account"),
        (
            "az://account/con?endpoint=https://accounts.example.org",
            "https://accounts.example.org",
            "/account",
        ),
    ],
)
def test_the_account_is_in_the_host_or_in_the_path(given: str, url: str, root: str) -> None:
    """A cloud of its own has the account in its name; an emulator has not (format/object-store.md 9.2)."""
    found = registry.parse(given)
    assert (azure_connection.url(found), azure_connection.root(found)) == (url, root)
