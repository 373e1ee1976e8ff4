"""Requests as nearly every client sends them, read without the parser: whole in one piece, of a few known headers.

What is read here is so plain that no two parsers can read it in two ways. Everything else – a body in chunks, a header
that is not known, a second request behind the first – is no business of this module, and goes to the parser.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from strongroom.crypto.secret import SecretBytes
from strongroom.doors.vault.wire import MAX_PATH, Answer, Request
from strongroom.recent import Recent

MOST_BYTES = 16 * 1024
"""Of a request with its head: what is larger may take long, and others would wait for it."""
MOST_HEADS = 40_000
"""So many heads are known at most, some 20 MB."""
_MOST_PATH = MAX_PATH - len("/v1/")  # the usual way refuses a longer one
_LINE = re.compile(rb"(?:POST|PUT) /v1/([A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+){2,3}) HTTP/1\.1")
_HEADER = re.compile(rb"([A-Za-z-]+): ?([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)")
_USES = re.compile(r"[^/]+/(?:encrypt|decrypt|rewrap|datakey|hmac|sign|verify)/.+")
_HOST = re.compile(rb"[A-Za-z0-9._-]+(?::[0-9]{1,5})?")
_KNOWN = frozenset({b"host", b"x-vault-token", b"content-type", b"content-length"})
_IGNORED = frozenset({b"user-agent", b"accept", b"accept-encoding", b"x-vault-request"})
_REASON = {200: b"OK", 400: b"Bad Request", 403: b"Forbidden", 404: b"Not Found"}
_END, _BREAK, _TOKEN = b"\r\n\r\n", b"\r\n", b"\r\nx-vault-token:"
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,5}")
_NO_QUERY: Mapping[str, str] = MappingProxyType({})
_OTHER_STATUS = b"Refused"


class Heads:
    """The heads that were read: one that comes again, byte by byte the same, is not read anew.

    A client that asks again and again sends the same head each time. Of a head its digest is kept, and where in it the
    token stands; not the token.
    """

    def __init__(self) -> None:
        self._known: Recent[bytes, _Head] = Recent(MOST_HEADS)

    def parsed(self, data: bytes, peer: str) -> Request | None:
        """The request of some bytes, or None if it is not plain; such a request uses keys, or is refused."""
        end = data.find(_END)
        if end < 0 or len(data) > MOST_BYTES:
            # long, or cut in its head, where a token may end too soon and be another one
            return None
        head, body = data[:end], data[end + len(_END) :]
        digest = hashlib.sha256(head).digest()
        known = self._known.get(digest)
        came_before = known is not None
        if known is None:
            known = _read(head)
            if known is None:
                return None
            self._known.keep(digest, known)
        if known.length != len(body) or b"batch_input" in body:
            return None
        start, stop = known.token
        return Request(
            "write",
            known.path,
            _NO_QUERY,
            body,
            known.content,
            SecretBytes(head[start:stop]),
            "",
            peer,
            digest if came_before else b"",
        )


class _Head(NamedTuple):
    """The meaning of a head that was read.

    Attributes:
        path: The path behind `/v1/`.
        content: The type of the body.
        length: The length of the body in bytes.
        token: Where in the head the token begins and ends.
    """

    path: str
    content: str
    length: int
    token: tuple[int, int]


def _read(head: bytes) -> _Head | None:
    first, *lines = head.split(b"\r\n")
    line = _LINE.fullmatch(first)
    headers = _headers(lines) if line is not None else None
    if line is None or headers is None or len(line[1]) > _MOST_PATH:
        return None
    path, token = line[1].decode(), headers.get(b"x-vault-token", b"")
    if not _USES.fullmatch(path) or path.startswith(("sys/", "auth/")) or not token:
        return None
    length = headers.get(b"content-length", b"")
    if not _LENGTH.fullmatch(length) or not _HOST.fullmatch(headers.get(b"host", b"")):
        return None
    content = headers.get(b"content-type", b"").decode()
    begin = head.lower().index(_TOKEN) + len(_TOKEN)  # no value of a header has a line break
    stop = head.find(_BREAK, begin)
    stop = len(head) if stop < 0 else stop
    return _Head(path, content, int(length), (stop - len(token), stop))


def _headers(lines: Sequence[bytes]) -> dict[bytes, bytes] | None:
    found: dict[bytes, bytes] = {}
    for line in lines:
        pair = _HEADER.fullmatch(line)
        if pair is None:
            return None
        name = pair[1].lower()
        if name in found:
            return None
        if name == b"connection":
            if pair[2].lower() != b"keep-alive":
                return None
        elif name not in _KNOWN and name not in _IGNORED:
            return None
        found[name] = pair[2]
    return found


class Lines:
    """The lines of headers that all answers of a moment share, spelled once.

    Args:
        own: Headers behind those of the server.
    """

    def __init__(self, own: Sequence[tuple[bytes, bytes]]) -> None:
        self._own = own
        self._kept: tuple[Sequence[tuple[bytes, bytes]], bytes] = (), b""

    def of(self, usual: Sequence[tuple[bytes, bytes]]) -> bytes:
        """The lines of the server's headers, of which it makes new ones each second, and of our own."""
        kept, lines = self._kept  # two servers in one process may take turns
        if usual is not kept:
            lines = b"".join([b"%b: %b\r\n" % one for one in (*usual, *self._own)])
            self._kept = usual, lines
        return lines


def rendered(answer: Answer, lines: bytes, *, close: bool) -> bytes:
    """The bytes of an answer.

    Args:
        answer: The answer.
        lines: The lines of all headers but those of the body.
        close: Whether the connection ends behind it.
    """
    body, status = answer.body(), answer.code()
    reason, end = (
        _REASON.get(status, _OTHER_STATUS),
        b"connection: close\r\n\r\n" if close else b"\r\n",
    )
    if not body:
        return b"HTTP/1.1 %d %b\r\n%b%b" % (status, reason, lines, end)
    return b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%b%b%b" % (
        status,
        reason,
        len(body),
        lines,
        end,
        body,
    )
