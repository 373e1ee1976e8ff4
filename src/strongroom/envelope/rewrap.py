"""Replaces the key slots of an envelope by ones under the active MEK (format/envelope.md §5); the body stays.

At every moment at least one slot opens the file: the new slot is written over the one that is not needed, synced, read
back and opened, and only then is the other slot overwritten. The steps are methods of their own, so that a batch of
files can share the two syncs.
"""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from strongroom.envelope.header import (
    HEADER_BYTES,
    SLOT_OFFSETS,
    Header,
    KeySlot,
    Placement,
    parse,
)
from strongroom.envelope.keys import EnvelopeKeys
from strongroom.errors import IntegrityError, KeyNotFoundError, StrongroomError
from strongroom.system.positions import HeaderPage, SharesSync

PageT_co = TypeVar("PageT_co", bound=HeaderPage, covariant=True)


class PageCopy:
    """A header page in memory, for a file store that replaces whole pages."""

    def __init__(self, page: bytes) -> None:
        self._page = bytearray(page)

    def read(self, count: int) -> bytes:
        """The first bytes of the page."""
        return bytes(self._page[:count])

    def write_sector(self, offset: int, sector: bytes) -> None:
        """Overwrite one sector of the copy."""
        self._page[offset : offset + len(sector)] = sector


class Rewrap(Generic[PageT_co]):
    """The rewrap of one file.

    Args:
        page: The locked header page of the file.
        keys: Opens and seals slots.
        placement: The site and item to which the file must belong; None trusts the header's placement, and keeps it.

    Attributes:
        page: The locked header page of the file.
        header: The header before the rewrap.
    """

    def __init__(self, page: PageT_co, keys: EnvelopeKeys, placement: Placement | None) -> None:
        self.page, self._keys = page, keys
        self.header = parse(page.read(HEADER_BYTES))
        self._opening = self._opening_slot(placement)
        self._placement = self._opening[1].placement
        self._slot: KeySlot | None = None
        self._sector = b""
        self._is_checked = False

    @property
    def before(self) -> str:
        """The MEK that opened the file before the rewrap."""
        return self._opening[1].mek_id

    @property
    def is_needed(self) -> bool:
        """Whether a slot is under another MEK than the active one, has another placement, or is damaged (§5.6).

        Nothing is needed if the slots hold one and the same record, or the second one is empty.
        """
        number, slot = self._opening
        other = self.header.slots[1 - number]
        return not self._is_current(slot) or bool(self.header.damaged) or other not in (None, slot)

    def write_first(self) -> None:
        """Overwrite the slot that the file does not need (§5.2, §5.3); the caller must sync before `write_second`."""
        number, slot = self._opening
        if self._is_current(slot):
            # an earlier rewrap died after its first write: only the second slot is left to do
            self._slot = slot
        else:
            self._slot = self._keys.rewrapped_slot(self.header.only(number), self._placement)
        self._sector = self._slot.encode()
        # §3.9: a torn write here harms nothing, since the other slot opens
        self.page.write_sector(SLOT_OFFSETS[1 - number], self._sector)

    @property
    def after(self) -> str:
        """The MEK of the slot that was written; empty before `write_first`."""
        return self._slot.mek_id if self._slot is not None else ""

    def check_first(self) -> None:
        """Read the written slot back and open it (§5.4); must precede `write_second`.

        Raises:
            IntegrityError: The file does not hold the slot that was written; the other slot is as before.
        """
        target = 1 - self._opening[0]
        back = self.page.read(HEADER_BYTES)
        if self._slot is None or not self._is_as_written(back, target):
            raise IntegrityError
        header = self.header.with_slot_at(target, self._slot)
        self._keys.open_envelope(header.only(target), self._placement)
        self._is_checked = True

    def write_second(self) -> None:
        """Overwrite the other slot (§5.5).

        Raises:
            IntegrityError: The first slot was not checked, so that this could destroy the only slot that opens.
        """
        if not self._is_checked:
            raise IntegrityError
        self.page.write_sector(SLOT_OFFSETS[self._opening[0]], self._sector)

    def check_and_write_second(self) -> None:
        """`check_first` and `write_second`, for a caller without a batch."""
        self.check_first()
        self.write_second()

    def _is_as_written(self, page: bytes, target: int) -> bool:
        prelude = self.header.prelude.encode()
        return page.startswith(prelude) and page.startswith(self._sector, SLOT_OFFSETS[target])

    def _is_current(self, slot: KeySlot) -> bool:
        return slot.mek_id == self._keys.active_mek_id and slot.placement == self._placement

    def _opening_slot(self, placement: Placement | None) -> tuple[int, KeySlot]:
        """The number of a slot that opens, and the slot: the newest one if it opens, else the other (§3.6, §5.2)."""
        first: StrongroomError | None = None
        for number, slot in self.header.intact:
            try:
                self._keys.open_envelope(self.header.only(number), placement)
            except (IntegrityError, KeyNotFoundError) as error:
                first = first or error
            else:
                return number, slot
        raise first or IntegrityError()


