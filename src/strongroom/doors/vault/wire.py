"""Requests and answers of Vault's interface as values: bodies, durations, errors and their status codes."""

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping
from json.encoder import encode_basestring_ascii as _quoted
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qsl

from strongroom.crypto.secret import SecretBytes
from strongroom.errors import (
    AuthenticationError,
    ConflictError,
    FormatError,
    IntegrityError,
    NotFoundError,
    PermissionDeniedError,
    StateError,
    StrongroomError,
    UsageError,
)
from strongroom.ids import new_id
from strongroom.system.compat import override

_Item = TypeVar("_Item")
BODILESS = frozenset({204, 304})
"""The statuses behind which no body comes (RFC 9110 section 6.4.1), and that a caller may have chosen."""
MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_STRANGERS_BYTES = 64 * 1024
"""Bytes of a body without a valid token: two ids, or a token."""
MAX_DEPTH = 32
MAX_FIELDS = 1000


def _no_number(_: str) -> None:
    raise ValueError


def _finite(text: str) -> float:
    found = float(text)
    if not math.isfinite(found):
        raise ValueError  # no JSON spells what that would become
    return found


# made once: json.loads and json.dumps with options make theirs anew in every call
_ENCODER = json.JSONEncoder(separators=(",", ":"))
_DECODER = json.JSONDecoder(parse_constant=_no_number, parse_float=_finite)
_TEXTS = json.JSONEncoder(ensure_ascii=False)
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_SAME = '"lease_id":"","renewable":false,"lease_duration":0,"data":'
_NONE = ',"wrap_info":null,"warnings":null,"auth":null'
_FORM = "application/x-www-form-urlencoded"
_INSIDE = "the installation cannot do this now; its log says more"


class ServerFaultError(StrongroomError):
    """A refusal that Vault answers with status 500, by which its clients know it."""


_STATUS: tuple[tuple[type[StrongroomError], int], ...] = (
    (ServerFaultError, 500),
    (NotFoundError, 404),
    (AuthenticationError, 403),
    (PermissionDeniedError, 403),
    (UsageError, 400),
    (ConflictError, 400),
    (StateError, 400),
    (IntegrityError, 400),
    (FormatError, 400),
)

MAX_PATH = 1024
"""Characters of a path, with the `/v1/` before it."""


class Request(NamedTuple):
    """A request whose body was read.

    Attributes:
        operation: `read`, `list`, `write`, `patch` or `delete`.
        path: The path behind `/v1/`, without slashes at its ends.
        token: The caller's token; empty without one.
        wrap_ttl: For how long the answer shall wait for another reader, as the client wrote it; empty for no such wish.
        digest: SHA-256 of the head, if the same bytes were a head before; else empty.
    """

    operation: str
    path: str
    query: Mapping[str, str]
    body: bytes
    content_type: str
    token: SecretBytes
    wrap_ttl: str = ""
    peer: str = ""
    digest: bytes = b""

    @override
    def __repr__(self) -> str:
        """Nothing of the body, which may be a secret."""
        return f"Request({self.operation!r}, {self.path!r})"


class Answer(NamedTuple):
    """The result of a handler.

    Attributes:
        data: The member `data`; None for none, and with nothing else the answer is empty (204).
        auth: The member `auth`, of sign-ins.
        whole: A whole body in place of the usual members.
        status: Another status than 200 or 204.
        beside: Members of the body beside `data`, which older clients read there.
    """

    data: Mapping[str, object] | None = None
    auth: Mapping[str, object] | None = None
    wrap_info: Mapping[str, object] | None = None
    whole: Mapping[str, object] | bytes | None = None
    status: int = 0
    warnings: tuple[str, ...] = ()
    beside: Mapping[str, object] = MappingProxyType({})

    @override
    def __repr__(self) -> str:
        """Nothing of the members, which may be secrets."""
        return f"Answer({self.code()})"

    def code(self) -> int:
        """The status of the answer."""
        if self.status:
            return self.status
        empty = self.data is None and self.auth is None and self.whole is None
        return 204 if empty and self.wrap_info is None and not self.warnings else 200

    def body(self) -> bytes:
        """The bytes of the answer; empty with a status that has none: what follows would be read as the next answer."""
        if self.code() in BODILESS:
            return b""
        if isinstance(self.whole, bytes):
            return self.whole
        if self.whole is not None:
            return rendered(self.whole)
        if self.auth is None and self.wrap_info is None and not (self.warnings or self.beside):
            # nearly all answers: what is the same in each of them is not spelled anew
            return f'{{"request_id":"{new_id()}",{_SAME}{_spelled(self.data)}{_NONE}}}\n'.encode()
        return rendered(
            {
                **self.beside,
                "request_id": new_id(),
                "lease_id": "",
                "renewable": False,
                "lease_duration": 0,
                "data": self.data,
                "wrap_info": self.wrap_info,
                "warnings": list(self.warnings) or None,
                "auth": self.auth,
            }
        )


def _spelled(data: Mapping[str, object] | None) -> str:
    """The text that the encoder gives; most answers have texts and numbers only, which need none made for them."""
    if data is None:
        return "null"
    parts = []
    for name, value in data.items():
        if type(value) is str:
            parts.append(f"{_quoted(name)}:{_quoted(value)}")
        elif type(value) is int:
            parts.append(f"{_quoted(name)}:{value}")
        else:
            return _ENCODER.encode(data)
    return f"{{{','.join(parts)}}}"


def rendered(value: object) -> bytes:
    """A value as JSON."""
    return _ENCODER.encode(value).encode() + b"\n"


