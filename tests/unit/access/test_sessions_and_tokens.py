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


def test_a_session_ends_when_it_was_idle_for_240_minutes() -> None:
    assert not sessions.is_idle(format_utc(NOW - timedelta(minutes=240)), NOW)
    assert sessions.is_idle(format_utc(NOW - timedelta(minutes=240, seconds=1)), NOW)


def test_use_is_written_once_a_minute() -> None:
    assert not sessions.needs_touch(format_utc(NOW - timedelta(seconds=59)), NOW)
    assert sessions.needs_touch(format_utc(NOW - timedelta(seconds=60)), NOW)


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
    assert tokens.is_expired(format_utc(NOW), NOW)
    assert not tokens.is_expired(format_utc(NOW + timedelta(seconds=1)), NOW)
    assert not tokens.is_expired(None, NOW)