class Steps:
    """The rewrap of one file in a store that replaces whole pages (`FileStore.swap_header`), in two steps.

    Each call gets the stored page and returns the next one. The first step replaces the slot that is not needed; when
    that page is stored, the second step replaces the other slot. A stored page that is not the one returned last was
    changed by somebody else, and is looked at anew. A page is also looked at anew if keys were rotated after the first
    step: its new slot is then under a MEK that may be about to be retired by a process that has not seen it, and the
    old slot may be the only one that will open.

    Args:
        keys: Opens and seals slots.
        placement: The site and item to which the file must belong; None trusts the header's placement, and keeps it.
        check: Called with the header that is found, before any change; may raise.

    Attributes:
        mek_id: The MEK of the newest slot in the page that was returned last.
    """

    def __init__(
        self, keys: EnvelopeKeys, placement: Placement | None, check: Callable[[Header], None]
    ) -> None:
        self._keys, self._placement, self._check = keys, placement, check
        self._copy, self._given = PageCopy(b""), b""
        self._left: list[Callable[[], None]] = []
        self.mek_id = ""

    def __call__(self, page: bytes) -> bytes:
        """The page after the next step; the same page when nothing is left to do."""
        if page != self._given or (self._left and self.mek_id != self._keys.active_mek_id):
            self._look_at(page)
        if self._left:
            self._left.pop(0)()
            self.mek_id = self._work.after
        self._given = self._copy.read(len(page))
        return self._given

    def _look_at(self, page: bytes) -> None:
        self._copy = PageCopy(page)
        self._work = work = Rewrap(self._copy, self._keys, self._placement)
        self._check(work.header)
        self._left = [work.write_first, work.check_and_write_second] if work.is_needed else []
        self.mek_id = work.before


#: Called with files that open by both slots; returns for each None, or the error with which it shall stay as it was.
Tell = Callable[[Sequence[Rewrap[SharesSync]]], Sequence[StrongroomError | None]]


def _tell_nobody(works: Sequence[Rewrap[SharesSync]]) -> list[StrongroomError | None]:
    return [None] * len(works)


def rewrap_batch(
    works: Sequence[Rewrap[SharesSync]], tell: Tell = _tell_nobody
) -> list[StrongroomError | None]:
    """Rewrap many files with two syncs for each file system (§5.8).

    Args:
        works: The files.
        tell: Called with the files that open by both slots, before the old slot is overwritten.

    Returns:
        For each file the error, or None. A file with an error opens as before.
    """
    errors: list[StrongroomError | None] = [None] * len(works)
    _step(works, errors, Rewrap.write_first)
    _sync(works, errors)
    _step(works, errors, Rewrap.check_first)
    checked = [number for number, error in enumerate(errors) if error is None]
    for number, error in zip(checked, tell([works[one] for one in checked]), strict=True):
        errors[number] = error
    _step(works, errors, Rewrap.write_second)
    _sync(works, errors)
    return errors


def _step(
    works: Sequence[Rewrap[SharesSync]],
    errors: list[StrongroomError | None],
    step: Callable[[Rewrap[SharesSync]], None],
) -> None:
    for number, work in enumerate(works):
        if errors[number] is None:
            try:
                step(work)
            except StrongroomError as error:
                errors[number] = error


def _sync(works: Sequence[Rewrap[SharesSync]], errors: list[StrongroomError | None]) -> None:
    """Sync the pages, by one call for each file system; if a sync fails, all pages there get its error."""
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
