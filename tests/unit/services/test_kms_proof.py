"""Proofs of the keys, and the last one of them: F of the roots' issue, R20, docs/format/kms-proof.md."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from strongroom.clock import FixedClock, format_utc
from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import (
    IntegrityError,
    RootRefusedError,
    RootUnavailableError,
    StorageError,
    StrongroomError,
)
from strongroom.ids import InstallationId, MekId, RmkId, new_id
from strongroom.kms import proofs
from strongroom.kms import store as kms_store
from strongroom.kms.keyring import KeyRing
from strongroom.kms.proofs import Proof
from strongroom.kms.store import KmsStore
from strongroom.roots.base import Context, RootDescription, WrapRecord
from strongroom.roots.local import LocalRoot
from strongroom.services.kms_proof import Prover

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LIMIT_S = 60.0


@dataclass
class Shelf:
    """Where the proof lies, and how that fails."""

    text: str | None = None
    broken: bool = False

    def read(self) -> str | None:
        if self.broken:
            raise StorageError("the disk cannot be read")
        return self.text

    def write(self, text: str) -> None:
        if self.broken:
            raise StorageError("the disk is full")
        self.text = text


@dataclass
class Root:
    """A root that takes its time, knows who asks, and may fail."""

    inner: LocalRoot
    bench: "Bench"
    online: bool = True
    failure: StrongroomError | None = None

    def unwrap(self, record: WrapRecord) -> SecretBytes:
        self.bench.seconds += 0.0123
        if self.failure:
            raise self.failure
        return self.inner.unwrap(record)

    def describe(self) -> RootDescription:
        told = {"identity": "the test"}
        return RootDescription("local", "key", told, self.online)

    def rotated_at(self) -> str:
        return "2026-01-01T00:00:00Z"


@dataclass
class Bench:
    """A store with two wraps."""

    roots: dict[str, Root] = field(default_factory=dict)
    shelf: Shelf = field(default_factory=Shelf)
    clock: FixedClock = field(default_factory=lambda: FixedClock(NOW))
    seconds: float = 0.0

    def __post_init__(self) -> None:
        key, installation, rmk_id = rng.new_key(), InstallationId(new_id()), RmkId(new_id())
        root = LocalRoot(new_id(), lambda _: key, self.clock)
        material, first = root.generate_data_key(Context(installation, rmk_id, new_id()))
        second = root.wrap(material, Context(installation, rmk_id, new_id()))
        self.wraps = first.id, second.id
        self.roots = {wrap: Root(root, self) for wrap in self.wraps}
        ring = KeyRing.with_first(MekId(new_id()), rng.new_key(), NOW)
        made = format_utc(NOW)
        store = KmsStore(1, installation, "local", rmk_id, made, (first, second), ())
        self.store = kms_store.seal_ring(store, ring, store.rmk(material))
        self.raw = kms_store.serialize(self.store)

    @property
    def prover(self) -> Prover:
        return Prover(
            lambda wrap: self.roots[wrap.id],  # type: ignore[arg-type,return-value]  # what is asked of it
            self.shelf,
            self.clock,
            lambda: self.seconds,
        )

    def prove(self, *, richly: bool = False) -> Proof:
        return self.prover.prove(self.store, self.raw, (), richly=richly)

    def judged(self) -> Proof:
        return self.prover.judged(self.store, self.raw, LIMIT_S)

    def pass_by(self, seconds: float) -> str:
        self.clock.moment += timedelta(seconds=seconds)
        return format_utc(self.clock.moment)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_every_wrap_is_opened_and_its_latency_taken(bench: Bench) -> None:
    proof = bench.prove()
    assert (proof.problems, proof.proved_at, proof.epoch) == ((), format_utc(NOW), 1)
    assert proof.details == {"identity": "the test"}
    told = [(one.wrap_id, one.role, one.latency_ms, one.identity) for one in proof.roots]
    first, second = bench.wraps
    assert told == [(first, "mode", 12.3, "the test"), (second, "recovery", 12.3, "the test")]


def test_what_is_only_good_to_know_is_asked_for_on_request_only(bench: Bench) -> None:
    assert "rotated_at" not in bench.prove().details
    rich = bench.prove(richly=True)
    assert rich.details["rotated_at"] == rich.roots[0].rotated_at == "2026-01-01T00:00:00Z"


def test_one_wrap_that_fails_is_red_at_once_and_its_last_success_stays(bench: Bench) -> None:
    """M7, R20."""
    first, second = bench.wraps
    bench.prove()
    later = bench.pass_by(10)
    bench.roots[second].failure = RootRefusedError("the key is disabled")
    proof = bench.prove()
    (problem,) = proof.problems
    key_id = bench.store.wraps[1].root_key_id
    assert problem.startswith(f"the local root {key_id} does not open the RMK")
    assert problem.endswith(f"{bench.store.rmk_id}: the key is disabled")
    assert proof.roots[1].latency_ms is None
    assert (proof.last_success(first), proof.last_success(second)) == (later, format_utc(NOW))
    bench.pass_by(10)
    assert bench.prove().last_success(second) == format_utc(NOW)
    assert proof.last_success(new_id()) == ""


def test_a_root_that_cannot_be_built_is_told_without_details(bench: Bench) -> None:
    first, _ = bench.wraps
    root = bench.roots[first]

    def unknown(wrap: WrapRecord) -> Root:
        if wrap.id == first:
            raise RootUnavailableError("nothing is known of it")
        return root

    prover = replace(bench.prover, find_root=unknown)  # type: ignore[arg-type]  # as above
    proof = prover.prove(bench.store, bench.raw, ())
    assert "nothing is known of it" in proof.problems[0]
    assert proof.details == {}


def test_a_root_that_is_kept_apart_is_not_asked(bench: Bench) -> None:
    bench.roots[bench.wraps[1]].online = False
    proof = bench.prove()
    assert proof.problems == ()
    assert (proof.roots[1].online, proof.roots[1].latency_ms) == (False, None)


def test_other_checks_count_and_the_same_problem_is_told_once(bench: Bench) -> None:
    def wrong() -> None:
        raise IntegrityError("the canary is dead")

    proof = bench.prover.prove(bench.store, bench.raw, (wrong, wrong))
    assert proof.problems == ("the canary is dead",)


def test_a_proof_that_cannot_be_kept_is_red(bench: Bench) -> None:
    """R15: a full disk."""
    bench.shelf.broken = True
    assert bench.prove().problems == ("the proof cannot be kept: the disk is full",)


def test_the_last_proof_counts_until_its_limit(bench: Bench) -> None:
    """F: `Status: OK` needs a proof that is not older than the limit."""
    assert bench.judged().problems == ("the keys were not proved yet",)
    made = bench.prove()
    bench.pass_by(LIMIT_S)
    assert bench.judged() == made
    bench.pass_by(1)
    (problem,) = bench.judged().problems
    assert problem == "the last proof is 61 s old, and counts for 60 s: it says nothing of now"
    bench.pass_by(-62)
    assert "is of the future" in bench.judged().problems[0]


def test_the_last_proof_is_of_the_present_store_only(bench: Bench) -> None:
    bench.prove()
    bench.store = replace(bench.store, epoch=2)
    assert "was changed since" in bench.judged().problems[0]


def test_a_red_proof_stays_red(bench: Bench) -> None:
    bench.roots[bench.wraps[0]].failure = RootUnavailableError("gone")
    assert bench.prove().problems == bench.judged().problems


def test_a_proof_of_no_time_is_red(bench: Bench) -> None:
    made = bench.prove()
    bench.shelf.text = proofs.serialize(replace(made, proved_at="yesterday"))
    assert "not a UTC time" in bench.judged().problems[0]


DAMAGE: dict[str, Callable[[str], str]] = {
    "cut": lambda text: text[:-1],
    "version": lambda text: text.replace('"v":1', '"v":2'),
    "no version": lambda text: text.replace(',"v":1', ""),
    "blanks": lambda text: text.replace('"v":1', '"v": 1'),
    "stranger": lambda text: text.replace('"v":1', '"v":1,"x":1'),
    "problems": lambda text: text.replace('"problems":[]', '"problems":"no"'),
    "roots": lambda text: text.replace('"roots":[', '"roots":[1,'),
    "long": lambda text: text + " " * proofs.MAX_BYTES,
    "list": lambda _: "[]",
    "deep": lambda _: "[" * 100_000,
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_proof_is_none(bench: Bench, name: str) -> None:
    """kms-proof.md 2."""
    text = proofs.serialize(bench.prove())
    assert proofs.parse(text) is not None
    assert proofs.parse(DAMAGE[name](text)) is None
