"""The root of Google Cloud without a server: settings, and answers that the tests' server does not give."""

import json
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import google.auth
import pytest
from google.api_core import exceptions as api
from google.auth import exceptions as auth

from strongroom.clock import SystemClock
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import RootError, RootRefusedError, RootUnavailableError, UsageError
from strongroom.ids import new_id
from strongroom.roots import gcp
from strongroom.roots.base import Context
from strongroom.roots.gcp import GcpRoot
from strongroom.system.crc32c import crc32c

NAME = "projects/p/locations/global/keyRings/r/cryptoKeys/k"
SETTINGS = gcp.settings(NAME)


class Plain:
    """Keeps what it encrypts as it is; stands for client and connection."""

    def __init__(self, failure: Exception | None = None, **changes: object) -> None:
        self._failure, self._changes = failure, changes

    def client(self) -> Any:
        return self

    def identity(self) -> str:
        return "nobody"

    def secrets(self) -> tuple[str, ...]:
        return ()

    def encrypt(self, request: dict[str, Any], **_: object) -> Any:
        if self._failure is not None:
            raise self._failure
        text = request["plaintext"]
        answer = {
            "name": f"{NAME}/cryptoKeyVersions/7",
            "ciphertext": text,
            "ciphertext_crc32c": crc32c(text),
            "verified_plaintext_crc32c": True,
            "verified_additional_authenticated_data_crc32c": True,
        }
        return SimpleNamespace(**{**answer, **self._changes})

    def decrypt(self, request: dict[str, Any], **_: object) -> Any:
        text = self._changes.get("plaintext", request["ciphertext"])
        assert isinstance(text, bytes)
        return SimpleNamespace(plaintext=text, plaintext_crc32c=crc32c(text))


def fresh() -> Context:
    return Context(new_id(), new_id(), new_id())


def root(connection: Plain) -> GcpRoot:
    return GcpRoot(connection, SETTINGS, SystemClock())


def account(**changes: object) -> SecretBytes:
    uri = "https://oauth2.googleapis.com/token"
    told = {
        "type": "service_account",
        "client_email": "a@b",
        "private_key": "PEM",
        "token_uri": uri,
        **changes,
    }
    return SecretBytes(json.dumps(told).encode())


def test_the_checksum_is_castagnolis() -> None:
    """The check value of the catalogue of CRCs, and RFC 3720 B.4."""
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"") == 0


def test_settings() -> None:
    made = gcp.settings(f"'{NAME}' ", credentials=account(), endpoint="https://x.p.googleapis.com/")
    assert made.root_key_id == NAME
    options = {"account": "a@b", "endpoint": "https://x.p.googleapis.com"}
    assert dict(made.options) == options
    assert dict(made.secrets) == {"credentials": account()}
    assert (dict(SETTINGS.options), dict(SETTINGS.secrets)) == ({}, {})


@pytest.mark.parametrize("name", ["", "k", f"{NAME}/cryptoKeyVersions/1", f"/{NAME}", f"{NAME}?x"])
def test_what_is_no_key(name: str) -> None:
    with pytest.raises(UsageError):
        gcp.settings(name)


@pytest.mark.parametrize(
    "url",
    [
        "x",
        "http://192.0.2.1",
        "http://x",
        "http://localhost.example.org",
        "https://x/y",
        "https://u@x",
        "https://x:0",
    ],
)
def test_what_is_no_endpoint(url: str) -> None:
    """A token must not go over the network in the clear."""
    with pytest.raises(UsageError):
        gcp.settings(NAME, endpoint=url)
    gcp.settings(NAME, endpoint="http://127.0.0.1:8080")


def test_this_machine_has_more_names_than_one() -> None:
    """findings K11: `--endpoint http://localhost:1` was no endpoint, `http://127.0.0.1:1` was one."""
    for url in ("http://localhost:1", "http://[::1]:1", "HTTP://LOCALHOST:1/"):
        assert gcp.settings(NAME, endpoint=url).options["endpoint"].startswith("http://")


@pytest.mark.parametrize("kind", sorted(gcp._OTHER_TYPES))
def test_credentials_of_another_kind_are_told_by_name_and_what_to_do(kind: str) -> None:
    """findings K16: workload identity federation was "not the JSON of a service account's key"."""
    with pytest.raises(UsageError, match=kind) as caught:
        gcp.settings(NAME, credentials=account(type=kind))
    assert "GOOGLE_APPLICATION_CREDENTIALS" in caught.value.hint
    assert "PEM" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("uri", ["http://tokens.example.org/token", "ftp://x", "token", ""])
