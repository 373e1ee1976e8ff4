"""Publishing, in one request or from a chunked upload, and the chunks themselves (clients.md 1.4).

The message comes first, as XML or JSON: everything is decided before the first byte of the file, which is sealed as it
arrives.
"""

from collections.abc import Iterator
from functools import partial

from strongroom.crypto.secret import SecretBytes
from strongroom.doors.tableau.content import EXTRA_CHILDREN, EXTRAS, content_element
from strongroom.doors.tableau.errors import Noun
from strongroom.doors.tableau.jobs import job_element
from strongroom.doors.tableau.message import (
    MAX_REQUEST_BYTES,
    Element,
    bool_of,
    element,
    required,
    text_of,
)
from strongroom.doors.tableau.multipart import Part, boundary_of, read_parts
from strongroom.doors.tableau.routing import Answer, Call, Route
from strongroom.doors.tableau.scope import own_site
from strongroom.doors.tableau.shape import Shape, as_it_is, read, request
from strongroom.errors import FormatError, UsageError
from strongroom.extracts.model import ContentKind, Declared
from strongroom.repository.rows import ContentRow, UploadRow
from strongroom.services.content.credentials import Login
from strongroom.services.content.publish import PublishRequest, check_may_publish

MESSAGE_PART = "request_payload"
FILE_PARTS = {
    ContentKind.DATASOURCE: "tableau_datasource",
    ContentKind.WORKBOOK: "tableau_workbook",
}
# for the XML part, which is small: until it is there nobody knows whether the rest is wanted (findings S6)
PAYLOAD_S = 30.0
CHUNK_PART = "tableau_file"
_MEBIBYTE = 1024 * 1024


def publish(kind: ContentKind, call: Call) -> Answer:
    """Both ways; `asJob=true` is answered by a job that looks at what was published."""
    own_site(call)
    as_job = (
        bool_of(call.query.get("asJob")) or False
    )  # a wrong word is told before anything is published
    parts = _parts(call)
    call.body.hurry(PAYLOAD_S)
    payload = next(parts, None)
    if payload is None or payload.name != MESSAGE_PART:
        raise FormatError(f"the first part of a publish request is {MESSAGE_PART!r}")
    sent = required(call.message(payload.read(MAX_REQUEST_BYTES)), kind)
    call.body.hurry(0)
    upload_id = call.query.get("uploadSessionId", "")
    if upload_id:
        request = _request(kind, call, sent, "")
        row = call.services.uploads.publish(call.identity, request, upload_id)
    else:
        row = _publish_file(kind, call, sent, parts)
    return _published(kind, call, row, as_job=as_job)


def start_upload(call: Call) -> Answer:
    """A new upload."""
    own_site(call)
    return Answer([_upload_element(call.services.uploads.start(call.identity))], 201)


def append_chunk(call: Call) -> Answer:
    """Append a chunk, which is stored as an envelope of its own and counts once it is on the disk."""
    own_site(call)
    with call.services.uploads.begin_part(
        call.identity, call.path["upload"], call.declared_bytes
    ) as part_upload:
        found = False
        for part in _parts(call):
            if part.name == CHUNK_PART:
                found = True
                for chunk in part.chunks():
                    part_upload.write(chunk)
        if not found:
            raise FormatError(f"the request has no part {CHUNK_PART!r}")
        upload = part_upload.finish()
    return Answer([_upload_element(upload)])


def _parts(call: Call) -> Iterator[Part]:
    return read_parts(call.body.chunks(), boundary_of(call.content_type))


def _publish_file(
    kind: ContentKind, call: Call, sent: Element, parts: Iterator[Part]
) -> ContentRow:
    part = next(parts, None)
    if part is None or part.name != FILE_PARTS[kind]:
        raise FormatError(f"the second part of a publish request is {FILE_PARTS[kind]!r}")
    with call.services.publishing.begin(
        call.identity, _request(kind, call, sent, part.filename), call.declared_bytes
    ) as publication:
        for chunk in part.chunks():
            publication.write(chunk)
        if next(parts, None) is not None:
            raise FormatError("a publish request has two parts")
        return publication.finish()


