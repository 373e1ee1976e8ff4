"""One-time credentials of new nodes (docs/format/bootstrap-file.md §3, §5; S16)."""

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from strongroom import canonical, ids
from strongroom.crypto import rng
from strongroom.errors import AuthenticationError, ConflictError, FormatError
from strongroom.joining import admission_request, credentials, node_keys
from strongroom.joining.admission_request import AdmissionRequest
from strongroom.joining.bootstrap_file import Credential
from strongroom.joining.credentials import Generation, Issued, IssuedCredential
from strongroom.joining.node_keys import NodeKeys

NOW = datetime(2026, 11, 22, 1, 0, 0, tzinfo=UTC)
INSTALLATION = ids.new_id()
PRESENT = Generation("master-key-1", ids.new_id(), b"i" * 32)
OURS = Credential(ids.new_id(), rng.new_key())
SECRETS = [rng.new_key() for _ in range(3)]
KEYS = {name: NodeKeys((INSTALLATION, name), *SECRETS) for name in ("node2", "node3")}
OTHERS = node_keys.make(INSTALLATION, "node2")


def issued(credential: Credential = OURS, node_id: str = "node2") -> IssuedCredential:
    end = NOW + timedelta(minutes=120)
    return IssuedCredential(credential.id, node_id, credential.key.public, end, PRESENT)


def listed(*rows: IssuedCredential, admitted: tuple[str, ...] = ()) -> Issued:
    return Issued(rows, admitted)


def asked(
    node_id: str = "node2", keys: NodeKeys | None = None, by: Credential = OURS
) -> AdmissionRequest:
    return admission_request.make(keys or KEYS[node_id], by, PRESENT.identity)


def test_a_list_is_read_back_and_holds_no_secret() -> None:
    """§3.2, §5.1"""
    used = issued()._replace(used_at=NOW, request=credentials.request_digest(asked()), refusals=2)
    both = listed(issued(), used._replace(id=ids.new_id()), admitted=("node4",))
    data = credentials.serialize(both)
    assert credentials.parse(data) == both
    assert credentials.parse(bytes(bytearray(data))) is credentials.parse(data)
    secret = OURS.seed.reveal()
    assert secret not in data
    assert secret.hex().encode() not in data
    assert base64.b64encode(secret) not in data


def test_what_there_is_nothing_to_say_about_is_left_out() -> None:
    """§5.1: a list from before requests had keys is read as it is."""
    data = credentials.serialize(listed(issued()))
    assert b"request" not in data
    assert b"refusals" not in data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        credentials.serialize(listed(issued())) + b"\n",
        credentials.serialize(listed(issued())).replace(b"credentials-2", b"credentials-3"),
        credentials.serialize(listed(issued())).replace(b"2026-11", b"2026-99"),
        credentials.serialize(listed(*[issued()] * 1025)),
        credentials.serialize(listed(issued()._replace(public=b"short"))),
        credentials.serialize(listed(admitted=("x",))),
        credentials.serialize(listed(admitted=("node2",) * 9999)),
    ],
    ids=["empty", "list", "object", "layout", "version", "time", "many", "key", "node", "nodes"],
)
def test_a_damaged_list_is_refused(data: bytes) -> None:
    with pytest.raises(
        FormatError,
        match=r"the list of bootstrap credentials (is damaged|has a version|has 1025|has 9999)|no id",
    ):
        credentials.parse(data)


def test_it_admits_its_node_once() -> None:
    """§3.2, §3.5: the same request is the same admission, another one is refused."""
    others = issued(Credential(ids.new_id(), rng.new_key()), "node3")
    after = credentials.admit(listed(others, issued()), asked(), PRESENT, NOW)
    digest = credentials.request_digest(asked())
    assert after == listed(others, issued()._replace(used_at=NOW, request=digest))
    assert credentials.admit(after, asked(), PRESENT, NOW + timedelta(minutes=119)) is None
    with pytest.raises(AuthenticationError, match="was used at 2026-11-22T01:00:00Z"):
        credentials.admit(after, asked(keys=OTHERS), PRESENT, NOW)


REFUSED = pytest.mark.parametrize(
    ("request_", "present", "now", "words"),
    [
        (asked(), PRESENT, NOW + timedelta(minutes=120), "expired at 2026-11-22T03:00:00Z"),
        (asked(), PRESENT._replace(master_key="master-key-2"), NOW, "before the internal"),
        (asked(), PRESENT._replace(configuration_key_id="x"), NOW, "before the internal"),
        (asked(), PRESENT._replace(identity=b"j" * 32), NOW, "before the identity"),
        (asked("node3"), PRESENT, NOW, "is for node2, not for node3"),
    ],
    ids=["expired", "new master key", "new configuration key", "new identity", "elsewhere"],
)


@REFUSED
def test_everything_else_is_refused(
    request_: AdmissionRequest, present: Generation, now: datetime, words: str
) -> None:
    """§3.3"""
    with pytest.raises(AuthenticationError, match=words):
        credentials.admit(listed(issued()), request_, present, now)


@REFUSED
def test_a_repeated_request_meets_the_same_conditions(
    request_: AdmissionRequest, present: Generation, now: datetime, words: str
) -> None:
    """§3.5"""
    after = credentials.admit(listed(issued()), asked(), PRESENT, NOW)
    assert after is not None
    with pytest.raises(AuthenticationError, match=words):
        credentials.admit(after, request_, present, now)


