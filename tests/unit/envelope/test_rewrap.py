"""Rewrap: at every moment one slot opens, and only then the old MEK may go (format/envelope.md §5)."""

import dataclasses

import pytest
from typing_extensions import override

from strongroom.envelope import header as headers
from strongroom.envelope import inspect as inspection
from strongroom.envelope import pages, slots
from strongroom.envelope.header import (
    FORMAT_1,
    FORMAT_2,
    FORMATS,
    MAX_HEADER_BYTES,
    Header,
    KeySlot,
    Placement,
    Prelude,
)
from strongroom.envelope.inspect import inspect
from strongroom.envelope.keys import EnvelopeKeys, OpenedKey
from strongroom.envelope.pages import parse, serialize
from strongroom.envelope.rewrap import Rewrap, Steps, rewrap_batch
from strongroom.errors import FormatError, IntegrityError, KeyNotFoundError, StorageError
from strongroom.ids import new_id
from strongroom.kms.ring_keys import RingKeys
from strongroom.system.positions import SharesSync
from tests.support.memory_keys import MemoryKeys, opened, sealed
from tests.support.stored_forms import rewrapped, with_slot

PLACE = Placement(new_id(), new_id())


class KilledError(Exception):
    """The process ends here."""


class Page:
    """A header whose writer is killed at a chosen step, perhaps in the middle of a write."""

    def __init__(self, envelope: bytes, *, dies_at: int = 10**6, torn: int | None = None) -> None:
        self.envelope = bytearray(envelope)
        self.steps: list[str] = []
        self.reads: list[str] = []
        self._dies_at, self._torn = dies_at, torn
        self.device = 1

    def read(self, count: int) -> bytes:
        self.reads.append("cache")
        return bytes(self.envelope[:count])

    def read_back(self, count: int) -> bytes:
        self.reads.append("disk")
        return bytes(self.envelope[:count])

    def write_at(self, offset: int, data: bytes) -> None:
        assert len(data) in {512, 4096}
        if len(self.steps) == self._dies_at:
            kept = data[: self._torn or 0]
            self.envelope[offset : offset + len(kept)] = kept
            raise KilledError
        self.steps.append(f"write {offset}")
        self.envelope[offset : offset + len(data)] = data

    def sync(self) -> None:
        if len(self.steps) == self._dies_at:
            raise KilledError
        self.steps.append("sync")

    def sync_all(self) -> None:
        self.steps.append("sync all")


@pytest.fixture(params=FORMATS, ids=["format 1", "format 2"])
def version(request: pytest.FixtureRequest) -> int:
    """Everything is asked of both formats."""
    chosen: int = request.param
    return chosen


#: The two writes of a rewrap whose first slot opened, by the format.
WRITES = {FORMAT_1: ("write 1024", "write 512"), FORMAT_2: ("write 4096", "write 0")}
#: A byte of slot 0.
IN_SLOT = {FORMAT_1: 600, FORMAT_2: 100}


def _stale(version: int) -> tuple[MemoryKeys, str, bytes]:
    keys = MemoryKeys(version)
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


def test_both_slots_are_brought_to_the_active_mek(version: int) -> None:
    keys, active, envelope = _stale(version)
    page = Page(envelope)
    first, second = WRITES[version]
    assert run(page, keys, PLACE) == active
    assert page.steps == [first, "sync", second, "sync"]
    header = pages.parse(bytes(page.envelope[:MAX_HEADER_BYTES]))
    assert header.mek_ids == {active}
    assert header.slots[0] == header.slots[1]
    assert header.newest.sequence == 2
    assert header.newest.placement == PLACE
    assert page.envelope[keys.header_bytes :] == envelope[keys.header_bytes :]
    assert opened(keys, bytes(page.envelope), PLACE) == b"data"


def test_the_old_mek_is_needed_no_more(version: int) -> None:
    """§5.5."""
    keys, _, envelope = _stale(version)
    old = pages.parse(envelope[:MAX_HEADER_BYTES]).newest.mek_id
    page = Page(envelope)
    run(page, keys, None)
    keys.forget(old)
    assert opened(keys, bytes(page.envelope), PLACE) == b"data"


