"""Which secrets there are, how old they are, who saw them, where forms of them lie (P15, P16)."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from strongroom.clock import FixedClock, format_utc, parse_utc
from strongroom.config.rotation import RotationRecord
from strongroom.consumers.base import (
    Consumer,
    ConsumerDescription,
    Credential,
    SecretCopy,
    file_copy,
)
from strongroom.crypto import certificates, rng
from strongroom.eventlog.events import secret_events
from strongroom.eventlog.jsonl import JsonlEventLog
from strongroom.ids import new_id
from strongroom.node.opening import Node
from strongroom.secrets.committed import ValueKey
from strongroom.services.secrets.inventory import (
    POLICY,
    Known,
    OwnPlaces,
    SecretAge,
    SecretInventory,
    Sources,
)
from tests.support.small_node import copy_small_node

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
LATER = datetime(2026, 3, 1, 12, tzinfo=UTC)


class _Redis:
    """Says what it is and where its copies lie; nobody logs in here."""

    def __init__(self, copies: Sequence[SecretCopy]) -> None:
        self._copies = tuple(copies)

    def describe(self) -> ConsumerDescription:
        return ConsumerDescription("redis/u", "redis", ("redis.password",), "127.0.0.1")

    def admit(self, new: Credential, present: Credential) -> None:
        raise AssertionError

    def take_back(self, new: Credential, present: Credential) -> None:
        raise AssertionError

    def remarks(self) -> tuple[str, ...]:
        return ()

    def login(self, credential: Credential) -> None:
        raise AssertionError

    def withdraw(self, old: Credential, present: Credential) -> None:
        raise AssertionError

    def copies(self) -> tuple[SecretCopy, ...]:
        return self._copies


@pytest.fixture
def node(pristine: Path, tmp_path: Path) -> Iterator[Node]:
    made = copy_small_node(pristine, tmp_path / "node")
    yield made
    made.close()


class Lab:
    """An inventory of a small node with an event log of its own and a clock that stands."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.clock = FixedClock(BEGIN)
        self.log = JsonlEventLog(node.paths.events, "node1", self.clock)
        self.records: dict[str, RotationRecord] = {}
        self.consumers: tuple[Consumer, ...] = ()
        self.places = OwnPlaces((), (), node.paths.keystore_password)

    def inventory(self) -> SecretInventory:
        sources = Sources(lambda: self.records, self.log.secret_times, lambda: self.consumers)
        return SecretInventory(self.node.configuration, sources, self.places, self.clock)

    def one(self, name: str) -> SecretAge:
        return next(one for one in self.inventory().list() if one.name == name)

    def set_policy(self, text: str) -> None:
        self.node.configuration.compare_and_put(lambda old: old.with_values({POLICY: text}))


@pytest.fixture
def lab(node: Node) -> Lab:
    lab = Lab(node)
    lab.log.append([secret_events.secret_encrypted("os:ada", "redis.password", "k1")])
    return lab


def test_every_parameter_is_listed(lab: Lab) -> None:
    found = {one.name: one for one in lab.inventory().list()}
    assert len(found) >= 38
    assert found["ssl.key.passphrase"]._asdict() == {
        "name": "ssl.key.passphrase",
        "origin": "admin",
        "consumer": "the HTTPS listener, to open ssl.key.file_bytes",
        "is_set": False,
        "changed_at": "",
        "rotated_at": "",
        "revealed_at": "",
        "age_days": None,
        "ends_at": "",
        "due_at": "",
        "due": False,
    }
    assert (found["redis.password"].origin, found["redis.password"].consumer) == (
        "generated",
        "Redis",
    )


def test_a_secret_that_nobody_registered_is_listed_when_it_is_set(lab: Lab) -> None:
    sealed = lab.node.configuration.seal_secret("my.own_password", b"x")
    lab.node.configuration.compare_and_put(lambda old: old.with_values({"my.own_password": sealed}))
    assert (lab.one("my.own_password").origin, lab.one("my.own_password").consumer) == (
        "admin",
        "",
    )