def test_one_that_was_used_by_an_unknown_request_is_not_repeated() -> None:
    """§3.5: such as the lists from before requests had keys hold."""
    with pytest.raises(AuthenticationError, match="it admits a node once"):
        credentials.admit(listed(issued()._replace(used_at=NOW)), asked(), PRESENT, NOW)


def test_a_wrong_signature_is_told_as_an_unknown_credential() -> None:
    """§3.3, §3.6; that it is exhausted hears only who has its key."""
    wrong = asked(by=Credential(OURS.id, rng.new_key()))
    exhausted = issued()._replace(refusals=credentials.MOST_REFUSALS)
    with pytest.raises(AuthenticationError) as told:
        credentials.check_signatures(issued(), wrong)
    words = told.value.message
    assert words == "nobody knows this credential"
    assert credentials.unwelcome(None, asked()).message == words
    assert credentials.unwelcome(exhausted, wrong).message == words
    assert "was refused 5 times" in credentials.unwelcome(exhausted, asked()).message
    credentials.check_signatures(issued(), asked())


def test_the_node_s_own_signature_is_checked() -> None:
    """§4.2"""
    wrong = replace(asked(), proof=bytes(64))
    with pytest.raises(AuthenticationError, match="not signed by the node's own key"):
        credentials.check_signatures(issued(), wrong)


def test_the_first_form_is_read_and_admits_nobody() -> None:
    """§5.2: such a credential is known, was perhaps used, and can be checked by nothing."""
    rows: list[dict[str, object]] = [
        {
            "id": OURS.id,
            "node_id": "node2",
            "digest": "ab" * 32,
            "expires_at": "2026-11-22T03:00:00Z",
            "master_key": "master-key-1",
            "configuration_key_id": PRESENT.configuration_key_id,
            "used_at": used,
        }
        for used in (None, "2026-11-22T01:00:00Z")
    ]
    rows[1] |= {"node_id": "node3", "id": ids.new_id(), "request": "cd" * 32, "refusals": 2}
    data = canonical.dumps({"format": "strongroom-credentials-1", "credentials": rows})
    found = credentials.parse(data)
    assert [one.is_earlier for one in found.credentials] == [True, True]
    assert credentials.parse(credentials.serialize(found)) == found
    assert credentials.next_node_id(found, "node1", NOW) == "node4"
    told = credentials.unwelcome(found.credentials[0], asked()).message
    assert told == f"the credential {OURS.id} was made by an earlier version"


def test_refusals_exhaust_it() -> None:
    """§3.6"""
    others = issued(Credential(ids.new_id(), rng.new_key()), "node3")
    found = listed(others, issued())
    for _ in range(credentials.MOST_REFUSALS):
        assert not found.credentials[1].is_exhausted
        found = credentials.with_refusal(found, asked())
    assert found.credentials[1].is_exhausted
    assert found.credentials[0] == others


def test_the_next_node() -> None:
    """Neither ours, nor promised, nor admitted; a promise that expired is free again."""
    late = NOW + timedelta(minutes=120)
    promised, admitted = issued(), issued(node_id="node3")._replace(used_at=NOW)
    assert credentials.next_node_id(Issued(), "node1", NOW) == "node2"
    assert credentials.next_node_id(listed(promised, admitted), "node1", NOW) == "node4"
    assert credentials.next_node_id(listed(promised, admitted), "node1", late) == "node2"
    assert credentials.next_node_id(listed(admitted=("node2", "node3")), "node1", NOW) == "node4"


def test_old_ones_go_and_their_nodes_stay() -> None:
    """§5.1, X16: used credentials were kept for ever, and the list was full after 1,024 nodes."""
    used, new = issued(node_id="node3")._replace(used_at=NOW), issued(node_id="node4")
    late = NOW + timedelta(days=2)
    after = credentials.with_new(listed(issued(), used, admitted=("node9",)), new, late)
    assert after == listed(new, admitted=("node3", "node9"))
    soon = NOW + timedelta(hours=3)
    assert credentials.with_new(listed(issued(), used), new, soon) == listed(issued(), used, new)
    full = listed(*[used] * 1024)
    assert credentials.with_new(full, new, late) == listed(new, admitted=("node3",))
    with pytest.raises(ConflictError, match="1024"):
        credentials.with_new(full, new, NOW)


def test_one_that_was_not_handed_over_goes() -> None:
    other = issued(Credential(ids.new_id(), rng.new_key()))
    assert credentials.without(listed(issued(), other, admitted=("node9",)), OURS.id) == listed(
        other, admitted=("node9",)
    )


def test_one_of_a_clock_that_was_ahead_is_refused() -> None:
    """findings K23: it would admit for as long as the clock was ahead, beyond any life that can be given."""
    ahead = issued()._replace(expires_at=NOW + credentials.LONGEST_LIFE + timedelta(minutes=6))
    with pytest.raises(AuthenticationError, match="clock that was ahead"):
        credentials.admit(listed(ahead), asked(), PRESENT, NOW)
    longest = issued()._replace(expires_at=NOW + credentials.LONGEST_LIFE)
    credentials.admit(listed(longest), asked(), PRESENT, NOW)
