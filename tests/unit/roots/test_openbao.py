"""The OpenBao root without a server: settings, and answers that a real one does not give."""

import base64
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import requests
from hvac import exceptions
from typing_extensions import override

from strongroom.clock import SystemClock
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import (
    IntegrityError,
    RootError,
    RootRefusedError,
    RootUnavailableError,
    UsageError,
)
from strongroom.ids import new_id
from strongroom.roots import openbao
from strongroom.roots.base import Context, WrapRecord
from strongroom.roots.openbao import OpenbaoRoot

if TYPE_CHECKING:
    from collections.abc import Callable

URL = "https://bao.example.org:8200"
TOKEN = SecretBytes(b"a-token")
SETTINGS = openbao.settings(URL, "K", token=TOKEN)
KEY = base64.b64encode(bytes(32)).decode()


class Transit:
    """Gives one key always, or fails; stands for hvac's client as well."""

    def __init__(self, plaintext: object = KEY, answer: object = None) -> None:
        self.secrets = self
        self.transit = self
        self.token = "a-token"
        self.fail: Callable[[], None] = lambda: None
        self.auth: SimpleNamespace | None = None
        self.lookup_self: Callable[[], dict[str, Any]] = dict
        self.renewals = 0
        self._data = {"plaintext": plaintext, "ciphertext": "vault:v1:x"}
        self._answer = answer

    def renew_self(self) -> dict[str, Any]:
        self.renewals += 1
        raise exceptions.InternalServerError("no")

    def generate_data_key(self, **words: object) -> Any:
        self.fail()
        return self._answer or {"data": self._data}

    decrypt_data = generate_data_key


def fresh() -> Context:
    return Context(new_id(), new_id(), new_id())


def root(transit: Transit) -> OpenbaoRoot:
    return OpenbaoRoot(transit, SETTINGS, SystemClock())


@pytest.mark.parametrize(
    "url",
    [
        "",
        "bao.example.org:8200",
        "http://bao.example.org:8200",
        "http://192.0.2.1:8200",
        f"{URL}/v1",
        "https://user@bao.example.org",
        "https://bao.example.org:port",
        "https://bao.example.org:0",
        "ftp://127.0.0.1",
        "https://[::1",
    ],
)
def test_what_is_no_address(url: str) -> None:
    """Plain HTTP would show the data key to the network."""
    with pytest.raises(UsageError):
        openbao.settings(url, "K", token=TOKEN)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8200", "http://localhost:8200", "http://[::1]:1"]
)
def test_plain_http_stays_on_this_machine(url: str) -> None:
    assert openbao.settings(f" '{url}/' ", "K", token=TOKEN).options["address"] == url


