"""What a job does to one extract: pure decisions on what its row and its file's header say.

Each decision is made anew from the present facts, never from what was true when the job began; that
is why a job that was killed may simply go on, and why an extract that somebody else changed
meanwhile is looked at again instead of failing.
"""

from enum import StrEnum

from strongroom.jobs.model import JobKind
from strongroom.repository.rows import ContentState

PENDING = (
    ContentState.PENDING_ENCRYPTION,
    ContentState.PENDING_DECRYPTION,
    ContentState.PENDING_REKEY,
)
"""The states of extracts that a job has before it."""


class Action(StrEnum):
    """What is to be done with one extract."""

    LEAVE = "leave"
    ENCRYPT = "encrypt"
    DECRYPT = "decrypt"
    REENCRYPT = "reencrypt"
    REWRAP = "rewrap"


def in_scope(kind: JobKind, *, encrypted: bool, has_extract: bool) -> bool:
    """Whether a job of this kind looks at the file at all (E-13).

    A file without an extract in it (`.twb`, `.tds`) stays as it is (E-07), unless it was encrypted
    before.
    """
    return encrypted or (has_extract and kind in {JobKind.ENCRYPT, JobKind.DECRYPT})


def decide(
    kind: JobKind, state: ContentState, *, encrypted: bool, current: bool, new_data_key: bool
) -> Action:
    """What this kind of job has to do with an extract in scope.

    Args:
        kind: The job's kind.
        state: The row's state; for a rekey job it says which extracts still have the data key they
            had when it began.
        encrypted: Whether the file is an envelope.
        current: Whether nothing but the active MEK opens it: no key slot of its header names
            another one.
        new_data_key: The option of an encrypt job.
    """
    if not encrypted:
        return Action.ENCRYPT if kind is JobKind.ENCRYPT else Action.LEAVE
    if kind is JobKind.DECRYPT:
        return Action.DECRYPT
    if kind is JobKind.REKEY and state is ContentState.PENDING_REKEY:
        return Action.REENCRYPT
    if current:
        return Action.LEAVE
    return Action.REENCRYPT if kind is JobKind.ENCRYPT and new_data_key else Action.REWRAP


def settled_state(*, encrypted: bool) -> ContentState:
    """The state of an extract that no job has before it."""
    return ContentState.ENCRYPTED if encrypted else ContentState.UNENCRYPTED


def pending_state(kind: JobKind, *, encrypted: bool, has_extract: bool) -> ContentState:
    """The state of an extract that a job of this kind has before it (E-12).

    A rewrap changes no state: there is none for it.
    """
    if kind is JobKind.ENCRYPT and has_extract and not encrypted:
        return ContentState.PENDING_ENCRYPTION
    if kind is JobKind.DECRYPT and encrypted:
        return ContentState.PENDING_DECRYPTION
    if kind is JobKind.REKEY and encrypted:
        return ContentState.PENDING_REKEY
    return settled_state(encrypted=encrypted)
