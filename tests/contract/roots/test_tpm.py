"""TPM 2.0: passwords, lockout, and a TPM that was cleared; each with an swtpm of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.crypto.secret import SecretBytes
from strongroom.errors import IntegrityError, RootRefusedError, RootUnavailableError
from strongroom.ids import new_id
from strongroom.roots import tpm
from strongroom.roots.base import Context
from strongroom.roots.settings import RootSettings
from tests.contract.roots.provider_tpm import TpmLab
from tests.support import emulators

PASSWORD, WRONG = SecretBytes(b"the password"), SecretBytes(b"another one")


def fresh() -> Context:
    return Context(new_id(), new_id(), new_id())


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[TpmLab]:
    with emulators.tpm(tmp_path / "t") as socket:
        yield TpmLab(socket, socket)


def with_password(lab: TpmLab, password: SecretBytes) -> RootSettings:
    return tpm.settings(lab.settings.options["tcti"], auth=password)


def test_the_password_is_needed_as_well(lab: TpmLab) -> None:
    root = lab.root(with_password(lab, PASSWORD))
    key, record = root.generate_data_key(fresh())
    assert root.unwrap(record) == key
    assert root.describe().details["identity"] == "this machine, with a password"
    for settings in (lab.settings, with_password(lab, WRONG)):
        with pytest.raises(RootRefusedError, match="is not accepted") as caught:
            lab.root(settings).unwrap(record)
        assert "--auth-file" in caught.value.hint
    assert root.unwrap(record) == key


def test_a_wrong_password_is_not_given_until_the_tpm_is_locked(lab: TpmLab) -> None:
    right = lab.root(with_password(lab, PASSWORD))
    key, record = right.generate_data_key(fresh())
    wrong = lab.root(with_password(lab, WRONG))
    for words in ("is not accepted", "is not accepted", "is not given again", "is not given again"):
        with pytest.raises(RootRefusedError, match=words):
            wrong.unwrap(record)
    assert right.unwrap(record) == key


def test_a_lockout_is_told(lab: TpmLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tpm, "MAX_WRONG_AUTHS", 100)
    _, record = lab.root(with_password(lab, PASSWORD)).generate_data_key(fresh())
    wrong, said = lab.root(with_password(lab, WRONG)), ""
    for _ in range(10):
        with pytest.raises(RootRefusedError) as caught:
            wrong.unwrap(record)
        said = caught.value.message
    assert "has locked itself" in said


def test_a_cleared_tpm_opens_nothing(lab: TpmLab) -> None:
    from tpm2_pytss import ESYS_TR

    root = lab.root()
    _, record = root.generate_data_key(fresh())
    lab.operate(lambda opened: opened.clear(ESYS_TR.LOCKOUT))
    with pytest.raises(RootRefusedError) as caught:
        root.unwrap(record)
    assert "was cleared" in caught.value.hint
    root.check()


def test_bytes_behind_the_seal_and_bytes_that_are_none(lab: TpmLab) -> None:
    from dataclasses import replace

    root = lab.root()
    key, record = root.generate_data_key(fresh())
    for blob in (record.blob + b"\0", b"", b"\xff" * 200):
        with pytest.raises(IntegrityError):
            root.unwrap(replace(record, blob=blob))
    assert root.unwrap(record) == key


@pytest.mark.parametrize("tcti", ["nonsense:x", "device:/nonexistent"])
def test_a_tpm_that_is_not_there(tcti: str) -> None:
    from strongroom.clock import SystemClock

    with pytest.raises(RootUnavailableError, match="cannot open now"):
        tpm.build(tpm.settings(tcti), SystemClock()).check()
