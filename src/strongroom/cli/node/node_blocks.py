"""The block of each node in `tsm status -v`, in the form that public parsers read (A-19)."""

from typing import TYPE_CHECKING, Final

from strongroom.runtime.running import MAINTAINED, OBJECT_STORE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from strongroom.services.nodes.judging import Judged

DEGRADED: Final = "is in a degraded state"
IN_ERROR: Final = "is in an error state"
RUNNING: Final = "is running"
STOPPED: Final = "is stopped"
_UNKNOWN: Final = "status is unavailable"
_NAMES: Final = ("web service", "backgrounder")
#: The states of `services.nodes.judging`, which a single node does not load.
_NOT_SERVED: Final = ("STOPPED", "JOINING")
_KEYS: Final = {
    "OK": RUNNING,
    "ERROR": IN_ERROR,
    "STALE": _UNKNOWN,
    "STOPPED": STOPPED,
    "JOINING": STOPPED,
}


def trouble(one: "Judged") -> "Mapping[str, str]":
    """The processes of another node that do not work, by name."""
    told = one.report.processes if one.report else {}
    return {name: words for name, words in told.items() if words not in {"running", "stopped"}}


def word(one: "Judged") -> str:
    """The state of a whole node, in the words of `tsm status`."""
    if one.state == "OK":
        return "DEGRADED" if trouble(one) else "RUNNING"
    if one.state in _NOT_SERVED:
        return one.state.value
    return "DEGRADED" if one.report else "ERROR"


def of_controller(*, is_it: bool) -> tuple[str, ...]:
    """The line of the controller, in the block of the node that is it."""
    return (f"\t'Strongroom Controller 0' {RUNNING}.",) if is_it else ()


def line(name: str, phrase: str) -> str:
    """The line of a process: `web service`, `backgrounder`, or `backgrounder 1` for the second one; or of the object store."""
    words, _, number = name.partition("backgrounder ")
    shown = "Backgrounder" if number else words.title()
    return f"\t'Strongroom {shown} {number or 0}' {phrase}."


def lines(one: "Judged") -> "Iterator[str]":
    """The block of another node, by its report."""
    yield f"{one.node_id}: {one.report.host if one.report else 'unknown'}"
    yield f"\tStatus: {word(one)}"
    told = one.report.processes if one.report else {}
    more = sorted(name for name in told if name.startswith(f"{_NAMES[-1]} "))
    store = [OBJECT_STORE] if OBJECT_STORE in told else []
    for name in (*_NAMES, *more, *store):
        yield line(name, _phrase(one, name))
    yield f"\t'Strongroom Key Management 0' {_KEYS[one.state.value]}."


def _phrase(one: "Judged", name: str) -> str:
    if one.state in _NOT_SERVED:
        return STOPPED
    if one.report is None:
        return _UNKNOWN
    told = one.report.processes.get(name, "stopped")
    return {"running": RUNNING, "stopped": STOPPED, MAINTAINED: DEGRADED}.get(told, IN_ERROR)
