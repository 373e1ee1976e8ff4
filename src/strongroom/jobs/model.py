"""What a job is: kinds, states, progress and receipt; pure."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


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
        return self in {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}


@dataclass(frozen=True)
class Receipt:
    """The proof that a finished job leaves (architecture, way 5).

    Attributes:
        scanned: Extracts looked at.
        changed: Extracts written or rewrapped.
        verified: Extracts read back and authenticated after the change, or found right as they were.
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


class JobQueue(Protocol):
    """The port that enqueues: a job row in the caller's transaction is all it needs."""

    def wake(self) -> None:
        """Tell a running backgrounder that there is work; harmless if there is none."""
        ...