def test_a_token_is_not_fetched_over_the_network_in_the_clear(uri: str) -> None:
    """findings K11: an address in a file is an address that was given."""
    with pytest.raises(UsageError, match="token_uri"):
        gcp.settings(NAME, credentials=account(token_uri=uri))


@pytest.mark.parametrize(
    "credentials",
    [
        SecretBytes(b"{"),
        SecretBytes(b"[]"),
        SecretBytes(b"{}"),
        account(type="authorized_user"),
        account(type="other"),
        account(type=None),
    ],
)
def test_what_is_no_service_account(credentials: SecretBytes) -> None:
    with pytest.raises(UsageError, match="service account") as caught:
        gcp.settings(NAME, credentials=credentials)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_the_version_that_wrapped_is_kept_and_found_again() -> None:
    key, record = root(Plain()).generate_data_key(fresh())
    assert record.root_key_id == f"{NAME}/cryptoKeyVersions/7"
    assert SETTINGS.opens(record)
    assert root(Plain()).unwrap(record) == key
    for other in (f"{NAME}2/cryptoKeyVersions/7", "projects/q"):
        with pytest.raises(RootRefusedError, match="not by"):
            root(Plain()).unwrap(replace(record, root_key_id=other))


@pytest.mark.parametrize(
    "changes",
    [
        {"ciphertext_crc32c": 1},
        {"verified_plaintext_crc32c": False},
        {"verified_additional_authenticated_data_crc32c": False},
        {"name": "projects/q/cryptoKeyVersions/1"},
    ],
)
def test_what_the_network_changed_is_not_kept(changes: dict[str, Any]) -> None:
    with pytest.raises(RootUnavailableError, match="changed on its way"):
        root(Plain(**changes)).check()


def test_a_server_that_gives_another_key() -> None:
    with pytest.raises(RootError, match="another key"):
        root(Plain(plaintext=bytes(32))).check()


@pytest.mark.parametrize(
    ("failure", "kind", "words"),
    [
        (api.GatewayTimeout("late"), RootUnavailableError, "late"),
        (api.GoogleAPICallError("odd"), RootUnavailableError, "odd"),
        (api.RetryError("odd", None), RootUnavailableError, "odd"),
        (api.BadRequest("odd"), RootRefusedError, "HTTP 400: odd"),
        (auth.DefaultCredentialsError("none"), RootUnavailableError, "--credentials-file"),
        (auth.TransportError("away"), RootUnavailableError, "away"),
        (auth.RefreshError("invalid_grant"), RootRefusedError, "clock"),
        (auth.RefreshError("busy", retryable=True), RootUnavailableError, "busy"),
    ],
    ids=str,
)
def test_errors_are_told_in_our_terms(
    failure: Exception, kind: type[RootError], words: str
) -> None:
    with pytest.raises(RootError) as caught:
        root(Plain(failure)).check()
    assert type(caught.value) is kind
    assert words in f"{caught.value.message} / {caught.value.hint}"
    assert NAME in caught.value.message


def test_a_private_endpoint_is_shown() -> None:
    url = "https://x.p.googleapis.com"
    other = GcpRoot(Plain(), gcp.settings(NAME, endpoint=url), SystemClock())
    assert other.describe().details == {"identity": "nobody", "endpoint": url}


def test_default_credentials_are_looked_for_at_the_first_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from google.auth.credentials import AnonymousCredentials

    asked: list[object] = []

    def default(scopes: object, request: object) -> tuple[object, str]:
        asked.append(scopes)
        return AnonymousCredentials(), "p"

    monkeypatch.setattr(google.auth, "default", default)
    made = gcp.build(gcp.settings(NAME, endpoint="http://127.0.0.1:9"), SystemClock())
    assert "default credentials" in made.describe().details["identity"]
    assert not asked
    for _ in range(2):
        with pytest.raises(RootUnavailableError, match="ConnectionError"):
            made.check()
    assert len(asked) == 1


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.cloud", None)
    with pytest.raises(RootError) as caught:
        gcp.build(SETTINGS, SystemClock())
    assert "strongroom[gcp]" in caught.value.hint
