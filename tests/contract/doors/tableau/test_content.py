"""Publishing, reading, changing and deleting content over HTTP (clients.md 1.3, 1.4; E-01 … E-08, Q-18)."""

import io
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from strongroom.errors import ConflictError, StateError, StorageError
from strongroom.extracts.model import ContentKind, FileType
from strongroom.repository.gateways.content import ContentsTable
from strongroom.repository.rows import ContentRow, SiteMode
from strongroom.services.content.publish import PublishRequest
from tests.support.web_client import HYPER, LOCAL, Client, Served

MODES = [SiteMode.DISABLED, SiteMode.ENABLED, SiteMode.ENFORCED]
MARK = b"MARK-OF-PLAINTEXT"


def package(*names: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in names:
            archive.writestr(name, MARK)
    return made.getvalue()


def item_of(client: Client, name: str, **more: object) -> str:
    reply = client.publish(name, **more)  # type: ignore[arg-type]
    assert reply.status == 201, reply.body
    return reply.xml[0].get("id", "")


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.word)
@pytest.mark.parametrize("wish", [None, True, False])
def test_publishing_follows_the_mode(served: Served, mode: SiteMode, wish: bool | None) -> None:
    """E-02, E-03, E-04: enforced asks nobody, enabled follows the wish, disabled refuses it."""
    client = served.site("Site", mode)
    attributes = "" if wish is None else f'encryptExtracts="{str(wish).lower()}"'
    reply = client.publish("data", attributes=attributes)
    if mode is SiteMode.DISABLED and wish:
        assert reply.status == 403
        assert served.stored == []
        return
    encrypted = mode is SiteMode.ENFORCED or (mode is SiteMode.ENABLED and wish is True)
    datasource = reply.find("datasource")
    assert datasource.get("encryptExtracts") == str(encrypted).lower()
    (stored,) = served.stored
    assert (MARK in stored.read_bytes()) is not encrypted
    back = client.download(datasource.get("id", ""))
    assert back.body == HYPER
    assert served.nothing_is_left()


def test_what_the_clients_need_of_an_item(served: Served) -> None:
    client = served.client()
    item = item_of(client, "My Data, all: of it")
    reply = client.on_site("GET", f"/datasources/{item}")
    datasource = reply.find("datasource")
    wanted = {
        "id",
        "name",
        "contentUrl",
        "type",
        "size",
        "createdAt",
        "updatedAt",
        "encryptExtracts",
        "hasExtracts",
        "webpageUrl",
    }
    assert wanted <= set(datasource.attrib)
    assert datasource.get("contentUrl") == "MyDataallofit"
    assert reply.find("project").get("name") == "Default"
    assert reply.find("owner").get("id") == client.user_id
    found = client.on_site(
        "GET",
        "/datasources",
        query={"filter": "name:eq:My Data, all: of it,projectName:eq:default"},
    )
    assert [one.get("id") for one in found.all("datasource")] == [item]
    alias = client.on_site("GET", "/datasources", query={"filter": "contentUrl:eq:mydataallofit"})
    assert alias.find("pagination").get("totalAvailable") == "1"


def test_an_item_is_not_replaced_unless_asked(served: Served) -> None:
    client = served.site("Site", SiteMode.ENFORCED)
    item = item_of(client, "data")
    again = client.publish("DATA", HYPER + b"2")
    assert (again.status, again.code) == (409, "409004")
    for number, word in enumerate(("overwrite", "replace")):
        content = HYPER + str(number).encode()
        reply = client.publish("data", content, query={word: "true"})
        assert reply.find("datasource").get("id") == item
        assert client.download(item).body == content
    assert len(served.stored) == 1
    assert served.nothing_is_left()


def test_the_refresh_of_an_encrypted_item_stays_encrypted(served: Served) -> None:
    """E-05."""
    client = served.site("Site", SiteMode.ENABLED)
    item_of(client, "data", attributes='encryptExtracts="true"')
    reply = client.publish("data", query={"overwrite": "true"})
    assert reply.find("datasource").get("encryptExtracts") == "true"
    assert MARK not in served.stored[0].read_bytes()


