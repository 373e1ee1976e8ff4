"""Reads of objects beside boto3's client: signed by botocore, over the client's own connections, without the rest of it.

A read through the client costs the processor some three times what the request itself does: parameters are checked
against a model of the service, an endpoint is worked out by rules, dozens of hooks are called. The first bytes of a
range of an extract are four reads, so they are made here. The client makes the first one, and shows by it where a read
goes and for which region it is signed; TLS, proxy, timeouts and the pool of connections are the client's own. Whatever
the store answers but an object is told by the client's exceptions, of which `bucket` makes its outcomes.
"""

import base64
import html
import http.client
import re
import threading
import zlib
from typing import Any, Final, NamedTuple

MOST_ERROR_BYTES: Final = 64 * 1024
"""So much of an error's body is read; the documents of S3 have less than one KiB."""
_OPERATION: Final = "GetObject"
_EVENT: Final = f"before-send.s3.{_OPERATION}"
_SIGNED: Final = re.compile(
    r"AWS4-HMAC-SHA256 Credential=[^/, ]+/[0-9]{8}/([a-z0-9-]+)/s3/aws4_request, .*"
)
_CODE: Final = re.compile(rb"<Code>\s*([A-Za-z0-9.]{1,100})\s*</Code>")
_MESSAGE: Final = re.compile(rb"<Message>([^<]{1,2000})</Message>")
_CHECKSUM, _CHECKSUM_WISH = "x-amz-checksum-crc32", "x-amz-checksum-mode"
_OTHER_AUTHORITY: Final = "x-amz-s3session-token"
_OK, _PART = 200, 206
_ELSEWHERE: Final = frozenset({*range(300, 400), 400})
"""Statuses by which a store says that the bucket is in another region, or that a request was not made as it wants it."""


class Got(NamedTuple):
    """The bytes of an object, or of a range of it, and its ETag."""

    data: bytes
    tag: str


class _Way(NamedTuple):
    """How the client reads.

    Attributes:
        base: The URL of an object up to its key.
        region: The region for which requests are signed.
        agent: The client's name for itself.
    """

    base: str
    region: str
    agent: bytes


class _Last(threading.local):
    """The last read that the client sent in this thread."""

    request: Any = None


class Reading:
    """The reads of one client; threads share it.

    Args:
        client: A client of S3.
        credentials: The credentials by which the client signs, and which may renew themselves.
        bucket: The bucket of the objects.
    """

    def __init__(self, client: Any, credentials: Any, bucket: str) -> None:
        self._client, self._credentials, self._bucket = client, credentials, bucket
        self._last = _Last()
        self._way: _Way | None = None
        client.meta.events.register(_EVENT, self._saw)

    def whole(self, key: str) -> Got:
        """An object, whole.

        Raises:
            ClientError: The store answers with an error.
            BotoCoreError: The store does not answer, or not with all bytes of the object.
        """
        way = self._way
        answer = None if way is None else self._answer(way, key, {_CHECKSUM_WISH: "ENABLED"})
        if answer is None:
            return self._shown(key, {})
        data = _body(answer).read()
        _check_sum(data, answer.headers.get(_CHECKSUM, ""))
        return Got(data, answer.headers.get("etag", ""))

    def range(self, key: str, start: int, count: int) -> bytes:
        """Bytes of an object from an offset on; other ones, or another number, if the store gives such.

        Raises:
            ClientError: The store answers with an error.
            BotoCoreError: The store does not answer, or not with all bytes that it announced.
        """
        way, wanted = self._way, f"bytes={start}-{start + count - 1}"
        answer = None if way is None else self._answer(way, key, {"Range": wanted})
        if answer is None:
            return self._shown(key, {"Range": wanted}).data
        return _at_most(answer, count)

    # ---- inside ----------------------------------------------------------------------------------

    def _shown(self, key: str, options: dict[str, str]) -> Got:
        """Read by the client, and learn how it does."""
        self._last.request = None
        answer = self._client.get_object(Bucket=self._bucket, Key=key, **options)
        data = answer["Body"].read()
        self._way = _way_of(self._last.request, key)
        self._last.request = None  # holds a signature, and in a session of a role its token
        return Got(data, answer["ETag"])

    def _saw(self, request: Any, **_: Any) -> None:
        self._last.request = request

    def _answer(self, way: _Way, key: str, headers: dict[str, str]) -> Any:
        """The answer, whose body is not read yet; None if the client shall ask, who knows how to find a bucket's region."""
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest

        request = AWSRequest(
            "GET", way.base + key, headers={**headers, "User-Agent": way.agent}, stream_output=True
        )
        S3SigV4Auth(self._credentials.get_frozen_credentials(), "s3", way.region).add_auth(request)
        answer = self._client._endpoint.http_session.send(request.prepare())  # noqa: SLF001
        if answer.status_code in {_OK, _PART}:
            return answer
        told = _body(answer).read(MOST_ERROR_BYTES)
        answer.raw.close()
        if answer.status_code in _ELSEWHERE:
            self._way = None
            return None
        raise _error(answer.status_code, told)


def _way_of(request: Any, key: str) -> _Way | None:
    """How a request was made; None if not in the way that is known here, so that the client goes on to read."""
    if request is None or not request.url.endswith(f"/{key}") or "?" in request.url:
        return None
    headers = request.headers
    signed = _SIGNED.fullmatch(_text(headers.get("Authorization", "")))
    if signed is None or _OTHER_AUTHORITY in headers:
        return None
    return _Way(request.url.removesuffix(key), signed[1], headers.get("User-Agent", b""))


def _error(status: int, told: bytes) -> Exception:
    """The client's exception for an answer."""
    from botocore.exceptions import ClientError

    code, message = _CODE.search(told), _MESSAGE.search(told)
    # an error without a code has the words of its status, as the client gives it; one with a code alone has none
    error = {"Code": code[1].decode()} if code else {"Code": str(status)}
    if message or not code:
        words = html.unescape(_text(message[1])) if message else ""
        error["Message"] = words or http.client.responses.get(status, "")
    made: Exception = ClientError(
        {"Error": error, "ResponseMetadata": {"HTTPStatusCode": status}}, _OPERATION
    )
    return made


def _body(answer: Any) -> Any:
    """The body, which tells if fewer bytes come than the store announced."""
    from botocore.response import StreamingBody

    return StreamingBody(answer.raw, _length(answer))


def _length(answer: Any) -> int | None:
    told = answer.headers.get("content-length", "")
    return int(told) if told.isascii() and told.isdecimal() else None


def _at_most(answer: Any, count: int) -> bytes:
    """The bytes of a range; at most one more, where a store gives more than was asked for."""
    body, length = _body(answer), _length(answer)
    if length is not None and length <= count:
        whole: bytes = body.read()
        return whole
    part: bytes = body.read(count + 1)
    answer.raw.close()  # the rest of the answer would be read as the next one
    return part


def _check_sum(data: bytes, wanted: str) -> None:
    """Compare an object with the checksum that the store keeps of it; one of parts is none of the whole."""
    from botocore.exceptions import FlexibleChecksumError

    if not wanted or "-" in wanted:
        return
    found = base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()
    if found != wanted:
        raise FlexibleChecksumError(
            error_msg=f"expected checksum {wanted} did not match calculated checksum: {found}"
        )


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