def test_a_current_file_needs_nothing(version: int) -> None:
    """§5.6: idempotent; a new file and a rewrapped one."""
    keys, _, envelope = _stale(version)
    page = Page(envelope)
    run(page, keys, PLACE)
    again = Page(bytes(page.envelope))
    run(again, keys, PLACE)
    assert again.steps == []
    fresh = Page(sealed(keys, b"new"))
    assert not Rewrap(fresh, keys, None).is_needed


@pytest.mark.parametrize("dies_at", range(4))
@pytest.mark.parametrize("torn", [0, 1, 64, 100, 160, 300, 512, 4000, 4095])
def test_a_kill_at_any_step_loses_nothing(version: int, dies_at: int, torn: int) -> None:
    """§5.6: opens after the kill, and a second run brings it to the end."""
    keys, active, envelope = _stale(version)
    page = Page(envelope, dies_at=dies_at, torn=torn)
    with pytest.raises(KilledError):
        run(page, keys, PLACE)
    assert opened(keys, bytes(page.envelope), PLACE) == b"data"
    after = Page(bytes(page.envelope))
    run(after, keys, PLACE)
    header = pages.parse(bytes(after.envelope[:MAX_HEADER_BYTES]))
    assert header.mek_ids == {active}
    assert not header.damaged
    assert opened(keys, bytes(after.envelope), PLACE) == b"data"


def test_the_only_slot_that_opens_is_never_overwritten_first(version: int) -> None:
    """§5.2: the newest slot's MEK is gone, the older one opens."""
    keys = MemoryKeys(version)
    envelope = sealed(keys, b"data")
    lost = keys.rotate()
    header = pages.parse(envelope[:MAX_HEADER_BYTES])
    both = with_slot(header, rewrapped(keys, header, None))
    envelope = pages.serialize(both) + envelope[keys.header_bytes :]
    active = keys.rotate()
    keys.forget(lost)
    page = Page(envelope)
    assert Rewrap(page, keys, None).before == header.newest.mek_id
    run(page, keys, None)
    assert page.steps[0] == WRITES[version][0]
    assert pages.parse(bytes(page.envelope[:MAX_HEADER_BYTES])).mek_ids == {active}
    assert opened(keys, bytes(page.envelope)) == b"data"


def test_a_damaged_slot_is_healed(version: int) -> None:
    keys, active, envelope = _stale(version)
    page = Page(envelope)
    run(page, keys, PLACE)
    page.envelope[IN_SLOT[version]] ^= 1
    healed = Page(bytes(page.envelope))
    run(healed, keys, PLACE)
    header = pages.parse(bytes(healed.envelope[:MAX_HEADER_BYTES]))
    assert header.slots[0] == header.slots[1]
    assert header.mek_ids == {active}


def test_a_wrong_placement_is_refused_before_anything_is_written(version: int) -> None:
    keys, _, envelope = _stale(version)
    page = Page(envelope)
    with pytest.raises(IntegrityError, match="belongs to site"):
        Rewrap(page, keys, Placement(new_id(), new_id()))
    assert page.steps == []


def test_the_second_write_waits_for_what_the_disk_gives_back(version: int) -> None:
    """review X17: the first slot was read back from the page cache, which has what was written and not what is kept."""
    keys, _, envelope = _stale(version)
    page = Page(envelope)
    run(page, keys, PLACE)
    assert page.reads == ["cache", "disk"]


def test_an_unknown_mek_is_told(version: int) -> None:
    keys, _, envelope = _stale(version)
    keys.forget(pages.parse(envelope[:MAX_HEADER_BYTES]).newest.mek_id)
    with pytest.raises(KeyNotFoundError):
        Rewrap(Page(envelope), keys, None)


class _Forgetful(Page):
    """A disk that acknowledges a write and does not keep it."""

    @override
    def write_at(self, offset: int, data: bytes) -> None:
        self.steps.append(f"write {offset}")


