"""Pauses after failures: nobody is locked out by somebody else, nor by a clock (findings S9, K23)."""

from datetime import timedelta

import pytest

from strongroom.access import passwords
from strongroom.clock import format_utc
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import AuthenticationError
from strongroom.eventlog.events import directory_events
from strongroom.services.directory import sign_in_throttle
from strongroom.services.directory.users import UserChanges
from tests.contract.services.conftest import LOCAL, PASSWORD, Platform

WRONG = SecretBytes(b"wrong password")
HERE, THERE = "192.0.2.1", "198.51.100.7"


def fails(platform: Platform, password: SecretBytes, peer: str) -> None:
    with pytest.raises(AuthenticationError):
        platform.auth.sign_in("admin", password, "", peer)


def test_who_guesses_locks_nobody_out_but_himself(platform: Platform) -> None:
    """findings S9: seven wrong passwords and then one in 15 minutes kept the only administrator out for ever."""
    for _ in range(7):
        fails(platform, WRONG, THERE)
    fails(platform, PASSWORD, THERE)  # there even the right one waits
    platform.auth.sign_in("admin", PASSWORD, "", HERE)
    for _ in range(20):
        platform.later(minutes=15, seconds=1)
        fails(platform, WRONG, THERE)
        platform.auth.sign_in("admin", PASSWORD, "", HERE)


def test_a_success_elsewhere_gives_no_new_tries(platform: Platform) -> None:
    """findings S9: or the owner's daily work would pay for the guesses."""
    for _ in range(6):
        fails(platform, WRONG, THERE)
    platform.auth.sign_in("admin", PASSWORD, "", HERE)
    fails(platform, PASSWORD, THERE)


def guess_from_everywhere(platform: Platform) -> None:
    for number in range(passwords.FREE_FAILURES_EVERYWHERE):
        fails(platform, WRONG, f"203.0.113.{number}")


def test_many_addresses_together_lock_new_addresses_only(platform: Platform) -> None:
    """findings S9: guesses that are spread are as slow; where the owner was before he still enters."""
    platform.auth.sign_in("admin", PASSWORD, "", HERE)
    guess_from_everywhere(platform)
    fails(platform, PASSWORD, THERE)
    platform.auth.sign_in("admin", PASSWORD, "", HERE)


def test_the_owner_of_the_machine_ends_all_pauses(platform: Platform) -> None:
    """findings S9: `strongroom users unlock`."""
    for _ in range(6):
        fails(platform, WRONG, HERE)
    guess_from_everywhere(platform)
    fails(platform, PASSWORD, HERE)
    platform.auth.unlock("os:root", platform.admin.id)
    assert platform.event_ids()[-1] == directory_events.SIGN_IN_UNLOCKED
    platform.auth.sign_in("admin", PASSWORD, "", HERE)


def test_a_new_password_ends_the_pauses_of_the_old_one(platform: Platform) -> None:
    for _ in range(6):
        fails(platform, WRONG, HERE)
    new = SecretBytes(b"another good one")
    platform.users.set_password(LOCAL, platform.admin.id, new)
    platform.auth.sign_in("admin", new, "", HERE)


def test_what_is_remembered_is_bounded(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """findings S9: a crowd of addresses costs no more memory than that."""
    monkeypatch.setattr(sign_in_throttle, "MOST", 3)
    for number in range(20):
        fails(platform, WRONG, f"203.0.113.{number}")
    assert len(platform.auth._throttle._tries) == 3


@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(days=2), timedelta(days=400)])
def test_a_lock_of_a_clock_that_was_ahead_is_over(platform: Platform, ahead: timedelta) -> None:
    """findings K23: it ends within its length from now."""
    until = format_utc(platform.clock.moment + ahead)
    with platform.repository.transaction() as tx:
        tx.users.update(platform.admin.id, failed_logins=200, locked_until=until)
    platform.auth.sign_in("admin", PASSWORD, "", HERE)


