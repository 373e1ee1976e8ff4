"""Brings an envelope's key slots under the active MEK (format/envelope.md §5); never the body.

The steps are apart, so that a batch can share its two syncs; at every moment at least one slot opens the file.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from strongroom.envelope.header import HEADER_BYTES, SLOT_OFFSETS, KeySlot, Placement, parse
from strongroom.envelope.keys import EnvelopeKeys
from strongroom.errors import IntegrityError, KeyNotFoundError, StrongroomError


class Page(Protocol):
    """The header page of a file under its exclusive lock (§5.1)."""

    def read(self, count: int) -> bytes:
        """The first bytes of the file."""
        ...

    def write_sector(self, offset: int, sector: bytes) -> None:
        """Overwrite one 512-byte sector."""
        ...

    def sync(self) -> None:
        """Make all written sectors durable."""
        ...

    def sync_all(self) -> None:
        """Make everything on its file system durable."""
        ...

    @property
    def device(self) -> int:
        """Which file system it is on: pages of one may share `sync_all`."""
        ...


class Rewrap:
    """One file's rewrap.

    Args:
        page: Its locked header page.
        keys: Opens and seals slots.
        placement: Where the file belongs; None keeps and trusts what the header says.

    Attributes:
        page: Its locked header page.
        header: As it was found.
    """

    def __init__(self, page: Page, keys: EnvelopeKeys, placement: Placement | None) -> None:
        self.page, self._keys = page, keys
        self.header = parse(page.read(HEADER_BYTES))
        self._opening = self._opening_slot(placement)
        self._placement = self._opening[1].placement
        self._slot: KeySlot | None = None
        self._sector = b""

    @property
    def before(self) -> str:
        """The MEK that opened the file when it was found."""
        return self._opening[1].mek_id

    @property
    def is_needed(self) -> bool:
        """Whether a slot holds anything but one record under the active MEK at the right place (§5.6)."""
        number, slot = self._opening
        other = self.header.slots[1 - number]
        return not self._is_current(slot) or bool(self.header.damaged) or other not in (None, slot)

    def write_first(self) -> None:
        """Write the slot that is not needed now (§5.2, §5.3); must be synced before `write_second`."""
        number, slot = self._opening
        if self._is_current(slot):
            self._slot = slot  # a rewrap was cut after its first write: only the copy is missing
        else:
            self._slot = self._keys.rewrapped_slot(self.header.only(number), self._placement)
        self._sector = self._slot.encode()
        self.page.write_sector(SLOT_OFFSETS[1 - number], self._sector)  # §3.9: the other one opens

    def write_second(self) -> None:
        """Read back what was written and open it, then overwrite the other slot (§5.4, §5.5).

        Raises:
            IntegrityError: What is in the file is not what was written; the other slot is as it was.
        """
        number, target = self._opening[0], 1 - self._opening[0]
        back = self.page.read(HEADER_BYTES)
        if self._slot is None or not self._is_as_written(back, target):
            raise IntegrityError
        header = self.header.with_slot_at(target, self._slot)
        self._keys.open_envelope(header.only(target), self._placement)
        self.page.write_sector(SLOT_OFFSETS[number], self._sector)

    def run(self) -> str:
        """All steps, each synced; returns the MEK under which the file now is."""
        if self.is_needed:
            self.write_first()
            self.page.sync()
            self.write_second()
            self.page.sync()
        return self._keys.active_mek_id

    def _is_as_written(self, page: bytes, target: int) -> bool:
        prelude = self.header.prelude.encode()
        return page.startswith(prelude) and page.startswith(self._sector, SLOT_OFFSETS[target])

    def _is_current(self, slot: KeySlot) -> bool:
        return slot.mek_id == self._keys.active_mek_id and slot.placement == self._placement

    def _opening_slot(self, placement: Placement | None) -> tuple[int, KeySlot]:
        """A slot that opens, the newest if it does (§3.6, §5.2)."""
        first: StrongroomError | None = None
        for number, slot in self.header.intact:
            try:
                self._keys.open_envelope(self.header.only(number), placement)
            except (IntegrityError, KeyNotFoundError) as error:
                first = first or error
            else:
                return number, slot
        raise first or IntegrityError()


def rewrap_batch(works: Sequence[Rewrap]) -> list[StrongroomError | None]:
    """Rewrap many files with two syncs for each file system (§5.8).

    Returns:
        For each file why it failed, or None. A failed file opens as before.
    """
    errors: list[StrongroomError | None] = [None] * len(works)
    _step(works, errors, Rewrap.write_first)
    _sync(works, errors)
    _step(works, errors, Rewrap.write_second)
    _sync(works, errors)
    return errors


def _step(
    works: Sequence[Rewrap], errors: list[StrongroomError | None], step: Callable[[Rewrap], None]
) -> None:
    for number, work in enumerate(works):
        if errors[number] is None:
            try:
                step(work)
            except StrongroomError as error:
                errors[number] = error


def _sync(works: Sequence[Rewrap], errors: list[StrongroomError | None]) -> None:
    """One sync for all pages of a file system; if it fails, none of them counts as written."""
    groups: dict[int, list[int]] = {}
    for number, work in enumerate(works):
        if errors[number] is None:
            groups.setdefault(work.page.device, []).append(number)
    for numbers in groups.values():
        page = works[numbers[0]].page
        try:
            (page.sync_all if len(numbers) > 1 else page.sync)()
        except StrongroomError as error:
            for number in numbers:
                errors[number] = error
