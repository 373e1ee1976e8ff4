"""Which secrets there are, how old they are, who saw them, where forms of them lie (P15, P16)."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from strongroom.bootstrap import Node
from strongroom.clock import FixedClock, parse_utc
from strongroom.config.rotation import RotationRecord
from strongroom.consumers.base import (
    Consumer,
    ConsumerDescription,
    Credential,
    SecretCopy,
    file_copy,
)
from strongroom.crypto import certificates
from strongroom.eventlog import events
from strongroom.eventlog.jsonl import JsonlEventLog
from strongroom.services.secret_inventory import (
    POLICY,
    OwnPlaces,
    SecretAge,
    SecretInventory,
    Sources,
)
from tests.small_node import create_small_node

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

    def login(self, credential: Credential) -> None:
        raise AssertionError

    def withdraw(self, old: Credential, present: Credential) -> None:
        raise AssertionError

    def copies(self) -> tuple[SecretCopy, ...]:
        return self._copies


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = create_small_node(tmp_path / "node")
    yield made
    made.close()


class Bench:
    """An inventory of a small node with an event log of its own and a clock that stands."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.clock = FixedClock(BEGIN)
        self.log = JsonlEventLog(node.paths.events, "node1", self.clock)
        self.records: dict[str, RotationRecord] = {}
        self.consumers: tuple[Consumer, ...] = ()
        self.places = OwnPlaces((), (), node.paths.keystore_password)

    def inventory(self) -> SecretInventory:
        sources = Sources(lambda: self.records, self.log.history, lambda: self.consumers)
        return SecretInventory(self.node.configuration, sources, self.places, self.clock)

    def one(self, name: str) -> SecretAge:
        return next(one for one in self.inventory().list() if one.name == name)

    def set_policy(self, text: str) -> None:
        self.node.configuration.compare_and_put(lambda old: old.with_values({POLICY: text}))


@pytest.fixture
def bench(node: Node) -> Bench:
    bench = Bench(node)
    bench.log.append([events.secret_encrypted("os:ada", "redis.password", "k1")])
    return bench


def test_every_parameter_is_listed(bench: Bench) -> None:
    found = {one.name: one for one in bench.inventory().list()}
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


def test_a_secret_that_nobody_registered_is_listed_when_it_is_set(bench: Bench) -> None:
    sealed = bench.node.configuration.seal_secret("my.own_password", b"x")
    bench.node.configuration.compare_and_put(
        lambda old: old.with_values({"my.own_password": sealed})
    )
    assert (bench.one("my.own_password").origin, bench.one("my.own_password").consumer) == (
        "admin",
        "",
    )


def test_a_value_ages_from_its_last_change(bench: Bench) -> None:
    """Encrypting the same value under another key makes it no younger; a rotation does."""
    bench.clock.moment = LATER
    bench.log.append([events.secret_encrypted("os:ada", "redis.password", "k2")])
    one = bench.one("redis.password")
    assert (one.changed_at, one.age_days, one.rotated_at) == ("2026-01-01T00:00:00Z", 59, "")
    bench.records["redis.password"] = RotationRecord("2026-02-01T00:00:00Z", "r", "")
    one = bench.one("redis.password")
    assert (one.changed_at, one.age_days) == ("2026-02-01T00:00:00Z", 28)
    assert one.rotated_at == one.changed_at
    told = events.configuration_applied("os:ada", version=2, keys=2, secrets="a redis.password")
    bench.log.append([told])
    assert bench.one("redis.password").age_days == 0


def test_the_last_reading_is_shown_also_from_an_archived_log(bench: Bench) -> None:
    """P16."""
    bench.log.append([events.secret_revealed("os:bob", "redis.password", reason="why")])
    bench.log.archive("os:ada", "long")
    bench.clock.moment = LATER
    assert bench.one("redis.password").revealed_at == "2026-01-01T00:00:00Z"
    with bench.log.path.open("ab") as file:
        file.write(b"damaged\n")
    assert bench.one("redis.password").age_days == 59


