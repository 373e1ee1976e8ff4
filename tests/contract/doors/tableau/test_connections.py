"""Connections read from what was published, and their credentials under the asset keys (findings T5)."""

import io
import json
import zipfile

import pytest

from strongroom.repository.rows import SiteMode
from tests.support.web_client import HYPER, Client, Reply, Served

TDS = b"""<?xml version='1.0' encoding='utf-8' ?>
<datasource formatted-name='federated.1' inline='true'>
  <connection class='federated'>
    <named-connections>
      <named-connection caption='pg' name='postgres.1'>
        <connection authentication='username-password' class='postgres' dbname='sales' port='5432'
          server='Db.example' username='reader' />
      </named-connection>
      <named-connection caption='ms' name='sqlserver.1'>
        <connection class='sqlserver' dbname='hr' server='ms.example' username='' />
      </named-connection>
    </named-connections>
    <relation connection='postgres.1' name='t' type='table' />
  </connection>
  <extract enabled='true'><connection class='hyper' dbname='Data/x.hyper' /></extract>
</datasource>"""
TWB = b"""<workbook><datasources>
  <datasource name='Parameters' hasconnection='false'><column name='p'/></datasource>
  <datasource caption='Old' name='mysql.1'><connection class='mysql' server='my.example' port='3306' username='u'/></datasource>
</datasources></workbook>"""