def test_appending_is_refused(served: Served) -> None:
    reply = served.client().publish("data", query={"append": "true"})
    assert reply.status == 400
    assert served.nothing_is_left()


@pytest.mark.parametrize(
    ("file_type", "content"),
    [
        ("hyper", b"PAR1 is no hyper"),
        ("hyper", b"Hyper"),
        ("hyper", b""),
        ("parquet", HYPER),
        ("tdsx", b"no zip at all, but long enough"),
        ("tds", HYPER),
    ],
)
def test_content_that_is_not_what_it_says(served: Served, file_type: str, content: bytes) -> None:
    reply = served.client().publish("data", content, file_type=file_type)
    assert reply.status == 400
    assert served.stored == []
    assert served.nothing_is_left()


def test_an_old_extract_is_kept_and_marked(served: Served) -> None:
    """E-06, Q-26: there is no open reader of .tde."""
    client = served.site("Site", SiteMode.ENFORCED)
    content = bytes.fromhex("20020162a0eb6400") + MARK
    item = item_of(client, "old", content=content, file_type="tde")
    assert client.download(item).body == content
    with served.node.repository.reading() as tx:
        assert tx.contents.get(item).attributes["needs"] == "upgrade to .hyper"


@pytest.mark.parametrize(
    ("names", "has_extract"), [(("b.twb", "Data/x.hyper"), "true"), (("b.twb",), "false")]
)
def test_packages_come_back_byte_identical(
    served: Served, names: tuple[str, ...], has_extract: str
) -> None:
    client = served.site("Site", SiteMode.ENFORCED)
    content = package(*names)
    item = item_of(client, "book", content=content, kind="workbook", file_type="twbx")
    assert (
        client.on_site("GET", f"/workbooks/{item}").find("workbook").get("hasExtracts")
        == has_extract
    )
    assert MARK not in served.stored[0].read_bytes()
    reply = client.download(item, "workbook")
    assert reply.body == content
    assert reply.headers["content-disposition"] == 'attachment; filename="book.twbx"'
    assert client.on_site("GET", f"/workbooks/{item}/views").find("views") is not None


@pytest.mark.parametrize("name", ["../../evil", "..\\evil", "/etc/passwd"])
def test_zip_slip_is_refused_and_leaves_nothing(served: Served, name: str) -> None:
    client = served.site("Site", SiteMode.ENFORCED)
    reply = client.publish("book", package("b.twb", name), kind="workbook", file_type="twbx")
    assert reply.status == 400
    assert served.stored == []
    assert served.nothing_is_left()


@pytest.mark.parametrize(
    "name", ["../../../etc/cron.d/x", "..", "a/b", "C:\\x", "x" * 255, "Umsätze “2026” 漢字"]
)
def test_names_are_only_data(served: Served, name: str, tmp_path: Path) -> None:
    client = served.site("Site", SiteMode.ENFORCED)
    item_of(client, "first")  # opens every database
    before = {path for path in tmp_path.rglob("*") if "extracts" not in path.parts}
    item = item_of(client, name)
    reply = client.download(item)
    assert reply.body == HYPER
    plain, _, _ = reply.headers["content-disposition"].partition("filename*")
    assert "/" not in plain
    assert "\\" not in plain
    assert {path for path in tmp_path.rglob("*") if "extracts" not in path.parts} == before
    assert all(path.resolve().is_relative_to(served.node.paths.extracts) for path in served.stored)


@pytest.mark.parametrize("name", ["", "  ", "a\u202eb", "x" * 256])
def test_names_that_nobody_should_have(served: Served, name: str) -> None:
    assert served.client().publish(name).status == 400
    assert served.nothing_is_left()


def test_unknown_projects_are_told_before_the_file_is_read(served: Served) -> None:
    reply = served.client().publish("data", inner='<project id="nosuch"/>')
    assert reply.status == 404
    assert served.stored == []


