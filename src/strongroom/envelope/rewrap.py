"""Replaces the key slots of an envelope by ones under the active MEK (format/envelope.md §5); the body stays.

At every moment at least one slot opens the file: the new slot is written over the one that is not needed, synced, read
back and opened, and only then is the other slot overwritten. The steps are methods of their own, so that a batch of
files can share the two syncs.
"""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from strongroom.envelope.header import FORMAT_1, MAX_HEADER_BYTES, Header, KeySlot, Placement
from strongroom.envelope.keys import EnvelopeKeys
from strongroom.envelope.pages import parse, place
from strongroom.errors import FormatError, IntegrityError, StrongroomError
from strongroom.system.positions import HeaderPage, SharesSync

PageT_co = TypeVar("PageT_co", bound=HeaderPage, covariant=True)


class PageCopy:
    """A header in memory, for a file store that takes it step by step, or whole."""

    def __init__(self, page: bytes) -> None:
        self._page = bytearray(page)

    def read(self, count: int) -> bytes:
        """The first bytes of the file."""
        return bytes(self._page[:count])

    def read_back(self, count: int) -> bytes:
        """The same: the store has read back what it gave (`FileStore.swap_header`)."""
        return self.read(count)

    def write_at(self, offset: int, data: bytes) -> None:
        """Overwrite a sector or a block of the copy."""
        self._page[offset : offset + len(data)] = data


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
        self.header = parse(page.read(MAX_HEADER_BYTES))
        # the newest slot if it opens, else the other (§3.6, §5.2)
        self._opened = keys.open_envelope(self.header, placement)
        self._target = 1 - self._opened.number
        self._slot: KeySlot | None = None
        self._is_checked = False

    @property
    def before(self) -> str:
        """The MEK that opened the file before the rewrap."""
        return self._opened.slot.mek_id

    @property
    def is_needed(self) -> bool:
        """Whether a slot is under another MEK than the active one, or damaged (§5.6).

        Nothing is needed if the slots hold one and the same record, or the second one is empty or unknown.
        """
        other = self.header.slots[self._target]
        return (
            not self._is_current
            or bool(self.header.damaged)
            or other not in (None, self._opened.slot)
        )

    def write_first(self) -> None:
        """Overwrite the slot that the file does not need (§5.2, §5.3); the caller must sync before `check_first`.

        Raises:
            FormatError: The slot is of an algorithm that this release does not know, or the sequence is exhausted.
        """
        unknown = self.header.unknown[self._target]
        if unknown is not None:  # envelope-2.md §3.5
            raise FormatError(
                f"a key slot is of algorithm {unknown.algorithm}, which is not known: it is not overwritten",
                hint="use a newer release of strongroom, or encrypt the file anew",
            )
        # if the slot is current, an earlier rewrap died after its first write: only the second is left to do
        self._slot = (
            self._opened.slot
            if self._is_current
            else self._keys.rewrapped_slot(self.header.prelude, self._opened)
        )
        # §3.9: a torn write here harms nothing, since the other slot opens
        self.page.write_at(*place(self.header.prelude, self._target, self._slot))

    @property
    def after(self) -> str:
        """The MEK of the slot that was written; empty before `write_first`."""
        return self._slot.mek_id if self._slot is not None else ""

    def check_first(self) -> None:
        """Read the written slot back from the disk and open it (§5.4); must precede `write_second`.

        Raises:
            IntegrityError: The file does not hold the slot that was written; the other slot is as before.
        """
        back = self.page.read_back(MAX_HEADER_BYTES)
        if self._slot is None or not self._is_as_written(back, self._slot):
            raise IntegrityError
        header = self.header.with_slot_at(self._target, self._slot)
        self._keys.open_envelope(header.only(self._target), self._slot.placement)
        self._is_checked = True

    def write_second(self) -> None:
        """Overwrite the other slot (§5.5).

        Raises:
            IntegrityError: The first slot was not checked, so that this could destroy the only slot that opens.
        """
        if self._slot is None or not self._is_checked:
            raise IntegrityError
        self.page.write_at(*place(self.header.prelude, self._opened.number, self._slot))

    def check_and_write_second(self) -> None:
        """`check_first` and `write_second`, for a caller without a batch."""
        self.check_first()
        self.write_second()

    def _is_as_written(self, back: bytes, slot: KeySlot) -> bool:
        prelude = self.header.prelude
        offset, data = place(prelude, self._target, slot)
        # of format 1 the prelude has one copy, which the write must not have touched
        begin = prelude.encode() if prelude.format == FORMAT_1 else b""
        return back.startswith(begin) and back.startswith(data, offset)

    @property
    def _is_current(self) -> bool:
        return self._opened.slot.mek_id == self._keys.active_mek_id


class Steps:
    """The rewrap of one file in a store that replaces whole pages (`FileStore.swap_header`), in two steps.

    Each call gets the stored page and returns the next one. The first step replaces the slot that is not needed; when
    that page is stored, the second step replaces the other slot. A stored page that is not the one returned last was
    changed by somebody else, and is looked at anew. A page is also looked at anew if keys were rotated after the first
    step: its new slot is then under a MEK that may be about to be retired by a process that has not seen it, and the
    old slot may be the only one that will open. Whether that is so this process may not know, if it was cut off; so
    somebody else is asked as well when the first step is stored, which a retirement that begins later sees.

    Args:
        keys: Opens and seals slots.
        placement: The site and item to which the file must belong; None trusts the header's placement, and keeps it.
        check: Called with the header that is found, before any change; may raise.
        may_end: Called with the MEK of the new slot before the second step; may raise, and then the old slot stays.

    Attributes:
        mek_id: The MEK of the newest slot in the page that was returned last.
    """

    def __init__(
        self,
        keys: EnvelopeKeys,
        placement: Placement | None,
        check: Callable[[Header], None],
        may_end: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._keys, self._placement, self._check, self._may_end = keys, placement, check, may_end
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
        self._left = [work.write_first, self._end] if work.is_needed else []
        self.mek_id = work.before

    def _end(self) -> None:
        self._may_end(self._work.after)
        self._work.check_and_write_second()


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
