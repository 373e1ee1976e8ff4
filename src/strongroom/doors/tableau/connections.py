"""Connections of data sources and workbooks, and the credentials embedded with them (services.content.connections)."""

from functools import partial

from strongroom.crypto.secret import SecretBytes
from strongroom.doors.tableau.errors import Noun
from strongroom.doors.tableau.message import Element, bool_of, element, listing, required
from strongroom.doors.tableau.routing import Answer, Call, Route
from strongroom.doors.tableau.scope import own_site
from strongroom.doors.tableau.shape import Shape, as_it_is, read, request
from strongroom.errors import UsageError
from strongroom.extracts.model import ContentKind
from strongroom.services.content.connections import ConnectionChanges, ShownConnection

MAX_AT_ONCE = 100


def list_connections(kind: ContentKind, call: Call) -> Answer:
    """The connections in the published document, with the user names of embedded credentials."""
    own_site(call)
    found = call.services.connections.of_item(call.identity, kind, call.path["item"])
    return _answer(found)


def update_connection(kind: ContentKind, call: Call) -> Answer:
    """Keep another name and password for one connection, or forget them."""
    own_site(call)
    changes = _changes(required(call.request(), "connection"))
    ids = [call.path["connection"]]
    found = call.services.connections.update(call.identity, kind, call.path["item"], ids, changes)
    return Answer([_element(found[0])])


def update_connections(kind: ContentKind, call: Call) -> Answer:
    """The same for several connections of an item, all or none (3.26)."""
    own_site(call)
    sent = call.request()
    ids = required(sent, "connectionLUIDs").texts("connectionLUID")
    if not 0 < len(ids) <= MAX_AT_ONCE:
        raise UsageError(f"between 1 and {MAX_AT_ONCE} connections are changed at once")
    changes = _changes(required(sent, "connection"))
    return _answer(
        call.services.connections.update(call.identity, kind, call.path["item"], ids, changes)
    )


def _changes(sent: Element) -> ConnectionChanges:
    password = sent.get("password")
    return ConnectionChanges(
        server=sent.get("serverAddress"),
        port=sent.get("serverPort"),
        authentication=sent.get("authenticationType"),
        username=sent.get("userName"),
        password=SecretBytes(password.encode()) if password else None,
        embeds=bool_of(sent.get("embedPassword")),
    )


def _answer(found: list[ShownConnection]) -> Answer:
    return Answer([listing("connections", "connection", [_element(one) for one in found])])


def _element(shown: ShownConnection) -> Element:
    said = shown.connection
    return element(
        "connection",
        {
            "id": shown.id,
            "type": said.kind,
            "serverAddress": said.server,
            "serverPort": said.port,
            "userName": shown.username,
            "databaseName": said.database or None,
            "authenticationType": said.authentication or None,
            "embedPassword": shown.embeds,
            "queryTaggingEnabled": False,
        },
        element("datasource", {"id": shown.id, "name": said.datasource}),
    )


_CONNECTION = Shape(
    {
        **read("serverAddress", "serverPort", "authenticationType"),
        **read("userName", "password", "embedPassword"),
        "queryTaggingEnabled": as_it_is("it sends no queries", "false"),
    }
)
_SEVERAL = request(
    connectionLUIDs=Shape(children={"connectionLUID": Shape(holds_text=True)}),
    connection=_CONNECTION,
)


def _routes(kind: ContentKind, noun: Noun) -> list[Route]:
    path = f"/sites/{{site}}/{kind}s/{{item}}/connections"
    return [
        Route("GET", path, partial(list_connections, kind), noun),
        Route("PUT", path, partial(update_connections, kind), noun, takes=_SEVERAL),
        Route(
            "PUT",
            path + "/{connection}",
            partial(update_connection, kind),
            noun,
            takes=request(connection=_CONNECTION),
        ),
    ]


ROUTES = (
    *_routes(ContentKind.DATASOURCE, Noun.DATASOURCE),
    *_routes(ContentKind.WORKBOOK, Noun.WORKBOOK),
)
