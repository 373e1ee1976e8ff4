"""What a job does to one extract: the whole table (E-12, E-13, clients.md section 0 item 2)."""

import itertools

import pytest

from strongroom.jobs.model import JobKind
from strongroom.jobs.plan import (
    PENDING,
    Action,
    decide,
    in_scope,
    pending_state,
    settled_state,
)
from strongroom.repository.rows import ContentState

E, D, K, W = JobKind.ENCRYPT, JobKind.DECRYPT, JobKind.REENCRYPT, JobKind.REWRAP
DONE, TO_REKEY = ContentState.ENCRYPTED, ContentState.PENDING_REENCRYPTION


@pytest.mark.parametrize(
    ("kind", "state", "encrypted", "current", "action"),
    [
        (E, ContentState.PENDING_ENCRYPTION, False, False, Action.ENCRYPT),
        (E, DONE, True, False, Action.REWRAP),
        (E, DONE, True, True, Action.LEAVE),
        (D, ContentState.PENDING_DECRYPTION, True, True, Action.DECRYPT),
        (D, ContentState.UNENCRYPTED, False, False, Action.LEAVE),
        (K, TO_REKEY, True, True, Action.REENCRYPT),
        (K, TO_REKEY, True, False, Action.REENCRYPT),
        (K, DONE, True, False, Action.REWRAP),  # a new data key already; the MEK was rotated since
        (K, DONE, True, True, Action.LEAVE),
        (K, ContentState.UNENCRYPTED, False, False, Action.LEAVE),
        (W, DONE, True, False, Action.REWRAP),
        (W, DONE, True, True, Action.LEAVE),
        (W, ContentState.UNENCRYPTED, False, False, Action.LEAVE),
    ],
)
def test_the_table(
    kind: JobKind, state: ContentState, encrypted: bool, current: bool, action: Action
) -> None:
    found = decide(kind, state, encrypted=encrypted, current=current, new_data_key=False)
    assert found is action


def test_the_option_of_a_new_data_key_is_for_encrypt_jobs_and_stale_extracts() -> None:
    for kind, current in itertools.product(JobKind, (True, False)):
        found = decide(kind, DONE, encrypted=True, current=current, new_data_key=True)
        assert (found is Action.REENCRYPT) == (kind is E and not current)


@pytest.mark.parametrize("kind", list(JobKind))
def test_once_done_there_is_nothing_to_do(kind: JobKind) -> None:
    """Deciding again after any change gives no further change: each step is idempotent."""
    for state, current, new_data_key in itertools.product(
        ContentState, (True, False), (True, False)
    ):
        encrypted = state is not ContentState.UNENCRYPTED
        action = decide(
            kind, state, encrypted=encrypted, current=current, new_data_key=new_data_key
        )
        if action is Action.LEAVE:
            continue
        after = action is not Action.DECRYPT
        again = decide(
            kind,
            settled_state(encrypted=after),
            encrypted=after,
            current=after,
            new_data_key=new_data_key,
        )
        assert again is Action.LEAVE


def test_scope() -> None:
    """E-07: no extract, nothing to encrypt. E-13: keys are changed of what has keys."""
    assert all(in_scope(kind, encrypted=True, has_extract=False) for kind in JobKind)
    plain = {kind for kind in JobKind if in_scope(kind, encrypted=False, has_extract=True)}
    assert plain == {E, D}
    assert not any(in_scope(kind, encrypted=False, has_extract=False) for kind in JobKind)


def test_pending_states() -> None:
    """E-12."""
    found = {
        (kind, encrypted): pending_state(kind, encrypted=encrypted, has_extract=True)
        for kind in JobKind
        for encrypted in (True, False)
    }
    pending = {key: state for key, state in found.items() if state in PENDING}
    assert pending == {
        (E, False): ContentState.PENDING_ENCRYPTION,
        (D, True): ContentState.PENDING_DECRYPTION,
        (K, True): ContentState.PENDING_REENCRYPTION,
    }
    assert pending_state(E, encrypted=False, has_extract=False) is ContentState.UNENCRYPTED
