"""Files of `strongroom.client`: read at any offset, written as bytes come, appearing whole or never."""

import io
import zipfile
from pathlib import Path

import pytest

from strongroom import client
from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.envelope.header import Header
from strongroom.envelope.page_1 import HEADER_BYTES
from strongroom.errors import (
    ConflictError,
    FormatError,
    IntegrityError,
    KeyServiceError,
    NotFoundError,
    StateError,
    StorageError,
)
from strongroom.system.compat import override
from tests.support.memory_keys import Memory, MemoryKeys, MemoryService, opened, sealed

PLAIN = rng.random_bytes(700_000)


@pytest.fixture
def keys() -> MemoryService:
    return MemoryService(MemoryKeys())


class Liar(MemoryService):
    """A key service that gives another key than the header holds."""

    @override
    def generate(self, *, segment_bytes: int = 262_144) -> tuple[Header, SecretBytes]:
        header, _ = super().generate(segment_bytes=segment_bytes)
        return header, rng.new_key()

    @override
    def unwrap(self, header: Header) -> SecretBytes:
        super().unwrap(header)
        return rng.new_key()


@pytest.mark.parametrize("count", [0, 1, 4096, len(PLAIN)])
@pytest.mark.parametrize("way", ["pieces", "file"])
def test_what_is_written_is_read_back(
    keys: MemoryService, tmp_path: Path, way: str, count: int
) -> None:
    plain, target = PLAIN[:count], tmp_path / "target"
    if way == "file":
        (tmp_path / "plain").write_bytes(plain)
        assert client.encrypt_file(tmp_path / "plain", target, keys) == count
    else:
        with client.create_file(target, keys) as new:
            for start in range(0, count, 100_003):
                assert new.write(plain[start : start + 100_003]) == len(plain[start:][:100_003])
            assert new.tell() == count
    assert keys.asked == 1
    assert opened(keys.keys, target.read_bytes()) == plain
    with client.open_file(target, keys) as file:
        assert (file.size, file.read()) == (count, plain)
        assert file.read() == b""
    assert client.decrypt_file(target, tmp_path / "again", keys) == count
    assert (tmp_path / "again").read_bytes() == plain
    assert keys.asked == 3
    assert target.stat().st_mode & 0o777 == 0o600


def test_a_file_is_one_of_pythons(keys: MemoryService, tmp_path: Path) -> None:
    with client.create_file(tmp_path / "a", keys) as new, zipfile.ZipFile(new, "w") as archive:
        archive.writestr("one", PLAIN)
    with client.open_file(tmp_path / "a", keys) as file:
        with zipfile.ZipFile(file) as archive:
            assert archive.read("one") == PLAIN
        assert (file.readable(), file.seekable(), file.writable()) == (True, True, False)
        assert file.seek(-3, io.SEEK_END) == file.size - 3
        position = file.tell()
        assert file.read_at(0, 4) == b"PK\3\4"
        assert file.read_at(file.size, 4) == file.read_at(file.size - 1, 0) == b""
        assert file.tell() == position
        assert len(file.read(100)) == 3
    with pytest.raises(ValueError, match="closed file"):
        file.read(1)


def test_a_text_wrapper_is_detached(keys: MemoryService, tmp_path: Path) -> None:
    with client.create_file(tmp_path / "a", keys) as new:
        text = io.TextIOWrapper(io.BufferedWriter(new), "utf-8")
        text.write("ä" * 1000)
        text.detach().detach()
    with client.open_file(tmp_path / "a", keys) as file:
        assert io.TextIOWrapper(io.BufferedReader(file), "utf-8").read() == "ä" * 1000


def test_a_block_that_raises_leaves_nothing(keys: MemoryService, tmp_path: Path) -> None:
    def fail() -> None:
        with client.create_file(tmp_path / "a", keys) as new:
            new.write(PLAIN)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_closed_too_early_does_not_appear(
    keys: MemoryService, tmp_path: Path
) -> None:
    """A wrapper that is thrown away closes what it wraps; what it still held is missing then."""

    def write() -> None:
        with client.create_file(tmp_path / "a", keys) as new, new:
            new.write(PLAIN)

    with pytest.raises(StateError, match="closed before") as caught:
        write()
    assert "detach" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_nothing_can_be_written_behind_the_end(keys: MemoryService, tmp_path: Path) -> None:
    with client.create_file(tmp_path / "a", keys) as new:
        new.write(b"a")
    with pytest.raises(StateError, match="finished"):
        new.write(b"b")
    with client.open_file(tmp_path / "a", keys) as file:
        assert file.read() == b"a"


