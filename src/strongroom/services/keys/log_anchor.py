"""Keeps the anchor of the event log in the repository, and compares the log with it (docs/format/anchor.md 5).

The anchor is renewed with each transaction of the repository that is made anyway, at most once a second, so it costs no
transaction of its own. It never goes back: the log is proved to go on from it before it is renewed.
"""

import base64
import binascii
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from strongroom.clock import Clock, format_utc
from strongroom.errors import FormatError, IntegrityError, KeyNotFoundError, StrongroomError
from strongroom.eventlog import anchored
from strongroom.eventlog.anchored import Anchored
from strongroom.eventlog.checkpoints import CheckpointFile
from strongroom.eventlog.merkle import EMPTY, Frontier
from strongroom.repository.reach import LOG_ANCHOR
from strongroom.services.configuration.present import PresentConfiguration

if TYPE_CHECKING:
    from strongroom.repository.unit_of_work import Repository, Transaction

MARK = "anchor.logs"
_INTERVAL_S = 1.0
_HINT = "'strongroom events verify' says more; 'strongroom events archive --reason TEXT' keeps the log and begins a new one"


class SignedLog(Protocol):
    """An event log with a checkpoint."""

    checkpoints: CheckpointFile

    def signed_since(self, before: Frontier) -> Frontier:
        """The tree over all signed lines, proved to go on from an earlier state."""
        ...


class Times(NamedTuple):
    """The times by which the anchor is renewed, or not.

    Attributes:
        monotonic: Gives the seconds of a clock that never goes back.
        version: Gives the version of the configuration: with another one another key may be active.
    """

    monotonic: Callable[[], float]
    version: Callable[[], int]


class LogAnchor:
    """The anchor of the event log of one node."""

    def __init__(
        self,
        configuration: PresentConfiguration,
        log: SignedLog,
        node_id: str,
        clock: Clock,
        times: Times,
    ) -> None:
        self._configuration = configuration
        self._log = log
        self._node_id = node_id
        self._clock = clock
        self._times = times
        self._renewed_at: float | None = None
        self._renewed_under = 0

    def renew(self, tx: "Transaction") -> None:
        """Write how far the log has come, in a transaction that is made for something else.

        A log that does not go on from the anchor, or a key that does not open, leaves the anchor as it is, and the
        transaction goes on: starts, `events verify` and `status` tell what does not fit.
        """
        try:
            now, version = self._times.monotonic(), self._times.version()
            is_fresh = self._renewed_at is not None and now - self._renewed_at < _INTERVAL_S
            # under another key it is written at once: the one of the row may be removed soon
            if is_fresh and version == self._renewed_under:
                return
            tx.hold(LOG_ANCHOR)
            present = self._read(tx)
            before = present.logs.get(self._node_id, EMPTY) if present else EMPTY
            self._write(tx, self._log.signed_since(before), present)
        except StrongroomError:
            return
        self._renewed_at, self._renewed_under = now, version

    def problems(self, repository: "Repository") -> tuple[str, ...]:
        """Sentences on how the log contradicts its anchor; empty if it does not, or if there is no anchor as yet.

        Raises:
            StrongroomError: A key cannot be opened, or the repository or the log cannot be read, so nothing is compared.
        """
        try:
            with repository.reading() as tx:
                present = self._read(tx)
            if present is not None and self._node_id in present.logs:
                self._log.signed_since(present.logs[self._node_id])
        except (IntegrityError, FormatError) as error:
            return (error.message,)
        return ()

    def check_alone(self, text: str | None, known: Frontier) -> None:
        """Compare the log with the newer of two states: that of the anchor's row, and another one; for a first append.

        What cannot be compared is not refused: a key that does not open is told by whoever needs it.

        Args:
            text: The row as it lies in the repository; None without one.
            known: The log as the anchor in the coordination service names it.

        Raises:
            IntegrityError: The log does not go on from that state, or the row was changed.
        """
        try:
            present = self._opened(text)
            of_row = present.logs.get(self._node_id, EMPTY) if present else EMPTY
            newest = max(of_row, known, key=lambda tree: tree.size)
            if newest.size:
                self._log.signed_since(newest)
        except (IntegrityError, FormatError) as error:
            raise IntegrityError(error.message, hint=_HINT) from error
        except StrongroomError:
            return

    def begin_anew(self, repository: "Repository") -> None:
        """Take the log as it is, whatever the anchor says: an administrator has archived the log before it.

        Raises:
            StrongroomError: The log is not signed, or the repository cannot be written.
        """
        with repository.transaction() as tx:
            self._write(tx, self._log.signed_since(EMPTY), None)

    def _read(self, tx: "Transaction") -> Anchored | None:
        return self._opened(tx.marks.find(MARK))

    def _opened(self, text: str | None) -> Anchored | None:
        if text is None:
            return None
        try:
            row = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise FormatError("the anchor of the event log is damaged") from error
        try:
            key = self._configuration.open_key(anchored.key_of(row))
        except KeyNotFoundError as error:
            raise IntegrityError(
                "the event log's anchor is of a key that the node does not have"
            ) from error
        return anchored.open_row(row, self._configuration.document().installation_id, key)

    def _write(self, tx: "Transaction", tree: Frontier, present: Anchored | None) -> None:
        logs = {**(present.logs if present else {}), self._node_id: tree}
        # a power failure may take back the newest checkpoint, but none of which the anchor knows
        self._log.checkpoints.sync()
        document = self._configuration.document()
        key_id = document.configuration_key_id
        row = Anchored(format_utc(self._clock.now()), logs).row(
            document.installation_id, key_id, self._configuration.open_key(key_id)
        )
        tx.marks.set(MARK, base64.b64encode(row).decode("ascii"))
