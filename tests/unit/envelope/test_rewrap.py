"""Rewrap: at every moment one slot opens, and only then the old MEK may go (format/envelope.md §5)."""

import dataclasses

import pytest
from typing_extensions import override

from strongroom.envelope import header as headers
from strongroom.envelope import inspect as inspection
from strongroom.envelope.header import (
    HEADER_BYTES,
    Header,
    KeySlot,
    Placement,
    parse,
    serialize,
)
from strongroom.envelope.inspect import inspect
from strongroom.envelope.keys import EnvelopeKeys
from strongroom.envelope.rewrap import Rewrap, Steps, rewrap_batch
from strongroom.errors import IntegrityError, KeyNotFoundError, StorageError
from strongroom.ids import new_id
from strongroom.system.positions import SharesSync
from tests.support.memory_keys import MemoryKeys, opened, sealed
from tests.support.stored_forms import with_slot

PLACE = Placement(new_id(), new_id())


class KilledError(Exception):
    """The process ends here."""


class Page:
    """A header page whose writer is killed at a chosen step, perhaps in the middle of a sector."""

    def __init__(self, envelope: bytes, *, dies_at: int = 10**6, torn: int | None = None) -> None:
        self.envelope = bytearray(envelope)
        self.steps: list[str] = []
        self.reads = 0
        self._dies_at, self._torn = dies_at, torn
        self.device = 1

    def read(self, count: int) -> bytes:
        self.reads += 1
        assert count <= HEADER_BYTES
        return bytes(self.envelope[:count])

    def write_sector(self, offset: int, sector: bytes) -> None:
        assert len(sector) == 512
        if len(self.steps) == self._dies_at:
            torn = self._torn or 0
            self.envelope[offset : offset + torn] = sector[:torn]
            raise KilledError
        self.steps.append(f"write {offset}")
        self.envelope[offset : offset + 512] = sector

    def sync(self) -> None:
        if len(self.steps) == self._dies_at:
            raise KilledError
        self.steps.append("sync")

    def sync_all(self) -> None:
        self.steps.append("sync all")


def _stale() -> tuple[MemoryKeys, str, bytes]:
    keys = MemoryKeys()
    envelope = sealed(keys, b"data", placement=PLACE)
    return keys, keys.rotate(), envelope


def run(page: SharesSync, keys: EnvelopeKeys, placement: Placement | None) -> str:
    """A rewrap of one file, each step synced; gives the MEK under which the file is then."""
    work = Rewrap(page, keys, placement)
    if work.is_needed:
        (error,) = rewrap_batch([work])
        if error is not None:
            raise error
    return keys.active_mek_id


def test_both_slots_are_brought_to_the_active_mek() -> None:
    keys, active, envelope = _stale()
    page = Page(envelope)
    assert run(page, keys, PLACE) == active
    assert page.steps == ["write 1024", "sync", "write 512", "sync"]
    header = headers.parse(bytes(page.envelope[:HEADER_BYTES]))
    assert header.mek_ids == {active}
    assert header.slots[0] == header.slots[1]
    assert header.newest.sequence == 2
    assert header.newest.placement == PLACE
    assert page.envelope[HEADER_BYTES:] == envelope[HEADER_BYTES:]
    assert opened(keys, bytes(page.envelope), PLACE) == b"data"


def test_the_old_mek_is_needed_no_more() -> None:
    """§5.5."""
    keys, _, envelope = _stale()
    old = headers.parse(envelope[:HEADER_BYTES]).newest.mek_id
    page = Page(envelope)
    run(page, keys, None)
    keys.forget(old)
    assert opened(keys, bytes(page.envelope), PLACE) == b"data"


def test_a_current_file_needs_nothing() -> None:
    """§5.6: idempotent; a new file and a rewrapped one."""
    keys, _, envelope = _stale()
    page = Page(envelope)
    run(page, keys, PLACE)
    again = Page(bytes(page.envelope))
    run(again, keys, PLACE)
    assert again.steps == []
    fresh = Page(sealed(keys, b"new"))
    assert not Rewrap(fresh, keys, None).is_needed


@pytest.mark.parametrize("dies_at", range(4))
@pytest.mark.parametrize("torn", [0, 1, 100, 160, 300, 512])
def test_a_kill_at_any_step_loses_nothing(dies_at: int, torn: int) -> None:
    """§5.6: opens after the kill, and a second run brings it to the end."""
    keys, active, envelope = _stale()
    page = Page(envelope, dies_at=dies_at, torn=torn)
    with pytest.raises(KilledError):
        run(page, keys, PLACE)
    assert opened(keys, bytes(page.envelope), PLACE) == b"data"
    after = Page(bytes(page.envelope))
    run(after, keys, PLACE)
    header = headers.parse(bytes(after.envelope[:HEADER_BYTES]))
    assert header.mek_ids == {active}
    assert not header.damaged
    assert opened(keys, bytes(after.envelope), PLACE) == b"data"