def test_encryption_of_one_item_is_a_job(served: Served) -> None:
    """The only switch per item that a real client has (clients.md 1.3); the same wish again does nothing."""
    client = served.site("Site", SiteMode.ENABLED)
    item = item_of(client, "data")
    for _ in range(2):
        body = '<tsRequest><datasource encryptExtracts="true"/></tsRequest>'
        reply = client.on_site("PUT", f"/datasources/{item}", body)
        assert reply.find("datasource").get("encryptExtracts") == "true"
    (job,) = served.node.jobs.list(client.site_id)
    assert (job.kind, job.content_id) == ("encrypt_extracts", item)


@pytest.mark.parametrize(
    ("mode", "wish", "status"),
    [(SiteMode.DISABLED, "true", 403), (SiteMode.ENFORCED, "false", 409)],
)
def test_the_mode_bounds_the_wish(served: Served, mode: SiteMode, wish: str, status: int) -> None:
    client = served.site("Site", mode)
    item = item_of(client, "data")
    body = f'<tsRequest><datasource encryptExtracts="{wish}"/></tsRequest>'
    assert client.on_site("PUT", f"/datasources/{item}", body).status == status


def test_who_may_decide_on_encryption(served: Served) -> None:
    """Q-18: owner, project owner, site and server administrators; nobody else."""
    served.site("Site", SiteMode.ENABLED)
    owner = served.user("owner", "Site", "Creator")
    item = item_of(owner, "data")
    on = '<tsRequest><datasource encryptExtracts="true"/></tsRequest>'
    for name, role, status in [
        ("other", "Creator", 403),
        ("viewer", "Viewer", 403),
        ("chief", "SiteAdministratorExplorer", 200),
    ]:
        client = served.user(name, "Site", role)
        assert client.on_site("PUT", f"/datasources/{item}", on).status == status, name
    assert owner.on_site("PUT", f"/datasources/{item}", on).status == 200


def test_viewers_neither_publish_nor_download_nor_delete(served: Served) -> None:
    owner = served.site("Site", SiteMode.ENABLED)
    item = item_of(owner, "data")
    viewer = served.user("viewer", "Site", "Viewer")
    assert viewer.publish("mine").status == 403
    assert viewer.download(item).status == 403
    assert viewer.on_site("DELETE", f"/datasources/{item}").status == 403
    assert viewer.on_site("POST", "/fileUploads").status == 403
    assert viewer.on_site("GET", f"/datasources/{item}").status == 200


def test_content_of_another_site_does_not_exist(served: Served) -> None:
    item = item_of(served.site("A", SiteMode.ENABLED), "data")
    other = served.site("B", SiteMode.ENABLED)
    assert other.download(item).status == 404
    assert other.on_site("DELETE", f"/datasources/{item}").status == 404
    mixed = served.client("A")
    mixed.site_id = other.site_id
    assert mixed.on_site("GET", "/datasources").status == 403


def test_workbooks_and_data_sources_are_apart(served: Served) -> None:
    client = served.client()
    item = item_of(client, "data")
    assert client.on_site("GET", f"/workbooks/{item}").status == 404
    assert client.on_site("GET", "/workbooks").find("pagination").get("totalAvailable") == "0"
    assert client.on_site("GET", "/flows").find("flows") is not None


def test_rename_move_and_give_away(served: Served) -> None:
    client = served.client()
    item = item_of(client, "data")
    project = (
        client.on_site("POST", "/projects", '<tsRequest><project name="P"/></tsRequest>')
        .find("project")
        .get("id")
    )
    user = served.user("heir", "Default", "Creator").user_id
    inner = f'<project id="{project}"/><owner id="{user}"/>'
    body = f'<tsRequest><datasource name="new" description="d">{inner}</datasource></tsRequest>'
    reply = client.on_site("PUT", f"/datasources/{item}", body)
    assert (reply.find("datasource").get("name"), reply.find("datasource").get("description")) == (
        "new",
        "d",
    )
    assert (reply.find("project").get("id"), reply.find("owner").get("id")) == (project, user)
    assert client.download(item).body == HYPER