def test_the_name_of_the_key_has_mount_and_namespace() -> None:
    made = openbao.settings(
        URL, "K", token=TOKEN, mount="/a/transit/", namespace="team/", ca_file=""
    )
    assert made.root_key_id == f"{URL}/v1/team/a/transit/keys/K"
    assert dict(made.options) == {
        "address": URL,
        "mount": "a/transit",
        "key": "K",
        "namespace": "team",
    }
    assert dict(made.secrets) == {"token": TOKEN}


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("a/b", {"token": TOKEN}),
        ("", {"token": TOKEN}),
        ("K", {"token": TOKEN, "mount": "a//sys"}),
        ("K", {"token": TOKEN, "namespace": "a b"}),
        ("K", {}),
        ("K", {"role_id": "r"}),
        ("K", {"secret_id": TOKEN}),
        ("K", {"token": TOKEN, "role_id": "r", "secret_id": TOKEN}),
        ("K", {"token": TOKEN, "role_id": "r"}),
    ],
)
def test_what_is_wrong_is_told_at_once(key: str, words: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        openbao.settings(URL, key, **words)


def test_a_record_of_another_key_is_not_asked_for() -> None:
    working = root(Transit())
    key, record = working.generate_data_key(fresh())
    assert working.unwrap(record) == key
    with pytest.raises(RootRefusedError, match="keys/other, not by"):
        working.unwrap(replace(record, root_key_id=f"{URL}/v1/transit/keys/other"))
    with pytest.raises(IntegrityError):
        working.unwrap(replace(record, blob=b"\xff"))


@pytest.mark.parametrize("plaintext", [None, 7, "%%%", base64.b64encode(bytes(16)).decode()])
def test_a_key_that_is_none(plaintext: object) -> None:
    with pytest.raises(RootError, match=r"gave no key|has no plaintext"):
        root(Transit(plaintext)).check()


@pytest.mark.parametrize("answer", ["text", {"x": 1}, {"data": "text"}, {"data": None}, [1]])
def test_an_answer_that_is_none(answer: object) -> None:
    with pytest.raises(RootUnavailableError, match="cannot be read"):
        root(Transit(answer=answer)).check()


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (exceptions.VaultDown(errors=["Vault is sealed"]), RootUnavailableError, "unsealed"),
        (exceptions.UnexpectedError("odd"), RootUnavailableError, "odd"),
        (exceptions.VaultNotInitialized(), RootUnavailableError, "no reason given"),
        (requests.ConnectTimeout("late"), RootUnavailableError, "late"),
        (exceptions.Unauthorized(errors=["who"]), RootRefusedError, "the token that was set"),
        (exceptions.InvalidRequest(errors=["odd"]), RootRefusedError, "server's log"),
        (
            exceptions.InvalidRequest(errors=["version is disallowed by policy (too old)"]),
            RootRefusedError,
            "min_decryption_version",
        ),
    ],
)
def test_errors_are_told_in_our_terms(error: Exception, kind: type[RootError], words: str) -> None:
    transit = Transit()

    def fail() -> None:
        raise error

    transit.fail = fail
    with pytest.raises(RootError) as caught:
        root(transit).check()
    assert type(caught.value) is kind
    assert words in f"{caught.value.message} / {caught.value.hint}"
    assert SETTINGS.root_key_id in caught.value.message


def test_a_server_that_gives_another_key() -> None:
    class Forgetful(OpenbaoRoot):
        @override
        def unwrap(self, record: WrapRecord) -> SecretBytes:
            return SecretBytes(bytes(32))

    with pytest.raises(RootError, match="another key"):
        Forgetful(Transit(), SETTINGS, SystemClock()).check()


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hvac", None)
    with pytest.raises(RootError) as caught:
        openbao.build(SETTINGS, SystemClock())
    assert "strongroom[openbao]" in caught.value.hint


@pytest.mark.parametrize("answer", [{}, {"data": {}}, {"data": {"ttl": "soon", "renewable": True}}])
def test_an_answer_about_the_token_that_is_none(answer: dict[str, Any]) -> None:
    transit = Transit()
    transit.auth = SimpleNamespace(token=transit)
    transit.lookup_self = lambda: answer
    with pytest.raises(RootUnavailableError, match="cannot renew the token"):
        root(transit).renew_credentials(600)


def test_a_token_that_ends_never_is_not_renewed() -> None:
    transit = Transit()
    transit.auth = SimpleNamespace(token=transit)
    transit.lookup_self = lambda: {"data": {"ttl": 0, "renewable": False}}
    root(transit).renew_credentials(600)


def test_a_renewal_that_fails_at_its_use_does_not_stop_the_use() -> None:
    transit, moments = Transit(), [0.0, 0.0]
    transit.auth = SimpleNamespace(token=transit)
    transit.lookup_self = lambda: {"data": {"ttl": 3600, "renewable": True}}
    made = OpenbaoRoot(transit, SETTINGS, SystemClock(), lambda: moments[0])
    made.renew_credentials(600)
    moments[0] = 1800.0
    made.generate_data_key(fresh())
    assert transit.renewals == 1
