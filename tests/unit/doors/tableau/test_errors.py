"""Every failure becomes error XML with a code that clients know, and never a 5xx if it was expected (clients.md 1.1)."""

import xml.etree.ElementTree as ET

import pytest

from strongroom import errors
from strongroom.doors.tableau import xml
from strongroom.doors.tableau.errors import Noun, fault_of


def all_errors() -> list[type[errors.StrongroomError]]:
    found: list[type[errors.StrongroomError]] = []
    waiting = [errors.StrongroomError]
    while waiting:
        kind = waiting.pop()
        found.append(kind)
        waiting += kind.__subclasses__()
    return sorted(set(found), key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", all_errors(), ids=lambda kind: kind.__name__)
def test_no_expected_failure_is_a_server_error(kind: type[errors.StrongroomError]) -> None:
    fault = fault_of(kind("what happened"), Noun.SITE)
    assert 400 <= fault.status < 500
    assert len(fault.code) == 6
    assert fault.code.startswith(str(fault.status))


@pytest.mark.parametrize(
    "kind",
    [
        errors.KeyNotFoundError,
        errors.RootUnavailableError,
        errors.KeystoreError,
        errors.StorageError,
    ],
)
def test_unavailable_keys_are_not_taken_for_a_conflict(kind: type[errors.StrongroomError]) -> None:
    """tabcmd's `--continue-if-exists` exits 0 on every code that begins with 409."""
    assert fault_of(kind("sealed"), Noun.DATASOURCE).status == 423


@pytest.mark.parametrize(
    "kind",
    [
        errors.CoordinationError,
        errors.KeystoreError,
        errors.RootError,
        errors.RootRefusedError,
        errors.RootUnavailableError,
        errors.StorageError,
    ],
)
def test_what_is_wrong_with_the_machine_is_not_told_to_clients(
    kind: type[errors.StrongroomError],
) -> None:
    """Messages of these kinds name paths, modes and addresses; the log has them."""
    fault = fault_of(kind("/srv/node/keystore.p12 has mode 0644", hint="chmod 0600"), Noun.SITE)
    assert "/srv" not in fault.detail
    assert "chmod" not in fault.detail
    assert "log" in fault.detail


@pytest.mark.parametrize(
    ("error", "noun", "code"),
    [
        (errors.NotFoundError("x"), Noun.SITE, "404000"),
        (errors.NotFoundError("x"), Noun.USER, "404002"),
        (errors.ConflictError("x"), Noun.SITE, "409001"),
        (errors.ConflictError("x"), Noun.USER, "409017"),
        (errors.ConflictError("x"), Noun.PROJECT, "409006"),
        (errors.AuthenticationError("x"), Noun.NOTHING, "401002"),
    ],
)
def test_codes(error: errors.StrongroomError, noun: Noun, code: str) -> None:
    assert fault_of(error, noun).code == code


def test_the_answer_is_namespaced_and_holds_the_hint() -> None:
    fault = fault_of(errors.UsageError("no <such> thing", hint="do that"), Noun.SITE)
    error = ET.fromstring(xml.render(fault.message)).find("{http://tableau.com/api}error")
    assert error is not None
    assert error.get("code") == "400003"
    assert [child.text for child in error] == ["Bad Request", "no <such> thing (do that)"]
