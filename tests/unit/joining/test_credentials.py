"""One-time credentials of new nodes (docs/format/bootstrap-file.md §3, §5; S16)."""

from datetime import UTC, datetime, timedelta

import pytest

from strongroom import ids
from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import AuthenticationError, ConflictError, FormatError
from strongroom.joining import credentials
from strongroom.joining.admission_request import AdmissionRequest
from strongroom.joining.bootstrap_file import Credential
from strongroom.joining.credentials import Generation, IssuedCredential

NOW = datetime(2026, 11, 22, 1, 0, 0, tzinfo=UTC)
PRESENT = Generation("master-key-1", ids.new_id())
OURS = Credential(ids.new_id(), rng.new_key())
KEY = rng.new_key()


def issued(credential: Credential = OURS, node_id: str = "node2") -> IssuedCredential:
    end = NOW + timedelta(minutes=120)
    return IssuedCredential(credential.id, node_id, credentials.digest(credential), end, PRESENT)


def asked(node_id: str = "node2", key: SecretBytes = KEY) -> AdmissionRequest:
    return AdmissionRequest(ids.new_id(), node_id, OURS, key)


def test_a_list_is_read_back_and_holds_no_secret() -> None:
    """§3.2, §5.1"""
    used = issued()._replace(used_at=NOW, request=credentials.request_digest(asked()), refusals=2)
    both = (issued(), used._replace(id=ids.new_id()))
    data = credentials.serialize(both)
    assert credentials.parse(data) == both
    assert credentials.parse(bytes(bytearray(data))) is credentials.parse(data)
    for secret in (OURS.secret.reveal(), KEY.reveal()):
        assert secret not in data
        assert secret.hex().encode() not in data


def test_what_there_is_nothing_to_say_about_is_left_out() -> None:
    """§5.1: a list from before requests had keys is read as it is."""
    data = credentials.serialize([issued()])
    assert b"request" not in data
    assert b"refusals" not in data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        credentials.serialize([issued()]) + b"\n",
        credentials.serialize([issued()]).replace(b"credentials-1", b"credentials-2"),
        credentials.serialize([issued()]).replace(b"2026-11", b"2026-99"),
        credentials.serialize([issued()] * 1025),
    ],
    ids=["empty", "list", "object", "layout", "version", "time", "many"],
)
def test_a_damaged_list_is_refused(data: bytes) -> None:
    with pytest.raises(
        FormatError, match=r"the list of bootstrap credentials (is damaged|has a version|has 1025)"
    ):
        credentials.parse(data)


def test_it_admits_its_node_once() -> None:
    """§3.2, §3.5: the same request is the same admission, another one is refused."""
    others = issued(Credential(ids.new_id(), rng.new_key()), "node3")
    after = credentials.admit((others, issued()), asked(), PRESENT, NOW)
    digest = credentials.request_digest(asked())
    assert after == (others, issued()._replace(used_at=NOW, request=digest))
    assert credentials.admit(after, asked(), PRESENT, NOW + timedelta(minutes=119)) is None
    with pytest.raises(AuthenticationError, match="was used at 2026-11-22T01:00:00Z"):
        credentials.admit(after, asked(key=rng.new_key()), PRESENT, NOW)


REFUSED = pytest.mark.parametrize(
    ("request_", "present", "now", "words"),
    [
        (asked(), PRESENT, NOW + timedelta(minutes=120), "expired at 2026-11-22T03:00:00Z"),
        (asked(), PRESENT._replace(master_key="master-key-2"), NOW, "before the internal"),
        (asked(), PRESENT._replace(configuration_key_id="x"), NOW, "before the internal"),
        (asked("node3"), PRESENT, NOW, "is for node2, not for node3"),
    ],
    ids=["expired", "new master key", "new configuration key", "elsewhere"],
)


@REFUSED
def test_everything_else_is_refused(
    request_: AdmissionRequest, present: Generation, now: datetime, words: str
) -> None:
    """§3.3"""
    with pytest.raises(AuthenticationError, match=words):
        credentials.admit((issued(),), request_, present, now)


@REFUSED
def test_a_repeated_request_meets_the_same_conditions(
    request_: AdmissionRequest, present: Generation, now: datetime, words: str
) -> None:
    """§3.5"""
    after = credentials.admit((issued(),), asked(), PRESENT, NOW)
    assert after is not None
    with pytest.raises(AuthenticationError, match=words):
        credentials.admit(after, request_, present, now)


def test_one_that_was_used_by_an_unknown_request_is_not_repeated() -> None:
    """§3.5: such as the lists from before requests had keys hold."""
    with pytest.raises(AuthenticationError, match="it admits a node once"):
        credentials.admit((issued()._replace(used_at=NOW),), asked(), PRESENT, NOW)


def test_a_wrong_secret_is_told_as_an_unknown_credential() -> None:
    """§3.3, §3.6; that it is exhausted hears only who has the secret."""
    wrong = Credential(OURS.id, rng.new_key())
    exhausted = issued()._replace(refusals=credentials.MOST_REFUSALS)
    with pytest.raises(AuthenticationError) as told:
        credentials.check_secret(issued(), wrong)
    words = told.value.message
    assert words == "nobody knows this credential"
    assert credentials.unwelcome(None, OURS).message == words
    assert credentials.unwelcome(exhausted, wrong).message == words
    assert "was refused 5 times" in credentials.unwelcome(exhausted, OURS).message
    credentials.check_secret(issued(), OURS)


def test_refusals_exhaust_it() -> None:
    """§3.6"""
    others = issued(Credential(ids.new_id(), rng.new_key()), "node3")
    listed: credentials.Issued = (others, issued())
    for _ in range(credentials.MOST_REFUSALS):
        assert not listed[1].is_exhausted
        listed = credentials.with_refusal(listed, asked())
    assert listed[1].is_exhausted
    assert listed[0] == others


def test_the_next_node() -> None:
    """Neither ours, nor promised, nor admitted; a promise that expired is free again."""
    late = NOW + timedelta(minutes=120)
    promised, admitted = issued(), issued(node_id="node3")._replace(used_at=NOW)
    assert credentials.next_node_id([], "node1", NOW) == "node2"
    assert credentials.next_node_id([promised, admitted], "node1", NOW) == "node4"
    assert credentials.next_node_id([promised, admitted], "node1", late) == "node2"


def test_old_ones_go_and_used_ones_stay() -> None:
    """§5.1"""
    used = issued()._replace(used_at=NOW)
    late = NOW + timedelta(days=2)
    assert credentials.with_new((issued(), used), used, late) == (used, used)
    soon = NOW + timedelta(hours=3)
    assert credentials.with_new((issued(),), used, soon) == (issued(), used)
    with pytest.raises(ConflictError, match="1024"):
        credentials.with_new((used,) * 1024, used, NOW)


def test_one_of_a_clock_that_was_ahead_is_refused() -> None:
    """findings K23: it would admit for as long as the clock was ahead, beyond any life that can be given."""
    ahead = issued()._replace(expires_at=NOW + credentials.LONGEST_LIFE + timedelta(minutes=6))
    with pytest.raises(AuthenticationError, match="clock that was ahead"):
        credentials.admit((ahead,), asked(), PRESENT, NOW)
    longest = issued()._replace(expires_at=NOW + credentials.LONGEST_LIFE)
    credentials.admit((longest,), asked(), PRESENT, NOW)