def test_the_only_slot_that_opens_is_never_overwritten_first() -> None:
    """§5.2: the newest slot's MEK is gone, the older one opens."""
    keys = MemoryKeys()
    envelope = sealed(keys, b"data")
    lost = keys.rotate()
    header = headers.parse(envelope[:HEADER_BYTES])
    both = with_slot(header, keys.rewrapped_slot(header, None))
    envelope = headers.serialize(both) + envelope[HEADER_BYTES:]
    active = keys.rotate()
    keys.forget(lost)
    page = Page(envelope)
    assert Rewrap(page, keys, None).before == header.newest.mek_id
    run(page, keys, None)
    assert page.steps[0] == "write 1024"
    assert headers.parse(bytes(page.envelope[:HEADER_BYTES])).mek_ids == {active}
    assert opened(keys, bytes(page.envelope)) == b"data"


def test_a_damaged_slot_is_healed() -> None:
    keys, active, envelope = _stale()
    page = Page(envelope)
    run(page, keys, PLACE)
    page.envelope[600] ^= 1
    healed = Page(bytes(page.envelope))
    run(healed, keys, PLACE)
    header = headers.parse(bytes(healed.envelope[:HEADER_BYTES]))
    assert header.slots[0] == header.slots[1]
    assert header.mek_ids == {active}


def test_a_wrong_placement_is_refused_before_anything_is_written() -> None:
    keys, _, envelope = _stale()
    page = Page(envelope)
    with pytest.raises(IntegrityError, match="belongs to site"):
        Rewrap(page, keys, Placement(new_id(), new_id()))
    assert page.steps == []


def test_an_unknown_mek_is_told() -> None:
    keys, _, envelope = _stale()
    keys.forget(headers.parse(envelope[:HEADER_BYTES]).newest.mek_id)
    with pytest.raises(KeyNotFoundError):
        Rewrap(Page(envelope), keys, None)


class _Forgetful(Page):
    """A disk that acknowledges a write and does not keep it."""

    @override
    def write_sector(self, offset: int, sector: bytes) -> None:
        self.steps.append(f"write {offset}")


def test_what_is_not_read_back_is_not_believed() -> None:
    """§5.4."""
    keys, _, envelope = _stale()
    page = _Forgetful(envelope)
    with pytest.raises(IntegrityError):
        run(page, keys, PLACE)
    assert page.steps == ["write 1024", "sync"]
    assert opened(keys, bytes(page.envelope), PLACE) == b"data"


def test_the_second_write_never_comes_without_the_first() -> None:
    keys, _, envelope = _stale()
    with pytest.raises(IntegrityError):
        Rewrap(Page(envelope), keys, PLACE).write_second()


class _WrongKeys(MemoryKeys):
    """Seals a slot that does not open."""

    @override
    def rewrapped_slot(self, header: headers.Header, placement: Placement | None) -> KeySlot:
        slot = super().rewrapped_slot(header, placement)
        return dataclasses.replace(slot, wrapped_dek=bytes(48))


def test_a_new_slot_that_does_not_open_leaves_the_old_one() -> None:
    """§5.4."""
    keys = _WrongKeys()
    envelope = sealed(keys, b"data")
    keys.rotate()
    page = Page(envelope)
    with pytest.raises(IntegrityError):
        run(page, keys, None)
    assert opened(keys, bytes(page.envelope)) == b"data"


class _Broken(Page):
    @override
    def write_sector(self, offset: int, sector: bytes) -> None:
        raise StorageError("input/output error")


class _Unsyncable(Page):
    @override
    def sync_all(self) -> None:
        raise StorageError("input/output error")


def test_a_batch_shares_its_syncs_and_one_failure_stays_one() -> None:
    """§5.8."""
    keys, active, envelope = _stale()
    pages = [Page(envelope), _Broken(envelope), Page(envelope), Page(envelope)]
    pages[3].device = 2
    errors = rewrap_batch([Rewrap(page, keys, PLACE) for page in pages])
    assert [error is None for error in errors] == [True, False, True, True]
    assert pages[0].steps == ["write 1024", "sync all", "write 512", "sync all"]
    assert pages[2].steps == ["write 1024", "write 512"]
    assert pages[3].steps == ["write 1024", "sync", "write 512", "sync"]
    for page in (pages[0], pages[2], pages[3]):
        assert headers.parse(bytes(page.envelope[:HEADER_BYTES])).mek_ids == {active}


