"""What is the certificates' own: the directory, modes, and a run that dies between two files."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from strongroom.consumers import certificates_files
from strongroom.consumers.base import Credential
from strongroom.consumers.certificates_files import BUNDLE, CertificatesConsumer
from strongroom.errors import ConsumerRefusedError
from strongroom.system import durable
from strongroom.system.durable import FileModes
from tests.contract.consumers.component_certificates import CertificatesLab, new_chain

FILES = (BUNDLE, "admin.pem", "node.pem")


@pytest.fixture
def own(tmp_path: Path) -> CertificatesLab:
    lab = CertificatesLab(tmp_path)
    lab.reset()
    return lab


def rotate(own: CertificatesLab) -> CertificatesConsumer:
    consumer, present = own.consumer(), own.reset()
    new = own.fresh(present)
    _rotate(consumer, new, present)
    consumer.login(new)
    return consumer


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_files_are_private_under_every_umask(own: CertificatesLab, umask: int) -> None:
    """S2: the keys are for the directory's owner."""
    before = os.umask(umask)
    try:
        consumer = rotate(own)
    finally:
        os.umask(before)
    assert {copy.mode for copy in consumer.copies()} == {"0600"}


def test_the_directorys_group_may_read_if_it_may_enter(own: CertificatesLab) -> None:
    present = own.reset()
    own.directory.chmod(0o750)
    own.consumer().withdraw(present, present)
    for name in FILES:
        found = (own.directory / name).stat()
        assert stat.S_IMODE(found.st_mode) == 0o640
        assert found.st_gid == own.directory.stat().st_gid


def _writable(directory: Path) -> None:
    directory.chmod(0o777)


def _linked(directory: Path) -> None:
    real = directory.with_name("real")
    directory.rename(real)
    directory.symlink_to(real)


def _file(directory: Path) -> None:
    (directory / BUNDLE).unlink()
    directory.rmdir()
    directory.touch()


def _gone(directory: Path) -> None:
    (directory / BUNDLE).unlink()
    directory.rmdir()


@pytest.mark.parametrize("spoil", [_writable, _linked, _file, _gone])
def test_a_directory_that_is_not_safe_is_refused(
    own: CertificatesLab, spoil: Callable[[Path], None]
) -> None:
    """S2: others could replace what is trusted, or lead the keys elsewhere."""
    present = own.reset()
    spoil(own.directory)
    with pytest.raises(ConsumerRefusedError) as caught:
        own.consumer().admit(own.fresh(present), present)
    assert str(own.directory) in caught.value.message


def test_a_link_in_the_place_of_a_file_is_not_followed(
    own: CertificatesLab, tmp_path: Path
) -> None:
    present = own.reset()
    elsewhere = tmp_path / "elsewhere.pem"
    elsewhere.write_bytes(b"untouched")
    (own.directory / "node.pem").symlink_to(elsewhere)
    own.consumer().withdraw(present, present)
    assert elsewhere.read_bytes() == b"untouched"
    assert not (own.directory / "node.pem").is_symlink()


@pytest.mark.parametrize("bundle", [b"", b"no certificate", b"\xff", None])
def test_a_bundle_that_is_damaged_is_a_refusal(own: CertificatesLab, bundle: bytes | None) -> None:
    present = own.reset()
    if bundle is None:
        (own.directory / BUNDLE).unlink()
    else:
        (own.directory / BUNDLE).write_bytes(bundle)
    with pytest.raises(ConsumerRefusedError):
        own.consumer().login(present)


def test_a_chain_whose_key_is_anothers_is_refused(own: CertificatesLab) -> None:
    present, other = own.reset(), new_chain()
    name = f"{certificates_files.STEM}.node.key.file_bytes"
    mixed = dict(present.values) | {name: other.values[name]}
    with pytest.raises(ConsumerRefusedError, match="damaged"):
        own.consumer().login(type(present)(mixed))


class Killed(BaseException):
    """The process died here."""


@pytest.mark.parametrize("written", range(4))
@pytest.mark.parametrize("whole", [False, True], ids=["before", "after"])
def test_a_run_that_dies_at_any_file_converges_and_trusts_at_each_moment(
    own: CertificatesLab, monkeypatch: pytest.MonkeyPatch, written: int, *, whole: bool
) -> None:
    """R7: whatever certificate lies there is trusted by the bundle that lies there."""
    present = own.reset()
    consumer, new = own.consumer(), own.fresh(present)
    consumer.withdraw(present, present)
    left = written
    real = durable.write_file

    def write(path: Path, data: bytes, file_modes: FileModes) -> None:
        nonlocal left
        if left or whole:
            real(path, data, file_modes)
        if not left:
            raise Killed
        left -= 1

    monkeypatch.setattr(durable, "write_file", write)
    with pytest.raises(Killed):
        _rotate(consumer, new, present)
    monkeypatch.setattr(durable, "write_file", real)
    shown = [
        one
        for one in (present, new)
        for role in ("node", "admin")
        if (own.directory / f"{role}.pem").read_bytes() == certificates_files._pair(one, role)
    ]
    assert len(shown) == 2
    assert all(own.accepts(one) for one in shown)
    _rotate(consumer, new, present)
    consumer.login(new)
    with pytest.raises(ConsumerRefusedError):
        consumer.login(present)


def _rotate(consumer: CertificatesConsumer, new: Credential, present: Credential) -> None:
    consumer.admit(new, present)
    consumer.withdraw(present, new)


def test_a_handshake_that_does_not_end_is_no_proof(
    own: CertificatesLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    present = own.reset()
    monkeypatch.setattr(certificates_files, "_TURNS", 1)
    with pytest.raises(ConsumerRefusedError):
        own.consumer().login(present)


def test_a_file_that_cannot_be_written_is_told(own: CertificatesLab) -> None:
    present = own.reset()
    (own.directory / "node.pem").mkdir()
    with pytest.raises(ConsumerRefusedError, match="cannot be written"):
        own.consumer().withdraw(present, present)
