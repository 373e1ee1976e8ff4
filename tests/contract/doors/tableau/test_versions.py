"""Two ranges are never of two versions (findings T9): strong validators, and a fetch while the file is replaced."""

import threading
from email.utils import formatdate

import pytest

from strongroom.repository.rows import SiteMode
from tests.support.web_client import HYPER, Client, Served

OTHER = HYPER[:12] + b"ANOTHER-VERSION--" * 40_000


def item_of(client: Client) -> str:
    return client.publish("data").find("datasource").get("id", "")


@pytest.mark.parametrize("mode", [SiteMode.DISABLED, SiteMode.ENFORCED], ids=lambda mode: mode.word)
def test_each_publication_has_a_tag_of_its_own(served: Served, mode: SiteMode) -> None:
    client = served.site("Site", mode)
    item = item_of(client)
    first = client.download(item).headers
    assert first["etag"].startswith('"')
    assert client.download(item).headers["etag"] == first["etag"]
    head = client.on_site("HEAD", f"/datasources/{item}/content")
    assert (head.headers["etag"], head.headers["last-modified"]) == (
        first["etag"],
        first["last-modified"],
    )
    client.publish("data", query={"overwrite": "true"})
    assert client.download(item).headers["etag"] != first["etag"]


def test_conditions(served: Served) -> None:
    client = served.site("Site", SiteMode.ENFORCED)
    item = item_of(client)
    tag, changed = (client.download(item).headers[name] for name in ("etag", "last-modified"))
    past = formatdate(0, usegmt=True)
    expected = [
        ({"If-None-Match": tag}, 304),
        ({"If-None-Match": f'"x", W/{tag}'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"x"'}, 200),
        ({"If-Match": tag}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": '"x"'}, 412),
        ({"If-Match": f"W/{tag}"}, 412),
        ({"If-Modified-Since": changed}, 304),
        ({"If-Modified-Since": past}, 200),
        ({"If-Modified-Since": "no date"}, 200),
        ({"If-Unmodified-Since": changed}, 200),
        ({"If-Unmodified-Since": past}, 412),
        ({"If-Match": tag, "If-Unmodified-Since": past}, 200),
        ({"If-None-Match": '"x"', "If-Modified-Since": changed}, 200),
        ({"Range": "bytes=0-9", "If-Range": tag}, 206),
        ({"Range": "bytes=0-9", "If-Range": '"x"'}, 200),
        ({"Range": "bytes=0-9", "If-Range": f"W/{tag}"}, 200),
        ({"Range": "bytes=0-9", "If-Range": changed}, 200),
        ({"Range": "bytes=0-9", "If-Match": '"x"'}, 412),
    ]
    for headers, status in expected:
        reply = client.download(item, **headers)
        assert reply.status == status, headers
        assert reply.headers["etag"] == tag
        if status == 412:
            assert reply.code == "412000"
        if status in {304, 412}:
            assert HYPER[:30] not in reply.body


def test_whoever_names_the_version_never_joins_two(served: Served) -> None:
    """Two ranges each time, while another user overwrites without an end."""
    client = served.site("Site", SiteMode.ENABLED)
    item = item_of(client)
    done = threading.Event()

    def overwrite() -> None:
        other, turn = served.client("Site"), 0
        while not done.is_set():
            turn += 1
            reply = other.publish("data", (HYPER, OTHER)[turn % 2], query={"overwrite": "true"})
            assert reply.status == 201

    writer = threading.Thread(target=overwrite)
    writer.start()
    whole = told = 0
    try:
        while whole + told < 60:
            first = client.download(item, Range="bytes=0-99")
            rest = client.download(item, Range="bytes=100-", **{"If-Range": first.headers["etag"]})
            assert (first.status, rest.status in {200, 206}) == (206, True)
            found = rest.body if rest.status == 200 else first.body + rest.body
            assert found in {HYPER, OTHER}
            whole, told = whole + (rest.status == 206), told + (rest.status == 200)
            strict = client.download(
                item, Range="bytes=100-", **{"If-Match": first.headers["etag"]}
            )
            assert strict.status in {206, 412}
            if strict.status == 206:
                assert first.body + strict.body in {HYPER, OTHER}
    finally:
        done.set()
        writer.join()


def test_long_names_can_be_saved(served: Served) -> None:
    """Findings K17: a name of 255 letters made a header that clients choke on, and a file name that no system takes."""
    client = served.client()
    for name in ("n" * 255, "ש" * 255, "🚀" * 200, "a b" * 60):
        item = client.publish(name).find("datasource").get("id", "")
        header = client.download(item).headers["content-disposition"]
        assert len(header) <= 255
        assert header.partition('filename="')[2].partition('"')[0].endswith(".hyper")


def test_a_name_with_a_mark_of_direction(served: Served) -> None:
    """Findings K17: U+200F in a Hebrew name, as spreadsheets write it; it makes no second name of one."""
    client = served.client()
    name = "מכירות\u200f 2026\u200f"
    assert client.publish(name).find("datasource").get("name") == name
    assert client.publish(name.replace("\u200f", "")).status == 409
    assert client.publish("Sales\u200f").status == 400