def test_a_failed_sync_fails_the_files_of_its_disk_before_their_second_write() -> None:
    keys, _, envelope = _stale()
    pages = [_Unsyncable(envelope), Page(envelope)]
    errors = rewrap_batch([Rewrap(page, keys, PLACE) for page in pages])
    assert all(isinstance(error, StorageError) for error in errors)
    assert [page.steps for page in pages] == [["write 1024"], ["write 1024"]]


def test_inspect_shows_everything_but_the_key() -> None:
    """§6.1."""
    keys, active, envelope = _stale()
    header = headers.parse(envelope[:HEADER_BYTES])
    shown = inspect(header, len(envelope)).to_json()
    assert shown["mek_id"] == header.newest.mek_id
    assert shown["body_offset"] == 4096
    assert shown["segment_bytes"] == 4096
    assert shown["context"] == headers.body_aad(header.prelude).hex()
    assert shown["plaintext_bytes"] == 4
    assert shown["authenticated"] is False
    page = Page(envelope)
    run(page, keys, PLACE)
    page.envelope[600] ^= 1
    after = inspect(headers.parse(bytes(page.envelope[:HEADER_BYTES])), HEADER_BYTES + 5).to_json()
    assert after["plaintext_bytes"] is None
    states = after["slots"]
    assert isinstance(states, list)
    assert states[0] == {"state": "damaged"}
    assert states[1]["mek_id"] == active
    assert states[1]["site_id"] == PLACE.site_id
    empty = inspection.inspect(header, 4152).to_json()["slots"]
    assert isinstance(empty, list)
    assert empty[1] == {"state": "empty"}


def nobody(_: Header) -> None:
    pass


def test_steps_rewrap_a_page_of_a_store_that_takes_whole_pages() -> None:
    """House 2.6: at every page one slot opens, and the third look finds nothing left to do."""
    keys = MemoryKeys()
    header, dek = keys.new_envelope(PLACE)
    before = serialize(header)
    active = keys.rotate()
    steps = Steps(keys, PLACE, nobody)
    pages = [before, steps(before)]
    pages += [steps(pages[1]), steps(steps(pages[1]))]
    assert pages[2] == pages[3]
    for page in pages:
        assert keys.open_envelope(parse(page), PLACE) == dek
    assert parse(pages[1]).mek_ids == {header.newest.mek_id, active}
    assert parse(pages[2]).mek_ids == {active}


def test_a_page_that_somebody_else_left_is_looked_at_afresh() -> None:
    """A conditional put that lost its race asks again, with what the winner left."""
    keys = MemoryKeys()
    header, dek = keys.new_envelope(PLACE)
    page = serialize(header)
    keys.rotate()
    winner, loser = Steps(keys, PLACE, nobody), Steps(keys, PLACE, nobody)
    loser(loser(page))
    done = winner(winner(page))
    assert loser(done) == done
    assert keys.open_envelope(parse(done), PLACE) == dek


def test_a_first_slot_whose_key_went_does_not_cost_the_other_one() -> None:
    """findings D5: rotated and retired between the two steps; the slot from before opens until one under the new key does."""
    keys = MemoryKeys()
    header, dek = keys.new_envelope(PLACE)
    went = keys.rotate()
    steps = Steps(keys, PLACE, nobody)
    first = steps(serialize(header))
    assert steps.mek_id == went
    active = keys.rotate()
    keys.forget(went)
    again = steps(first)
    assert parse(again).mek_ids == {header.newest.mek_id, active}
    done = steps(again)
    assert parse(done).mek_ids == {steps.mek_id} == {active}
    assert steps(done) == done
    assert keys.open_envelope(parse(done), PLACE) == dek


def test_steps_are_told_what_file_it_is_before_anything_is_changed() -> None:
    keys = MemoryKeys()
    page = serialize(keys.new_envelope(PLACE)[0])
    keys.rotate()

    def refuse(_: Header) -> None:
        raise IntegrityError

    with pytest.raises(IntegrityError):
        Steps(keys, PLACE, refuse)(page)


def test_a_page_under_the_active_key_is_left_alone() -> None:
    keys = MemoryKeys()
    page = serialize(keys.new_envelope(PLACE)[0])
    assert Steps(keys, PLACE, nobody)(page) == page