def test_deleting_removes_row_file_and_key(served: Served) -> None:
    client = served.site("Site", SiteMode.ENFORCED)
    item = item_of(client, "data")
    assert client.on_site("DELETE", f"/datasources/{item}").status == 204
    assert client.on_site("GET", f"/datasources/{item}").code == "404004"
    assert served.stored == []
    assert served.nothing_is_left()
    assert [event["id"] for event in served.node.events.read()][-1] == "EXTRACT_DELETED"


def test_deleting_a_project_deletes_its_files(served: Served) -> None:
    client = served.client()
    made = client.on_site("POST", "/projects", '<tsRequest><project name="P"/></tsRequest>')
    project = made.find("project").get("id")
    item_of(client, "data", inner=f'<project id="{project}"/>')
    assert client.on_site("DELETE", f"/projects/{project}").status == 204
    assert served.stored == []
    assert served.nothing_is_left()


@pytest.mark.parametrize("call", ["createExtract", "deleteExtract", "refresh"])
def test_what_clients_ask_of_extracts_is_a_job(served: Served, call: str) -> None:
    client = served.site("Site", SiteMode.ENABLED)
    item = item_of(client, "data")
    query = {"encrypt": "True"} if call == "createExtract" else {}
    reply = client.on_site("POST", f"/datasources/{item}/{call}", "<tsRequest/>", query)
    assert reply.status == 202
    assert client.on_site("GET", f"/jobs/{reply.find('job').get('id')}").status == 200
    assert client.download(item).body == HYPER


def test_an_item_without_extract_has_nothing_to_encrypt(served: Served) -> None:
    client = served.site("Site", SiteMode.ENABLED)
    item = item_of(client, "plain", content=b"<datasource/>", file_type="tds")
    assert client.on_site("POST", f"/datasources/{item}/refresh").status == 409


def test_as_job(served: Served) -> None:
    client = served.site("Site", SiteMode.ENFORCED)
    reply = client.publish("data", query={"asJob": "true"})
    assert reply.status == 202
    assert reply.find("job").get("id")


def test_embedded_credentials_are_sealed(served: Served) -> None:
    """C-08: under the asset key, bound to their content; gone with it."""
    client = served.client()
    login = '<connectionCredentials name="dbuser" password="PLANTED-pass-7" embed="true"/>'
    item = item_of(client, "data", inner=login)
    with served.node.repository.reading() as tx:
        (row,) = tx.credentials.list_for_content(item)
    opened = served.node.assets.open_(row.asset_key_id, row.sealed, content_id=item).reveal()
    assert b"PLANTED-pass-7" in opened
    for path in served.node.paths.root.rglob("*"):
        assert not path.is_file() or b"PLANTED-pass-7" not in path.read_bytes(), path
    client.on_site("DELETE", f"/datasources/{item}")
    with served.node.repository.reading() as tx:
        assert tx.credentials.list_for_content(item) == []


def test_the_storage_quota_holds(served: Served) -> None:
    client = served.client()
    client.on_site("PUT", "", '<tsRequest><site storageQuota="1"/></tsRequest>')
    assert client.publish("fits").status == 201
    reply = client.publish("too much", HYPER)
    assert reply.status == 409
    assert len(served.stored) == 1
    assert served.nothing_is_left()


def test_connections_are_none(served: Served) -> None:
    client = served.client()
    item = item_of(client, "data")
    assert len(client.on_site("GET", f"/datasources/{item}/connections").find("connections")) == 0


def test_project_owners_may_decide_too(served: Served) -> None:
    admin = served.site("Site", SiteMode.ENABLED)
    leader = served.user("leader", "Site", "Creator")
    body = f'<tsRequest><project name="P"><owner id="{leader.user_id}"/></project></tsRequest>'
    project = admin.on_site("POST", "/projects", body).find("project").get("id")
    item = item_of(admin, "data", inner=f'<project id="{project}"/>')
    on = '<tsRequest><datasource encryptExtracts="true"/></tsRequest>'
    assert leader.on_site("PUT", f"/datasources/{item}", on).status == 200


