"""Chunked uploads: parts are envelopes, foreign sessions do not exist, nothing is left (architecture, way 1)."""

from datetime import timedelta

import pytest

from strongroom.clock import format_utc, parse_utc
from strongroom.errors import StorageError
from strongroom.repository.gateways.work import UploadsTable
from strongroom.repository.rows import SiteMode
from strongroom.services.content import uploads
from tests.support.web_client import BOUNDARY, HYPER, Client, Reply, Served, multipart

HEADERS = {"content-type": f"multipart/mixed; boundary={BOUNDARY}"}
PAYLOAD = b'<tsRequest><datasource name="big"/></tsRequest>'
MARK = b"MARK-OF-PLAINTEXT"


def start(client: Client) -> str:
    reply = client.on_site("POST", "/fileUploads")
    assert reply.status == 201
    assert reply.find("fileUpload").get("fileSize") == "0"
    return reply.find("fileUpload").get("uploadSessionId", "")


def put(client: Client, upload: str, chunk: bytes) -> Reply:
    body = multipart(("request_payload", "", b""), ("tableau_file", "file", chunk))
    return client.on_site("PUT", f"/fileUploads/{upload}", body, None, HEADERS)


def finish(client: Client, upload: str) -> Reply:
    body = multipart(("request_payload", "", PAYLOAD))
    query = {"datasourceType": "hyper", "createnew": "true", "uploadSessionId": upload}
    return client.on_site("POST", "/datasources", body, query, HEADERS)


@pytest.mark.parametrize("mode", [SiteMode.DISABLED, SiteMode.ENFORCED], ids=lambda mode: mode.word)
@pytest.mark.parametrize("cuts", [(len(HYPER),), (5, 300_000), (300_000, 300_000, 1)])
def test_parts_become_one_file(served: Served, mode: SiteMode, cuts: tuple[int, ...]) -> None:
    client = served.site("Site", mode)
    upload, at = start(client), 0
    for cut in (*cuts, len(HYPER)):
        assert put(client, upload, HYPER[at : at + cut]).status == 200
        at += cut
    assert all(MARK not in path.read_bytes() for path in served.stored)  # whatever the mode
    reply = finish(client, upload)
    assert reply.status == 201
    assert client.download(reply.find("datasource").get("id", "")).body == HYPER
    assert len(served.stored) == 1
    assert served.nothing_is_left()
    assert finish(client, upload).status == 404


def test_the_size_is_a_whole_number_of_mebibytes(served: Served) -> None:
    client = served.client()
    reply = put(client, start(client), b"\0" * (2 * 1024 * 1024 + 1))
    assert reply.find("fileUpload").get("fileSize") == "2"


def test_a_foreign_upload_does_not_exist(served: Served) -> None:
    """Another user, and the same user on another site."""
    mine = served.site("Site", SiteMode.ENFORCED)
    upload = start(mine)
    put(mine, upload, HYPER)
    other_user = served.user("mallory", "Site", "Creator")
    other_site = served.site("Other", SiteMode.ENFORCED)
    for client in (other_user, other_site):
        assert put(client, upload, HYPER).code == "404007"
        assert finish(client, upload).status == 404
    assert len(served.stored) == 1
    assert served.nothing_is_left()
    assert finish(mine, upload).status == 201


@pytest.mark.parametrize("upload", ["nosuch", "../../x", "1:2-3:0"])
def test_an_unknown_upload(served: Served, upload: str) -> None:
    assert put(served.client(), upload, HYPER).status in {404, 405}
    assert finish(served.client(), upload).status == 404
    assert served.nothing_is_left()


def test_an_empty_upload_is_no_file(served: Served) -> None:
    client = served.client()
    assert finish(client, start(client)).status == 400


def test_a_chunk_without_its_part(served: Served) -> None:
    client = served.client()
    upload = start(client)
    body = multipart(("request_payload", "", b""))
    assert client.on_site("PUT", f"/fileUploads/{upload}", body, None, HEADERS).status == 400
    assert served.stored == []
    assert served.nothing_is_left()


def test_a_refused_publish_keeps_the_parts_for_another_try(served: Served) -> None:
    client = served.client()
    client.publish("big")
    upload = start(client)
    put(client, upload, HYPER)
    assert finish(client, upload).status == 409
    assert served.nothing_is_left()
    body = multipart(("request_payload", "", PAYLOAD))
    query = {"datasourceType": "hyper", "overwrite": "true", "uploadSessionId": upload}
    assert client.on_site("POST", "/datasources", body, query, HEADERS).status == 201
    assert len(served.stored) == 1


def test_parts_of_the_wrong_type_leave_nothing_but_themselves(served: Served) -> None:
    client = served.client()
    upload = start(client)
    put(client, upload, b"no hyper file" * 10)
    assert finish(client, upload).status == 400
    assert served.nothing_is_left()
    assert len(served.stored) == 1


