"""Data sources and workbooks: list, show, change, download, delete, and what the clients ask of their extracts.

Both kinds are served by the same handlers; a route knows its kind. Views, flows and connections are there for the clients'
sake: lists that are always empty.
"""

from functools import partial
from typing import TYPE_CHECKING

from strongroom.extracts.model import ContentKind
from strongroom.repository.rows import JobRow
from strongroom.services.content import ContentChanges, Named
from strongroom.web.api import xml
from strongroom.web.api.errors import Noun
from strongroom.web.api.jobs import job_element
from strongroom.web.api.paging import Window, query_of, window_of
from strongroom.web.api.routing import NO_CONTENT, Answer, Call, Download, Route
from strongroom.web.api.scope import own_site

if TYPE_CHECKING:
    from collections.abc import Callable

_MEBIBYTE = 1024 * 1024
_RENAMED = {"type": "file_type"}
_NOUNS = {ContentKind.DATASOURCE: Noun.DATASOURCE, ContentKind.WORKBOOK: Noun.WORKBOOK}


def list_content(kind: ContentKind, call: Call) -> Answer:
    """What is published on the site."""
    own_site(call)
    window = window_of(call.query)
    page = call.node.content.page(call.identity, kind, query_of(call.query, window, _RENAMED))
    rows = [content_element(call, named) for named in page.rows]
    return Answer([window.element(page.total), xml.element(f"{kind}s", {}, *rows)])


def get_content(kind: ContentKind, call: Call) -> Answer:
    """One item."""
    return Answer([content_element(call, _named(kind, call))])


def update_content(kind: ContentKind, call: Call) -> Answer:
    """Rename, move, give away; `encryptExtracts` is the one switch per item that a real client has."""
    own_site(call)
    sent = xml.required(call.request(), kind)
    project, owner = sent.find("project"), sent.find("owner")
    changes = ContentChanges(
        name=sent.get("name"),
        project_id=None if project is None else project.get("id"),
        owner_id=None if owner is None else owner.get("id"),
        description=sent.get("description"),
        encrypt=xml.bool_of(sent.get("encryptExtracts")),
    )
    named = call.node.content.update(call.identity, kind, call.path["item"], changes)
    return Answer([content_element(call, named)])


def delete_content(kind: ContentKind, call: Call) -> Answer:
    """The item, its file, and with that its data key."""
    own_site(call)
    call.node.content.delete(call.identity, kind, call.path["item"])
    return NO_CONTENT


def download(kind: ContentKind, call: Call) -> Download:
    """The file as it was published."""
    own_site(call)
    row, reader = call.node.content.open(call.identity, kind, call.path["item"])
    return Download(f"{row.name}.{row.file_type}", reader)


def create_extract(kind: ContentKind, call: Call) -> Answer:
    """Encrypt the stored extract now; without `encrypt=true` it is left as it is."""
    own_site(call)
    encrypt = xml.bool_of(call.query.get("encrypt")) or False
    return _accepted(
        call.node.content.create_extract(call.identity, kind, call.path["item"], encrypt=encrypt)
    )


def delete_extract(kind: ContentKind, call: Call) -> Answer:
    """The way back from `createExtract`: the extract becomes plain. No data is deleted by this."""
    own_site(call)
    return _accepted(call.node.content.delete_extract(call.identity, kind, call.path["item"]))


def refresh(kind: ContentKind, call: Call) -> Answer:
    """There is no source to pull from: the stored extract comes under the active MEK."""
    own_site(call)
    return _accepted(call.node.content.refresh(call.identity, kind, call.path["item"]))


def connections(kind: ContentKind, call: Call) -> Answer:
    """Always empty: what is published here has no live connection."""
    _named(kind, call)
    return Answer([xml.element("connections")])


def views(call: Call) -> Answer:
    """Always empty: workbooks are kept, not rendered."""
    _named(ContentKind.WORKBOOK, call)
    return Answer([xml.element("views")])


def empty_list(name: str, call: Call) -> Answer:
    """A list of what is not kept here."""
    own_site(call)
    return Answer([Window(1, 100).element(0), xml.element(name)])


def content_element(call: Call, named: Named) -> xml.Element:
    """An item; tabcmd filters lists by the project's id, and TSC shows the rest."""
    row = named.row
    return xml.element(
        row.kind,
        {
            "id": row.id,
            "name": row.name,
            "contentUrl": row.content_url,
            "webpageUrl": f"{call.base_url}/#/{row.kind}s/{row.id}",
            "description": str(row.attributes.get("description", "")),
            "type": row.file_type if row.kind == ContentKind.DATASOURCE else None,
            "size": -(-row.plaintext_bytes // _MEBIBYTE),
            "createdAt": row.created_at,
            "updatedAt": row.updated_at,
            "encryptExtracts": named.encrypts,
            "hasExtracts": row.has_extract,
            "showTabs": False if row.kind == ContentKind.WORKBOOK else None,
            "isCertified": False if row.kind == ContentKind.DATASOURCE else None,
            "useRemoteQueryAgent": False if row.kind == ContentKind.DATASOURCE else None,
        },
        xml.element("project", {"id": row.project_id, "name": named.project_name}),
        xml.element("owner", {"id": row.owner_id, "name": named.owner_name}),
        xml.element("tags", {}, *(xml.element("tag", {"label": tag}) for tag in row.tags)),
    )


def _named(kind: ContentKind, call: Call) -> Named:
    own_site(call)
    return call.node.content.get(call.identity, kind, call.path["item"])


def _accepted(job: JobRow) -> Answer:
    return Answer([job_element(job)], 202)


def _routes(kind: ContentKind) -> list[Route]:
    noun, base = _NOUNS[kind], f"/sites/{{site}}/{kind}s"
    item = base + "/{item}"
    table: list[tuple[str, str, Callable[[ContentKind, Call], Answer | Download]]] = [
        ("GET", base, list_content),
        ("GET", item, get_content),
        ("PUT", item, update_content),
        ("DELETE", item, delete_content),
        ("GET", item + "/content", download),
        ("POST", item + "/createExtract", create_extract),
        ("POST", item + "/deleteExtract", delete_extract),
        ("POST", item + "/refresh", refresh),
        ("GET", item + "/connections", connections),
    ]
    return [Route(method, path, partial(handle, kind), noun) for method, path, handle in table]


ROUTES = (
    *_routes(ContentKind.DATASOURCE),
    *_routes(ContentKind.WORKBOOK),
    Route("GET", "/sites/{site}/workbooks/{item}/views", views, Noun.WORKBOOK),
    Route("GET", "/sites/{site}/flows", partial(empty_list, "flows")),
    Route("GET", "/sites/{site}/views", partial(empty_list, "views")),
)
