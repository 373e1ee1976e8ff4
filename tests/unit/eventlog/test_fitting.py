"""What is told fits into its line, whatever it is: lists become several events, and a cut shows (finding B3)."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.eventlog import chain, fitting
from strongroom.eventlog.base import Event
from strongroom.eventlog.events import catalogue, secret_events

pytestmark = pytest.mark.table

_NAMES = [f"a.parameter.with.a.long.name.{number}" for number in range(2000)]
_FACTORIES: dict[str, Callable[..., Any]] = {**catalogue.factories()}
LISTS = {
    "configuration_applied": "secrets",
    "event_log_acknowledged": "acknowledged",
    "imported": "names",
    "exported_sealed": "recipients",
}
LONG = {
    "path": "/" + "d" * 4095,
    "foreign": "\N{GRINNING FACE}" * 4096,
    "bytes that are no text": "\udcff" * 4096,
    "controls": "\x00" * 100_000,
}


def _made(factory: Callable[..., Any], text: str, names: Sequence[str]) -> tuple[Event, ...]:
    def value(kind: object) -> object:
        if kind is str:
            return text
        return kind() if kind in {int, bool} else names

    given = inspect.get_annotations(factory).items()
    found = factory(**{name: value(kind) for name, kind in given if name != "return"})
    return (found,) if isinstance(found, Event) else found


@pytest.mark.parametrize("long", LONG.values(), ids=LONG)
@pytest.mark.parametrize("name", _FACTORIES)
def test_every_event_fits_into_its_line(name: str, long: str) -> None:
    """An event that does not fit is an operation that fails behind its end."""
    for event in _made(_FACTORIES[name], long, [long, *_NAMES]):
        chain.make_line(event, chain.Head(), time="2026-11-21T20:00:00Z", node="node1")
        texts = [one for one in event.details.values() if isinstance(one, str) and one]
        assert all(
            one.endswith("…") or one == long
            for one in texts
            if one[:1] == long[:1] and " " not in one
        )


def test_each_factory_of_a_list_is_known_here() -> None:
    listed = {
        name
        for name, factory in _FACTORIES.items()
        if "tuple" in str(inspect.get_annotations(factory)["return"])
    }
    assert listed == set(LISTS)


@pytest.mark.parametrize("name", LISTS)
def test_a_list_is_told_whole(name: str) -> None:
    """B3: `CONFIGURATION_APPLIED` ended in the middle of a name."""
    found = _made(_FACTORIES[name], "x", _NAMES)
    assert len(found) > 1
    told = [one for event in found for one in str(event.details[LISTS[name]]).split(" ")]
    assert told == _NAMES
    parts = [event.details["part"] for event in found]
    assert parts == [f"{number} of {len(found)}" for number in range(1, len(found) + 1)]
    (single,) = _made(_FACTORIES[name], "x", _NAMES[:3])
    assert "part" not in single.details
    (empty,) = _made(_FACTORIES[name], "x", [])
    assert empty.details[LISTS[name]] == ""


def test_recipients_of_any_kind_are_told_whole() -> None:
    """One for a post-quantum key has nearly 2,000 characters: of two of them one was cut."""
    recipients = [f"age1pq{number}" + "q" * 1950 for number in range(9)]
    found = secret_events.exported_sealed("os:ada", target="x", keys=1, recipients=recipients)
    assert " ".join(str(event.details["recipients"]) for event in found).split() == recipients


@given(st.text(), st.integers(6, 60))
def test_a_text_is_kept_or_marked(text: str, limit: int) -> None:
    found = fitting.text(text, limit)
    assert fitting._size(found) <= limit
    if found != text:
        assert fitting._size(text) > limit
        assert found.endswith("…")
        assert text.startswith(found[:-1])


@given(st.lists(st.text("abcé\N{GRINNING FACE}", min_size=1, max_size=3000), max_size=30))
def test_no_name_is_torn(names: list[str]) -> None:
    found = fitting.texts(names)
    assert " ".join(found).split(" ") == (
        [fitting.text(name, fitting.MAX_LIST_BYTES) for name in names] or [""]
    )
    assert all(fitting._size(one) <= fitting.MAX_LIST_BYTES + 1 for one in found)
