"""The PKCS#11 root without a token: settings, and what SoftHSM does not do."""

import sys
from dataclasses import replace

import pytest
from typing_extensions import override

from strongroom.clock import SystemClock
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import IntegrityError, RootError, RootRefusedError, UsageError
from strongroom.roots import pkcs11
from strongroom.roots.base import WrapRecord
from strongroom.roots.pkcs11 import Pkcs11Root

PIN = SecretBytes(b"5678")
SETTINGS = pkcs11.settings("/usr/lib/hsm.so", "T", "K", pin=PIN)
RECORD = WrapRecord(
    "w", "pkcs11", "direct", SETTINGS.root_key_id, "", bytes(60), b"", {"wrap": "w"}, "", ""
)


def root() -> Pkcs11Root:
    def none() -> object:
        raise AssertionError("nobody is to be asked")

    return Pkcs11Root(none, SETTINGS, SystemClock())


def test_the_key_is_named_by_a_uri_of_rfc_7512() -> None:
    made = pkcs11.settings("'/usr/lib/hsm.so' ", "my token", "a;b/ö", pin=PIN, create=True)
    assert made.root_key_id == "pkcs11:token=my%20token;object=a%3Bb%2F%C3%B6;type=secret-key"
    assert dict(made.options) == {
        "module": "/usr/lib/hsm.so",
        "token": "my token",
        "key": "a;b/ö",
        "create": "yes",
    }
    assert dict(made.secrets) == {"pin": PIN}
    assert "create" not in SETTINGS.options


@pytest.mark.parametrize(
    ("module", "token", "key"),
    [
        ("hsm.so", "T", "K"),
        ("", "T", "K"),
        ("/hsm.so", "", "K"),
        ("/hsm.so", "T" * 33, "K"),
        ("/hsm.so", "T", ""),
        ("/hsm.so", "T", "a\nb"),
    ],
)
def test_what_is_wrong_is_told_at_once(module: str, token: str, key: str) -> None:
    with pytest.raises(UsageError):
        pkcs11.settings(module, token, key, pin=PIN)


def test_nobody_is_asked_about_what_cannot_be_ours() -> None:
    with pytest.raises(RootRefusedError, match="not by pkcs11:"):
        root().unwrap(replace(RECORD, root_key_id="pkcs11:token=other"))
    with pytest.raises(IntegrityError):
        root().unwrap(replace(RECORD, blob=bytes(59)))


def test_a_token_that_gives_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Pkcs11Root(lambda: None, SETTINGS, SystemClock())
    monkeypatch.setattr(root, "wrap", lambda *_: RECORD)
    monkeypatch.setattr(root, "unwrap", lambda _: SecretBytes(bytes(32)))
    with pytest.raises(RootError, match="another key"):
        root.check()


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    with pytest.raises(RootError) as caught:
        pkcs11.build(SETTINGS, SystemClock())
    assert "strongroom[hsm]" in caught.value.hint


def test_a_token_that_gives_other_bytes_is_noticed_on_trial() -> None:
    class Key:
        def encrypt(self, data: bytes, **_: object) -> bytes:
            return data

        decrypt = encrypt

    class Broken(Key):
        @override
        def decrypt(self, data: bytes, **_: object) -> bytes:
            return data[::-1]

    class Session:
        def __init__(self, key: Key) -> None:
            self.generate_key = lambda *_, **__: key

    pkcs11._try_out(Session(Key()))
    with pytest.raises(RootError, match="other bytes"):
        pkcs11._try_out(Session(Broken()))
