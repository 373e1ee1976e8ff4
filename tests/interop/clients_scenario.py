"""Run by a Python that has other people's clients: sign in, publish, list, download, and say what came of it as JSON.

Arguments: the client, the server's address, the file with the password, a folder with `clients.hyper`, `large.hyper` and
`clients.twb`.
"""

import json
import sys
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests


def api_lib(url: str, password: str, folder: Path) -> dict[str, Any]:
    """tableau-api-lib: JSON both ways, and multipart/mixed with a message in JSON."""
    from tableau_api_lib import TableauServerConnection
    from tableau_api_lib.utils.querying import get_projects_dataframe

    told = {"server": url, "api_version": "3.20", "site_name": "", "site_url": ""}
    env: Any = {"here": {**told, "username": "admin", "password": password}}
    connection = TableauServerConnection(env, env="here", ssl_verify=False)
    signed_in = connection.sign_in()
    projects = get_projects_dataframe(connection)
    project = str(projects[projects["name"] == "Default"]["id"].iloc[0])
    made = connection.publish_data_source(str(folder / "clients.hyper"), "by api-lib", project)
    large = connection.publish_data_source(str(folder / "large.hyper"), "in parts", project)
    book = connection.publish_workbook(str(folder / "clients.twb"), "a book", project)
    item = made.json()["datasource"]
    listed = connection.query_data_sources().json()
    group = connection.create_group("of api-lib").json()["group"]
    connection.add_user_to_group(group["id"], connection.user_id)
    members = connection.get_users_in_group(group["id"]).json()
    tagged = connection.add_tags_to_data_source(item["id"], ["one", "two"])
    with_wrong = connection.query_data_source("nosuch")
    return {
        "signed_in": signed_in.status_code,
        "published": [made.status_code, large.status_code, book.status_code],
        "extract": [item["hasExtracts"], item["project"]["name"]],
        "listed": sorted(one["name"] for one in listed["datasources"]["datasource"]),
        "pagination": listed["pagination"],
        "members": [one["name"] for one in members["users"]["user"]],
        "tags": sorted(one["label"] for one in tagged.json()["tags"]["tag"]),
        "missing": with_wrong.json()["error"]["code"],
        "same": [
            connection.download_data_source(one["id"]).content == (folder / file).read_bytes()
            for one, file in ((item, "clients.hyper"), (large.json()["datasource"], "large.hyper"))
        ],
        "connections": connection.query_data_source_connections(item["id"]).json(),
        "signed_out": connection.sign_out().status_code,
    }


def api_client(url: str, password: str, folder: Path) -> dict[str, Any]:
    """tableau_api_client: XML with a namespace, and multipart/form-data as an HTTP library makes it."""
    from tableau_api_client import TableauApiClient
    from tableau_api_client.enums.datasource_file_type import DatasourceFileType

    client = TableauApiClient(url, api_version="3.20")
    session = client.authentication.sign_in("admin", password)
    content = (folder / "clients.hyper").read_bytes()
    upload = client.publishing.initiate_file_upload(session)
    source = BytesIO(content)
    while source.tell() < len(content):
        client.publishing.append_to_file_upload(session, upload.upload_session_id, source, 100_000)
    projects = requests.get(
        f"{url}/api/3.20/sites/{session.site_id}/projects",
        headers={"x-tableau-auth": session.token, "accept": "application/json"},
        timeout=60,
    ).json()["projects"]["project"]
    item = client.publishing.publish_datasource(
        session,
        upload.upload_session_id,
        "by api_client",
        DatasourceFileType.hyper,
        projects[0]["id"],
    )
    back = requests.get(
        f"{url}/api/3.20/sites/{session.site_id}/datasources/{item.id}/content",
        headers={"x-tableau-auth": session.token},
        timeout=60,
    )
    client.authentication.sign_out(session)
    return {"published": item.name, "same": back.content == content}


def documented(url: str, password: str, folder: Path) -> dict[str, Any]:
    """By hand, as the public reference shows it: a disposition without a type, and JSON."""
    api, json_form = f"{url}/api/3.20", {"accept": "application/json"}
    credentials: Any = {"name": "admin", "password": password, "site": {"contentUrl": ""}}
    signed = requests.post(
        f"{api}/auth/signin", json={"credentials": credentials}, headers=json_form, timeout=60
    ).json()["credentials"]
    site = f"{api}/sites/{signed['site']['id']}"
    head = {**json_form, "x-tableau-auth": signed["token"]}
    content = (folder / "clients.hyper").read_bytes()
    body = (
        b'--part\r\nContent-Disposition: name="request_payload"\r\nContent-Type: text/xml\r\n\r\n'
        b'<tsRequest><datasource name="as documented"/></tsRequest>\r\n'
        b'--part\r\nContent-Disposition: name="tableau_datasource"; filename="clients.hyper"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n" + content + b"\r\n--part--"
    )
    made = requests.post(
        f"{site}/datasources?datasourceType=hyper&overwrite=true",
        body,
        headers={**head, "content-type": "multipart/mixed; boundary=part"},
        timeout=60,
    )
    item = made.json()["datasource"]
    back = requests.get(f"{site}/datasources/{item['id']}/content", headers=head, timeout=60)
    return {"published": item["name"], "same": back.content == content}


if __name__ == "__main__":
    name, address, password_file, place = sys.argv[1:]
    assert urlsplit(address).scheme == "http"
    run = {"api_lib": api_lib, "api_client": api_client, "documented": documented}[name]
    facts = run(address, Path(password_file).read_text().strip(), Path(place))
    sys.stdout.write(json.dumps(facts) + "\n")
