"""The application of the door: reads a request, admits its caller, runs its route, and answers when its event is durable.

There is no framework between the server and the routes. Each call with a valid token leaves exactly one event; what is
noted of a call without one is bounded.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from strongroom.access.acl import Capability
from strongroom.access.service_tokens import seconds
from strongroom.crypto.secret import SecretBytes
from strongroom.doors.http import feed
from strongroom.doors.http.gate import WORDS, Gate
from strongroom.doors.http.lanes import BusyError, ClientGoneError, Lane, LaneLimits
from strongroom.doors.http.outer import Drain, Outer
from strongroom.doors.http.protocol import EXTENSION, BodyTap
from strongroom.doors.vault import approle, kv, protocol, system, tokens, transit
from strongroom.doors.vault.batches import Batches, Done
from strongroom.doors.vault.ports import VaultServices
from strongroom.doors.vault.recorder import Recorder, Written
from strongroom.doors.vault.routing import Call, Handle, Route, Table
from strongroom.doors.vault.wire import (
    BODILESS,
    MAX_BODY_BYTES,
    MAX_PATH,
    MAX_STRANGERS_BYTES,
    Answer,
    Fields,
    Request,
    errors,
    parsed_body,
    refusal,
)
from strongroom.errors import (
    AuthenticationError,
    FormatError,
    NotFoundError,
    StrongroomError,
    UsageError,
)
from strongroom.eventlog.base import Event
from strongroom.eventlog.events import service_key_events
from strongroom.eventlog.throttled import Throttle
from strongroom.repository.service_rows import ServiceMountRow
from strongroom.services.service_keys.by import By
from strongroom.services.service_keys.tokens import Caller
from strongroom.services.service_keys.wrapping import check_ttl

_log = logging.getLogger("strongroom.web.vault")

TABLE = Table((*system.ROUTES, *tokens.ROUTES, *approle.ROUTES, *transit.ROUTES, *kv.ROUTES))
"""All routes; the tests go through them."""
_PREFIX = "/v1/"
_OPERATIONS = {"GET": "read", "HEAD": "read", "POST": "write", "PUT": "write"} | {
    protocol.LIST: "list",
    "DELETE": "delete",
    "PATCH": "patch",
}
_WRAPPED = frozenset({"login", "sys/wrapping/unwrap"})
"""Of the routes that are open to all, those whose answers may be wrapped."""
_OWN = ("sys", "auth/token")
_MAX_PARAMETERS = 20
_RETRY = b"5"


class Door:
    """The application.

    Args:
        services: The node.
        limits: How many calls are worked on at once, and wait.
        body: How slowly a body may come.
        gate: The gate of the node; by default one that is always open.
    """

    def __init__(
        self,
        services: VaultServices,
        limits: LaneLimits | None = None,
        body: feed.BodyLimits | None = None,
        gate: Gate | None = None,
    ) -> None:
        self._services = services
        self._gate = gate or Gate()
        self._lane = Lane("vault", limits or LaneLimits(16, 16, 2048, 2048), self._gate.working)
        self._body = body or feed.BodyLimits(whole_s=30.0)
        self._recorder = Recorder(services.events.append, self._gate.working)
        self._strangers = Throttle(services.clock)
        self.batches = Batches(self._use, self._one_look, services.events.append)
        """For plain requests that use keys."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request."""
        tap: BodyTap = scope["extensions"][EXTENSION]["tap"]
        headers: list[tuple[bytes, bytes]] = []
        try:
            request = await self._read(scope, receive, tap)
            written = Written()
            work = partial(self._recorded, request, written)
            done = await self._lane.run(tap.peer, work, lambda: tap.is_gone)
            if done.event is not None:
                await written.wait()
            answer = done.answer
        except ClientGoneError:
            answer = errors(408)  # the client has left, so this answer is never sent
        except BusyError:
            answer = errors(429, "too many calls at once; come again in some seconds")
            headers = [(b"retry-after", _RETRY)]
        except StrongroomError as error:
            answer = _refused(error)
        await _send(send, answer, headers, with_body=scope["method"] != "HEAD")

    async def _read(self, scope: Mapping[str, Any], receive: Any, tap: BodyTap) -> Request:
        headers = dict(scope["headers"])
        operation = _OPERATIONS.get(scope["method"], "")
        query = _query(scope["query_string"])
        if operation == "read" and query.get("list", "").lower() == "true":
            operation = "list"
        path = scope["path"]
        if not operation or not path.startswith(_PREFIX) or len(path) > MAX_PATH:
            raise NotFoundError("no such path")
        namespace = headers.get(b"x-vault-namespace", b"").strip(b"/ ")
        if namespace not in {b"", b"root"}:
            raise UsageError("there are no namespaces")
        token = _token_of(headers)
        most = await self._most_bytes(headers, token, tap)
        body = await feed.BodyFeed(receive, self._body, tap).collect(most)
        return Request(
            operation,
            path.removeprefix(_PREFIX).strip("/"),
            query,
            body,
            headers.get(b"content-type", b"").decode("latin-1"),
            token,
            headers.get(b"x-vault-wrap-ttl", b"").decode("latin-1").strip(),
            str((scope.get("client") or ("",))[0]),
        )

    async def _most_bytes(
        self, headers: Mapping[bytes, bytes], token: SecretBytes, tap: BodyTap
    ) -> int:
        """The most bytes of a request's body: a long one is read of whoever has a token.

        Each connection holds what came of a body until the rest is there. Strangers could fill the memory with that.
        """
        declared = headers.get(b"content-length", b"0")
        if b"transfer-encoding" not in headers and int(declared) <= MAX_STRANGERS_BYTES:
            return MAX_STRANGERS_BYTES
        admit = partial(self._is_known, token)
        is_known = await self._lane.run(tap.peer, admit, lambda: tap.is_gone)
        return MAX_BODY_BYTES if is_known else MAX_STRANGERS_BYTES

    # ---- in a thread -----------------------------------------------------------------------------

    @contextmanager
    def _one_look(self) -> Iterator[None]:
        """Within the block, a thread works a group of calls off, which are all there."""
        with self._gate.working(), self._services.service_rows.one_look():
            yield

    def _is_known(self, token: SecretBytes) -> bool:
        try:
            self._services.service_tokens.caller_of(token)
        except AuthenticationError:
            return False
        return True

    def _recorded(self, request: Request, written: Written) -> Done:
        """Work a call off, and hand its event over before this thread ends: nobody may wait for the call any more."""
        done = self._done(request)
        if done.event is not None:
            self._recorder.put(done.event, written)
        return done

    def _use(self, request: Request) -> Done | None:
        """Work a call off that only uses keys; None for one that writes, and then nothing was done."""
        try:
            return self._done(request, only_uses=True)
        except _WritesError:
            return None

    def _done(self, request: Request, *, only_uses: bool = False) -> Done:
        noted: list[Event] = []
        written: list[Event] = []

        def record(event: Event) -> None:
            self._services.events.append([event])
            written.append(event)

        by = By("service:nobody", "", record, noted.append)
        try:
            way = self._known_way(request) if only_uses else None
            caller = self._caller(request, only_uses=only_uses) if way is None else way.caller
            if caller is not None:
                by = By(caller.actor, caller.token.id, record, noted.append)
            if only_uses and caller is not None:
                answer = self._used(request, by, way or self._way(request, by, caller))
            else:
                answer = self._answer(request, by, caller)
        except StrongroomError as error:
            return Done(_refused(error), self._told(request, by, error, [*written, *noted]))
        except _WritesError:
            raise
        except Exception:  # noqa: BLE001 whatever it is, the call has its event and the client an answer
            _log.exception("unexpected error")
            failed = StrongroomError("unexpected")
            event = self._told(request, by, failed, [*written, *noted], status=500)
            return Done(errors(500, "internal error"), event)
        return Done(answer, noted[0] if noted and not written else None)

    def _told(
        self,
        request: Request,
        by: By,
        error: StrongroomError,
        there: list[Event],
        *,
        status: int = 0,
    ) -> Event | None:
        """The event of a call that was refused, unless it has one."""
        if there:
            return there[0] if there[0].id in _NOTED else None
        if by.accessor:
            return service_key_events.service_call_refused(
                by.actor,
                request.path[:MAX_PATH],
                request.operation,
                status=status or _refused(error).code(),
                accessor=by.accessor,
            )
        if not isinstance(error, AuthenticationError):
            return None
        held_back = self._strangers.turn()
        if held_back is None:
            return None
        return service_key_events.service_stranger_refused(
            reason=error.message, peer=request.peer, held_back=held_back
        )

    def _caller(self, request: Request, *, only_uses: bool) -> Caller | None:
        """The caller; None on a path that is open to all, and that never looks at a token."""
        if only_uses:
            found = self._services.service_tokens.caller_of(request.token)
            if found.token.uses_left:
                raise _WritesError
            return found
        if self._is_open(request):
            return None
        return self._services.service_tokens.admit(request.token)

    def _is_open(self, request: Request) -> bool:
        found = TABLE.find("sys", request.operation, request.path)
        if found is not None:
            return found[0].is_open
        if not (request.path.startswith("auth/") and request.path.endswith("/login")):
            return False
        try:
            mount, rest = self._services.service_mounts.find(request.path)
        except NotFoundError:
            return True  # there is nothing behind it
        found = TABLE.find(mount.kind, request.operation, rest)
        return found is None or found[0].is_open  # a role may have the name `login`

    def _answer(self, request: Request, by: By, caller: Caller | None) -> Answer:
        route, call = self._routed(request, by, caller)
        if not route.is_open:
            route.check(call.caller, call)
        ttl_s = 0
        if request.wrap_ttl and (not route.is_open or route.pattern in _WRAPPED):
            # before anything is done: whoever asks wrongly would lose what was made
            ttl_s = seconds(request.wrap_ttl, "X-Vault-Wrap-TTL")
            check_ttl(ttl_s)
        answer = route.handle(call)
        return system.wrapped(answer, call, ttl_s) if ttl_s and answer.code() < 300 else answer

    # ---- calls that only use a key ---------------------------------------------------------------

    def _used(self, request: Request, by: By, way: "_Way") -> Answer:
        fields = Fields(parsed_body(request))
        call = Call(self._services, request, by, way.caller, way.parts, fields, way.mount)
        return way.handle(call)

    def _known_way(self, request: Request) -> "_Way | None":
        """The way of the call before with this head, if no row changed since and its token did not end."""
        if not request.digest:
            return None
        found = self._services.service_rows.known(("head", request.digest))
        if not isinstance(found, _Way):
            return None
        self._services.service_tokens.check_lasts(found.caller)
        return found

    def _way(self, request: Request, by: By, caller: Caller) -> "_Way":
        """Where the path of a call leads that only uses a key.

        That, and that the caller may go there, is found once for each caller and path, and known for as long as no row of
        the database changed. Only the ways to keys that exist are kept: of names that somebody guesses there are as many
        as he likes, and they would displace what others need. A head leads to its way once it came a second time.
        """
        rows = self._services.service_rows

        def admitted() -> _Way:
            route, call = self._routed(request, by, caller)
            if route.engine != transit.ENGINE or route.exists is not None:
                raise _WritesError
            route.check(caller, call)
            return _Way(route.handle, call.parts, call.mount, caller)

        def lasting() -> _Way | None:
            found = admitted()
            if found.mount is None or not transit.is_one_of_few(found.parts):
                return None
            return found if rows.key(found.mount, found.parts["name"]) is not None else None

        way = rows.derived(("way", caller.token.id, request.path), lasting)
        if way is None:
            return admitted()
        if request.digest:
            # in the same look at the rows by which the way was judged (`_one_look`): under a later one, rights that were
            # taken away meanwhile would be kept
            rows.derived(("head", request.digest), lambda: way)
        return way

    def _routed(self, request: Request, by: By, caller: Caller | None) -> tuple[Route, Call]:
        mount, rest, engine = self._place(request.path)
        found = TABLE.find(engine, request.operation, rest)
        if found is None:
            if TABLE.knows(engine, rest):
                raise _NotSupportedError("unsupported operation")
            raise NotFoundError(f"unsupported path {request.path[:128]!r}")
        route, parts = found
        fields = Fields(parsed_body(request))
        call = Call(self._services, request, by, caller, parts, fields, mount)
        return route, call if caller is None else call._replace(
            may_at=partial(self._may_at, caller)
        )

    def _place(self, path: str) -> tuple[ServiceMountRow | None, str, str]:
        """The mount of a path, the rest as the patterns of its engine have it, and that engine."""
        if any(f"{path}/".startswith(f"{own}/") for own in _OWN):
            return None, path, "sys"
        mount, rest = self._services.service_mounts.find(path)
        return mount, rest, mount.kind

    def _may_at(self, caller: Caller, path: str) -> frozenset[Capability]:
        try:
            _, rest, engine = self._place(path)
        except NotFoundError:
            return caller.acl.capabilities(path)  # the rules of a mount that is to be made
        return TABLE.may(engine, rest, caller, path)


