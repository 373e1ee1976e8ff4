"""The journal of a rotation and the record of rotations (docs/format/rotation-journal.md).

Pure. Values of secrets are `ENC(...)` texts here, and are never opened.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from enum import Enum

from strongroom.canonical import UTF_8, Fields, Kind
from strongroom.config.document import MAX_DOCUMENT_BYTES
from strongroom.coordination.base import Coordinator
from strongroom.coordination.floors import Rotated, RotationPoint
from strongroom.secrets import committed, enc

PREFIX = "journal/rotation/"
RECORDS = "rotation/records"
KEPT = "rotation/previous"
_KIND = Kind("the journal of a rotation", UTF_8, MAX_DOCUMENT_BYTES)
_FORMAT = "strongroom-rotation-2"
_OLDER_FORMAT = "strongroom-rotation-1"
_RECORDS_FORMAT = "strongroom-rotation-records-2"
_OLDER_RECORDS_FORMAT = "strongroom-rotation-records-1"
_DOCUMENT = "document"
_KEPT_FORMAT = "strongroom-rotation-previous-1"


class RotationStep(Enum):
    """The steps of a rotation: before, or after, the new value became the configured one (format/rotation-journal.md §2.2)."""

    INTENDED = "intended"
    PROMOTED = "promoted"


@dataclass(frozen=True)
class RotationJournal:
    """A rotation in progress; the members are those of the format (§2)."""

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
    document: int = 0

    @property
    def point(self) -> RotationPoint:
        """The binding of the journal to its time (entries.md 3.3)."""
        promoted = self.step is RotationStep.PROMOTED
        return RotationPoint(self.run, tuple(self.new), self.document, promoted)

    @property
    def key(self) -> str:
        """The journal's key in the coordination service (§1.1)."""
        return PREFIX + next(iter(sorted(self.new)))

    @property
    def promoted(self) -> "RotationJournal":
        """The journal after the new value became the configured one; earlier failures are forgotten."""
        return replace(self, step=RotationStep.PROMOTED, attempts=0, not_before="", problem="")

    @property
    def key_ids(self) -> frozenset[str]:
        """The configuration keys that open the journal's values (§2.5)."""
        return frozenset(map(committed.key_id_of, (*self.new.values(), *self.old.values())))

    def serialize(self) -> bytes:
        """The canonical bytes."""
        return _KIND.dumps({"format": _FORMAT, **asdict(self), "step": self.step.value})

    @classmethod
    def parse(cls, data: bytes) -> "RotationJournal":
        """Parse the bytes of a journal.

        Raises:
            FormatError: The bytes are not canonical, of another format, or have wrong members (§1.3).
        """
        found = _fields(data, _FORMAT, {one.name for one in fields(cls)})
        return cls._read(found, found.number(_DOCUMENT))

    @classmethod
    def parse_older(cls, data: bytes, document: int) -> "RotationJournal":
        """Parse a journal of format 1, for the upgrade.

        Args:
            data: The bytes.
            document: The version of the configuration document from which on the journal counts.

        Raises:
            FormatError: The bytes are not canonical, of another format, or have wrong members.
        """
        names = {one.name for one in fields(cls)} - {_DOCUMENT}
        return cls._read(_fields(data, _OLDER_FORMAT, names), document)

    @classmethod
    def _read(cls, found: Fields, document: int) -> "RotationJournal":
        new, old = _sealed(found, "new"), _sealed(found, "old")
        if not new or old.keys() not in ({}.keys(), new.keys()):
            raise found.refused("the old values are not those of the new ones")
        return cls(
            consumer=found.text("consumer"),
            run=found.text("run"),
            new=new,
            old=old,
            new_logins=found.text_map("new_logins"),
            old_logins=found.text_map("old_logins"),
            step=found.one_of("step", RotationStep),
            attempts=found.number("attempts"),
            not_before=found.text("not_before"),
            problem=found.text("problem"),
            document=document,
        )


