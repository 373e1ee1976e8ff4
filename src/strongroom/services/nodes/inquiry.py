"""Asks every node of a cluster for a proof of its keys, waits for the answers, and judges (docs/format/node-reports.md 3, 4)."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final, NamedTuple, Protocol

from strongroom.canonical import to_base64
from strongroom.coordination.base import Versioned
from strongroom.coordination.board import Board, Posted
from strongroom.coordination.entries import Author, EntryKeys, UnprovedEntry
from strongroom.crypto import rng
from strongroom.errors import ConflictError, CoordinationError, FormatError, IntegrityError
from strongroom.ids import new_id
from strongroom.joining import probes
from strongroom.joining.registry import RegisteredNode
from strongroom.services.nodes import judging
from strongroom.services.nodes.judging import Head, Judged, Moment, Seen

WAIT_S: Final = 15.0
"""Seconds for which answers are waited for; a node that has none by then is not in order."""
_LOOK_S: Final = 0.25
_NOW: Final = "now"
_ATTEMPTS: Final = 50


class Authority(Protocol):
    """Knows the keys by which the probe is authenticated."""

    def present(self) -> EntryKeys:
        """The keys in force."""
        ...


class InquiryPorts(NamedTuple):
    """The ports of an inquiry.

    Attributes:
        board: The board of the nodes.
        authority: Knows the keys of entries.
        registered: Returns the nodes of the registry.
        head: Returns the keys that count, as they are now.
        monotonic: Seconds of a clock that never goes back.
        pause: Lets so many seconds pass.
    """

    board: Board
    authority: Authority
    registered: Callable[[], Mapping[str, RegisteredNode]]
    head: Callable[[], Head]
    monotonic: Callable[[], float]
    pause: Callable[[float], object]


class _Asked(NamedTuple):
    nonce: str
    at_ms: int
    began_s: float
    head: Head


def nonces_of(posted: Posted | None, keys: EntryKeys) -> tuple[str, ...]:
    """The nonces of those who asked last.

    Raises:
        FormatError: The probe is damaged.
        IntegrityError: The probe has no MAC by a key in force, or hangs there as another version.
    """
    if posted is None or not posted.value:
        return ()
    entry = UnprovedEntry(probes.ENTRY, Versioned(posted.value, posted.version))
    return probes.parse(entry.prove(keys).payload)


def now_ms(board: Board) -> int:
    """The present by the clock of the board: milliseconds since the epoch; the board tells it of what is written there.

    Raises:
        CoordinationError: The board cannot be written.
    """
    place = board.take_place(_NOW)
    # a note that somebody else has put there at this moment is as good
    with suppress(ConflictError):
        board.post(_NOW, b"-", place.version)
    return board.take_place(_NOW).at_ms


def ask(ports: InquiryPorts, wait_s: float = WAIT_S) -> tuple[Judged, ...]:
    """The nodes of a cluster, each with what it proved after this call began, or the reason why it has proved nothing.

    Args:
        ports: The ports.
        wait_s: Seconds for which answers are waited for.

    Raises:
        CoordinationError: ZooKeeper does not answer: nothing is known of any node now.
        StrongroomError: This node itself cannot read what the others are compared with.
    """
    asked = _asked(ports)
    end = asked.began_s + wait_s
    while True:
        head = ports.head()
        if head.store != asked.head.store:
            # keys were changed meanwhile: what was proved before says nothing of them
            asked = _asked(ports)
        now_s = ports.monotonic()
        found = _judged(ports, asked, head, now_s)
        if now_s >= end or all(one.is_settled for one in found):
            return found
        ports.pause(_LOOK_S)


def _judged(ports: InquiryPorts, asked: _Asked, head: Head, now_s: float) -> tuple[Judged, ...]:
    nodes = ports.registered()
    # a node posts only while it is alive: so who is alive is read behind what was posted
    notes = ports.board.read_all()
    boots = ports.board.boots()
    now_ms = asked.at_ms + round((now_s - asked.began_s) * 1000)
    installation_id = ports.authority.present().installation_id
    moment = Moment(installation_id, asked.nonce, asked.at_ms, now_ms, head)
    return tuple(
        judging.judge(Seen(node, notes.get(node_id), boots.get(node_id)), moment)
        for node_id, node in nodes.items()
        if not node.state.is_gone
    )


def _asked(ports: InquiryPorts) -> _Asked:
    """Ask by a nonce of one's own, beside those of others; when it was asked the board says itself."""
    board, nonce = ports.board, rng.random_bytes(probes.NONCE_BYTES)
    head = ports.head()
    place = board.take_place(probes.NAME)
    for _ in range(_ATTEMPTS):
        keys = ports.authority.present()
        try:
            others = nonces_of(place, keys)
        except (FormatError, IntegrityError):
            # written without a key, so no node answers it
            others = ()
        payload = probes.serialize(probes.with_nonce(others, nonce))
        author = Author(keys.installation_id, keys.generation, keys.active)
        value = author.make(probes.ENTRY, payload, base_version=place.version, change_id=new_id())
        began_s = ports.monotonic()
        try:
            board.post(probes.NAME, value, place.version)
        except ConflictError:
            place = board.take_place(probes.NAME)
            continue
        place = board.take_place(probes.NAME)
        return _Asked(to_base64(nonce), place.at_ms, began_s, head)
    raise CoordinationError("too many ask for the state of the nodes at once", hint="try again")
