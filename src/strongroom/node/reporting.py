"""Reports of a serving node on itself every few seconds, and its proofs of the keys when somebody asks (node-reports.md 2, 3)."""

import gc
import logging
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Final

from strongroom.clock import format_utc
from strongroom.coordination.board import Board, Posted
from strongroom.errors import StateError, StrongroomError
from strongroom.joining import own_keys, probes
from strongroom.joining.node_keys import NodeKeys
from strongroom.joining.node_reports import KeysSeen, NodeReport, OwnProof, StoreSeen
from strongroom.kms import store as kms_store
from strongroom.node import object_stores
from strongroom.node.opening import Node
from strongroom.runtime import running
from strongroom.runtime.duties import Duty
from strongroom.services.nodes import inquiry, judging
from strongroom.system import version
from strongroom.system.compat import override

if TYPE_CHECKING:
    from strongroom.coordination.base import EntryStore
    from strongroom.node.outside import OutsideServices
    from strongroom.repository.unit_of_work import Repository

REPORT: Final = "report"
BEAT_S: Final = judging.BEAT_MS / 1000
PROVE_EVERY_S: Final = 5.0
"""The least time between the begins of two proofs, for all readers together: each asks the roots."""
_LOOK_S: Final = 0.5
_STORE_S: Final = 4.0
"""How long a proof waits for the object store before it begins: a reader waits for 15 seconds."""
_log = logging.getLogger("strongroom.reporting")


class Reporter:
    """The node's reports. Beats go on while a proof waits for a root; a reader sees then that it has no answer."""

    def __init__(self, node: Node, board: Board) -> None:
        self._node = node
        self._board = board
        self._asked: tuple[str, ...] = ()
        self._proof: OwnProof | None = None
        self._began_s = -PROVE_EVERY_S
        self._failure = ""
        self._of_files: dict[str, str] = {}
        self._store: tuple[int, StoreSeen] | None = None
        #: Has the next report made now.
        self.hasten: Callable[[], None] = lambda: None

    @cached_property
    def _keys(self) -> NodeKeys:
        return own_keys.read(self._node.paths)

    def duties(self) -> Sequence[Duty]:
        """The duties: to report, and to prove the keys for those who ask."""
        return Duty(REPORT, BEAT_S, self.report), Duty("proof of the keys", _LOOK_S, self.prove)

    def report(self) -> None:
        """Post a report; a failure is logged once, since the next run tries again."""
        try:
            self._post()
        except StrongroomError as error:
            if error.message != self._failure:
                _log.warning("this node cannot report: %s", error.message)
            self._failure = error.message
        else:
            self._failure = ""

    def _post(self) -> None:
        node_id = self._node.paths.node_id
        place = self._board.take_place(node_id)
        made = self._made(place)
        note = made.signed(self._keys.installation_id, self._keys.signing)
        self._board.post(node_id, note, place.version)

    def prove(self) -> None:
        """Prove the keys if somebody has asked since the last proof began, and not too soon after it."""
        asked, now_s = self._asked, time.monotonic()
        answered = self._proof.nonces if self._proof else ()
        if set(asked) <= set(answered) or now_s < self._began_s + PROVE_EVERY_S:
            return
        self._began_s = now_s
        self._of_files = _of_files(self._node)
        self._proof = self._proved(asked)
        # clients of SDKs are in cycles, and keep their connections until these are found
        gc.collect()
        self.hasten()

    def hear(self, posted: Posted | None) -> None:
        """Take note of who asks; a question that is not of this installation's keys is not answered."""
        try:
            self._asked = inquiry.nonces_of(posted, self._node.authority.present())
        except StrongroomError as error:
            _log.warning("a question for the state of this node is not answered: %s", error.message)

    def _made(self, place: Posted) -> NodeReport:
        node = self._node
        document, keys, store, cause = None, None, None, ""
        try:
            entry_keys = node.authority.present()
            keys = KeysSeen(entry_keys.active.id, entry_keys.generation)
            document = node.configuration.document().version
            store = self._read_store(document)
        except StrongroomError as error:
            cause = error.message
        return NodeReport(
            node.paths.node_id,
            node.boot_id,
            place.born,
            place.version + 1,
            self._now(),
            version.VERSION,
            socket.gethostname(),
            document,
            keys,
            store,
            {**_processes(node), **self._of_files},
            _free_bytes(node),
            cause,
            self._proof,
        )

    def _read_store(self, document: int) -> StoreSeen:
        if self._store is None or self._store[0] != document:
            store, raw = self._node.kms_store.current()
            self._store = document, StoreSeen(store.epoch, kms_store.digest(raw))
        return self._store[1]

    def _proved(self, asked: tuple[str, ...]) -> OwnProof:
        at = self._now()
        try:
            with closing(_Anew(self._node)) as anew:
                store, raw = anew.kms_store.current()
                seen = StoreSeen(store.epoch, kms_store.digest(raw))
                found = anew.kms_store.status()
        except StrongroomError as error:
            return OwnProof(at, asked, cause=error.message)
        return OwnProof(
            at,
            asked,
            seen,
            "" if found.is_ok else found.problems[0],
            next((one.identity for one in found.roots if one.role == "mode"), ""),
            tuple(one.wrap_id for one in found.roots if one.latency_ms is not None),
        )

    def _now(self) -> str:
        return format_utc(self._node.clock.now())


@contextmanager
def listening(node: Node) -> Iterator[Reporter]:
    """A reporter that hears who asks, until the end of the block.

    Raises:
        StateError: The node is a single one.
        CoordinationError: The board cannot be read.
    """
    board = node.board
    if board is None:
        raise StateError("a single node has nobody to report to")
    reporter = Reporter(node, board)
    stop = board.watch(probes.NAME, reporter.hear)
    try:
        reporter.hear(board.read(probes.NAME))
        yield reporter
    finally:
        stop()


class _Anew(Node):
    """The same node with nothing that it remembers: keystore, records, roots and keys are opened anew.

    Of the node it has only the connections to what all nodes share.
    """

    def __init__(self, served: Node) -> None:
        super().__init__(served.paths, served.clock)
        self._served = served

    @cached_property
    @override
    def outside(self) -> "OutsideServices | None":
        return self._served.outside

    @cached_property
    @override
    def entry_store(self) -> "EntryStore":
        return self._served.entry_store

    @cached_property
    @override
    def repository(self) -> "Repository":
        return self._served.repository


def _processes(node: Node) -> dict[str, str]:
    found = running.find(node.paths)
    if found is None:
        return {}
    trouble = running.trouble(found)
    there = {
        "web service": found.has_web,
        **{name: bool(pid) for name, pid in found.backgrounders.items()},
    }
    if found.has_web and node.out_of_service.seen() is not None:
        trouble = {"web service": running.MAINTAINED, **trouble}
    return {
        name: trouble.get(name, "running" if is_there else "stopped")
        for name, is_there in there.items()
    }


def _of_files(node: Node) -> dict[str, str]:
    """How this node, by its own credentials, reaches the object store; nothing of a node with its files on its disk."""
    try:
        found = object_stores.look(node, _STORE_S)
    except StrongroomError as error:
        return {running.OBJECT_STORE: error.message}
    problems = [one.problem for one in found if one.problem]
    return {running.OBJECT_STORE: next(iter(problems), "running")} if found else {}


def _free_bytes(node: Node) -> int | None:
    with suppress(OSError):
        return shutil.disk_usage(node.paths.root).free
    return None