@dataclass(frozen=True)
class RotationRecord:
    """When a secret was last rotated.

    Attributes:
        at: The time in UTC, K-12 form.
        run: The run that did it.
        consumer: The consumer; empty if no component was configured.
        document: The version of the configuration document that began to say the new value.
    """

    at: str
    run: str
    consumer: str
    document: int = 0

    @property
    def point(self) -> Rotated:
        """The side of a record with which a journal is compared (entries.md 3.3)."""
        return Rotated(self.run, self.document)


def key_ids(coordinator: Coordinator) -> frozenset[str]:
    """The configuration keys that journals and kept values need, and that must not be removed (§2.5, §4.3)."""
    entries = coordinator.list(PREFIX).values()
    journals = [RotationJournal.parse(entry.value) for entry in entries]
    entry = coordinator.get(KEPT)
    kept = parse_kept(entry.value) if entry else {}
    of_kept = (committed.key_id_of(text) for texts in kept.values() for text in texts)
    return frozenset(of_kept).union(*(journal.key_ids for journal in journals))


def serialize_records(records: Mapping[str, RotationRecord]) -> bytes:
    """The canonical bytes of all records (§3)."""
    plain = {name: asdict(record) for name, record in records.items()}
    return _KIND.dumps({"format": _RECORDS_FORMAT, "records": plain})


def parse_records(data: bytes) -> dict[str, RotationRecord]:
    """Parse the bytes of the records.

    Raises:
        FormatError: The bytes are not canonical, of another format, or have wrong members (§1.3).
    """
    records = _fields(data, _RECORDS_FORMAT, {"records"}).inner("records")
    return {name: _read_record(records.inner(name)) for name in records.names}


def parse_older_records(data: bytes, document: int) -> dict[str, RotationRecord]:
    """Parse the records of format 1, for the upgrade.

    Args:
        data: The bytes.
        document: The version of the configuration document from which on the records count.

    Raises:
        FormatError: The bytes are not canonical, of another format, or have wrong members.
    """
    records = _fields(data, _OLDER_RECORDS_FORMAT, {"records"}).inner("records")
    found = {name: records.inner(name) for name in records.names}
    for one in found.values():
        one.check_names(RotationRecord.__annotations__.keys() - {_DOCUMENT})
    return {name: _record(one, document) for name, one in found.items()}


def _read_record(found: Fields) -> RotationRecord:
    found.check_names(RotationRecord.__annotations__)
    return _record(found, found.number(_DOCUMENT))


def _record(found: Fields, document: int) -> RotationRecord:
    return RotationRecord(found.text("at"), found.text("run"), found.text("consumer"), document)


def serialize_kept(kept: Mapping[str, Sequence[str]]) -> bytes:
    """The canonical bytes of kept earlier values (§4)."""
    plain = {name: list(texts) for name, texts in kept.items()}
    return _KIND.dumps({"format": _KEPT_FORMAT, "previous": plain})


def parse_kept(data: bytes) -> dict[str, tuple[str, ...]]:
    """Parse the bytes of kept earlier values.

    Raises:
        FormatError: The bytes are not canonical, of another format, or have wrong members (§1.3).
    """
    kept = _fields(data, _KEPT_FORMAT, {"previous"}).inner("previous")
    texts = {name: kept.texts(name) for name in kept.names}
    if not all(one and all(map(enc.is_enc, one)) for one in texts.values()):
        raise kept.refused("a value from before is not encrypted")
    return texts


def _fields(data: bytes, format_: str, names: set[str]) -> Fields:
    found = _KIND.loads(data)
    found.check_version("format", format_)
    found.check_names(names | {"format"})
    return found


def _sealed(found: Fields, name: str) -> dict[str, str]:
    values = found.text_map(name)
    if not all(map(enc.is_enc, values.values())):
        raise found.refused(f"a value of {name!r} is not encrypted")
    return values
