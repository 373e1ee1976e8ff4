"""The journal of a rotation and the record of rotations (docs/format/rotation-journal.md).

Pure: bytes and values. Values of secrets are `ENC(...)` texts here, never opened.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from enum import Enum
from typing import Any

from strongroom.config.document import canonical, parse_canonical
from strongroom.coordination.base import Versioned
from strongroom.errors import FormatError
from strongroom.secrets import enc

PREFIX = "journal/rotation/"
RECORDS = "rotation/records"
KEPT = "rotation/previous"
_FORMAT = "strongroom-rotation-1"
_RECORDS_FORMAT = "strongroom-rotation-records-1"
_KEPT_FORMAT = "strongroom-rotation-previous-1"


class RotationStep(Enum):
    """What is known: whether the configuration says the new value (format/rotation-journal.md §2.2)."""

    INTENDED = "intended"
    PROMOTED = "promoted"


@dataclass(frozen=True)
class RotationJournal:
    """One rotation under way; its members are those of the format (§2)."""

    consumer: str
    run: str
    new: Mapping[str, str]
    old: Mapping[str, str]
    new_logins: Mapping[str, str] = field(default_factory=dict)
    old_logins: Mapping[str, str] = field(default_factory=dict)
    step: RotationStep = RotationStep.INTENDED
    attempts: int = 0
    not_before: str = ""
    problem: str = ""

    @property
    def key(self) -> str:
        """Its place in the coordination service (§1.1)."""
        return PREFIX + next(iter(sorted(self.new)))

    @property
    def promoted(self) -> "RotationJournal":
        """The configuration says the new value; earlier failures do not count any more."""
        return replace(self, step=RotationStep.PROMOTED, attempts=0, not_before="", problem="")

    @property
    def key_ids(self) -> frozenset[str]:
        """Configuration keys that open its values (§2.5)."""
        return frozenset(map(enc.key_id_of, (*self.new.values(), *self.old.values())))

    def serialize(self) -> bytes:
        """The canonical bytes."""
        return canonical({"format": _FORMAT, **asdict(self), "step": self.step.value})

    @classmethod
    def parse(cls, data: bytes) -> "RotationJournal":
        """The journal of its bytes.

        Raises:
            FormatError: Not canonical, another format, or wrong members (§1.3).
        """
        members = _members(data, _FORMAT, {one.name for one in fields(cls)})
        maps = [members[name] for name in ("new", "old", "new_logins", "old_logins")]
        texts = [members[name] for name in ("consumer", "run", "not_before", "problem")]
        if not (
            all(map(_is_texts, maps))
            and all(isinstance(text, str) for text in texts)
            and type(members["attempts"]) is int
            and members["new"]
            and members["old"].keys() in ({}.keys(), members["new"].keys())
            and all(enc.is_enc(text) for part in maps[:2] for text in part.values())
            and members["step"] in {step.value for step in RotationStep}
        ):
            raise _damaged()
        return cls(**{**members, "step": RotationStep(members["step"])})


@dataclass(frozen=True)
class RotationRecord:
    """When a secret was last rotated: `at` in UTC, K-12 form; empty consumer: none was configured."""

    at: str
    run: str
    consumer: str


def key_ids(get: Callable[[str], Versioned | None], names: Iterable[str]) -> frozenset[str]:
    """Configuration keys that any journal or kept value names: needed until it is done (§2.5, §4.3)."""
    entries = [get(PREFIX + name) for name in names]
    journals = [RotationJournal.parse(entry.value) for entry in entries if entry]
    entry = get(KEPT)
    kept = parse_kept(entry.value) if entry else {}
    of_kept = (enc.key_id_of(text) for texts in kept.values() for text in texts)
    return frozenset(of_kept).union(*(journal.key_ids for journal in journals))


def serialize_records(records: Mapping[str, RotationRecord]) -> bytes:
    """The canonical bytes of all records (§3)."""
    plain = {name: asdict(record) for name, record in records.items()}
    return canonical({"format": _RECORDS_FORMAT, "records": plain})


def parse_records(data: bytes) -> dict[str, RotationRecord]:
    """The records of their bytes.

    Raises:
        FormatError: Not canonical, another format, or wrong members (§1.3).
    """
    records = _members(data, _RECORDS_FORMAT, {"records"})["records"]
    names = {one.name for one in fields(RotationRecord)}
    if not isinstance(records, dict) or not all(
        _is_texts(one) and one.keys() == names for one in records.values()
    ):
        raise _damaged()
    return {name: RotationRecord(**one) for name, one in records.items()}


def serialize_kept(kept: Mapping[str, Sequence[str]]) -> bytes:
    """The canonical bytes of the values from before (§4)."""
    plain = {name: list(texts) for name, texts in kept.items()}
    return canonical({"format": _KEPT_FORMAT, "previous": plain})


def parse_kept(data: bytes) -> dict[str, tuple[str, ...]]:
    """The values from before, of their bytes.

    Raises:
        FormatError: Not canonical, another format, or wrong members (§1.3).
    """
    kept = _members(data, _KEPT_FORMAT, {"previous"})["previous"]
    if not isinstance(kept, dict) or not all(
        isinstance(texts, list) and texts and all(map(_is_enc, texts)) for texts in kept.values()
    ):
        raise _damaged()
    return {name: tuple(texts) for name, texts in kept.items()}


def _is_enc(text: object) -> bool:
    return isinstance(text, str) and enc.is_enc(text)


def _members(data: bytes, format_: str, names: set[str]) -> dict[str, Any]:
    members = parse_canonical(data, what="the journal of a rotation")
    if not isinstance(members, dict) or members.pop("format", None) != format_:
        raise FormatError(
            "the journal of a rotation has a format that is not known here",
            hint="it was written by a newer strongroom, or it is damaged",
        )
    if members.keys() != names:
        raise _damaged()
    return members


def _is_texts(part: object) -> bool:
    return isinstance(part, dict) and all(isinstance(text, str) for text in part.values())


def _damaged() -> FormatError:
    return FormatError("the journal of a rotation is damaged: wrong members")