@pytest.mark.parametrize("ahead", [timedelta(days=2), timedelta(days=365)])
def test_sessions_and_tokens_of_a_clock_that_was_ahead_are_not_valid(
    platform: Platform, ahead: timedelta
) -> None:
    """findings R13: a session of next year was valid for a year."""
    now = platform.clock.moment
    platform.clock.moment = now + ahead
    token, _ = platform.sign_in("admin")
    platform.auth.identify(token)
    _, secret = platform.tokens.create(LOCAL, platform.admin.id, "CI")
    platform.clock.moment = now
    with pytest.raises(AuthenticationError, match="expired"):
        platform.auth.identify(token)
    with pytest.raises(AuthenticationError):
        platform.auth.sign_in_with_token("CI", secret, "")
    fresh, _ = platform.sign_in("admin")
    platform.auth.identify(fresh)
    assert platform.auth.prune() <= 1
    with platform.repository.reading() as tx:
        assert len(tx.sessions.list()) == 1


def test_a_clock_that_is_set_right_by_a_minute_ends_nothing(platform: Platform) -> None:
    token, _ = platform.sign_in("admin")
    platform.later(seconds=-60)
    platform.auth.identify(token)
    assert platform.auth.prune() == 0
    platform.auth.identify(token)


def test_reading_writes_nothing(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """findings R20: a full disk refused downloads, since the use of the session was written first."""
    token, _ = platform.sign_in("admin")
    platform.later(minutes=200)

    def full(*_: object) -> None:
        raise AssertionError("somebody writes")

    with monkeypatch.context() as patch:
        patch.setattr(platform.repository, "transaction", full)
        platform.auth.identify(token)
        platform.auth.sign_out("nobody's")
        platform.later(minutes=200)
        platform.auth.identify(token)
    assert platform.auth.prune() == 0
    with platform.repository.reading() as tx:
        assert tx.sessions.list()[0].last_seen_at == format_utc(platform.clock.moment)


ROLES_WITHOUT_ENTRY = ["Unlicensed", "UnlicensedWithPublish"]


@pytest.mark.parametrize("role", ROLES_WITHOUT_ENTRY)
def test_a_session_does_not_live_again_when_the_role_comes_back(
    platform: Platform, role: str
) -> None:
    """findings S12."""
    bob = platform.user("bob")
    token, _ = platform.sign_in("bob")
    platform.users.update_on_site(LOCAL, platform.site.id, bob.id, UserChanges(role))
    platform.users.update_on_site(LOCAL, platform.site.id, bob.id, UserChanges("Creator"))
    with pytest.raises(AuthenticationError):
        platform.auth.identify(token)


def test_nor_when_a_site_is_active_again(platform: Platform) -> None:
    """findings S12: the sessions of administrators go on, as they may enter a suspended site."""
    from strongroom.services.directory.sites import SiteChanges

    platform.user("bob")
    token, _ = platform.sign_in("bob")
    admin, _ = platform.sign_in("admin")
    for state in ("suspended", "active"):
        platform.sites.update(LOCAL, platform.site.id, SiteChanges(state=state))
    with pytest.raises(AuthenticationError):
        platform.auth.identify(token)
    platform.auth.identify(admin)


def test_nor_when_somebody_is_an_administrator_again(platform: Platform) -> None:
    """findings S12: on a site where nothing but that let it in."""
    site = platform.sites.create(LOCAL, "Other")
    bob = platform.user("bob")
    platform.users.give_role(LOCAL, site.id, bob.id, "ServerAdministrator")
    token, _ = platform.sign_in("bob", "other")
    platform.users.update_on_site(LOCAL, platform.site.id, bob.id, UserChanges("Creator"))
    platform.users.update_on_site(
        LOCAL, platform.site.id, bob.id, UserChanges("ServerAdministrator")
    )
    with pytest.raises(AuthenticationError):
        platform.auth.identify(token)
