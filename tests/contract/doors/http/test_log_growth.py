"""Whoever has no account cannot make the event log grow: each route, asked as nobody (finding S8, ST)."""

import http.client
import re
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from strongroom.access.permissions import Subject
from strongroom.clock import FixedClock, SystemClock
from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.doors.http import upkeep
from strongroom.doors.tableau.table import ROUTES
from strongroom.errors import AuthenticationError
from strongroom.ids import new_id
from strongroom.joining import admission_request, node_keys
from strongroom.joining.bootstrap_file import Credential
from strongroom.node.opening import Node
from strongroom.runtime.paths import DataPaths
from tests.contract.conftest import ADMIN, ADMIN_PASSWORD
from tests.support.web_client import Client, Served, serve

_REQUESTS = 40
_MOST_EVENTS = 22  # ten a minute, should a minute end meanwhile, and what its turn tells
_WRONG = SecretBytes(b"wrong")


def _sign_in(**credentials: str) -> str:
    words = " ".join(f'{name}="{value}"' for name, value in credentials.items())
    return f'<tsRequest><credentials {words}><site contentUrl=""/></credentials></tsRequest>'


def _admission(number: int) -> bytes:
    keys = node_keys.make(new_id(), f"node{number + 2}")
    credential = Credential(new_id(), rng.new_key())
    return admission_request.serialize(admission_request.make(keys, credential, bytes(32)))


def _bodies(route: str, number: int) -> list[bytes | str]:
    """What a stranger may send there; a different one each time where that matters."""
    if route == "POST /auth/signin":
        return [
            _sign_in(name=f"nobody{number}", password="x"),
            _sign_in(name=ADMIN, password="wrong"),
            _sign_in(personalAccessTokenName=f"t{number}", personalAccessTokenSecret="a:b"),
        ]
    if route == "POST /tsm/nodes":
        return [_admission(number)]
    return [""]


_OWN = ["POST /tsm/nodes", "GET /healthz", "GET /readyz", "GET /"]
ALL = [*(f"{route.method} {route.path}" for route in ROUTES), *_OWN]


@pytest.fixture(scope="module")
def served_once(pristine_node: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for all routes: each is asked once, and events are counted before and after."""
    home = shutil.copytree(pristine_node, tmp_path_factory.mktemp("growth") / "node")
    with serve(Path(home)) as running:
        yield running


@pytest.mark.parametrize("route", ALL)
def test_refused_requests_of_strangers_leave_few_events(served_once: Served, route: str) -> None:
    served = served_once
    method, path = route.split(" ")
    for number in range(len(_bodies(route, 0))):
        before = _events(served.node)
        for turn in range(_REQUESTS if "{" not in path else 3):
            _ask(served, method, path, _bodies(route, turn)[number])
        allowed = _MOST_EVENTS if route in {"POST /auth/signin", "POST /tsm/nodes"} else 0
        assert _events(served.node) - before <= allowed


def _events(node: Node) -> int:
    return sum(1 for _ in node.events.read())


def _ask(served: Served, method: str, path: str, body: bytes | str) -> int:
    if path in {one.split(" ")[1] for one in _OWN}:
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
        try:
            connection.request(method, path, body or None)
            return connection.getresponse().status
        finally:
            connection.close()
    return Client(served.port).send(method, re.sub(r"\{\w+\}", "x", path), body).status


# ---- the service itself, with a clock that stands still -----------------------------------------------


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(SystemClock().now())


@pytest.fixture
def timed(node_dir: Path, clock: FixedClock) -> Iterator[Node]:
    node = Node(DataPaths(node_dir), clock)
    yield node
    node.close()


def _failures(node: Node) -> list[tuple[object, object, object]]:
    found = []
    for record in node.events.read():
        details = record["details"]
        if record["id"] == "SIGN_IN_FAILED" and isinstance(details, dict):
            found.append((details["method"], details["reason"], details["held_back"]))
    return found


def _try_token(node: Node, secret: SecretBytes = _WRONG) -> None:
    with pytest.raises(AuthenticationError):
        node.auth.sign_in_with_token("t", secret, "")


def test_wrong_tokens_are_one_event_a_minute_with_a_count(timed: Node, clock: FixedClock) -> None:
    for _ in range(500):
        _try_token(timed)
    assert _failures(timed) == [("token", "unknown token", 0)]
    clock.moment += timedelta(minutes=1)
    _try_token(timed)
    assert _failures(timed)[1:] == [("token", "unknown token", 499)]


def test_wrong_passwords_are_ten_events_a_minute_whoever_is_meant(
    timed: Node, clock: FixedClock
) -> None:
    """A known user's failure takes no longer than an unknown one's: both leave an event, or neither does."""
    for name in (ADMIN, "nobody") * 10:
        with pytest.raises(AuthenticationError):
            timed.auth.sign_in(name, _WRONG, "")
    told = _failures(timed)
    assert len(told) == 10
    assert {reason for _, reason, _ in told} == {"wrong password", "unknown user"}
    timed.auth.tell_held_back()
    assert len(_failures(timed)) == 10, "upkeep that comes often does not tell often"
    clock.moment += timedelta(minutes=1)
    timed.auth.tell_held_back()
    assert _failures(timed)[10:] == [("password", "only counted", 10)]
    timed.auth.tell_held_back()
    assert len(_failures(timed)) == 11


def test_a_flood_does_not_drown_the_others(timed: Node, clock: FixedClock) -> None:
    """What strangers do is one thing; who holds a token that ended, or signs in, is told all the same."""
    with timed.repository.reading() as tx:
        user = tx.users.find_by_name(ADMIN)
    assert user is not None
    local, day = Subject.local("os:root"), timedelta(days=1)
    _, secret = timed.tokens.create(local, user.id, "t", lifetime=day)
    for _ in range(50):
        _try_token(timed)
    timed.auth.sign_in(ADMIN, SecretBytes(ADMIN_PASSWORD.encode()), "")
    clock.moment += timedelta(days=2)
    _try_token(timed)
    _try_token(timed, secret)
    assert [reason for _, reason, _ in _failures(timed)] == ["unknown token"] * 2 + [
        "expired token"
    ]


def test_what_was_only_counted_is_told_by_upkeep_and_at_the_end(
    timed: Node, clock: FixedClock
) -> None:
    for _ in range(3):
        _try_token(timed)
    clock.moment += timedelta(minutes=1)
    upkeep.regularly(timed)
    assert _failures(timed)[1:] == [("token", "only counted", 2)]
    with upkeep.kept_up(timed, 3600):
        _try_token(timed)
    assert _failures(timed)[2:] == [("token", "only counted", 1)]
