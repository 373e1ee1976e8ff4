"""The Azure root without a vault: settings, and what cannot be had from a real one."""

import sys
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from azure.core.exceptions import HttpResponseError, ServiceResponseError
from azure.identity import CredentialUnavailableError

from strongroom.clock import SystemClock
from strongroom.errors import RootError, RootRefusedError, RootUnavailableError, UsageError
from strongroom.ids import new_id
from strongroom.roots import azure
from strongroom.roots.azure import AzureRoot
from strongroom.roots.base import Context

if TYPE_CHECKING:
    from collections.abc import Callable

SETTINGS = azure.settings("K", "https://v.vault.azure.net")
KID = f"{SETTINGS.root_key_id}/0123456789abcdef"


class PlainVault:
    """Keeps what it wraps as it is."""

    def __init__(self, kid: str = KID, key_type: str = "RSA") -> None:
        self._newest = kid, key_type
        self.fail: Callable[[], None] = lambda: None
        self.renewed = 0
        self.since: datetime | None = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def renew(self) -> None:
        self.renewed += 1

    def newest(self, name: str) -> tuple[str, str]:
        self.fail()
        return self._newest

    def newest_since(self, name: str) -> datetime | None:
        self.fail()
        return self.since

    def wrap(self, key_id: str, data: bytes) -> bytes:
        return data

    def unwrap(self, key_id: str, blob: bytes) -> bytes:
        return blob


def fresh() -> Context:
    return Context(new_id(), new_id(), new_id())


def root(vault: PlainVault, waits: list[float] | None = None) -> AzureRoot:
    return AzureRoot(vault, SETTINGS, SystemClock(), (waits if waits is not None else []).append)


@pytest.mark.parametrize(
    "url", ["", "v.vault.azure.net", "http://v.vault.azure.net", "https://v/x"]
)
def test_what_is_no_vault(url: str) -> None:
    with pytest.raises(UsageError):
        azure.settings("K", url)


@pytest.mark.parametrize("name", ["", "a/b", "ä"])
def test_what_is_no_key_name(name: str) -> None:
    with pytest.raises(UsageError):
        azure.settings(name, "https://v.vault.azure.net")


@pytest.mark.parametrize("key_type", ["EC", "oct", "oct-HSM"])
def test_only_rsa_keys_wrap(key_type: str) -> None:
    """H-az: the key must be asymmetric RSA."""
    with pytest.raises(RootRefusedError, match=f"not an RSA key but {key_type}"):
        root(PlainVault(key_type=key_type)).check()
    root(PlainVault(key_type="RSA-HSM")).check()


def test_a_record_of_another_vault_gets_no_token() -> None:
    working = root(PlainVault())
    key, record = working.generate_data_key(fresh())
    assert working.unwrap(record) == key
    elsewhere = replace(record, root_key_id=KID.replace("https://v.", "https://evil."))
    with pytest.raises(RootRefusedError, match="evil"):
        working.unwrap(elsewhere)
    for other in ("https://v.vault.azure.net/keys/L/1", "https://v.vault.azure.net/keys/K"):
        with pytest.raises(RootRefusedError, match="not by a version of"):
            root(PlainVault(other)).check()


def test_a_vault_may_tell_another_name_of_itself() -> None:
    """findings K3: by a private link it is asked at one name and tells another; its version is asked at ours."""
    record = root(PlainVault("https://w/KEYS/k/1")).generate_data_key(fresh())[1]
    assert record.root_key_id == f"{SETTINGS.root_key_id}/1"


def test_what_passes_is_tried_again_with_growing_pauses() -> None:
    """A reset of a POST is not tried again by the SDK."""
    vault, waits = PlainVault(), list[float]()
    failures = [ServiceResponseError("reset"), ServiceResponseError("reset")]

    def fail() -> None:
        if failures:
            raise failures.pop()

    vault.fail = fail
    root(vault, waits).check()
    assert waits == [azure._PAUSE_S, azure._PAUSE_S * 2]


class _Answer:
    """What the SDK keeps of a response."""

    def __init__(self, status: int, retry_after: str) -> None:
        self.status_code, self.reason = status, ""
        self.headers = {"Retry-After": retry_after}


@pytest.mark.parametrize(
    ("retry_after", "expected"),
    [("2", [2.0, 2.0]), ("60", []), ("Wed, 21 Oct 2026 07:28:00 GMT", [0.4, 0.8])],
)
def test_a_short_wait_is_honoured_and_a_long_one_is_the_callers(
    retry_after: str, expected: list[float]
) -> None:
    vault, waits = PlainVault(), list[float]()

    def fail() -> None:
        raise HttpResponseError("busy", response=_Answer(429, retry_after))

    vault.fail = fail
    with pytest.raises(RootUnavailableError, match="429"):
        root(vault, waits).check()
    assert waits == expected


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (CredentialUnavailableError("no endpoint"), RootUnavailableError, "no managed identity"),
        (ValueError("challenge of another domain"), RootUnavailableError, "another domain"),
        (HttpResponseError("?", response=_Answer(400, "")), RootRefusedError, "HTTP 400"),
    ],
    ids=["no identity", "other domain", "bad request"],
)
def test_every_error_is_one_of_ours(error: Exception, kind: type[RootError], words: str) -> None:
    vault = PlainVault()

    def fail() -> None:
        raise error

    vault.fail = fail
    with pytest.raises(kind) as caught:
        root(vault).check()
    assert words in caught.value.message
    assert SETTINGS.root_key_id in caught.value.message


def test_a_vault_that_gives_back_another_key_does_not_pass_the_check(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    working = root(PlainVault())
    key, record = working.generate_data_key(fresh())
    other, _ = working.generate_data_key(fresh())
    monkeypatch.setattr(working, "generate_data_key", lambda _: (other, record))
    with pytest.raises(RootError, match="another key"):
        working.check()
    assert key != other


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    with pytest.raises(RootError) as caught:
        azure.build(SETTINGS, SystemClock())
    assert caught.value.hint == "pip install 'strongroom[azure]'"


def test_when_the_key_was_renewed_is_told_if_it_is_known() -> None:
    vault = PlainVault()
    assert root(vault).rotated_at() == "2026-01-02T03:04:05Z"
    vault.since = None
    assert root(vault).rotated_at() == ""
    vault.fail = _raise_refusal
    assert root(vault).rotated_at() == ""


def _raise_refusal() -> None:
    raise HttpResponseError("no permission")