def test_what_is_not_read_back_is_not_believed(version: int) -> None:
    """§5.4."""
    keys, _, envelope = _stale(version)
    page = _Forgetful(envelope)
    with pytest.raises(IntegrityError):
        run(page, keys, PLACE)
    assert page.steps == [WRITES[version][0], "sync"]
    assert opened(keys, bytes(page.envelope), PLACE) == b"data"


def test_the_second_write_never_comes_without_the_first(version: int) -> None:
    keys, _, envelope = _stale(version)
    with pytest.raises(IntegrityError):
        Rewrap(Page(envelope), keys, PLACE).write_second()


class _WrongKeys(MemoryKeys):
    """Seals a slot that does not open."""

    @override
    def rewrapped_slot(self, prelude: Prelude, opened: OpenedKey) -> KeySlot:
        slot = super().rewrapped_slot(prelude, opened)
        return dataclasses.replace(slot, wrapped_dek=bytes(48))


def test_a_new_slot_that_does_not_open_leaves_the_old_one(version: int) -> None:
    """§5.4."""
    keys = _WrongKeys(version)
    envelope = sealed(keys, b"data")
    keys.rotate()
    page = Page(envelope)
    with pytest.raises(IntegrityError):
        run(page, keys, None)
    assert opened(keys, bytes(page.envelope)) == b"data"


class _Broken(Page):
    @override
    def write_at(self, offset: int, data: bytes) -> None:
        raise StorageError("input/output error")


class _Unsyncable(Page):
    @override
    def sync_all(self) -> None:
        raise StorageError("input/output error")


def test_a_batch_shares_its_syncs_and_one_failure_stays_one(version: int) -> None:
    """§5.8."""
    keys, active, envelope = _stale(version)
    headers = [Page(envelope), _Broken(envelope), Page(envelope), Page(envelope)]
    headers[3].device = 2
    first, second = WRITES[version]
    errors = rewrap_batch([Rewrap(page, keys, PLACE) for page in headers])
    assert [error is None for error in errors] == [True, False, True, True]
    assert headers[0].steps == [first, "sync all", second, "sync all"]
    assert headers[2].steps == [first, second]
    assert headers[3].steps == [first, "sync", second, "sync"]
    for page in (headers[0], headers[2], headers[3]):
        assert pages.parse(bytes(page.envelope[:MAX_HEADER_BYTES])).mek_ids == {active}


def test_a_failed_sync_fails_the_files_of_its_disk_before_their_second_write(version: int) -> None:
    keys, _, envelope = _stale(version)
    pages = [_Unsyncable(envelope), Page(envelope)]
    errors = rewrap_batch([Rewrap(page, keys, PLACE) for page in pages])
    assert all(isinstance(error, StorageError) for error in errors)
    assert [page.steps for page in pages] == [[WRITES[version][0]], [WRITES[version][0]]]


def test_inspect_shows_everything_but_the_key(version: int) -> None:
    """§6.1."""
    keys, active, envelope = _stale(version)
    header = pages.parse(envelope[:MAX_HEADER_BYTES])
    shown = inspect(header, len(envelope)).to_json()
    assert shown["mek_id"] == header.newest.mek_id
    assert shown["body_offset"] == keys.header_bytes
    assert shown["segment_bytes"] == 4096
    assert shown["context"] == headers.body_aad(header.prelude).hex()
    assert shown["plaintext_bytes"] == 4
    assert shown["authenticated"] is False
    page = Page(envelope)
    run(page, keys, PLACE)
    page.envelope[IN_SLOT[version]] ^= 1
    after = inspect(
        pages.parse(bytes(page.envelope[:MAX_HEADER_BYTES])), keys.header_bytes + 5
    ).to_json()
    assert after["plaintext_bytes"] is None
    states = after["slots"]
    assert isinstance(states, list)
    assert states[0] == {"state": "damaged"}
    assert states[1]["mek_id"] == active
    assert states[1]["site_id"] == PLACE.site_id
    new = inspection.inspect(header, 4152).to_json()["slots"]
    assert isinstance(new, list)
    # a new file of format 2 has its slot twice
    assert new[1] == ({"state": "empty"} if version == FORMAT_1 else new[0])