def package(name: str, document: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("Data/x.hyper", HYPER)
        file.writestr(name, document)
    return made.getvalue()


def published(client: Client, content: bytes, file_type: str, inner: str = "") -> str:
    kind = "workbook" if file_type.startswith("twb") else "datasource"
    reply = client.publish("data", content, kind=kind, file_type=file_type, inner=inner)
    assert reply.status == 201, reply.body
    return f"/{kind}s/{reply.find(kind).get('id')}/connections"


def shown(client: Client, path: str) -> list[dict[str, str]]:
    return [dict(one.attrib) for one in client.on_site("GET", path).all("connection")]


def put(client: Client, path: str, attributes: str) -> Reply:
    return client.on_site("PUT", path, f"<tsRequest><connection {attributes}/></tsRequest>")


@pytest.mark.parametrize("mode", [SiteMode.DISABLED, SiteMode.ENFORCED], ids=lambda mode: mode.word)
@pytest.mark.parametrize(
    ("content", "file_type"),
    [(TDS, "tds"), (package("data.tds", TDS), "tdsx")],
    ids=["document", "package"],
)
def test_they_are_read_from_the_document(
    served: Served, content: bytes, file_type: str, mode: SiteMode
) -> None:
    client = served.site("Site", mode)
    path = published(client, content, file_type)
    first, second = shown(client, path)
    expected = ("postgres", "Db.example", "5432", "reader", "sales", "false")
    names = ("type", "serverAddress", "serverPort", "userName", "databaseName", "embedPassword")
    assert tuple(first[name] for name in names) == expected
    assert (second["type"], second["serverAddress"]) == ("sqlserver", "ms.example")
    assert first["id"] != second["id"]
    assert shown(client, path) == [first, second]  # an id stays


def test_those_of_a_workbook_name_their_data_source(served: Served) -> None:
    client = served.client()
    path = published(client, TWB, "twb")
    assert [one["type"] for one in shown(client, path)] == ["mysql"]
    assert client.on_site("GET", path).find("datasource").get("name") == "Old"


def test_an_extract_alone_has_none(served: Served) -> None:
    client = served.client()
    assert shown(client, published(client, HYPER, "hyper")) == []


def test_a_password_is_kept_sealed_and_never_shown(served: Served) -> None:
    client = served.client()
    path = published(client, TDS, "tds")
    first, second = (one["id"] for one in shown(client, path))
    changed = put(
        client, f"{path}/{first}", 'userName="writer" password="PLANTED-9" embedPassword="true"'
    )
    assert changed.status == 200
    assert (
        changed.find("connection").get("userName"),
        changed.find("connection").get("embedPassword"),
    ) == ("writer", "true")
    assert [one["userName"] for one in shown(client, path)] == ["writer", ""]
    with served.node.repository.reading() as tx:
        (kept,) = tx.credentials.list()
    opened = served.node.assets.open_(kept.asset_key_id, kept.sealed, content_id=kept.content_id)
    assert json.loads(opened.reveal()) == {"name": "writer", "password": "PLANTED-9"}
    assert b"PLANTED-9" not in client.on_site("GET", path).body
    assert put(client, f"{path}/{first}", 'embedPassword="false"').status == 200
    assert [one["embedPassword"] for one in shown(client, path)] == ["false", "false"]
    with served.node.repository.reading() as tx:
        assert tx.credentials.list() == []
    assert second


def test_several_at_once_are_all_or_none(served: Served) -> None:
    client = served.client()
    path = published(client, TDS, "tds")
    ids = [one["id"] for one in shown(client, path)]

    def ask(*wanted: str) -> Reply:
        luids = "".join(f"<connectionLUID>{one}</connectionLUID>" for one in wanted)
        change = '<connection userName="w" password="p" embedPassword="true"/>'
        return client.on_site(
            "PUT",
            path,
            f"<tsRequest><connectionLUIDs>{luids}</connectionLUIDs>{change}</tsRequest>",
        )

    assert ask(ids[0], "nosuch").status == 404
    assert [one["embedPassword"] for one in shown(client, path)] == ["false", "false"]
    assert ask().status == 400
    assert len(ask(*ids).all("connection")) == 2
    assert [one["userName"] for one in shown(client, path)] == ["w", "w"]


def test_a_credential_of_the_whole_item_is_for_each_connection_until_one_changes(
    served: Served,
) -> None:
    client = served.client()
    login = '<connectionCredentials name="all" password="p" embed="true"/>'
    path = published(client, TDS, "tds", login)
    assert [one["userName"] for one in shown(client, path)] == ["all", "all"]
    first = shown(client, path)[0]["id"]
    assert put(client, f"{path}/{first}", 'embedPassword="false"').status == 200
    assert [one["userName"] for one in shown(client, path)] == ["reader", "all"]


def test_a_publishers_credential_goes_to_the_connection_that_it_names(served: Served) -> None:
    client = served.client()
    credentials = '<connectionCredentials name="one" password="p"/>'
    login = (
        f'<connections><connection serverAddress="{{}}">{credentials}</connection></connections>'
    )
    path = published(client, TDS, "tds", login.format("MS.example"))
    assert [one["userName"] for one in shown(client, path)] == ["reader", "one"]
    other = client.publish("other", TDS, file_type="tds", inner=login.format("nosuch.example"))
    assert (other.status, b"nosuch.example" in other.body) == (400, True)
    assert served.nothing_is_left()


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ('serverAddress="other.example"', "server address"),
        ('serverPort="1"', "port"),
        ('authenticationType="oauth"', "authentication"),
        ('userName="other"', "password only"),
        ('password="p"', "to be embedded"),
        ('embedPassword="true"', "no password was sent"),
        ('queryTaggingEnabled="true"', "queryTaggingEnabled"),
    ],
)
def test_what_cannot_be_kept_is_refused(served: Served, attributes: str, words: str) -> None:
    client = served.client()
    path = published(client, TDS, "tds")
    first = shown(client, path)[0]["id"]
    reply = put(client, f"{path}/{first}", attributes)
    assert (reply.status, words in reply.body.decode()) == (400, True), reply.body


def test_what_clients_send_back_with_the_rest_changes_nothing(served: Served) -> None:
    client = served.client()
    path = published(client, TDS, "tds")
    before = shown(client, path)
    same = 'serverAddress="db.example" serverPort="5432" userName="reader" embedPassword="false" queryTaggingEnabled="false"'
    assert put(client, f"{path}/{before[0]['id']}", same).status == 200
    assert shown(client, path) == before


@pytest.mark.parametrize(
    "document",
    [
        b"<!DOCTYPE a [<!ENTITY b 'c'>]><datasource>&b;</datasource>",
        b"<datasource><connection class='x'>",
        b"<datasource>" + b"<connection class='x'/>" * 1001 + b"</datasource>",
        b"<connection>" * 10_000 + b"</connection>" * 10_000,
    ],
    ids=["entity", "open", "many", "deep"],
)
def test_a_document_that_cannot_be_read_is_no_server_error(served: Served, document: bytes) -> None:
    client = served.client()
    path = published(client, document, "tds")
    assert client.on_site("GET", path).code == "400011"
