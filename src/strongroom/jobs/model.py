"""The model of a job: kinds, states, options and receipt; pure.

A job is enqueued by a row in the enqueuer's own transaction, and the backgrounder takes it from there. This module
knows no row, no file and no clock.

    queued ──> running ──> succeeded | failed
       └──────────┴──────> cancelled
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Self

from strongroom.errors import FormatError


class JobKind(StrEnum):
    """The kinds of jobs on extracts (E-11); the values are shown to scripts."""

    ENCRYPT = "encrypt_extracts"
    DECRYPT = "decrypt_extracts"
    REENCRYPT = "rekey_extracts"
    REWRAP = "rewrap_extracts"


class JobState(StrEnum):
    """The states of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether the job has ended."""
        return self not in {JobState.QUEUED, JobState.RUNNING}


@dataclass(frozen=True)
class JobOptions:
    """The options of a job.

    Attributes:
        content_ids: The extracts to change; empty for every extract of the site.
        new_data_key: Whether a job that encrypts gives extracts under an old MEK a new data key, instead of a rewrap.
        verify: Whether extracts that are right by their rows are opened as well, and not only those that the job
            changed.
    """

    content_ids: tuple[str, ...] = ()
    new_data_key: bool = False
    verify: bool = False

    def to_dict(self) -> dict[str, object]:
        """The form in which a row stores the options; equal requests have equal forms."""
        stored: dict[str, object] = {
            "content_ids": sorted(self.content_ids),
            "new_data_key": self.new_data_key,
        }
        return {**stored, "verify": True} if self.verify else stored

    @classmethod
    def from_dict(cls, stored: Mapping[str, object]) -> Self:
        """Options as `to_dict` wrote them; a missing one has its default.

        Raises:
            FormatError: The content ids are no list of texts.
        """
        ids = stored.get("content_ids", [])
        if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
            raise FormatError("job options name no list of content ids")
        flags = (stored.get(name) is True for name in ("new_data_key", "verify"))
        return cls(tuple(sorted(ids)), *flags)


@dataclass(frozen=True)
class Receipt:
    """The proof that a finished job leaves (architecture, way 5).

    Attributes:
        scanned: How many extracts the job looked at.
        changed: How many extracts were written or rewrapped.
        verified: How many extracts were in the wanted state at the end and were opened once more: header, key
            commitment and last segment authenticated. A new file was read back and compared whole before its old file
            was deleted.
        remaining: How many extracts were not in the wanted state at the end; 0, or the job has failed.
        bytes: Plaintext bytes of the changed extracts.
        mek_id: The MEK of the extracts now; empty after a decryption.
        started_at: When the job began; UTC, K-12 form.
        finished_at: When the job ended; UTC, K-12 form.
    """

    scanned: int
    changed: int
    verified: int
    remaining: int
    bytes: int
    mek_id: str
    started_at: str
    finished_at: str

    def to_dict(self) -> dict[str, int | str]:
        """The receipt as it is stored, and as scripts see it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, object]) -> Self:
        """A receipt as `to_dict` wrote it.

        Raises:
            FormatError: A field is missing, unknown, or of another type.
        """
        wanted = {field.name: field.type for field in fields(cls)}
        if set(stored) != set(wanted) or not all(
            type(stored[name]) is kind for name, kind in wanted.items()
        ):
            raise FormatError("a receipt lacks a field or has one too many")
        return cls(**stored)  # type: ignore[arg-type]  # each field's type was compared above