def nobody(_: Header) -> None:
    pass


def test_steps_rewrap_a_page_of_a_store_that_takes_whole_pages(version: int) -> None:
    """House 2.6: at every page one slot opens, and the third look finds nothing left to do."""
    keys = MemoryKeys(version)
    header, dek = keys.new_envelope(PLACE)
    before = serialize(header)
    active = keys.rotate()
    steps = Steps(keys, PLACE, nobody)
    pages = [before, steps(before)]
    pages += [steps(pages[1]), steps(steps(pages[1]))]
    assert pages[2] == pages[3]
    for page in pages:
        assert keys.open_envelope(parse(page), PLACE).dek == dek
    assert parse(pages[1]).mek_ids == {header.newest.mek_id, active}
    assert parse(pages[2]).mek_ids == {active}


def test_a_page_that_somebody_else_left_is_looked_at_afresh(version: int) -> None:
    """A conditional put that lost its race asks again, with what the winner left."""
    keys = MemoryKeys(version)
    header, dek = keys.new_envelope(PLACE)
    page = serialize(header)
    keys.rotate()
    winner, loser = Steps(keys, PLACE, nobody), Steps(keys, PLACE, nobody)
    loser(loser(page))
    done = winner(winner(page))
    assert loser(done) == done
    assert keys.open_envelope(parse(done), PLACE).dek == dek


def test_a_first_slot_whose_key_went_does_not_cost_the_other_one(version: int) -> None:
    """findings D5: rotated and retired between the two steps; the slot from before opens until one under the new key does."""
    keys = MemoryKeys(version)
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
    assert keys.open_envelope(parse(done), PLACE).dek == dek


def test_steps_are_told_what_file_it_is_before_anything_is_changed(version: int) -> None:
    keys = MemoryKeys(version)
    page = serialize(keys.new_envelope(PLACE)[0])
    keys.rotate()

    def refuse(_: Header) -> None:
        raise IntegrityError

    with pytest.raises(IntegrityError):
        Steps(keys, PLACE, refuse)(page)


def test_a_page_under_the_active_key_is_left_alone(version: int) -> None:
    keys = MemoryKeys(version)
    page = serialize(keys.new_envelope(PLACE)[0])
    assert Steps(keys, PLACE, nobody)(page) == page


@pytest.mark.parametrize("sequence", [2**64 - 2, 2**64 - 1])
def test_at_the_last_sequence_a_rewrap_is_refused_and_nothing_is_written(
    version: int, sequence: int
) -> None:
    """§5.3: it does not begin again at 0, which would be older than everything."""
    keys = MemoryKeys(version)
    header, dek = keys.new_envelope(PLACE)
    wrapped = RingKeys(lambda: keys.ring).wrap(
        dek, slots.context(header.prelude, PLACE, sequence=sequence)
    )
    last = slots.new_slot(wrapped, header.prelude, PLACE, sequence=sequence)
    page = Page(serialize(dataclasses.replace(header, slots=(last, last))))
    keys.rotate()
    if sequence < 2**64 - 1:
        run(page, keys, PLACE)
        assert parse(bytes(page.envelope)).newest.sequence == 2**64 - 1
        return
    with pytest.raises(FormatError, match="exhausted"):
        run(page, keys, PLACE)
    assert page.steps == []


def test_a_forged_slot_of_a_high_sequence_has_no_say(version: int) -> None:
    """§5.3, review X11: only a slot that opens is counted on from, and only its MEK is named."""
    keys, active, envelope = _stale(version)
    header = parse(envelope[:MAX_HEADER_BYTES])
    forged = dataclasses.replace(header.newest, sequence=2**64 - 1, mek_id=new_id())
    page = Page(serialize(dataclasses.replace(header, slots=(header.slots[0], forged))))
    work = Rewrap(page, keys, PLACE)
    assert work.before == header.newest.mek_id
    run(page, keys, PLACE)
    after = parse(bytes(page.envelope))
    assert after.mek_ids == {active}
    assert after.newest.sequence == 2
