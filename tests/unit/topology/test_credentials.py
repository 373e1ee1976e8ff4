"""One-time credentials of new nodes (docs/format/bootstrap-file.md §3, §4; S16)."""

from datetime import UTC, datetime, timedelta

import pytest

from strongroom import ids
from strongroom.crypto import rng
from strongroom.errors import AuthenticationError, ConflictError, FormatError
from strongroom.topology import credentials
from strongroom.topology.bootstrap_file import Credential
from strongroom.topology.credentials import Generation, IssuedCredential

NOW = datetime(2026, 11, 22, 1, 0, 0, tzinfo=UTC)
PRESENT = Generation("master-key-1", ids.new_id())
OURS = Credential(ids.new_id(), rng.new_key())


def issued(credential: Credential = OURS, node_id: str = "node2") -> IssuedCredential:
    end = NOW + timedelta(minutes=120)
    return IssuedCredential(credential.id, node_id, credentials.digest(credential), end, PRESENT)


def test_a_list_is_read_back_and_holds_no_secret() -> None:
    """§3.2, §4.1"""
    both = (issued(), issued()._replace(id=ids.new_id(), used_at=NOW))
    data = credentials.serialize(both)
    assert credentials.parse(data) == both
    for form in (OURS.secret.reveal(), OURS.secret.reveal().hex().encode()):
        assert form not in data


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
    with pytest.raises(FormatError, match="damaged"):
        credentials.parse(data)


def test_it_admits_its_node_once() -> None:
    """§3.2"""
    others = issued(Credential(ids.new_id(), rng.new_key()), "node3")
    after = credentials.admit((others, issued()), OURS, "node2", PRESENT, NOW)
    assert after == (others, issued()._replace(used_at=NOW))
    with pytest.raises(AuthenticationError, match="was used at 2026-11-22T01:00:00Z"):
        credentials.admit(after, OURS, "node2", PRESENT, NOW)


@pytest.mark.parametrize(
    ("credential", "node_id", "present", "now", "words"),
    [
        (Credential(ids.new_id(), OURS.secret), "node2", PRESENT, NOW, "nobody knows"),
        (Credential(OURS.id, rng.new_key()), "node2", PRESENT, NOW, "nobody knows"),
        (OURS, "node2", PRESENT, NOW + timedelta(minutes=120), "expired at 2026-11-22T03:00:00Z"),
        (OURS, "node2", PRESENT._replace(master_key="master-key-2"), NOW, "before the internal"),
        (OURS, "node2", PRESENT._replace(configuration_key_id="x"), NOW, "before the internal"),
        (OURS, "node3", PRESENT, NOW, "is for node2, not for node3"),
    ],
    ids=["unknown", "altered", "expired", "new master key", "new configuration key", "elsewhere"],
)
def test_everything_else_is_refused(
    credential: Credential, node_id: str, present: Generation, now: datetime, words: str
) -> None:
    """§3.3; an unknown id and a wrong secret are told in the same words."""
    with pytest.raises(AuthenticationError, match=words):
        credentials.admit((issued(),), credential, node_id, present, now)


def test_the_next_node() -> None:
    """Neither ours, nor promised, nor admitted; a promise that expired is free again."""
    late = NOW + timedelta(minutes=120)
    promised, admitted = issued(), issued(node_id="node3")._replace(used_at=NOW)
    assert credentials.next_node_id([], "node1", NOW) == "node2"
    assert credentials.next_node_id([promised, admitted], "node1", NOW) == "node4"
    assert credentials.next_node_id([promised, admitted], "node1", late) == "node2"


def test_old_ones_go_and_used_ones_stay() -> None:
    """§4.1"""
    used = issued()._replace(used_at=NOW)
    late = NOW + timedelta(days=2)
    assert credentials.with_new((issued(), used), used, late) == (used, used)
    soon = NOW + timedelta(hours=3)
    assert credentials.with_new((issued(),), used, soon) == (issued(), used)
    with pytest.raises(ConflictError, match="1024"):
        credentials.with_new((used,) * 1024, used, NOW)
