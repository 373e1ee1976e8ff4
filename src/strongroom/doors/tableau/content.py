"""Data sources and workbooks: list, show, change, download, delete, and what the clients ask of their extracts.

Both kinds are served by the same handlers; a route knows its kind.
"""

import re
from collections.abc import Callable
from functools import partial

from strongroom.doors.tableau.errors import Noun
from strongroom.doors.tableau.jobs import job_element
from strongroom.doors.tableau.message import Element, bool_of, element, listing, required, word
from strongroom.doors.tableau.paging import LISTING, page_of, query_of, window_of
from strongroom.doors.tableau.routing import NO_CONTENT, Answer, Call, Download, Route
from strongroom.doors.tableau.scope import own_site
from strongroom.doors.tableau.shape import Rule, Rules, Shape, as_it_is, read, request
from strongroom.errors import UsageError
from strongroom.extracts.model import ContentKind
from strongroom.repository.rows import Filter, JobRow, Query
from strongroom.services.content.items import ContentChanges, Named

_MEBIBYTE = 1024 * 1024
_RENAMED = {
    "type": "file_type",
    "hasExtracts": "has_extract",
    "hasAlerts": "has_alert",
    "subscriptionTotal": "subscriptions_total",
}
_NOUNS = {ContentKind.DATASOURCE: Noun.DATASOURCE, ContentKind.WORKBOOK: Noun.WORKBOOK}
_NO_TAG_SIGN = re.compile(r"[^A-Za-z0-9._-]")


def list_content(kind: ContentKind, call: Call) -> Answer:
    """The items that are published on the site."""
    own_site(call)
    return _page(kind, call)


def list_content_of(kind: ContentKind, call: Call) -> Answer:
    """The items that a user can see, which are all of the site's; with `ownedBy=true` the items that the user owns."""
    site = own_site(call)
    user = call.services.users.get_on_site(call.identity.subject, site.id, call.path["user"]).user
    owned = bool_of(call.query.get("ownedBy"))
    return _page(kind, call, (Filter("owner_id", "eq", (user.id,)),) if owned else ())


def get_content(kind: ContentKind, call: Call) -> Answer:
    """An item, by its id."""
    return Answer([content_element(call, _named(kind, call))])


def update_content(kind: ContentKind, call: Call) -> Answer:
    """Rename, move, give away; `encryptExtracts` is the one switch per item that a real client has."""
    own_site(call)
    sent = required(call.request(), kind)
    project, owner = sent.find("project"), sent.find("owner")
    changes = ContentChanges(
        name=sent.get("name"),
        project_id=None if project is None else project.get("id"),
        owner_id=None if owner is None else owner.get("id"),
        description=sent.get("description"),
        encrypt=bool_of(sent.get("encryptExtracts")),
        show_tabs=bool_of(sent.get("showTabs")),
    )
    named = call.services.content.update(call.identity, kind, call.path["item"], changes)
    return Answer([content_element(call, named)])


def delete_content(kind: ContentKind, call: Call) -> Answer:
    """The item, its file, and with that its data key."""
    own_site(call)
    call.services.content.delete(call.identity, kind, call.path["item"])
    return NO_CONTENT


def download(kind: ContentKind, call: Call) -> Download:
    """The file as it was published; whoever wants one without its data is refused, and does not get it with the data."""
    own_site(call)
    wants_extract = bool_of(call.query.get("includeExtract"))
    # a request that may be refused does not ask the store for bytes
    first_bytes = None if wants_extract is False else call.first_bytes
    row, reader = call.services.content.open(call.identity, kind, call.path["item"], first_bytes)
    if wants_extract is False and row.has_extract:
        reader.close()
        raise UsageError(
            f"{kind} {row.name!r} is kept as one file with its extract, and is not sent without it",
            hint="leave includeExtract out",
        )
    version = _NO_TAG_SIGN.sub("-", row.storage_key)
    return Download(f"{row.name}.{row.file_type}", reader, version, row.updated_at)


def create_extract(kind: ContentKind, call: Call) -> Answer:
    """Encrypt the stored extract now; without `encrypt=true` it is left as it is."""
    own_site(call)
    _check_whole(call.request())
    encrypt = bool_of(call.query.get("encrypt")) or False
    return _accepted(
        call.services.content.create_extract(
            call.identity, kind, call.path["item"], encrypt=encrypt
        )
    )


def delete_extract(kind: ContentKind, call: Call) -> Answer:
    """The way back from `createExtract`: the extract becomes plain. No data is deleted by this."""
    own_site(call)
    _check_whole(call.request())
    return _accepted(call.services.content.delete_extract(call.identity, kind, call.path["item"]))


def refresh(kind: ContentKind, call: Call) -> Answer:
    """There is no source to pull from: the stored extract comes under the active MEK, which is the same of a part of it."""
    own_site(call)
    wish = call.request().find("extractRefresh")
    if wish is not None:
        bool_of(wish.get("incremental"))
    return _accepted(call.services.content.refresh(call.identity, kind, call.path["item"]))