def refusal(error: StrongroomError) -> Answer:
    """The answer for an error; what is wrong inside the installation is nobody's business outside."""
    for kind, status in _STATUS:
        if isinstance(error, kind):
            return errors(status, error.with_hint if kind is StateError else error.message)
    return errors(503, _INSIDE)


def errors(status: int, *messages: str) -> Answer:
    """An answer with messages."""
    return Answer(whole={"errors": list(messages)}, status=status)


def parsed_body(request: Request) -> dict[str, Any]:
    """The members of a request's body: JSON, or the form that older clients post; `null` is how some say nothing.

    Raises:
        FormatError: The body is neither, or too deep or too wide.
    """
    if not request.body.strip():
        return {}
    # curl says that JSON is a form unless it is told otherwise, and everybody lets it
    is_json = request.body.lstrip().startswith(b"{")
    if not is_json and request.content_type.partition(";")[0].strip().lower() == _FORM:
        try:
            pairs = parse_qsl(
                request.body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS
            )
        except ValueError:
            raise FormatError("error parsing the form") from None
        return dict(pairs)
    try:
        found = _decoded(request.body.decode())
    except (ValueError, RecursionError):
        raise FormatError("error parsing JSON") from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise FormatError("error parsing JSON: no object")
    return found


def _decoded(text: str) -> object:
    """A value of JSON, which is not too deep, and whose texts are text.

    Raises:
        ValueError: The text is no JSON; JSON can spell halves of characters, which no text has.
        FormatError: The value is too deep.
    """
    found: object = _DECODER.decode(text)
    if isinstance(found, dict) and any(isinstance(one, dict | list) for one in found.values()):
        _check_depth(found)
    if _HALF.search(text):
        _TEXTS.encode(found).encode()  # an error of this is a ValueError
    return found


def _check_depth(value: object) -> None:
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return
    raise FormatError("error parsing JSON: too deep")


def _listed(name: str, text: str) -> list[str]:
    found = text.split(",", MAX_FIELDS)
    return _bounded(name, found)


def _bounded(name: str, listed: list[_Item]) -> list[_Item]:
    """A list that is not too long: each of its items may cost a look at every rule of a policy, or at a row."""
    if len(listed) > MAX_FIELDS:
        raise UsageError(f"{name} has more than {MAX_FIELDS} items")
    return listed


class Fields:
    """The members of a body, each taken by its type; forms have texts only, so a text may stand for a number or a truth."""

    def __init__(self, members: Mapping[str, Any]) -> None:
        self.members = members

    def __contains__(self, name: str) -> bool:
        return self.members.get(name) is not None

    def text(self, name: str, default: str = "") -> str:
        """A text.

        Raises:
            UsageError: The member is no text.
        """
        found = self.members.get(name)
        if found is None:
            return default
        if isinstance(found, bool) or not isinstance(found, str | int):
            raise UsageError(f"{name} should be a text")
        return str(found)

    def number(self, name: str, default: int = 0) -> int:
        """A whole number.

        Raises:
            UsageError: The member is no whole number from 0.
        """
        found = self.members.get(name)
        if found is None or found == "":
            return default
        if isinstance(found, str) and found.isascii() and found.isdigit() and len(found) < 16:
            return int(found)
        if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found < 2**53:
            raise UsageError(f"{name} should be a whole number")
        return found

    def number_if(self, name: str) -> int | None:
        """A whole number; None where the member is missing."""
        return self.number(name) if name in self else None

    def truth(self, name: str, *, default: bool = False) -> bool:
        """True or false.

        Raises:
            UsageError: The member is neither.
        """
        found = self.members.get(name)
        if found is None or found == "":
            return default
        words = {"true": True, "1": True, "false": False, "0": False}
        if isinstance(found, str) and found.lower() in words:
            return words[found.lower()]
        if not isinstance(found, bool):
            raise UsageError(f"{name} should be true or false")
        return found

    def truth_if(self, name: str) -> bool | None:
        """True or false; None where the member is missing."""
        return self.truth(name) if name in self else None

    def texts(self, name: str) -> list[str]:
        """A list of texts, or a text with commas.

        Raises:
            UsageError: The member is neither.
        """
        found = self.members.get(name)
        if found is None:
            return []
        if isinstance(found, str):
            found = [one.strip() for one in _listed(name, found) if one.strip()]
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            raise UsageError(f"{name} should be a list of texts")
        return _bounded(name, found)

    def numbers(self, name: str) -> list[int]:
        """A list of whole numbers, or a text with commas.

        Raises:
            UsageError: The member is neither.
        """
        found = self.members.get(name)
        listed = _listed(name, found) if isinstance(found, str) else [] if found is None else found
        if not isinstance(listed, list):
            raise UsageError(f"{name} should be a list of whole numbers")
        _bounded(name, listed)
        return [Fields({name: one}).number(name) for one in listed]

    def mapping(self, name: str) -> dict[str, Any]:
        """An object, or the text of one in JSON.

        Raises:
            UsageError: The member is neither.
        """
        found = self.members.get(name)
        if isinstance(found, str):
            try:
                found = _decoded(found)
            except (ValueError, RecursionError):
                raise UsageError(f"{name} should be an object") from None
        if found is None:
            return {}
        if not isinstance(found, dict):
            raise UsageError(f"{name} should be an object")
        return found

    def data(self, name: str) -> bytes:
        """Bytes, from base64; empty where the member is missing.

        Raises:
            UsageError: The member is no base64.
        """
        found = self.members.get(name)
        if found is None:
            return b""
        if not isinstance(found, str):
            raise UsageError(f"{name} should be a text in base64")
        try:
            return base64.b64decode(found, validate=True)
        except (binascii.Error, ValueError):
            raise UsageError(f"failed to base64-decode {name}") from None
