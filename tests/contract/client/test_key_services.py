"""One suite over each key service of `strongroom.client`, against a real node (docs/format/data-keys.md 1)."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from strongroom import client
from strongroom.client import KeyService
from strongroom.crypto.secret import SecretBytes
from strongroom.envelope.header import Header, KeySlot, Placement, check_commitment
from strongroom.errors import (
    ConflictError,
    FormatError,
    IntegrityError,
    KeyNotFoundError,
    StrongroomError,
)
from strongroom.eventlog.base import Event
from strongroom.ids import new_id
from strongroom.services.files.one import Output
from tests.support.memory_keys import MemoryKeys
from tests.support.web_client import Served

ACTOR = "os:tester"
PLAIN = b"some bytes" * 100_000


def last_event(served: Served) -> dict[str, Any]:
    return dict(list(served.node.events.read())[-1])


def test_the_nodes_own_command_opens_what_a_client_wrote(
    served: Served, keys: KeyService, tmp_path: Path
) -> None:
    with client.create_file(tmp_path / "sealed", keys) as new:
        new.write(PLAIN)
    files = served.node.standalone_files
    files.decrypt(str(tmp_path / "sealed"), Output(str(tmp_path / "plain")), actor=ACTOR)
    assert (tmp_path / "plain").read_bytes() == PLAIN


def test_a_client_opens_what_the_nodes_own_command_wrote(
    served: Served, keys: KeyService, tmp_path: Path
) -> None:
    (tmp_path / "plain").write_bytes(PLAIN)
    files = served.node.standalone_files
    files.encrypt(str(tmp_path / "plain"), Output(str(tmp_path / "sealed")), actor=ACTOR)
    served.node.meks.rotate(ACTOR)
    files.rewrap([str(tmp_path / "sealed")], actor=ACTOR)
    with client.open_file(tmp_path / "sealed", keys) as file:
        assert file.read() == PLAIN


def test_each_key_that_leaves_has_its_event(served: Served, keys: KeyService) -> None:
    header, dek = keys.generate()
    check_commitment(header.prelude, dek)
    assert header.newest.placement == Placement.standalone()
    told = {
        "file_id": header.prelude.file_id.hex(),
        "mek_id": served.node.envelope_keys.active_mek_id,
    }
    event = last_event(served)
    assert (event["id"], event["details"]) == ("DATA_KEY_GENERATED", told)
    assert keys.unwrap(header) == dek
    event = last_event(served)
    assert (event["id"], event["details"]) == ("DATA_KEY_UNWRAPPED", told)
    assert event["actor"].partition(":")[0] in {"user", "os"}


def test_no_key_leaves_without_its_event(
    served: Served, keys: KeyService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """data-keys.md 1.4."""
    header, _ = keys.generate()

    def full(new: list[Event]) -> None:
        raise ConflictError(f"no room for {len(new)} events")

    monkeypatch.setattr(served.node.events, "append", full)
    with pytest.raises(ConflictError):
        keys.unwrap(header)
    with pytest.raises(ConflictError):
        keys.generate()


def test_extracts_of_sites_are_not_served(served: Served, keys: KeyService) -> None:
    """data-keys.md 1.2: those are read through the routes of published content."""
    placement = Placement(new_id(), new_id())
    header, _ = served.node.envelope_keys.new_envelope(placement)
    with pytest.raises(IntegrityError, match=placement.site_id):
        keys.unwrap(header)
    hidden = replace(header.newest, placement=Placement.standalone())
    with pytest.raises(IntegrityError):
        keys.unwrap(only(header, hidden))
    assert "DATA_KEY_UNWRAPPED" not in {event["id"] for event in served.node.events.read()}


def test_a_mek_that_is_not_known(keys: KeyService) -> None:
    header, _ = MemoryKeys().new_envelope(Placement.standalone())
    with pytest.raises(KeyNotFoundError):
        keys.unwrap(header)


def only(header: Header, slot: KeySlot) -> Header:
    """A header with this slot alone."""
    return Header(header.prelude, (slot, None))


def test_a_changed_header(keys: KeyService) -> None:
    header, _ = keys.generate()
    changed = replace(header.newest, salt=bytes(32))
    with pytest.raises(IntegrityError):
        keys.unwrap(only(header, changed))
    # the other one opens
    assert keys.unwrap(header.with_slot_at(0, changed)) == keys.unwrap(header)


def test_segments_of_each_size(keys: KeyService) -> None:
    for size in (4096, 4 * 1024 * 1024):
        assert keys.generate(segment_bytes=size)[0].prelude.segment_bytes == size
    for size in (0, 4095, 5000, 8 * 1024 * 1024):
        with pytest.raises(FormatError, match="not allowed"):
            keys.generate(segment_bytes=size)


def test_keys_that_cannot_be_opened_are_said_so(
    served: Served, keys: KeyService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object, **__: object) -> tuple[bytes, SecretBytes]:
        raise KeyNotFoundError("no key opens")

    monkeypatch.setattr(served.node.data_key_desk, "generate", unreachable)
    with pytest.raises(KeyNotFoundError, match="no key opens"):
        keys.generate()


def test_a_mek_that_is_retired_meanwhile_is_asked_for_again(
    served: Served, keys: KeyService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """data-keys.md 1.4: what is generated under a MEK that goes before the event is not handed out."""
    node = served.node
    old, append, done = node.envelope_keys.active_mek_id, node.events.append, list[str]()

    def appended(new: list[Event]) -> None:
        if not done and new[0].id == "DATA_KEY_GENERATED":
            done.append(old)
            node.meks.rotate(ACTOR)
            node.meks.retire(old, ACTOR)
        append(new)

    monkeypatch.setattr(node.events, "append", appended)
    with pytest.raises(ConflictError, match="retired"):
        keys.generate()
    header, dek = keys.generate()
    assert header.newest.mek_id != old
    assert keys.unwrap(header) == dek


def test_errors_are_ours_and_show_no_key(served: Served, keys: KeyService) -> None:
    header, dek = keys.generate()
    with pytest.raises(StrongroomError) as caught:
        keys.unwrap(only(header, replace(header.newest, wrapped_dek=bytes(48))))
    assert dek.reveal().hex() not in repr(caught.value)
    assert served.node.envelope_keys.active_mek_id