def content_element(call: Call, named: Named) -> Element:
    """An item; tabcmd filters lists by the project's id, and TSC shows the rest."""
    row = named.row
    is_workbook = row.kind == ContentKind.WORKBOOK
    return element(
        row.kind,
        {
            "id": row.id,
            "name": row.name,
            "contentUrl": row.content_url,
            "webpageUrl": f"{call.base_url}/#/{row.kind}s/{row.id}",
            "description": str(row.attributes.get("description", "")),
            "type": None if is_workbook else row.file_type,
            "size": -(-row.plaintext_bytes // _MEBIBYTE),
            "createdAt": row.created_at,
            "updatedAt": row.updated_at,
            "encryptExtracts": word(named.encrypts),
            "hasExtracts": row.has_extract,
            "showTabs": bool(row.attributes.get("show_tabs")) if is_workbook else None,
            "isCertified": None if is_workbook else False,
            "useRemoteQueryAgent": None if is_workbook else False,
        },
        element("project", {"id": row.project_id, "name": named.project_name}),
        element("owner", {"id": row.owner_id, "name": named.owner_name}),
        tags_element(row.tags),
    )


def tags_element(tags: object) -> Element:
    """Tags as a list."""
    labels = tags if isinstance(tags, list | tuple) else ()
    return listing("tags", "tag", [element("tag", {"label": str(label)}) for label in labels])


def _page(kind: ContentKind, call: Call, more: tuple[Filter, ...] = ()) -> Answer:
    window = window_of(call.query)
    query = query_of(call.query, window, _RENAMED)
    query = Query((*query.filters, *more), query.sort, query.offset, query.limit)
    page = call.services.content.page(call.identity, kind, query)
    rows = [content_element(call, named) for named in page.rows]
    return Answer(page_of(call.query, window, page.total, (f"{kind}s", kind), rows))


def _named(kind: ContentKind, call: Call) -> Named:
    own_site(call)
    return call.services.content.get(call.identity, kind, call.path["item"])


def _check_whole(sent: Element) -> None:
    """A workbook's extracts lie in one file, which is encrypted as a whole."""
    some = sent.find("datasources")
    if some is not None and bool_of(some.get("includeAll")) is False:
        raise UsageError(
            "the extracts of a workbook cannot be chosen one by one: its file is encrypted as a whole",
            hint="send includeAll true",
        )


def _accepted(job: JobRow) -> Answer:
    return Answer([job_element(job)], 202)


_NO_CERTIFICATES = as_it_is("it certifies nothing", "false")
#: The attributes that real clients send along with a data source or workbook, and the values that ask for nothing here.
EXTRAS: dict[ContentKind, dict[str, Rule]] = {
    ContentKind.DATASOURCE: {
        "isCertified": _NO_CERTIFICATES,
        "certificationNote": as_it_is("it certifies nothing"),
        "useRemoteQueryAgent": as_it_is("it has no connection to data", "false"),
    },
    ContentKind.WORKBOOK: read("showTabs"),
}
EXTRA_CHILDREN: dict[ContentKind, dict[str, Shape]] = {
    ContentKind.DATASOURCE: {
        "askData": Shape(
            {"enablement": as_it_is("it answers no questions", "disabled", "sitedefault")}
        )
    },
    ContentKind.WORKBOOK: {
        "dataAccelerationConfig": Shape(
            {
                "accelerationEnabled": as_it_is("it accelerates nothing", "false"),
                "accelerateNow": as_it_is("it accelerates nothing", "false"),
            }
        ),
        "dataFreshnessPolicy": Shape(
            {"option": as_it_is("it has no connection to data", "sitedefault")}
        ),
        "views": Shape(),
    },
}
_ID = Shape(read("id"))
_LISTING: Rules = {
    **LISTING,
    "includeUsageStatistics": as_it_is("it counts no views", "false"),
}
_NOT_ONE_BY_ONE = as_it_is("the extracts of an item lie in one file: send includeAll true alone")
_WHOLE = request(
    datasources=Shape(read("includeAll"), {"datasource": Shape({"id": _NOT_ONE_BY_ONE})})
)


def _update_shape(kind: ContentKind) -> Shape:
    attributes = {**read("name", "description", "encryptExtracts"), **EXTRAS[kind]}
    children = {"project": _ID, "owner": _ID, **EXTRA_CHILDREN[kind]}
    return request(**{kind: Shape(attributes, children)})


def _routes(kind: ContentKind) -> list[Route]:
    noun, base = _NOUNS[kind], f"/sites/{{site}}/{kind}s"
    item = base + "/{item}"

    def route(
        method: str,
        path: str,
        handle: Callable[[ContentKind, Call], Answer | Download],
        takes: Shape | None = None,
        query: Rules | None = None,
    ) -> Route:
        return Route(
            method,
            path,
            partial(handle, kind),
            noun,
            downloads=handle is download,
            takes=takes or Shape(),
            query=query or {},
        )

    usage = {"includeUsageStatistics": _LISTING["includeUsageStatistics"]}
    return [
        route("GET", base, list_content, query=_LISTING),
        route(
            "GET",
            f"/sites/{{site}}/users/{{user}}/{kind}s",
            list_content_of,
            query={**_LISTING, **read("ownedBy")},
        ),
        route("GET", item, get_content, query=usage),
        route("PUT", item, update_content, _update_shape(kind)),
        route("DELETE", item, delete_content),
        route("GET", item + "/content", download, query=read("includeExtract")),
        route("POST", item + "/createExtract", create_extract, _WHOLE, read("encrypt")),
        route("POST", item + "/deleteExtract", delete_extract, _WHOLE),
        route(
            "POST",
            item + "/refresh",
            refresh,
            request(extractRefresh=Shape(read("incremental"))),
        ),
    ]


ROUTES = (*_routes(ContentKind.DATASOURCE), *_routes(ContentKind.WORKBOOK))