class _Way(NamedTuple):
    """Where a path leads, for a caller who may go there."""

    handle: Handle
    parts: Mapping[str, str]
    mount: ServiceMountRow | None
    caller: Caller


class _WritesError(Exception):
    """The call is none of those that only use keys."""


class _NotSupportedError(StrongroomError):
    """The path is known, and not for this method."""


_NOTED = frozenset(
    {
        service_key_events.SERVICE_KEY_USED,
        service_key_events.SERVICE_SECRET_READ,
        service_key_events.SERVICE_ACCESS_READ,
    }
)


def wrapped(door: Door, gate: Gate | None = None) -> Outer:
    """The application, with the layer that all answers of the house go through."""
    away = b"application/json", errors(503, WORDS).body()
    return Outer(door, Drain(seconds=5.0, most_bytes=64 * 1024 * 1024), gate, away)


def _refused(error: StrongroomError) -> Answer:
    if isinstance(error, _NotSupportedError):
        return errors(405, "1 error occurred:\n\t* unsupported operation\n\n")
    answer = refusal(error)
    if answer.code() == 503:
        _log.error("refused: %s", error)
    return answer


def _token_of(headers: Mapping[bytes, bytes]) -> SecretBytes:
    token = headers.get(b"x-vault-token", b"")
    if not token:
        scheme, _, rest = headers.get(b"authorization", b"").partition(b" ")
        token = rest.strip() if scheme.lower() == b"bearer" else b""
    return SecretBytes(token)


def _query(raw: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            raw.decode("latin-1"), keep_blank_values=True, max_num_fields=_MAX_PARAMETERS
        )
    except ValueError:
        raise FormatError(f"a query has at most {_MAX_PARAMETERS} parameters") from None
    return dict(pairs)


async def _send(
    send: Any, answer: Answer, headers: list[tuple[bytes, bytes]], *, with_body: bool
) -> None:
    body = answer.body()
    start = {
        "type": "http.response.start",
        "status": answer.code(),
        "headers": [
            *([(b"content-type", b"application/json")] if body else []),
            *(
                [(b"content-length", str(len(body)).encode())]
                if answer.code() not in BODILESS
                else []
            ),
            *headers,
        ],
    }
    await send(start)
    await send({"type": "http.response.body", "body": body if with_body else b""})
