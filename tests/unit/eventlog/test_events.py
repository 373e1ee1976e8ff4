"""The catalogue of events."""

import inspect

from strongroom.eventlog.base import SYSTEM, Event
from strongroom.eventlog.events import catalogue, directory_events


def _example(factory: object) -> Event:
    assert callable(factory)
    names = inspect.signature(factory).parameters
    numbers = {"size", "version", "keys", "remaining", "offset"}
    found = factory(**{name: 5 if name in numbers else f"<{name}>" for name in names})
    event = found[0] if isinstance(found, tuple) and not isinstance(found, Event) else found
    assert isinstance(event, Event)
    return event


def test_every_event_of_the_requirements_is_there() -> None:
    """C-23."""
    required = {"KEY_GENERATED", "KEY_MOVED", "KEY_CHANGED", "SECRET_ENCRYPTED", "SECRET_REVEALED"}
    required |= {"KMS_MODE_CHANGED", "RMK_UNWRAPPED", "EXTRACT_ENCRYPTED", "EXTRACT_DECRYPTED"}
    required |= {"EXTRACT_REKEYED", "IMPORT", "EXPORT_PLAINTEXT", "RESTORE"}
    assert required <= catalogue.ids()


def test_each_id_has_exactly_one_factory() -> None:
    made = [_example(factory).id for factory in catalogue.factories().values()]
    assert sorted(made) == sorted(catalogue.ids())


def test_a_factory_puts_everything_it_is_given_into_the_event() -> None:
    for name, factory in catalogue.factories().items():
        assert callable(factory)
        event = _example(factory)
        given = set(inspect.signature(factory).parameters) - {"actor"}
        assert len(event.details) >= len(given), name
        assert event.actor in {"<actor>", SYSTEM}


def test_a_claimed_name_is_cut() -> None:
    event = directory_events.sign_in_failed("x" * 5000, method="password", reason="r", held_back=0)
    assert event.details["name"] == "x" * 122 + "…"