def test_equal_names_get_content_urls_of_their_own(served: Served) -> None:
    client = served.client()
    found = []
    for name in ("P", "Q", "R"):
        made = client.on_site(
            "POST", "/projects", f'<tsRequest><project name="{name}"/></tsRequest>'
        )
        inner = f'<project id="{made.find("project").get("id")}"/>'
        found.append(client.publish("Same name", inner=inner).find("datasource").get("contentUrl"))
    assert found == ["Samename", "Samename_1", "Samename_2"]


def test_embedded_credentials_are_replaced_with_their_item(served: Served) -> None:
    client = served.client()
    inner = '<connectionCredentials name="{}" password="p" embed="{}"/>'
    item = item_of(client, "data", inner=inner.format("first", "true"))
    for name, embed, left in (("second", "true", ["second"]), ("third", "false", [])):
        client.publish("data", query={"overwrite": "true"}, inner=inner.format(name, embed))
        with served.node.repository.reading() as tx:
            assert [row.name for row in tx.credentials.list_for_content(item)] == left


def test_too_many_credentials(served: Served) -> None:
    inner = '<connectionCredentials name="a" password="b"/>' * 17
    assert served.client().publish("data", inner=inner).status == 400


def test_create_extract_without_the_wish_leaves_it(served: Served) -> None:
    client = served.site("Site", SiteMode.ENABLED)
    item = item_of(client, "data")
    query = {"encrypt": "False"}
    reply = client.on_site("POST", f"/datasources/{item}/createExtract", "<tsRequest/>", query)
    assert (reply.status, reply.find("job").get("type")) == (202, "RefreshExtract")


def test_an_item_stays_on_its_site(served: Served) -> None:
    other = served.site("Other", SiteMode.ENABLED)
    project = other.on_site("GET", "/projects").find("project").get("id")
    client = served.client()
    item = item_of(client, "data")
    body = f'<tsRequest><datasource><project id="{project}"/></datasource></tsRequest>'
    assert client.on_site("PUT", f"/datasources/{item}", body).status in {403, 404}


def publish_while(served: Served, client: Client, event: Callable[[], object]) -> ContentRow:
    """Publish, and let something happen between the bytes and the row."""
    identity = served.node.auth.identify(client.token)
    request = PublishRequest(ContentKind.DATASOURCE, FileType.HYPER, "data")
    with served.node.publishing.begin(identity, request) as publication:
        publication.write(HYPER)
        event()
        return publication.finish()


def test_the_mode_may_change_during_an_upload(served: Served) -> None:
    """What was decided before the first byte must still hold when the row is written."""
    client = served.site("Site", SiteMode.DISABLED)
    enforce = partial(served.node.sites.set_mode, LOCAL, client.site_id, SiteMode.ENFORCED)
    with pytest.raises(StateError, match="changed during the upload"):
        publish_while(served, client, enforce)
    assert served.stored == []
    assert served.nothing_is_left()


def test_an_item_may_appear_during_an_upload(served: Served) -> None:
    client = served.client()
    with pytest.raises(ConflictError, match="exists already"):
        publish_while(served, client, partial(item_of, client, "data"))
    assert len(served.stored) == 1
    assert served.nothing_is_left()


def test_a_commit_that_fails_on_the_disk_leaves_the_file_to_the_next_start(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows whether such a commit comes back after a crash: a row must never be without its file."""
    client = served.site("Site", SiteMode.ENFORCED)

    def refuse(*_: object, **__: object) -> None:
        raise StorageError("disk I/O error")

    event = partial(monkeypatch.setattr, ContentsTable, "insert", refuse)
    with pytest.raises(StorageError):
        publish_while(served, client, event)
    assert len(served.stored) == 1
    monkeypatch.undo()
    served.node.stored_files.recover()
    assert served.stored == []
    assert served.nothing_is_left()


def test_the_key_may_be_rotated_during_an_upload(served: Served) -> None:
    """A header under another MEK is rewrapped before its row commits."""
    client = served.site("Site", SiteMode.ENFORCED)
    before = served.node.envelope_keys.active_mek_id
    row = publish_while(served, client, partial(served.node.meks.rotate, "os:test"))
    assert row.mek_id == served.node.envelope_keys.active_mek_id
    assert row.mek_id != before
    assert client.download(row.id).body == HYPER
    assert served.nothing_is_left()
