"""Signing in, being recognised, signing out."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import timedelta

import pytest

from strongroom.access import passwords, sessions
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import AuthenticationError, PermissionDeniedError, StateError
from strongroom.repository.reach import Reach
from strongroom.repository.unit_of_work import Repository, Transaction
from strongroom.services.directory.sign_in import MAX_HASHES_AT_ONCE
from strongroom.services.directory.sites import SiteChanges
from strongroom.services.directory.users import UserChanges
from tests.contract.services.conftest import LOCAL, PASSWORD, Platform

WRONG = SecretBytes(b"wrong password")


@pytest.mark.parametrize("word", ["", "default", "DEFAULT", " Default "])
def test_default_means_the_default_site(platform: Platform, word: str) -> None:
    """clients.md section 0 item 5."""
    token, identity = platform.sign_in("ADMIN", word)
    assert identity.site.id == platform.site.id
    assert identity.role == "ServerAdministrator"
    assert platform.auth.identify(token) == identity


@pytest.mark.parametrize("word", ["westcoast", "WESTCOAST", "west coast sales"])
def test_sites_are_entered_by_content_url_or_name_in_any_case(
    platform: Platform, word: str
) -> None:
    """clients.md section 0 item 5: tabcmd signs in with the lower-cased name."""
    site = platform.sites.create(LOCAL, "West Coast Sales", SiteChanges(content_url="WestCoast"))
    assert platform.sign_in("admin", word)[1].site == site


def test_the_content_url_comes_before_the_name(platform: Platform) -> None:
    platform.sites.create(LOCAL, "two", SiteChanges(content_url="one"))
    by_url = platform.sites.create(LOCAL, "other", SiteChanges(content_url="two"))
    assert platform.sign_in("admin", "two")[1].site == by_url


def test_whatever_is_wrong_has_the_same_words(platform: Platform) -> None:
    platform.sites.create(LOCAL, "Other")
    platform.user("bob")
    platform.user("gone", "Unlicensed")
    platform.users.create(LOCAL, "tokenonly")
    attempts = [
        ("admin", WRONG, ""),
        ("nobody", PASSWORD, ""),
        ("tokenonly", PASSWORD, ""),
        ("admin", PASSWORD, "nosuch"),
        ("bob", PASSWORD, "other"),
        ("gone", PASSWORD, ""),
    ]
    words = set()
    for name, password, site in attempts:
        with pytest.raises(AuthenticationError) as caught:
            platform.auth.sign_in(name, password, site)
        words.add((caught.value.message, caught.value.hint))
    assert len(words) == 1
    assert platform.event_ids()[-6:] == ["SIGN_IN_FAILED"] * 6


def test_a_suspended_site_is_for_server_administrators(platform: Platform) -> None:
    platform.user("bob")
    token, _ = platform.sign_in("bob")
    platform.sites.update(LOCAL, platform.site.id, SiteChanges(state="suspended"))
    with pytest.raises(AuthenticationError):
        platform.sign_in("bob")
    with pytest.raises(AuthenticationError):
        platform.auth.identify(token)
    assert platform.sign_in("admin")[1].site.state == "Suspended"


def test_after_failures_sign_in_pauses(platform: Platform) -> None:
    def fail() -> None:
        with pytest.raises(AuthenticationError):
            platform.auth.sign_in("admin", WRONG, "")

    for _ in range(6):
        fail()
    with pytest.raises(AuthenticationError):
        platform.sign_in("admin")  # the right one, but during the pause
    platform.later(seconds=3)
    platform.sign_in("admin")
    for _ in range(4):  # a success forgets the failures
        fail()
    platform.sign_in("admin")


def test_tries_during_a_pause_do_not_prolong_it(platform: Platform) -> None:
    for _ in range(50):
        with pytest.raises(AuthenticationError):
            platform.auth.sign_in("admin", WRONG, "")
    assert platform.users.find("admin").failed_logins == 5
    platform.later(seconds=2)
    platform.sign_in("admin")


def during_the_hashing(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Let something happen once while a password is being checked."""
    original, todo = passwords.verify, [happens]

    def verify(stored: str | None, password: SecretBytes) -> bool:
        if todo:
            todo.pop()()
        return original(stored, password)

    monkeypatch.setattr(passwords, "verify", verify)


