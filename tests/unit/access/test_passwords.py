"""Passwords: hashes that cost what tabcmd can pay, and pauses after failures."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from strongroom.access import passwords
from strongroom.clock import SKEW, format_utc
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import UsageError

PASSWORD = SecretBytes(b"correct horse")


def test_only_the_password_verifies() -> None:
    stored = passwords.hash_password(PASSWORD)
    assert stored.startswith("$argon2id$")
    assert passwords.verify(stored, PASSWORD)
    assert not passwords.verify(stored, SecretBytes(b"correct horsf"))
    assert passwords.hash_password(PASSWORD) != stored


def test_without_a_stored_hash_nothing_verifies() -> None:
    assert not passwords.verify(None, PASSWORD)
    assert not passwords.verify(None, SecretBytes(b"nobody"))  # what the stand-in was made of


def test_a_damaged_hash_verifies_nothing() -> None:
    assert not passwords.verify("$argon2id$broken", PASSWORD)


def test_a_password_without_end_costs_nothing() -> None:
    assert not passwords.verify(passwords.hash_password(PASSWORD), SecretBytes(b"x" * 1025))


def test_a_sign_in_stays_below_a_tenth_of_a_second() -> None:
    """clients.md section 0 item 6: every tabcmd command pays it; processor time, the best of five: machines are busy."""
    stored = passwords.hash_password(PASSWORD)
    took = []
    for _ in range(5):
        start = time.thread_time()
        passwords.verify(stored, PASSWORD)
        took.append(time.thread_time() - start)
    assert min(took) < 0.1


def test_hashes_of_another_cost_are_renewed() -> None:
    from argon2 import PasswordHasher

    old = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(b"x")
    assert passwords.needs_rehash(old)
    assert not passwords.needs_rehash(passwords.hash_password(PASSWORD))


def test_the_pause_doubles_up_to_a_limit() -> None:
    pauses = [passwords.pause_s(failures) for failures in range(4, 9)]
    assert pauses == [0, 1, 2, 4, 8]
    assert passwords.pause_s(10**9) == passwords.MAX_PAUSE_S


@pytest.mark.parametrize("wrong", [b"short", b"x" * 1025, b"\xff" * 20])
def test_new_passwords_that_are_refused(wrong: bytes) -> None:
    with pytest.raises(UsageError) as caught:
        passwords.check_new(SecretBytes(wrong))
    assert caught.value.__cause__ is None


def test_eight_characters_are_enough() -> None:
    passwords.check_new(SecretBytes("äöüäöüäö".encode()))


def test_a_pause_that_is_longer_than_any_is_none() -> None:
    """findings K23: a clock that was ahead wrote it; nobody could sign in until that time comes."""
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    longest = timedelta(seconds=passwords.MAX_PAUSE_S) + SKEW
    second = timedelta(seconds=1)
    for left, paused in (
        (-second, False),
        (timedelta(0), False),
        (second, True),
        (longest, True),
        (longest + second, False),
        (timedelta(days=3650), False),
    ):
        assert passwords.is_paused(format_utc(now + left), now) is paused, left
    assert not passwords.is_paused(None, now)
