"""Finds the lines of a log that were signed later than they were written, and who acknowledged them (§6.2). Pure.

Whoever may write to the log's file, but holds no key, can add lines behind the checkpoint; the next process of the node
that appends signs them with its own. It cannot tell them from the lines of a writer that was killed, but says by an
event which lines they were. That event stands in the log for good, until an administrator has read them and says so.
"""

from collections.abc import Mapping
from typing import NamedTuple

from strongroom.errors import FormatError
from strongroom.eventlog import chain
from strongroom.eventlog.events import log_events


class Doubt(NamedTuple):
    """A part of the log that only an administrator can know to be right.

    Attributes:
        name: The name by which it is acknowledged.
        text: A sentence about it.
    """

    name: str
    text: str


class Late(NamedTuple):
    """Lines that were signed later than they were written.

    Attributes:
        first: The number of the first one.
        last: The number of the last one.
        told: The number of the line that tells of them, which was signed together with them.
        event: The id of that line's event.
        acknowledged: The number of the line that acknowledges them; 0 for none.
    """

    first: int
    last: int
    told: int
    event: str = log_events.EVENT_LOG_UNSIGNED
    acknowledged: int = 0

    @property
    def name(self) -> str:
        """The name by which these lines are acknowledged: `5-7`."""
        return f"{self.first}-{self.last}"

    @property
    def text(self) -> str:
        """A sentence about these lines."""
        lines = f"lines {self.first} to {self.last} were signed only with line {self.told}"
        if self.event == log_events.EVENT_LOG_SIGNED:
            why = "there was no checkpoint of them any more"
        else:
            why = "their writer was killed, the power failed, or it was not us"
        done = f" (acknowledged in line {self.acknowledged})" if self.acknowledged else ""
        return f"{lines}: {why}{done}"


class Remarks:
    """Takes the lines of a log in their order, and picks those that say something about the log itself."""

    def __init__(self) -> None:
        self._late: list[Late] = []
        self._acknowledged: list[tuple[int, frozenset[str]]] = []

    def take(self, line: bytes, number: int) -> None:
        """Look at one line.

        Args:
            line: The line without its newline.
            number: The number of the line in the log, from 1.
        """
        # parsing is slow and the chain parses each line anyway: only lines about the log itself are parsed here as well
        if b'"id":"EVENT_LOG_' not in line:
            return
        try:
            record = chain.parse_line(line)
        except FormatError:
            return
        details = record["details"]
        if not isinstance(details, Mapping):
            return
        match record["id"]:
            case log_events.EVENT_LOG_UNSIGNED:
                first, last = (_number(details, name, number) for name in ("first", "last"))
                self._late.append(Late(first, last, number))
            case log_events.EVENT_LOG_SIGNED if before := _number(details, "lines", number):
                self._late.append(Late(1, before, number, log_events.EVENT_LOG_SIGNED))
            case log_events.EVENT_LOG_ACKNOWLEDGED:
                names = str(details.get("acknowledged", "")).split()
                self._acknowledged.append((number, frozenset(names)))
            case _:
                pass

    def late(self) -> tuple[Late, ...]:
        """The lines that were signed late, each with its acknowledgement if there is one.

        An acknowledgement counts for what the log had told before it.
        """
        valid = self._valid()
        return tuple(
            one._replace(
                acknowledged=next(
                    (number for number, names in valid if number > one.told and one.name in names),
                    0,
                )
            )
            for one in self._late
        )

    def acknowledged(self) -> frozenset[str]:
        """All names that the log says to be acknowledged."""
        return frozenset[str]().union(*(names for _, names in self._valid()))

    def _valid(self) -> list[tuple[int, frozenset[str]]]:
        """The acknowledgements that count: whoever forged lines could have written one with them, signed as late."""
        return [
            (number, names)
            for number, names in self._acknowledged
            if not any(one.first <= number <= one.last for one in self._late)
        ]


def _number(details: Mapping[object, object], name: str, otherwise: int) -> int:
    """A number among the details; a line that lacks it was not written by us, and stands for itself."""
    found = details.get(name)
    return found if isinstance(found, int) else otherwise