def test_a_sign_in_does_not_bring_an_old_password_back(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S6: whoever signs in with the old password while it is changed neither enters nor undoes the change."""
    new = SecretBytes(b"another good one")
    during_the_hashing(
        monkeypatch, lambda: platform.users.set_password(LOCAL, platform.admin.id, new)
    )
    with pytest.raises(AuthenticationError):
        platform.sign_in("admin")
    with pytest.raises(AuthenticationError):
        platform.sign_in("admin")
    platform.auth.sign_in("admin", new, "")


def test_failures_meanwhile_stop_a_right_password_too(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S5: parallel tries get no more of them than tries one after the other."""

    def lock() -> None:
        with platform.repository.transaction() as tx:
            tx.users.update(platform.admin.id, locked_until="2026-11-21T12:05:00Z")

    during_the_hashing(monkeypatch, lock)
    with pytest.raises(AuthenticationError):
        platform.sign_in("admin")


def test_parallel_tries_are_no_more_than_the_free_ones(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S5: of many tries at once only the free failures, and those that were being hashed, were tries at all."""
    tried: list[bool] = []

    def verify(stored: str | None, password: SecretBytes) -> bool:
        del password
        tried.append(stored is not None)
        time.sleep(0.02)
        return False

    monkeypatch.setattr(passwords, "verify", verify)

    def fail(_: int) -> None:
        with pytest.raises(AuthenticationError):
            platform.auth.sign_in("admin", WRONG, "")

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(fail, range(64)))
    assert sum(tried) <= passwords.FREE_FAILURES + MAX_HASHES_AT_ONCE


def test_every_failure_writes_as_much(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """S5: known, unknown and pausing users all cost one synced transaction, so time does not tell them apart."""
    platform.users.create(LOCAL, "tokenonly")
    begun: list[None] = []
    original = Repository.transaction

    def counted(self: Repository, *reach: Reach) -> AbstractContextManager[Transaction]:
        begun.append(None)
        return original(self, *reach)

    monkeypatch.setattr(Repository, "transaction", counted)
    for name in ["nobody", "tokenonly", *["admin"] * 10]:
        with pytest.raises(AuthenticationError):
            platform.auth.sign_in(name, WRONG, "")
        assert len(begun) == 1
        begun.clear()


def test_a_hash_of_an_older_cost_is_renewed_at_sign_in(platform: Platform) -> None:
    from argon2 import PasswordHasher

    old = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD.reveal())
    with platform.repository.transaction() as tx:
        tx.users.update(platform.admin.id, password_hash=old)
    platform.sign_in("admin")
    assert platform.users.find("admin").password_hash != old
    platform.sign_in("admin")


def test_sessions_end_when_idle_and_live_on_when_used(platform: Platform) -> None:
    """clients.md section 0 item 6: 240 minutes."""
    used, _ = platform.sign_in("admin")
    idle, _ = platform.sign_in("admin")
    platform.later(minutes=200)
    platform.auth.identify(used)
    platform.later(minutes=100)
    platform.auth.identify(used)
    with pytest.raises(AuthenticationError, match="expired"):
        platform.auth.identify(idle)
    platform.later(minutes=241)
    assert platform.auth.prune() == 2


def test_sessions_survive_a_restart_and_are_not_stored_readably(platform: Platform) -> None:
    token, identity = platform.sign_in("admin")
    again = type(platform.auth)(platform.repository, platform.events, platform.clock)
    assert again.identify(token) == identity
    with platform.repository.reading() as tx:
        assert tx.sessions.find(token) is None


@pytest.mark.parametrize("token", ["", "nosuch", "x" * 10_000, "\udcff"])
def test_tokens_that_nobody_gave(platform: Platform, token: str) -> None:
    with pytest.raises(AuthenticationError):
        platform.auth.identify(token)


def test_the_oldest_sessions_of_a_user_go(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """clients.md section 0 item 6: tabcmd never signs out."""
    monkeypatch.setattr(sessions, "MAX_PER_USER", 3)
    platform.user("bob")
    other, _ = platform.sign_in("bob")
    tokens = []
    for _ in range(4):
        tokens.append(platform.sign_in("admin")[0])
        platform.later(minutes=6)
    with pytest.raises(AuthenticationError):
        platform.auth.identify(tokens[0])
    for token in [*tokens[1:], other]:
        platform.auth.identify(token)


def test_signing_out_ends_one_session(platform: Platform) -> None:
    first, _ = platform.sign_in("admin")
    second, _ = platform.sign_in("admin")
    platform.auth.sign_out(first)
    platform.auth.sign_out(first)
    with pytest.raises(AuthenticationError):
        platform.auth.identify(first)
    platform.auth.identify(second)


def test_switching_gives_a_session_on_the_other_site(platform: Platform) -> None:
    site = platform.sites.create(LOCAL, "Other")
    old, _ = platform.sign_in("admin")
    new, identity = platform.auth.switch_site(old, "OTHER")
    assert identity.site == site
    assert platform.auth.identify(new) == identity
    with pytest.raises(AuthenticationError):
        platform.auth.identify(old)
    with pytest.raises(StateError, match="already"):
        platform.auth.switch_site(new, "other")
    with pytest.raises(AuthenticationError):
        platform.auth.switch_site(old, "")


def test_switching_to_a_site_without_a_role_is_refused(platform: Platform) -> None:
    platform.sites.create(LOCAL, "Other")
    platform.user("bob")
    token, _ = platform.sign_in("bob")
    for site in ("other", "nosuch"):
        with pytest.raises(PermissionDeniedError, match="no way"):
            platform.auth.switch_site(token, site)
    platform.auth.identify(token)


def test_an_access_token_opens_sessions_side_by_side(platform: Platform) -> None:
    """clients.md section 5: a second session must not end the first."""
    token, secret = platform.tokens.create(LOCAL, platform.admin.id, "CI")
    first, identity = platform.auth.sign_in_with_token("ci", secret, "")
    second, _ = platform.auth.sign_in_with_token("CI", secret, "")
    assert platform.auth.identify(first) == platform.auth.identify(second) == identity
    with platform.repository.reading() as tx:
        assert tx.tokens.get(token.id).last_used_at is not None
        assert tx.tokens.get(token.id).secret_hash not in secret.reveal().decode()


def test_revoking_a_token_ends_its_sessions_only(platform: Platform) -> None:
    token, secret = platform.tokens.create(LOCAL, platform.admin.id, "CI")
    by_token, _ = platform.auth.sign_in_with_token("CI", secret, "")
    by_password, _ = platform.sign_in("admin")
    platform.tokens.revoke(LOCAL, token.id)
    with pytest.raises(AuthenticationError):
        platform.auth.identify(by_token)
    with pytest.raises(AuthenticationError):
        platform.auth.sign_in_with_token("CI", secret, "")
    platform.auth.identify(by_password)


def test_a_token_and_its_sessions_end_at_its_time(platform: Platform) -> None:
    life = timedelta(hours=1)
    _, secret = platform.tokens.create(LOCAL, platform.admin.id, "CI", lifetime=life)
    session, _ = platform.auth.sign_in_with_token("CI", secret, "")
    platform.later(minutes=59)
    platform.auth.identify(session)
    platform.later(minutes=1)
    with pytest.raises(AuthenticationError):
        platform.auth.identify(session)
    with pytest.raises(AuthenticationError):
        platform.auth.sign_in_with_token("CI", secret, "")


def test_a_token_needs_its_name_and_a_site(platform: Platform) -> None:
    _, secret = platform.tokens.create(LOCAL, platform.admin.id, "CI", lifetime=None)
    for name, value, site in [("other", secret, ""), ("CI", WRONG, ""), ("CI", secret, "nosuch")]:
        with pytest.raises(AuthenticationError):
            platform.auth.sign_in_with_token(name, value, site)


def test_roles_count_at_once(platform: Platform) -> None:
    user = platform.user("bob", "Creator")
    token, _ = platform.sign_in("bob")
    platform.users.update_on_site(LOCAL, platform.site.id, user.id, UserChanges("Viewer"))
    assert platform.auth.identify(token).role == "Viewer"
    platform.users.update_on_site(LOCAL, platform.site.id, user.id, UserChanges("Unlicensed"))
    with pytest.raises(AuthenticationError):
        platform.auth.identify(token)