def test_a_value_ages_from_its_last_change(lab: Lab) -> None:
    """Encrypting the same value under another key makes it no younger; a rotation does."""
    lab.clock.moment = LATER
    lab.log.append([secret_events.secret_encrypted("os:ada", "redis.password", "k2")])
    one = lab.one("redis.password")
    assert (one.changed_at, one.age_days, one.rotated_at) == ("2026-01-01T00:00:00Z", 59, "")
    lab.records["redis.password"] = RotationRecord("2026-02-01T00:00:00Z", "r", "")
    one = lab.one("redis.password")
    assert (one.changed_at, one.age_days) == ("2026-02-01T00:00:00Z", 28)
    assert one.rotated_at == one.changed_at
    told = secret_events.configuration_applied(
        "os:ada", version=2, keys=2, secrets=["redis.password"]
    )
    lab.log.append(told)
    assert lab.one("redis.password").age_days == 0


def test_the_last_reading_is_shown_also_from_an_archived_log(lab: Lab) -> None:
    """P16."""
    lab.log.append([secret_events.secret_revealed("os:bob", "redis.password", reason="why")])
    lab.log.archive("os:ada", "long")
    lab.clock.moment = LATER
    assert lab.one("redis.password").revealed_at == "2026-01-01T00:00:00Z"
    with lab.log.path.open("ab") as file:
        file.write(b"damaged\n")
    assert lab.one("redis.password").age_days == 59


def test_what_is_due_follows_from_the_policy(lab: Lab) -> None:
    lab.set_policy("redis.password=59 *=10000")
    assert lab.one("redis.password").due_at == "2026-03-01T00:00:00Z"
    assert not lab.inventory().due()
    lab.clock.moment = LATER
    assert [one.name for one in lab.inventory().due()] == ["redis.password"]
    # not known since when: nothing can be due
    assert lab.one("jdbc.password").due_at == ""


def test_a_change_of_a_clock_that_was_ahead_is_no_change(lab: Lab) -> None:
    """findings K23: a secret that was changed "next year" was never due; now it is, until it is known since when it holds."""
    lab.set_policy("redis.password=59")
    now, lab.clock.moment = lab.clock.moment, LATER
    told = secret_events.configuration_applied(
        "os:ada", version=2, keys=2, secrets=["redis.password"]
    )
    lab.log.append(told)
    lab.clock.moment = now
    one = lab.one("redis.password")
    assert (one.changed_at, one.age_days, one.due) == ("", None, True)


CERTIFICATES = [f"indexandsearchserver.ssl.{role}.cert.bytes" for role in ("admin", "node")]


def test_a_certificate_is_due_before_it_ends_without_any_policy(lab: Lab) -> None:
    """P12: nothing told of it until every connection failed."""
    end = lab.node.clock.now() + timedelta(days=certificates.LEAF_DAYS)
    lab.clock.moment = end - timedelta(days=31)
    one = lab.one(CERTIFICATES[0])
    assert one.due_at == one.ends_at
    # the node is a copy of one that the session made, up to some hours ago
    assert abs(parse_utc(one.ends_at) - end) < timedelta(hours=12)
    assert not lab.inventory().due()
    assert lab.inventory().ending() == ()
    lab.clock.moment = end - timedelta(days=29)
    assert [one.name for one in lab.inventory().due()] == CERTIFICATES
    assert [one.name for one in lab.inventory().ending()] == CERTIFICATES
    assert lab.inventory().ending()[0].ends_at == one.ends_at
    assert lab.one("redis.password").ends_at == ""


def test_a_policy_may_want_a_certificate_renewed_earlier(lab: Lab) -> None:
    told = secret_events.configuration_applied("os:ada", version=2, keys=2, secrets=CERTIFICATES)
    lab.log.append(told)
    lab.set_policy(f"{CERTIFICATES[0]}=59 *=36000")
    assert lab.one(CERTIFICATES[0]).due_at == "2026-03-01T00:00:00Z"
    later = lab.one(CERTIFICATES[1])
    assert later.due_at == later.ends_at
    lab.clock.moment = LATER
    assert [one.name for one in lab.inventory().due()] == CERTIFICATES[:1]
    assert lab.inventory().ending() == ()


def test_a_certificate_that_cannot_be_read_has_no_known_end(lab: Lab) -> None:
    """It is told of by whoever needs it; the list goes on."""
    sealed = lab.node.configuration.seal_secret("ssl.cert.file_bytes", b"nonsense")
    values = {"ssl.cert.file_bytes": sealed}
    lab.node.configuration.compare_and_put(lambda old: old.with_values(values))
    assert (lab.one("ssl.cert.file_bytes").is_set, lab.one("ssl.cert.file_bytes").ends_at) == (
        True,
        "",
    )
    lost = ValueKey(new_id(), new_id(), rng.new_key()).seal(CERTIFICATES[0], b"a certificate")
    lab.node.configuration.compare_and_put(lambda old: old.with_values({CERTIFICATES[0]: lost}))
    assert lab.one(CERTIFICATES[0]).due_at == ""
    assert lab.inventory().ending() == ()


