"""The TPM root without a TPM: settings, and failures that swtpm does not show."""

import sys
from typing import Any, Self

import pytest
from tpm2_pytss.TSS2_Exception import TSS2_Exception

from strongroom.clock import SystemClock
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import RootError, RootRefusedError, RootUnavailableError, UsageError
from strongroom.roots import tpm
from strongroom.roots.base import WrapRecord
from strongroom.roots.tpm import TpmRoot

SETTINGS = tpm.settings()
RECORD = WrapRecord("w", "tpm", "indirect", "tpm:swtpm/00", "", b"", b"", {}, "", "")


class Failing:
    """A TPM that fails whatever it is asked for."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        return None

    def create_primary(self, *_: object) -> Any:
        raise TSS2_Exception(0x101)


def test_settings() -> None:
    assert SETTINGS.root_key_id == "tpm:device:/dev/tpmrm0"
    assert dict(SETTINGS.secrets) == {}
    auth = SecretBytes(b"x")
    made = tpm.settings(" swtpm:host=127.0.0.1,port=2321 ", auth=auth)
    assert dict(made.options) == {"tcti": "swtpm:host=127.0.0.1,port=2321"}
    assert dict(made.secrets) == {"auth": auth}


@pytest.mark.parametrize("tcti", ["/dev/tpm0", "cmd:a b", "Device:x", "device:"])
def test_what_is_no_tcti(tcti: str) -> None:
    with pytest.raises(UsageError):
        tpm.settings(tcti)


@pytest.mark.parametrize("size", [0, 33])
def test_what_is_no_password(size: int) -> None:
    with pytest.raises(UsageError, match="1 to 32 bytes"):
        tpm.settings(auth=SecretBytes(bytes(size)))


def test_a_tpm_that_fails_may_be_asked_again() -> None:
    with pytest.raises(RootUnavailableError, match="cannot make the primary key now"):
        TpmRoot(Failing, SETTINGS, SystemClock()).check()


def test_a_record_of_another_tpm_is_not_asked_about() -> None:
    with pytest.raises(RootRefusedError, match="not by tpm:device"):
        TpmRoot(Failing, SETTINGS, SystemClock()).unwrap(RECORD)


def test_a_tpm_that_gives_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    root = TpmRoot(Failing, SETTINGS, SystemClock())
    monkeypatch.setattr(root, "wrap", lambda *_: RECORD)
    monkeypatch.setattr(root, "unwrap", lambda _: SecretBytes(bytes(32)))
    with pytest.raises(RootError, match="another key"):
        root.check()


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tpm2_pytss", None)
    with pytest.raises(RootError) as caught:
        tpm.build(SETTINGS, SystemClock())
    assert "strongroom[tpm]" in caught.value.hint
