"""TPM 2.0: passwords, lockout, and a TPM that was cleared; each with an swtpm of its own."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from strongroom.crypto.secret import SecretBytes
from strongroom.errors import IntegrityError, RootRefusedError, RootUnavailableError
from strongroom.ids import new_id
from strongroom.roots import tpm
from strongroom.roots.base import Context, RootProvider, WrapRecord
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


@contextmanager
def filled(lab: TpmLab) -> Iterator[Callable[[], None]]:
    """Another caller, who holds all keys that this TPM has room for; gives what lets them go."""
    import tpm2_pytss
    from tpm2_pytss import ESYS_TR

    with tpm2_pytss.ESAPI(lab.settings.options["tcti"]) as other:
        # a TPM need not hold more than three
        held = [other.create_primary(None, primary_handle=ESYS_TR.OWNER)[0] for _ in range(3)]
        with pytest.raises(tpm2_pytss.TSS2_Exception, match="out of memory for object contexts"):
            other.create_primary(None, primary_handle=ESYS_TR.OWNER)

        def let_go() -> None:
            while held:
                other.flush_context(held.pop())

        yield let_go
        let_go()


def test_a_tpm_that_others_fill_is_waited_for(lab: TpmLab) -> None:
    root = lab.root()
    key, record = root.generate_data_key(fresh())
    with filled(lab) as let_go, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(root.unwrap, record)
        with pytest.raises(TimeoutError):
            asked.result(timeout=0.3)
        let_go()
        assert asked.result() == key


def test_a_tpm_that_stays_full_is_told_as_such(
    lab: TpmLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tpm, "FULL_S", 0.1)
    root = lab.root()
    key, record = root.generate_data_key(fresh())
    with filled(lab):
        for ask in (lambda: root.unwrap(record), root.check):
            with pytest.raises(RootUnavailableError, match="other callers fill it") as caught:
                ask()
            assert "device:/dev/tpmrm0" in caught.value.hint
    assert root.unwrap(record) == key


def _unwrapping(root: RootProvider, record: WrapRecord, key: SecretBytes) -> int:
    """Start a process that unwraps ten times; it ends with 0 if that gave the key each time."""
    if pid := os.fork():
        return pid
    code = 1
    try:
        code = int(not all(root.unwrap(record) == key for _ in range(10)))
    finally:
        os._exit(code)


def test_processes_share_a_tpm_without_a_resource_manager(lab: TpmLab) -> None:
    """Room is for three keys, and every unwrapping needs two: a served node beside commands."""
    root = lab.root()
    key, record = root.generate_data_key(fresh())
    started = [_unwrapping(root, record, key) for _ in range(6)]
    ended = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in started]
    assert ended == [0] * len(started)


@pytest.mark.parametrize("tcti", ["nonsense:x", "device:/nonexistent"])
def test_a_tpm_that_is_not_there(tcti: str) -> None:
    from strongroom.clock import SystemClock

    with pytest.raises(RootUnavailableError, match="cannot open now"):
        tpm.build(tpm.settings(tcti), SystemClock()).check()