def _request(kind: ContentKind, call: Call, sent: Element, filename: str) -> PublishRequest:
    wishes = {
        name: bool_of(call.query.get(name))
        for name in ("append", "createnew", "overwrite", "replace", "skipConnectionCheck")
    }
    replaces = bool(wishes["overwrite"] or wishes["replace"])
    if replaces and wishes["createnew"]:
        raise UsageError("createnew and overwrite exclude each other", hint="send one of them")
    if wishes["append"]:
        raise UsageError(
            "appending to a published extract is not offered", hint="publish with overwrite"
        )
    project = sent.find("project")
    encrypt = _encrypts(sent, call)
    return PublishRequest(
        kind=kind,
        file_type=Declared(kind, call.query.get(f"{kind}Type", ""), filename).file_type(),
        name=text_of(sent, "name"),
        project_id="" if project is None else project.get("id") or "",
        description=sent.get("description") or "",
        encrypt=encrypt,
        replaces=replaces,
        show_tabs=bool_of(sent.get("showTabs")) or False,
        logins=tuple(_logins(sent)),
    )


def _encrypts(sent: Element, call: Call) -> bool | None:
    said = {bool_of(sent.get("encryptExtracts")), bool_of(call.query.get("encryptExtracts"))}
    if len(said - {None}) > 1:
        raise UsageError("encryptExtracts is said twice, and differently")
    return next(iter(said - {None}), None)


def _logins(sent: Element) -> Iterator[Login]:
    """Credentials to embed, of the item or of one connection; with `embed="false"` the client wants them forgotten."""
    connections = sent.find("connections")
    for holder in (sent, *(connections.all("connection") if connections is not None else ())):
        for credentials in holder.all("connectionCredentials"):
            if bool_of(credentials.get("embed")) is not False:
                yield Login(
                    credentials.get("name") or "",
                    SecretBytes((credentials.get("password") or "").encode()),
                    server=holder.get("serverAddress") or "",
                    port=holder.get("serverPort") or "",
                )


def _published(kind: ContentKind, call: Call, row: ContentRow, *, as_job: bool) -> Answer:
    if as_job:
        # the item is there; the job looks at it once more, and leaves a receipt
        job = call.services.content.look_again(call.identity, kind, row.id)
        return Answer([job_element(job)], 202)
    named = call.services.content.get(call.identity, kind, row.id)
    return Answer([content_element(call, named)], 201)


def _upload_element(upload: UploadRow) -> Element:
    """`fileSize` in whole MiB, as the clients show it."""
    return element(
        "fileUpload", {"uploadSessionId": upload.id, "fileSize": upload.bytes // _MEBIBYTE}
    )


_CREDENTIALS = Shape(
    {
        **read("name", "password", "embed"),
        "oAuth": as_it_is("it keeps passwords and no OAuth tokens", "false"),
    }
)
_CONNECTION = Shape(read("serverAddress", "serverPort"), {"connectionCredentials": _CREDENTIALS})
_NO_THUMBNAILS = as_it_is("it makes no thumbnails")
_WAYS = ("append", "asJob", "createnew", "overwrite", "replace", "skipConnectionCheck")


def _publish_route(kind: ContentKind, noun: Noun) -> Route:
    published = Shape(
        {
            **read("name", "description", "encryptExtracts"),
            **EXTRAS[kind],
            **dict.fromkeys(
                ("thumbnailsUserId", "thumbnailsGroupId", "generateThumbnailsAsUser"),
                _NO_THUMBNAILS,
            ),
        },
        {
            "project": Shape(read("id")),
            "connectionCredentials": _CREDENTIALS,
            "connections": Shape(children={"connection": _CONNECTION}),
            **EXTRA_CHILDREN[kind],
        },
    )
    return Route(
        "POST",
        f"/sites/{{site}}/{kind}s",
        partial(publish, kind),
        noun,
        streams=True,
        check_first=check_may_publish,
        takes=request(**{kind: published}),
        query=read(*_WAYS, "encryptExtracts", "uploadSessionId", f"{kind}Type"),
    )


ROUTES = (
    _publish_route(ContentKind.DATASOURCE, Noun.DATASOURCE),
    _publish_route(ContentKind.WORKBOOK, Noun.WORKBOOK),
    Route("POST", "/sites/{site}/fileUploads", start_upload, Noun.UPLOAD),
    Route(
        "PUT",
        "/sites/{site}/fileUploads/{upload}",
        append_chunk,
        Noun.UPLOAD,
        streams=True,
        check_first=check_may_publish,
    ),
)
