"""Every command that meets an encrypted file, over both formats of envelopes (format/envelope.md, envelope-2.md)."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from strongroom.access.permissions import Subject
from strongroom.backup.open_backup import open_header
from strongroom.client import decrypt_file, open_file
from strongroom.envelope import pages
from strongroom.envelope.header import FORMAT_1, FORMAT_2, FORMATS, MAX_HEADER_BYTES, Placement
from strongroom.envelope.keys import EnvelopeKeys
from strongroom.errors import FormatError, IntegrityError
from strongroom.extracts.vault import ExtractVault
from strongroom.ids import new_id
from strongroom.node import opening
from tests.contract.cli.files.test_files import Tool
from tests.support import envelope_formats
from tests.support.envelope_formats import FORGED_MEK, FORGED_PLACE, header_of
from tests.support.memory_keys import MemoryService

DATA = os.urandom(300_000)
SITE, EXTRACT = new_id(), new_id()
OWNER = Subject("os:tester", is_server_admin=True)


@pytest.fixture
def tool(node_dir: Path, tmp_path: Path) -> Tool:
    folder = tmp_path / "work"
    folder.mkdir()
    return Tool(node_dir, folder)


@pytest.fixture(params=FORMATS, ids=["format 1", "format 2"])
def version(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    chosen: int = request.param
    envelope_formats.write_format(monkeypatch, chosen)
    return chosen


def logged(tool: Tool) -> str:
    return (tool.node_dir / "tabsvc" / "events" / "node1.jsonl").read_text()


def test_a_node_writes_format_2(tool: Tool) -> None:
    assert header_of(tool.sealed()).prelude.format == FORMAT_2


def test_files_and_pipes(tool: Tool, version: int) -> None:
    path = tool.sealed(data=DATA)
    assert header_of(path).prelude.format == version
    assert tool.inside("verify", path) == 0
    assert tool.inside("decrypt", path, tool.folder / "back") == 0
    assert (tool.folder / "back").read_bytes() == DATA
    # another process, which writes format 2, reads the one and the other
    assert tool.run("decrypt", path, "-").stdout == DATA
    assert tool.run("decrypt", "-", "-", data=path.read_bytes()).stdout == DATA
    assert tool.run("decrypt", "-", "-", data=path.read_bytes()[:-1]).returncode == 20
    for twice in (
        tool.run("encrypt", path, "-"),
        tool.run("encrypt", "-", "-", data=path.read_bytes()),
    ):
        assert twice.returncode != 0
        assert b"encrypted already" in twice.stderr


def test_many_files_and_what_is_left_of_them(tool: Tool, version: int) -> None:
    """`--resume` asks how long an output must be: that differs by the format of each."""
    plain = [tool.file(f"file{number}", os.urandom(number * 3000)) for number in range(4)]
    sealed, back = tool.folder / "sealed", tool.folder / "back"
    assert tool.inside("encrypt", "--into", sealed, *plain) == 0
    made = sorted(sealed.iterdir())
    assert {header_of(path).prelude.format for path in made} == {version}
    before = [path.stat().st_mtime_ns for path in made]
    assert tool.inside("encrypt", "--resume", "--into", sealed, *plain) == 0
    assert [path.stat().st_mtime_ns for path in made] == before
    assert tool.inside("decrypt", "--into", back, *made) == 0
    assert sorted(path.read_bytes() for path in back.iterdir()) == sorted(
        path.read_bytes() for path in plain
    )


def test_rewrap_leaves_the_format_and_the_body(
    tool: Tool, version: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tool.sealed(data=DATA)
    body = path.read_bytes()[header_of(path).prelude.body_offset :]
    active = tool.rotate()
    assert tool.inside("rewrap", path) == 0
    header = header_of(path)
    assert header.prelude.format == version
    assert header.mek_ids == {active}
    assert header.slots[0] == header.slots[1]
    assert path.read_bytes()[header.prelude.body_offset :] == body
    assert tool.inside("rewrap", path) == 0
    assert "1 had nothing to do" in capsys.readouterr().err
    assert tool.inside("verify", path) == 0


def test_inspect_says_where_the_body_begins(
    tool: Tool, version: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tool.sealed(data=DATA)
    capsys.readouterr()
    assert tool.inside("inspect", path, "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["format"] == version
    assert shown["body_offset"] == 4096 * version
    assert shown["plaintext_bytes"] == len(DATA)
    assert len(shown["context"]) == {FORMAT_1: 64, FORMAT_2: 104}[version]
    assert tool.inside("inspect", path) == 0


@pytest.mark.parametrize("start", [0, 4096])
def test_a_lost_block_costs_nothing_and_a_rewrap_heals_it(
    tool: Tool, monkeypatch: pytest.MonkeyPatch, start: int
) -> None:
    """review X8: the file is read, it is not encrypted twice, and it becomes whole."""
    envelope_formats.write_format(monkeypatch, FORMAT_2)
    path = tool.sealed(data=DATA)
    whole = path.read_bytes()
    path.write_bytes(whole[:start] + bytes(4096) + whole[start + 4096 :])
    assert tool.inside("verify", path) == 0
    assert tool.inside("encrypt", path, tool.folder / "twice") != 0
    assert tool.inside("rewrap", path) == 0
    assert path.read_bytes() == whole


def test_a_slot_of_an_algorithm_of_tomorrow(
    tool: Tool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is passed over, shown, and never overwritten."""
    envelope_formats.write_format(monkeypatch, FORMAT_2)
    path = tool.sealed(data=DATA)
    whole = path.read_bytes()
    content = whole[:72] + b"\0\7" + whole[74:4064]
    path.write_bytes(content + hashlib.sha256(content).digest() + whole[4096:])
    changed = path.read_bytes()
    assert tool.inside("verify", path) == 0
    capsys.readouterr()
    assert tool.inside("inspect", path) == 0
    assert "algorithm 7" in capsys.readouterr().out
    assert tool.inside("rewrap", path) == 0
    tool.rotate()
    assert tool.inside("rewrap", path) == 21
    assert "algorithm 7" in capsys.readouterr().err
    assert path.read_bytes() == changed


