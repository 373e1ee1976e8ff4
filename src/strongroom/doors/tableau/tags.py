"""Tags of data sources and workbooks, of one item or of several at once (3.9)."""

from collections.abc import Iterator
from functools import partial
from urllib.parse import unquote

from strongroom.doors.tableau.content import tags_element
from strongroom.doors.tableau.errors import Noun
from strongroom.doors.tableau.message import Element, element, listing, required, text_of
from strongroom.doors.tableau.routing import NO_CONTENT, Answer, Call, Route
from strongroom.doors.tableau.scope import own_site
from strongroom.doors.tableau.shape import Shape, read, request
from strongroom.errors import UsageError
from strongroom.extracts.model import ContentKind

MAX_ITEMS = 100  # within one transaction
_KINDS = {kind.value: kind for kind in ContentKind}


def add_tags(kind: ContentKind, call: Call) -> Answer:
    """Put tags on an item; answers with all that it has then."""
    own_site(call)
    labels = _labels(required(call.request(), "tags"))
    items = [(kind, call.path["item"])]
    changed = call.services.content.change_tags(call.identity, items, add=labels)
    return Answer([tags_element(changed[0].row.tags)])


def delete_tag(kind: ContentKind, call: Call) -> Answer:
    """Take a tag off an item."""
    own_site(call)
    # real clients quote the name a second time, since a tag may have a slash in it
    label = unquote(call.path["tag"]).strip('"')
    call.services.content.change_tags(call.identity, [(kind, call.path["item"])], remove=[label])
    return NO_CONTENT


def add_to_many(call: Call) -> Answer:
    """Put tags on several items, all or none."""
    labels, items = _batch(call)
    call.services.content.change_tags(call.identity, items, add=labels)
    return _batch_answer(labels, items)


def delete_from_many(call: Call) -> Answer:
    """Take tags off several items, all or none."""
    labels, items = _batch(call)
    call.services.content.change_tags(call.identity, items, remove=labels)
    return _batch_answer(labels, items)


def _batch(call: Call) -> tuple[list[str], list[tuple[ContentKind, str]]]:
    if "site" in call.path:  # TSC leaves the site out: it means the one that it is signed in to
        own_site(call)
    sent = required(call.request(), "tagBatch")
    contents = required(sent, "contents").all("content")
    if not 0 < len(contents) <= MAX_ITEMS:
        raise UsageError(f"between 1 and {MAX_ITEMS} items are tagged at once")
    items = [(_kind(text_of(one, "contentType")), text_of(one, "id")) for one in contents]
    return _labels(required(sent, "tags")), items


def _batch_answer(labels: list[str], items: list[tuple[ContentKind, str]]) -> Answer:
    contents = [element("content", {"contentType": kind, "id": one}) for kind, one in items]
    batch = element("tagBatch", {}, tags_element(labels), listing("contents", "content", contents))
    return Answer([batch])


def _kind(word: str) -> ContentKind:
    try:
        return _KINDS[word.lower()]
    except KeyError as error:
        raise UsageError(
            f"content of the type {word[:40]!r} has no tags on this server",
            hint="datasource or workbook",
        ) from error


def _labels(tags: Element) -> list[str]:
    labels = [label for one in tags.all("tag") for label in _split(text_of(one, "label"))]
    if not labels:
        raise UsageError("no tag is named")
    return labels


def _split(label: str) -> Iterator[str]:
    """A label in quotation marks is one tag; without them spaces and commas stand between several, as documented."""
    if len(label) > 1 and label[0] == label[-1] == '"':
        yield label[1:-1]
    else:
        yield from label.replace(",", " ").split()


_TAGS = Shape(children={"tag": Shape(read("label"))})
_BATCH = request(
    tagBatch=Shape(
        children={
            "tags": _TAGS,
            "contents": Shape(children={"content": Shape(read("id", "contentType"))}),
        }
    )
)


def _routes(kind: ContentKind, noun: Noun) -> list[Route]:
    path = f"/sites/{{site}}/{kind}s/{{item}}/tags"
    return [
        Route("PUT", path, partial(add_tags, kind), noun, takes=request(tags=_TAGS)),
        Route("DELETE", path + "/{tag}", partial(delete_tag, kind), noun),
    ]


ROUTES = (
    *_routes(ContentKind.DATASOURCE, Noun.DATASOURCE),
    *_routes(ContentKind.WORKBOOK, Noun.WORKBOOK),
    *(
        Route("PUT", f"{site}/tags:{word}", handle, takes=_BATCH)
        for site in ("/sites/{site}", "")
        for word, handle in (("batchCreate", add_to_many), ("batchDelete", delete_from_many))
    ),
)
