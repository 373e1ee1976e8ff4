"""What a job is: kinds, states, options and receipt; pure.

A job is a row: whoever wants one writes it into its own transaction, and the backgrounder takes it
from there. This module knows no row, no file and no clock.

    queued ──> running ──> succeeded | failed
       └──────────┴──────> cancelled
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Self

from strongroom.errors import FormatError


class JobKind(StrEnum):
    """What a job does to the extracts of a site (E-11); the words that scripts see."""

    ENCRYPT = "encrypt_extracts"
    DECRYPT = "decrypt_extracts"
    REKEY = "rekey_extracts"
    REWRAP = "rewrap_extracts"


class JobState(StrEnum):
    """Where a job stands."""

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
    """What was asked for beyond the kind.

    Attributes:
        content_ids: The only extracts to touch; empty for every extract of the site.
        new_data_key: An encrypt job gives extracts under an old MEK a new data key, where it would
            otherwise only rewrap.
    """

    content_ids: tuple[str, ...] = ()
    new_data_key: bool = False

    def to_dict(self) -> dict[str, object]:
        """As the row stores it; two equal requests are equal here."""
        return {"content_ids": sorted(self.content_ids), "new_data_key": self.new_data_key}

    @classmethod
    def from_dict(cls, stored: Mapping[str, object]) -> Self:
        """Options as `to_dict` wrote them; what is missing has its default.

        Raises:
            FormatError: The content ids are no list of texts.
        """
        ids = stored.get("content_ids", [])
        if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
            raise FormatError("job options name no list of content ids")
        return cls(tuple(sorted(ids)), stored.get("new_data_key") is True)


@dataclass(frozen=True)
class Receipt:
    """The proof that a finished job leaves (architecture, way 5).

    Attributes:
        scanned: Extracts looked at.
        changed: Extracts written or rewrapped.
        verified: Extracts found in the wanted state at the end and opened once more: header, key
            commitment and last segment authenticated. What was written anew had been read back and
            compared whole before the old file went.
        remaining: Extracts not in the wanted state at the end; 0, or the job has failed.
        bytes: Plaintext bytes of the extracts changed.
        mek_id: The MEK that extracts are under now; empty after a decryption.
        started_at: UTC, K-12 form.
        finished_at: UTC, K-12 form.
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
            FormatError: A field is missing, of another type, or one too many.
        """
        wanted = {field.name: field.type for field in fields(cls)}
        if set(stored) != set(wanted) or not all(
            type(stored[name]) is kind for name, kind in wanted.items()
        ):
            raise FormatError("a receipt lacks a field or has one too many")
        return cls(**stored)  # type: ignore[arg-type]  # each field's type was compared above