@pytest.mark.parametrize("number", [0, 1])
def test_what_a_forged_slot_says_is_neither_told_nor_logged(
    tool: Tool, version: int, number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """review X11: `decrypt` and `verify` printed its placement, and FILE_DECRYPTED had its MEK."""
    path = tool.sealed(data=DATA)
    true = header_of(path).newest.mek_id
    if number == 0 and version == FORMAT_1:  # the genuine slot of a new file moves to slot 1
        offset, data = pages.place(header_of(path).prelude, 1, header_of(path).newest)
        path.write_bytes(
            path.read_bytes()[:offset] + data + path.read_bytes()[offset + len(data) :]
        )
    envelope_formats.forge(path, number)
    assert FORGED_MEK in {slot.mek_id for slot in header_of(path).slots if slot}
    capsys.readouterr()
    assert tool.inside("verify", path) == 0
    assert tool.inside("decrypt", path, tool.folder / "out") == 0
    assert tool.inside("decrypt", "--into", tool.folder / "into", path, "--suffix", ".sealed") == 0
    said = capsys.readouterr()
    piped = tool.run("decrypt", "-", "-", data=path.read_bytes())
    assert piped.stdout == DATA
    told = said.out + said.err + piped.stderr.decode()
    assert FORGED_MEK not in told
    assert FORGED_PLACE.site_id not in told
    assert tool.inside("inspect", path, "--reveal-data-key", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["mek_id"] == true
    assert [one["authenticated"] for one in shown["slots"]] == [number == 1, number == 0]
    assert tool.inside("inspect", path, "--reveal-data-key") == 0
    assert f"opened by       MEK {true}" in capsys.readouterr().out
    assert FORGED_MEK not in logged(tool)
    used = [one for one in tool.events() if one["id"] in {"FILE_DECRYPTED", "DATA_KEY_REVEALED"}]
    assert len(used) == 5
    assert {one["details"]["mek_id"] for one in used} == {true}
    active = tool.rotate()
    assert tool.inside("rewrap", path) == 0
    last = tool.events()[-1]["details"]
    assert (last["before"], last["after"]) == (true, active)
    assert header_of(path).mek_ids == {active}


def test_data_keys_of_both(tool: Tool, version: int) -> None:
    """The desk gives out a header of the node's format, and opens both; the client, too."""
    node = opening.open_node(str(tool.node_dir))
    try:
        desk = node.data_key_desk
        page, key = desk.generate(OWNER)
        assert len(page) == 4096 * version
        assert desk.unwrap(OWNER, page) == key
        with pytest.raises(FormatError):
            desk.unwrap(OWNER, page + bytes(1))
        path, service = tool.sealed(data=DATA), MemoryService(node.envelope_keys)
        with open_file(path, service) as file:
            assert file.read() == DATA
        assert decrypt_file(path, tool.folder / "copy", service) == len(DATA)
        envelope_formats.forge(path)
        desk.unwrap(OWNER, path.read_bytes()[: 4096 * version])
        assert FORGED_MEK not in logged(tool)
    finally:
        node.close()


def test_stored_extracts_of_both_in_one_store(tool: Tool, version: int) -> None:
    """A file is opened, verified, rewrapped and counted by its own format; re-encryption writes the node's."""
    node = opening.open_node(str(tool.node_dir))
    place = Placement(SITE, EXTRACT)
    try:
        earlier = ExtractVault(node.files, EnvelopeKeys(node.data_keys, lambda: 3 - version))
        vaults = [earlier, node.vault]
        stored = []
        for vault in vaults:
            with vault.create(place, encrypted=True, expected_bytes=len(DATA)) as out:
                out.write(DATA)
                stored.append(out.commit())
        for one in stored:
            path = Path(node.files.place_of(one.storage_key))
            assert path.stat().st_size == one.stored_bytes
            assert node.vault.verify(one, place) == len(DATA)
            with pytest.raises(IntegrityError):
                node.vault.verify(one, Placement(SITE, new_id()))
        found = [
            header_of(Path(node.files.place_of(one.storage_key))).prelude.format for one in stored
        ]
        assert found == [3 - version, version]
        node.meks.rotate("os:tester")
        active = node.envelope_keys.active_mek_id
        for one in stored:
            assert node.vault.rewrap(one, place).mek_id == active
            assert node.vault.mek_ids(one.storage_key) == {active}
            again = node.vault.reencrypt(one, place)
            path = Path(node.files.place_of(again.storage_key))
            assert header_of(path).prelude.format == version
            assert path.stat().st_size == again.stored_bytes
            row = {"file_id": again.file_id, "site_id": SITE, "id": EXTRACT}
            open_header(header_of(path), row, node.kms_cache.ring())
    finally:
        node.close()


def test_a_file_cut_inside_its_header(tool: Tool, version: int) -> None:
    path: Path = tool.sealed(data=b"x")
    whole = path.read_bytes()
    for length in (0, 100, 4095, 4096, MAX_HEADER_BYTES - 1, len(whole) - 1):
        path.write_bytes(whole[: min(length, len(whole) - 1)])
        assert tool.inside("verify", path) in {20, 21}
