"""Publishing, in one request or from a chunked upload, and the chunks themselves (clients.md 1.4).

The XML part comes first: everything is decided before the first byte of the file, which is then sealed as it arrives.
"""

from collections.abc import Iterator
from functools import partial

from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, UsageError
from strongroom.extracts.model import ContentKind, Declared
from strongroom.jobs.model import JobKind
from strongroom.repository.rows import ContentRow, UploadRow
from strongroom.services.publishing import Login, PublishRequest
from strongroom.web.api import xml
from strongroom.web.api.content import content_element
from strongroom.web.api.errors import Noun
from strongroom.web.api.jobs import job_element
from strongroom.web.api.multipart import Part, boundary_of, read_parts
from strongroom.web.api.routing import Answer, Call, Route
from strongroom.web.api.scope import own_site

XML_PART = "request_payload"
FILE_PARTS = {
    ContentKind.DATASOURCE: "tableau_datasource",
    ContentKind.WORKBOOK: "tableau_workbook",
}
CHUNK_PART = "tableau_file"
_MEBIBYTE = 1024 * 1024


def publish(kind: ContentKind, call: Call) -> Answer:
    """Both ways; `asJob=true` is answered by a job that looks at what was published."""
    own_site(call)
    parts = _parts(call)
    payload = next(parts, None)
    if payload is None or payload.name != XML_PART:
        raise FormatError(f"the first part of a publish request is {XML_PART!r}")
    sent = xml.required(xml.parse_request(payload.read(xml.MAX_REQUEST_BYTES)), kind)
    upload_id = call.query.get("uploadSessionId", "")
    if upload_id:
        request = _request(kind, call, sent, "")
        row = call.node.uploads.publish(call.identity, request, upload_id)
    else:
        row = _publish_file(kind, call, sent, parts)
    return _published(kind, call, row)


def start_upload(call: Call) -> Answer:
    """A new upload."""
    own_site(call)
    return Answer([_upload_element(call.node.uploads.start(call.identity))], 201)


def append_chunk(call: Call) -> Answer:
    """One chunk: a whole envelope of its own, counted when it is on the disk."""
    own_site(call)
    with call.node.uploads.begin_part(
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
    kind: ContentKind, call: Call, sent: xml.Element, parts: Iterator[Part]
) -> ContentRow:
    part = next(parts, None)
    if part is None or part.name != FILE_PARTS[kind]:
        raise FormatError(f"the second part of a publish request is {FILE_PARTS[kind]!r}")
    with call.node.publishing.begin(
        call.identity, _request(kind, call, sent, part.filename), call.declared_bytes
    ) as publication:
        for chunk in part.chunks():
            publication.write(chunk)
        if next(parts, None) is not None:
            raise FormatError("a publish request has two parts")
        return publication.finish()


def _request(kind: ContentKind, call: Call, sent: xml.Element, filename: str) -> PublishRequest:
    wishes = {
        name: xml.bool_of(call.query.get(name)) for name in ("append", "overwrite", "replace")
    }
    if wishes["append"]:
        raise UsageError(
            "appending to a published extract is not offered", hint="publish with overwrite"
        )
    project = sent.find("project")
    encrypt = sent.get("encryptExtracts", call.query.get("encryptExtracts"))
    return PublishRequest(
        kind=kind,
        file_type=Declared(kind, call.query.get(f"{kind}Type", ""), filename).file_type(),
        name=xml.text_of(sent, "name"),
        project_id="" if project is None else project.get("id", ""),
        description=sent.get("description", ""),
        encrypt=xml.bool_of(encrypt),
        replaces=bool(wishes["overwrite"] or wishes["replace"]),
        logins=tuple(_logins(sent)),
    )


def _logins(sent: xml.Element) -> Iterator[Login]:
    """Credentials to embed; with `embed="false"` the client wants them forgotten."""
    for credentials in sent.iter("connectionCredentials"):
        if xml.bool_of(credentials.get("embed")) is not False:
            password = SecretBytes(credentials.get("password", "").encode())
            yield Login(credentials.get("name", ""), password)


def _published(kind: ContentKind, call: Call, row: ContentRow) -> Answer:
    if xml.bool_of(call.query.get("asJob")):
        # the item is there; the job looks at it once more, and leaves a receipt
        job = call.node.jobs.enqueue(JobKind.REWRAP, row.site_id, call.actor, content_ids=[row.id])
        return Answer([job_element(job)], 202)
    named = call.node.content.get(call.identity, kind, row.id)
    return Answer([content_element(call, named)], 201)


def _upload_element(upload: UploadRow) -> xml.Element:
    """`fileSize` in whole MiB, as the clients show it."""
    return xml.element(
        "fileUpload", {"uploadSessionId": upload.id, "fileSize": upload.bytes // _MEBIBYTE}
    )


ROUTES = (
    Route(
        "POST",
        "/sites/{site}/datasources",
        partial(publish, ContentKind.DATASOURCE),
        Noun.DATASOURCE,
        streams=True,
    ),
    Route(
        "POST",
        "/sites/{site}/workbooks",
        partial(publish, ContentKind.WORKBOOK),
        Noun.WORKBOOK,
        streams=True,
    ),
    Route("POST", "/sites/{site}/fileUploads", start_upload, Noun.UPLOAD),
    Route("PUT", "/sites/{site}/fileUploads/{upload}", append_chunk, Noun.UPLOAD, streams=True),
)
