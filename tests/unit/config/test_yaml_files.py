"""The projections: docs/format/configuration.md §4, C-04."""

import re
from pathlib import Path

import pytest

from strongroom.config import catalog, yaml_files
from strongroom.config.document import ConfigDocument
from strongroom.errors import FormatError, StorageError
from strongroom.system import durable

DOCUMENT = ConfigDocument(
    "8ddd70df-be67-4dbf-9c35-1f0aa2421521",
    "1abc23de-f045-4678-9012-345678901234",
    {
        "redis.password": "ENC(AbC+/0==)",
        "gateway.timeout": "100",
        "x.date": "2026-11-21",
        "x.truth": "yes",
        "x.lines": "a\nb: c\n# d\n",
        "x.colon": "a: b",
        "x.text": "\u00e4 \u2028 \U0001f600 \x00 \x7f",
        "x.empty": "",
        "x.tag": "!!python/object:os.system",
    },
)


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    return [tmp_path / "vizportal_0.0.1.0", tmp_path / "filestore_0.0.1.0"]


def test_contents() -> None:
    """§4.1: what is set; what is read."""
    files = yaml_files.render(DOCUMENT)
    assert yaml_files.parse(files["tabsvc.yml"]) == DOCUMENT.values
    read = yaml_files.parse(files["workgroup.yml"])
    assert read == {
        **{name: key.default for name, key in catalog.KEYS.items() if key.default is not None},
        **DOCUMENT.values,
    }
    assert read["gateway.timeout"] == "100"


def test_secrets_stand_as_the_seeds_say() -> None:
    """C-04: a plain scalar of the seeds' form, one line."""
    text = yaml_files.render(DOCUMENT)["tabsvc.yml"].decode()
    assert re.search(r"^redis\.password: ENC\([A-Za-z0-9+/=]+\)$", text, re.MULTILINE)


def test_long_values_stay_on_one_line() -> None:
    document = DOCUMENT.with_values({"redis.password": f"ENC({'A' * 100_000})"})
    assert (
        f"\nredis.password: ENC({'A' * 100_000})\n".encode()
        in yaml_files.render(document)["tabsvc.yml"]
    )


@pytest.mark.parametrize(
    ("file_modes", "folder_mode", "file_mode"),
    [(durable.PRIVATE, 0o700, 0o600), (durable.FileModes(0o750, 0o640), 0o750, 0o640)],
    ids=["alone", "group"],
)
def test_modes(
    folders: list[Path], file_modes: durable.FileModes, folder_mode: int, file_mode: int
) -> None:
    """§4.3, C-10."""
    written = yaml_files.project(folders, DOCUMENT, file_modes)
    assert len(written) == 4
    assert {path.stat().st_mode & 0o777 for path in written} == {file_mode}
    assert {folder.stat().st_mode & 0o777 for folder in folders} == {folder_mode}
    assert sorted(path.name for path in folders[0].iterdir()) == ["tabsvc.yml", "workgroup.yml"]


def test_what_is_right_is_left_alone(folders: list[Path]) -> None:
    yaml_files.project(folders, DOCUMENT, durable.PRIVATE)
    before = (folders[0] / "tabsvc.yml").stat().st_ino
    assert yaml_files.project(folders, DOCUMENT, durable.PRIVATE) == []
    assert (folders[0] / "tabsvc.yml").stat().st_ino == before


@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing", "mode", "folder missing"])
def test_damage_is_repaired(folders: list[Path], damage: str) -> None:
    """§4.4: the truth wins."""
    yaml_files.project(folders, DOCUMENT, durable.PRIVATE)
    path = folders[1] / "workgroup.yml"
    data = path.read_bytes()
    match damage:
        case "truncated":
            path.write_bytes(data[:100])
        case "flipped":
            path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
        case "missing":
            path.unlink()
        case "mode":
            path.chmod(0o644)
        case _:
            for file in folders[1].iterdir():
                file.unlink()
            folders[1].rmdir()
    expected = [path] if damage != "folder missing" else [folders[1] / "tabsvc.yml", path]
    assert yaml_files.differing(folders, DOCUMENT, durable.PRIVATE) == expected
    assert yaml_files.project(folders, DOCUMENT, durable.PRIVATE) == expected
    assert path.read_bytes() == data
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_disk_that_keeps_something_else(
    folders: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        durable, "write_file", lambda path, _data, _access: path.write_bytes(b"else")
    )
    with pytest.raises(StorageError, match="does not hold"):
        yaml_files.project(folders, DOCUMENT, durable.PRIVATE)


@pytest.mark.parametrize(
    "data",
    [b"a: [", b"- a", b"a: 1", b"1: a", b"\xff", b"a: !!python/object:os.system {}", b"[" * 5000],
    ids=["open", "list", "number", "number as name", "no UTF-8", "tag", "deep"],
)
def test_damaged_files(data: bytes) -> None:
    with pytest.raises(FormatError):
        yaml_files.parse(data)
