"""How an event is made from its id, its actor and its details: every text in it fits into a line of the log."""

from collections.abc import Iterable

from strongroom.eventlog import fitting
from strongroom.eventlog.base import Detail, Event

CLAIMED_BYTES = 128  # of a text that a stranger sent: a name, an address


def event(event_id: str, actor: str, **details: Detail) -> Event:
    """The event of this id, each of its texts cut to what a line of the log may hold."""
    fitted = {name: _fitted(value) for name, value in details.items()}
    return Event(event_id, fitting.text(actor), fitted)


def events(
    event_id: str, actor: str, details: dict[str, Detail], name: str, listed: Iterable[str]
) -> tuple[Event, ...]:
    """An event with a list of names, or several numbered parts of that event if the list is too long for one line."""
    found = fitting.texts(listed)
    plain = event(event_id, actor, **details)
    if len(found) == 1:
        return (plain._replace(details={**plain.details, name: found[0]}),)
    return tuple(
        plain._replace(details={**plain.details, name: text, "part": f"{number} of {len(found)}"})
        for number, text in enumerate(found, 1)
    )


def _fitted(value: Detail) -> Detail:
    if not isinstance(value, str) or len(value) <= fitting.SHORT:
        return value
    return fitting.text(value)