def test_places_are_listed_with_mode_owner_and_what_is_wrong(lab: Lab, tmp_path: Path) -> None:
    files: Mapping[str, int] = {"acl": 0o604, "conf": 0o620, "cert": 0o644, "yml": 0o640}
    for name, mode in files.items():
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    owner = tmp_path.owner()
    names = ("redis.password",)
    lab.consumers = (
        _Redis(
            [
                file_copy(names, tmp_path / "acl", "hash"),
                file_copy(names, tmp_path / "conf", "plaintext"),
                file_copy(names, tmp_path / "cert", "public"),
                SecretCopy(names, "pg_authid", "verifier"),
            ]
        ),
    )
    lab.places = OwnPlaces((tmp_path / "yml",), (tmp_path / "none",), tmp_path / "acl")
    found = [tuple(one)[1:] for one in lab.inventory().places()]
    assert found == [
        (str(tmp_path / "yml"), "encrypted", "0640", owner, ""),
        (str(tmp_path / "none"), "wrapped keys", "", "", ""),
        (str(tmp_path / "acl"), "password of the keystore", "0604", owner, _OPEN),
        (str(tmp_path / "acl"), "hash", "0604", owner, _OPEN),
        (str(tmp_path / "conf"), "plaintext", "0620", owner, "its group may change it"),
        (str(tmp_path / "cert"), "public", "0644", owner, ""),
        ("pg_authid", "verifier", "", "", ""),
    ]


_OPEN = "every user of this machine may open it"


def test_the_configured_component_is_named(lab: Lab) -> None:
    lab.consumers = (_Redis([]),)
    assert lab.one("redis.password").consumer == "redis/u"


# ---- an age, by its own facts -------------------------------------------------------------------


AT = datetime(2026, 11, 28, 12, 0, 0, tzinfo=UTC)


def before(days: float) -> str:
    return format_utc(AT - timedelta(days=days))


AGES: dict[str, tuple[Known, dict[str, object]]] = {
    "nothing is known": (Known(True, ""), {"age_days": None, "changed_at": "", "due": False}),
    "not set": (
        Known(False, "redis", changed=before(90), max_age_days=30),
        {"age_days": None, "changed_at": "", "due": False, "consumer": "redis"},
    ),
    "young": (
        Known(True, "", changed=before(29), max_age_days=30),
        {"age_days": 29, "due": False, "due_at": format_utc(AT + timedelta(days=1))},
    ),
    "of that very age": (
        Known(True, "", changed=before(30), max_age_days=30),
        {"age_days": 30, "due": True, "due_at": format_utc(AT)},
    ),
    "no policy": (Known(True, "", changed=before(4000)), {"age_days": 4000, "due": False}),
    "the later of two": (
        Known(True, "", changed=before(9), rotated=before(3), max_age_days=5),
        {"age_days": 3, "changed_at": before(3), "rotated_at": before(3), "due": False},
    ),
    "a clock that was ahead (K23)": (
        Known(True, "", changed=before(-9), max_age_days=30),
        {"age_days": None, "changed_at": "", "due": True, "due_at": format_utc(AT)},
    ),
    "ahead, and no policy": (
        Known(True, "", changed=before(-9)),
        {"age_days": None, "due": False, "due_at": ""},
    ),
    "ahead, and one time that is known": (
        Known(True, "", changed=before(-9), rotated=before(31), max_age_days=30),
        {"age_days": 31, "due": True},
    ),
    "a certificate that ends in 31 days": (
        Known(True, "", ends=before(-31)),
        {"due": False, "due_at": before(-31)},
    ),
    "a certificate that ends in 30 days": (Known(True, "", ends=before(-30)), {"due": True}),
    "whichever is first": (
        Known(True, "", changed=before(1), ends=before(-90), max_age_days=30),
        {"due_at": format_utc(AT + timedelta(days=29)), "ends_at": before(-90), "due": False},
    ),
}


@pytest.mark.parametrize(("known", "found"), AGES.values(), ids=AGES.keys())
def test_an_age_follows_from_what_is_known(known: Known, found: dict[str, object]) -> None:
    """P12, P15; findings K23."""
    age = SecretAge.of("redis.password", known, AT)
    assert {name: getattr(age, name) for name in found} == found
