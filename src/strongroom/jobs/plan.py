"""Decides what a job does to an extract, by the extract's row and its file's header; pure.

Each decision is made from the present facts, never from those at the job's beginning. So a killed job can simply
continue, and an extract that a user changed meanwhile is decided on again instead of failing.
"""

from enum import StrEnum

from strongroom.jobs.model import JobKind
from strongroom.repository.rows import ContentState

PENDING = (
    ContentState.PENDING_ENCRYPTION,
    ContentState.PENDING_DECRYPTION,
    ContentState.PENDING_REENCRYPTION,
)
"""The states of extracts for which a job is enqueued or running."""


class Action(StrEnum):
    """The actions on an extract."""

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
    """The action that this kind of job takes on an extract in scope.

    Args:
        kind: The kind of the job.
        state: The row's state; for a re-encryption, the pending state marks extracts that still have their old data
            key.
        encrypted: Whether the file is an envelope.
        current: Whether all key slots of the header name the active MEK.
        new_data_key: The option of a job that encrypts.
    """
    if not encrypted:
        return Action.ENCRYPT if kind is JobKind.ENCRYPT else Action.LEAVE
    if kind is JobKind.DECRYPT:
        return Action.DECRYPT
    if kind is JobKind.REENCRYPT and state is ContentState.PENDING_REENCRYPTION:
        return Action.REENCRYPT
    if current:
        return Action.LEAVE
    return Action.REENCRYPT if kind is JobKind.ENCRYPT and new_data_key else Action.REWRAP


def changes(kind: JobKind, file_id: str, *, current: bool) -> bool:
    """Whether a job of this kind changes an extract in scope, by the extract's row.

    Args:
        kind: The kind of the job.
        file_id: The row's file id; empty if the file is plain.
        current: Whether the row names the active MEK.
    """
    if not file_id:
        return kind is JobKind.ENCRYPT
    return kind in {JobKind.DECRYPT, JobKind.REENCRYPT} or not current


def settled_state(*, encrypted: bool) -> ContentState:
    """The state of an extract without an open job."""
    return ContentState.ENCRYPTED if encrypted else ContentState.UNENCRYPTED


def pending_state(kind: JobKind, *, encrypted: bool, has_extract: bool) -> ContentState:
    """The state of an extract that waits for a job of this kind (E-12); a rewrap has no pending state."""
    if kind is JobKind.ENCRYPT and has_extract and not encrypted:
        return ContentState.PENDING_ENCRYPTION
    if kind is JobKind.DECRYPT and encrypted:
        return ContentState.PENDING_DECRYPTION
    if kind is JobKind.REENCRYPT and encrypted:
        return ContentState.PENDING_REENCRYPTION
    return settled_state(encrypted=encrypted)
