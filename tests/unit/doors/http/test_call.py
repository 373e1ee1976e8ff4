"""A request shows neither its token nor its body, wherever it is printed (security tests S17)."""

from typing import TYPE_CHECKING, cast

from strongroom.doors.http.app import _SmallBody
from strongroom.doors.tableau.routing import Call

if TYPE_CHECKING:
    from strongroom.node.opening import Node


def test_a_request_can_be_printed() -> None:
    body = _SmallBody(b'<credentials password="SECRET-1"/>')
    node = cast("Node", None)
    call = Call(node, "http://x", {}, {}, "text/xml", "SECRET-2", body)
    assert "SECRET" not in f"{call!r} {call} {body!r}"