def test_what_is_there_is_replaced_when_that_is_asked_for(
    keys: MemoryService, tmp_path: Path
) -> None:
    for name in ("plain", "a", "b"):
        (tmp_path / name).write_bytes(b"there")
    asked = keys.asked
    with pytest.raises(ConflictError), client.create_file(tmp_path / "a", keys):
        pass
    with pytest.raises(ConflictError):
        client.encrypt_file(tmp_path / "plain", tmp_path / "a", keys)
    assert keys.asked == asked  # no key for a file that cannot be
    client.encrypt_file(tmp_path / "plain", tmp_path / "a", keys, replace=True)
    with client.create_file(tmp_path / "a", keys, replace=True) as new:
        new.write(b"new")
    with pytest.raises(ConflictError):
        client.decrypt_file(tmp_path / "a", tmp_path / "b", keys)
    assert client.decrypt_file(tmp_path / "a", tmp_path / "b", keys, replace=True) == 3
    assert (tmp_path / "b").read_bytes() == b"new"


def test_a_key_that_the_header_does_not_hold_is_refused(tmp_path: Path) -> None:
    """data-keys.md 1.6: encrypted by such a key, no file could be opened again; nothing is left of it."""
    honest = MemoryKeys()
    (tmp_path / "plain").write_bytes(PLAIN)
    with pytest.raises(IntegrityError):
        client.encrypt_file(tmp_path / "plain", tmp_path / "a", Liar(honest))
    with pytest.raises(IntegrityError), client.create_file(tmp_path / "a", Liar(honest)):
        pass
    (tmp_path / "sealed").write_bytes(sealed(honest, PLAIN))
    with pytest.raises(IntegrityError):
        client.open_file(tmp_path / "sealed", Liar(honest))
    assert {path.name for path in tmp_path.iterdir()} == {"plain", "sealed"}


def test_a_header_for_other_segments_is_refused(tmp_path: Path) -> None:
    class Large(MemoryService):
        @override
        def generate(self, *, segment_bytes: int = 262_144) -> tuple[Header, SecretBytes]:
            return super().generate(segment_bytes=segment_bytes * 2)

    with (
        pytest.raises(KeyServiceError, match="another size"),
        client.create_file(tmp_path / "a", Large(MemoryKeys()), segment_bytes=4096),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", [0, 100, HEADER_BYTES + 50, HEADER_BYTES + 300_000, -1])
def test_a_changed_file_is_refused(keys: MemoryService, tmp_path: Path, place: int) -> None:
    envelope = bytearray(sealed(keys.keys, PLAIN))
    envelope[place] ^= 1
    (tmp_path / "a").write_bytes(envelope)
    with pytest.raises((IntegrityError, FormatError)):
        client.decrypt_file(tmp_path / "a", tmp_path / "b", keys)
    assert not (tmp_path / "b").exists()


def test_bytes_that_lie_elsewhere(keys: MemoryService) -> None:
    source = Memory(sealed(keys.keys, PLAIN))
    for _ in range(2):  # the source stays open
        with client.open_source(source, keys) as file:
            assert file.read_at(123_456, 789) == PLAIN[123_456:][:789]
    with pytest.raises(FormatError):
        client.open_source(Memory(PLAIN), keys)


def test_inspecting_needs_no_key(keys: MemoryService, tmp_path: Path) -> None:
    with client.create_file(tmp_path / "a", keys, segment_bytes=8192) as new:
        new.write(PLAIN)
    found = client.inspect_file(tmp_path / "a")
    assert found.plaintext_bytes == len(PLAIN)
    assert found.header.prelude.segment_bytes == 8192
    assert found.to_json()["mek_id"] == keys.keys.active_mek_id
    assert keys.asked == 1


def test_what_is_not_there_or_no_envelope(keys: MemoryService, tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(PLAIN)
    for ask in (lambda path: client.open_file(path, keys), client.inspect_file):
        with pytest.raises(NotFoundError):
            ask(tmp_path / "nosuch")
        with pytest.raises(FormatError, match="not an encrypted file"):
            ask(tmp_path / "plain")
    assert keys.asked == 0


def test_a_full_disk_is_told(keys: MemoryService, tmp_path: Path) -> None:
    with (
        pytest.raises((StorageError, NotFoundError)),
        client.create_file(tmp_path / "nosuch" / "a", keys),
    ):
        pass


def test_the_public_names_are_there() -> None:
    assert sorted(client.__all__, key=lambda name: (name.upper() != name, name)) == client.__all__
    for name in client.__all__:
        found = getattr(client, name)
        assert isinstance(found, int) or (found.__doc__ and found.__module__)
