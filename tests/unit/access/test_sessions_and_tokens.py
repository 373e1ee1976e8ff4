"""Session tokens and access tokens: random, stored as hashes, with an end."""

from datetime import UTC, datetime, timedelta

from strongroom.access import sessions, tokens
from strongroom.clock import format_utc

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def test_session_tokens_have_256_bits_and_are_stored_as_hashes() -> None:
    first, second = sessions.new_token(), sessions.new_token()
    assert first != second
    assert len(first) == 43
    assert sessions.hash_token(first) not in first.reveal().decode()
    assert len(sessions.hash_token(first)) == 64


def at(**span: float) -> str:
    return format_utc(NOW + timedelta(**span))


def test_a_session_ends_when_it_was_idle_for_240_minutes() -> None:
    assert not sessions.has_ended(at(minutes=-240), NOW)
    assert sessions.has_ended(at(minutes=-240, seconds=-1), NOW)


def test_a_session_of_the_future_has_ended() -> None:
    """findings R13: of a clock that was set back; by some minutes clocks are set right all the time."""
    assert not sessions.has_ended(at(minutes=5), NOW)
    assert sessions.has_ended(at(minutes=5, seconds=1), NOW)


def use(name: str, created: float, seen: float) -> sessions.Use:
    return sessions.Use(name, at(seconds=-created), at(seconds=-seen))


def test_sessions_in_use_stay_however_many_sign_in() -> None:
    """findings R12: scripts of a service account that never sign out ended the session of the one that works."""
    new = [use(f"new{number}", 600 + number, 600 + number) for number in range(128)]
    gone = sessions.surplus([*new, use("old", 9000, 0)], NOW)
    assert "old" not in gone
    assert gone == [f"new{number}" for number in range(98, 128)]


def test_a_crowd_within_some_minutes_stays_for_as_long() -> None:
    """findings R12: who is in the middle of an upload asks for nothing."""
    crowd = [use(f"new{number}", 1, 1) for number in range(500)]
    assert sessions.surplus([*crowd, use("busy", 9000, 200)], NOW) == []


def test_a_user_has_a_thousand_sessions_at_most() -> None:
    """findings R12: of one second the used one is kept."""
    crowd = [use(f"new{number:04}", 0, 0) for number in range(1000)]
    gone = sessions.surplus([*crowd, use("used", 9000, 0)], NOW)
    assert len(gone) == 2
    assert "used" not in gone


def test_access_tokens_can_be_told_and_are_stored_as_hashes() -> None:
    first, second = tokens.new_secret(), tokens.new_secret()
    assert first != second
    assert first.reveal().startswith(b"srpat_")
    assert len(first) == 6 + 43
    assert tokens.hash_secret(first) == tokens.hash_secret(first) != tokens.hash_secret(second)


def test_the_hashes_of_both_differ() -> None:
    secret = tokens.new_secret()
    assert tokens.hash_secret(secret) != sessions.hash_token(secret)


def test_an_access_token_ends_at_its_time() -> None:
    assert tokens.why_invalid(at(days=-1), at(), NOW) == "expired token"
    assert tokens.why_invalid(at(days=-1), at(seconds=1), NOW) == ""
    assert tokens.why_invalid(at(days=-1), None, NOW) == ""


def test_an_access_token_of_the_future_is_not_valid() -> None:
    """findings K23: made by a clock that was ahead, it would live longer than was said."""
    assert tokens.why_invalid(at(days=1), at(days=366), NOW) == "token of the future"
    assert tokens.why_invalid(at(minutes=4), None, NOW) == ""