def test_uploads_that_nobody_continues_expire(served: Served) -> None:
    client = served.client()
    upload = start(client)
    put(client, upload, HYPER)
    with served.node.repository.transaction() as tx:
        row = tx.uploads.get(upload)
        tx.uploads.update(upload, last_at=format_utc(parse_utc(row.last_at) - timedelta(hours=25)))
    served.node.uploads.expire()
    assert put(client, upload, HYPER).status == 404
    assert served.stored == []
    assert served.nothing_is_left()


def test_an_upload_of_a_clock_that_was_ahead_has_its_time_from_now(served: Served) -> None:
    """findings K23: nobody expired it before that time had come."""
    client = served.client()
    upload = start(client)
    with served.node.repository.transaction() as tx:
        row = tx.uploads.get(upload)
        tx.uploads.update(upload, last_at=format_utc(parse_utc(row.last_at) + timedelta(days=400)))
    assert served.node.uploads.expire() == 0
    with served.node.repository.reading() as tx:
        assert parse_utc(tx.uploads.get(upload).last_at) <= served.node.clock.now()
    assert put(client, upload, HYPER).status == 200


def test_the_key_of_a_part_may_be_retired_meanwhile(served: Served) -> None:
    """A part under an older MEK is still read; the published file is under the active one (K-11)."""
    client = served.site("Site", SiteMode.ENFORCED)
    upload = start(client)
    put(client, upload, HYPER)
    served.node.meks.rotate("os:test")
    reply = finish(client, upload)
    with served.node.repository.reading() as tx:
        row = tx.contents.get(reply.find("datasource").get("id", ""))
    assert row.mek_id == served.node.envelope_keys.active_mek_id
    assert client.download(row.id).body == HYPER


def test_uploads_and_parts_are_bounded(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    client = served.client()
    monkeypatch.setattr(uploads, "MAX_OPEN_PER_USER", 1)
    monkeypatch.setattr(uploads, "MAX_PARTS", 1)
    upload = start(client)
    assert client.on_site("POST", "/fileUploads").status == 409
    assert put(client, upload, HYPER).status == 200
    assert put(client, upload, HYPER).status == 400
    assert served.nothing_is_left()


def test_a_part_whose_commit_fails_on_the_disk_is_left_to_the_next_start(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise StorageError("disk I/O error")

    client = served.client()
    upload = start(client)
    monkeypatch.setattr(UploadsTable, "add_part", refuse)
    assert put(client, upload, HYPER).status == 423
    assert len(served.stored) == 1
    monkeypatch.undo()
    served.node.stored_files.recover()
    assert served.stored == []
    assert served.nothing_is_left()
    assert put(client, upload, HYPER).status == 200


SOME = bytes(range(256)) * 3000 + b"and an end"
ROW = b"2026-11-28;Berlin;17;0.5\n"
ALIKE = [
    HYPER,
    SOME,
    SOME[:5000],
    b"ab",
    b"\0" * 300_000,
    b"AB" * 16 * 1024,
    (ROW * 2400)[:60_000],
    bytes(range(100)) * 10_000,
    b"x" * (64 * 1024),
]


@pytest.mark.parametrize("chunk", ALIKE, ids=len)
def test_parts_that_are_alike_are_all_kept_and_told_of(
    served: Served, chunk: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Findings K17: a part that is PUT twice is noticed. It is never dropped: two parts may be alike by right."""
    client = served.client()
    upload = start(client)
    assert put(client, upload, HYPER[:300_000]).status == 200
    assert "the part before it" not in caplog.text
    for _ in range(3):
        assert put(client, upload, chunk).status == 200
    assert put(client, upload, b"the rest").status == 200
    told = [one.getMessage() for one in caplog.records if "the part before it" in one.msg]
    assert [f"part {number} of upload {upload}" in one for number, one in enumerate(told, 3)] == [
        True,
        True,
    ]
    item = finish(client, upload).find("datasource").get("id", "")
    assert client.download(item).body == HYPER[:300_000] + chunk * 3 + b"the rest"
    assert served.nothing_is_left()


def test_a_part_that_cannot_be_compared_is_kept(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It has its row already: an error would be told of what was done."""

    def refuse(*_: object) -> bool:
        raise StorageError("disk I/O error")

    client = served.client()
    upload = start(client)
    with monkeypatch.context() as patch:
        patch.setattr(uploads.PartUpload, "_has_same_bytes", refuse)
        assert [put(client, upload, HYPER).status for _ in range(2)] == [200, 200]
    assert "cannot be compared" in caplog.text
    item = finish(client, upload).find("datasource").get("id", "")
    assert client.download(item).body == HYPER * 2


def test_a_part_that_only_begins_like_the_one_before_is_not_told_of(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    client = served.client()
    upload = start(client)
    parts = [SOME, SOME[:-1] + b"X", b"Y" + SOME[1:], SOME]
    for part in (HYPER, *parts):
        assert put(client, upload, part).status == 200
    item = finish(client, upload).find("datasource").get("id", "")
    assert client.download(item).body == HYPER + b"".join(parts)
    assert "the part before it" not in caplog.text