def test_what_is_due_follows_from_the_policy(bench: Bench) -> None:
    bench.set_policy("redis.password=59 *=10000")
    assert bench.one("redis.password").due_at == "2026-03-01T00:00:00Z"
    assert not bench.inventory().due()
    bench.clock.moment = LATER
    assert [one.name for one in bench.inventory().due()] == ["redis.password"]
    # not known since when: nothing can be due
    assert bench.one("jdbc.password").due_at == ""


CERTIFICATES = [f"indexandsearchserver.ssl.{role}.cert.bytes" for role in ("admin", "node")]


def test_a_certificate_is_due_before_it_ends_without_any_policy(bench: Bench) -> None:
    """P12: nothing told of it until every connection failed."""
    end = bench.node.clock.now() + timedelta(days=certificates.LEAF_DAYS)
    bench.clock.moment = end - timedelta(days=31)
    one = bench.one(CERTIFICATES[0])
    assert one.due_at == one.ends_at
    assert abs(parse_utc(one.ends_at) - end) < timedelta(minutes=5)
    assert not bench.inventory().due()
    assert bench.inventory().ending() == ()
    bench.clock.moment = end - timedelta(days=29)
    assert [one.name for one in bench.inventory().due()] == CERTIFICATES
    assert [one.name for one in bench.inventory().ending()] == CERTIFICATES
    assert bench.inventory().ending()[0].ends_at == one.ends_at
    assert bench.one("redis.password").ends_at == ""


def test_a_policy_may_want_a_certificate_renewed_earlier(bench: Bench) -> None:
    told = events.configuration_applied("os:ada", version=2, keys=2, secrets=" ".join(CERTIFICATES))
    bench.log.append([told])
    bench.set_policy(f"{CERTIFICATES[0]}=59 *=36000")
    assert bench.one(CERTIFICATES[0]).due_at == "2026-03-01T00:00:00Z"
    later = bench.one(CERTIFICATES[1])
    assert later.due_at == later.ends_at
    bench.clock.moment = LATER
    assert [one.name for one in bench.inventory().due()] == CERTIFICATES[:1]
    assert bench.inventory().ending() == ()


def test_a_certificate_that_cannot_be_read_has_no_known_end(bench: Bench) -> None:
    """It is told of by whoever needs it; the list goes on."""
    sealed = bench.node.configuration.seal_secret("ssl.cert.file_bytes", b"nonsense")
    values = {"ssl.cert.file_bytes": sealed}
    bench.node.configuration.compare_and_put(lambda old: old.with_values(values))
    assert (bench.one("ssl.cert.file_bytes").is_set, bench.one("ssl.cert.file_bytes").ends_at) == (
        True,
        "",
    )
    bench.node.paths.keystore_password.unlink()
    bench.node = Node(bench.node.paths, bench.node.clock)
    assert bench.one(CERTIFICATES[0]).due_at == ""
    assert bench.inventory().ending() == ()


def test_places_are_listed_with_mode_owner_and_what_is_wrong(bench: Bench, tmp_path: Path) -> None:
    files: Mapping[str, int] = {"acl": 0o604, "conf": 0o620, "cert": 0o644, "yml": 0o640}
    for name, mode in files.items():
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    owner = tmp_path.owner()
    names = ("redis.password",)
    bench.consumers = (
        _Redis(
            [
                file_copy(names, tmp_path / "acl", "hash"),
                file_copy(names, tmp_path / "conf", "plaintext"),
                file_copy(names, tmp_path / "cert", "public"),
                SecretCopy(names, "pg_authid", "verifier"),
            ]
        ),
    )
    bench.places = OwnPlaces((tmp_path / "yml",), (tmp_path / "none",), tmp_path / "acl")
    found = [tuple(one)[1:] for one in bench.inventory().places()]
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


def test_the_configured_component_is_named(bench: Bench) -> None:
    bench.consumers = (_Redis([]),)
    assert bench.one("redis.password").consumer == "redis/u"
