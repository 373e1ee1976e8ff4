"""Downloads: ranges, sizes, and damage that is told or cuts the connection (clients.md 1.1; E-08)."""

import http.client
from pathlib import Path

import pytest

from strongroom.envelope.header import MAX_HEADER_BYTES
from strongroom.repository.rows import SiteMode
from tests.support.web_client import HYPER, Client, Served

MARK = b"MARK-OF-PLAINTEXT"


def item_of(client: Client, name: str, content: bytes = HYPER) -> str:
    reply = client.publish(name, content=content)
    assert reply.status == 201, reply.body
    return reply.xml[0].get("id", "")


@pytest.mark.parametrize(
    ("header", "status", "expected"),
    [
        ("bytes=0-9", 206, HYPER[:10]),
        ("bytes=-7", 206, HYPER[-7:]),
        (f"bytes={len(HYPER) - 3}-", 206, HYPER[-3:]),
        ("bytes=262140-262150", 206, HYPER[262140:262151]),
        (f"bytes={len(HYPER)}-", 416, b""),
        ("bytes=0-1,5-6", 200, HYPER),
    ],
)
@pytest.mark.parametrize("mode", [SiteMode.DISABLED, SiteMode.ENFORCED], ids=lambda mode: mode.word)
def test_ranges(served: Served, mode: SiteMode, header: str, status: int, expected: bytes) -> None:
    client = served.site("Site", mode)
    reply = client.download(item_of(client, "data"), Range=header)
    assert (reply.status, reply.body) == (status, expected)
    assert reply.headers["content-length"] == str(len(expected))
    if status == 206:
        assert reply.headers["content-range"].endswith(f"/{len(HYPER)}")


def test_head_tells_the_size(served: Served) -> None:
    client = served.site("Site", SiteMode.ENFORCED)
    reply = client.on_site("HEAD", f"/datasources/{item_of(client, 'data')}/content")
    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["content-length"] == str(len(HYPER))
    assert reply.headers["content-type"] == "application/octet-stream"


def test_damage_at_the_end_is_told_before_the_first_byte(served: Served) -> None:
    client = served.site("Site", SiteMode.ENFORCED)
    item = item_of(client, "data")
    flip(served.stored[0], -1)
    reply = client.download(item)
    assert (reply.status, reply.code) == (422, "422020")


def test_damage_at_the_beginning_is_told_as_well(served: Served) -> None:
    client = served.site("Site", SiteMode.ENFORCED)
    item = item_of(client, "data")
    flip(served.stored[0], MAX_HEADER_BYTES + 1000)
    reply = client.download(item)
    assert (reply.status, reply.code) == (422, "422020")


def test_damage_in_the_middle_cuts_the_connection(served: Served) -> None:
    """A client must not take a damaged file for a whole one."""
    client = served.site("Site", SiteMode.ENFORCED)
    content = HYPER * 8
    item = item_of(client, "data", content=content)
    flip(served.stored[0], len(content) - 1_000_000)
    with pytest.raises(http.client.IncompleteRead):
        client.download(item)


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_a_file_that_is_gone_is_no_server_error(served: Served) -> None:
    client = served.site("Site", SiteMode.ENFORCED)
    item = item_of(client, "data")
    served.stored[0].unlink()
    reply = client.download(item)
    assert (reply.status, reply.code) == (423, "423041")
