"""Counts files and backups outside the file store that need a MEK, as far as the event log knows of them (findings D5).

A MEK may be retired only when nothing needs it. `services.keys.usage` reads the file store, and two things lie
elsewhere: files that `strongroom encrypt` or a client made lie wherever their owner put them, and a backup of a node in
local mode that was sealed to no recipient opens only by the MEK that was active when it was made. The event log recorded both. It
does not know which of them were copied, restored from elsewhere or thrown away, so a count is "at least" and zero is no
proof.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from strongroom.eventlog.events import backup_events, extract_events, key_events
from strongroom.roots.registry import LOCAL

#: The ids of the events from which the counts are made.
IDS = (
    extract_events.FILE_ENCRYPTED,
    extract_events.DATA_KEY_GENERATED,
    extract_events.FILE_REWRAPPED,
    backup_events.BACKUP_MADE,
    key_events.KEY_GENERATED,
    key_events.KMS_MODE_CHANGED,
)
#: Stands for every MEK that the log never names: a backup whose event names no MEK may need any of them.
ANY = ""


@dataclass(frozen=True)
class Outside:
    """Files and backups outside the file store that need one MEK, by the event log.

    Attributes:
        files: How many files outside the store were under this MEK when the log last mentioned them.
        backups: How many backups of local mode, sealed to no recipient, need this MEK or an unknown one.
    """

    files: int = 0
    backups: int = 0

    def __bool__(self) -> bool:
        """Whether any file or backup is counted."""
        return bool(self.files or self.backups)

    def exceeds(self, other: "Outside") -> bool:
        """Whether more files, or more backups, are counted than in the other count."""
        return self.files > other.files or self.backups > other.backups


class _Backups:
    """The MEKs that the logged backups need.

    Newer events of backups name the MEK; older ones name the RMK, and every RMK is generated together with one MEK. The
    MEK that is active when the event is written would be the wrong one: keys may be rotated while a backup is written
    and read back. The mode of a backup follows from its RMK as well, since every change of the mode makes a new RMK.
    """

    def __init__(self) -> None:
        self.by_mek: Counter[object] = Counter()
        self.unknown = 0
        self._unknown_before: dict[object, int] = {}
        self._of_rmk: dict[object, tuple[object, object]] = {}
        self._mode: object = LOCAL
        self._rmk: object = None

    def mode_changed(self, details: Mapping[object, object]) -> None:
        self._mode = details.get("after")

    def generated(self, details: Mapping[object, object]) -> None:
        key_id = details.get("key_id")
        if details.get("kind") == "rmk":
            self._rmk = key_id
        elif details.get("kind") == "mek":
            self._unknown_before[key_id] = self.unknown
            if self._rmk is not None:
                self._of_rmk[self._rmk] = (self._mode, key_id)
            self._rmk = None

    def made(self, details: Mapping[object, object]) -> None:
        mode, mek = self._of_rmk.get(details.get("rmk_id"), (self._mode, ANY))
        if details.get("sealed") or mode != LOCAL:
            return
        mek = details.get("mek_id", mek)
        if mek == ANY:
            self.unknown += 1
        else:
            self.by_mek[mek] += 1

    def of(self, mek: object) -> int:
        """How many backups need a MEK, counting those of unknown need that were made since the MEK exists."""
        return self.by_mek[mek] + self.unknown - self._unknown_before.get(mek, 0)

    def meks(self) -> set[object]:
        return {*self.by_mek, *self._unknown_before, ANY}


def outside(history: Iterable[Mapping[str, object]]) -> Mapping[str, Outside]:
    """Counts by MEK, from the records of the log in their order; `ANY` stands for the MEKs that the log never names."""
    of_file: dict[object, object] = {}
    backups = _Backups()
    for record in history:
        details = record.get("details")
        if not isinstance(details, Mapping):
            continue
        match record.get("id"):
            case extract_events.FILE_ENCRYPTED | extract_events.DATA_KEY_GENERATED:
                of_file[details.get("file_id")] = details.get("mek_id")
            case extract_events.FILE_REWRAPPED:
                of_file[details.get("file_id")] = details.get("after")
            case key_events.KEY_GENERATED:
                backups.generated(details)
            case key_events.KMS_MODE_CHANGED:
                backups.mode_changed(details)
            case backup_events.BACKUP_MADE:
                backups.made(details)
            case _:  # a record whose id is damaged counts for nothing
                pass
    files = Counter(of_file.values())
    found = {str(mek): Outside(files[mek], backups.of(mek)) for mek in {*files, *backups.meks()}}
    # A MEK with a zero count stays in the result while `ANY` has a count: the caller looks up a missing MEK under
    # `ANY`, and would charge this one with the backups of unknown need.
    return {mek: one for mek, one in found.items() if one or found[ANY]}
