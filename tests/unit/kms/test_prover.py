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
    StateError,
    StorageError,
    StrongroomError,
)
from strongroom.ids import InstallationId, MekId, RmkId, new_id
from strongroom.kms import proofs
from strongroom.kms import store as kms_store
from strongroom.kms.keyring import KeyRing
from strongroom.kms.proofs import Proof
from strongroom.kms.prover import Check, Prover
from strongroom.kms.status import InMemory, Shown, from_proof
from strongroom.kms.store import KmsStore
from strongroom.roots.base import Context, CredentialEnd, RootDescription, WrapRecord
from strongroom.roots.local import LocalRoot

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
    lab: "Lab"
    online: bool = True
    failure: StrongroomError | None = None

    def unwrap(self, record: WrapRecord) -> SecretBytes:
        self.lab.seconds += 0.0123
        if self.failure:
            raise self.failure
        return self.inner.unwrap(record)

    def describe(self) -> RootDescription:
        told = {"identity": "the test"}
        return RootDescription("local", "key", told, self.online)

    def rotated_at(self) -> str:
        return "2026-01-01T00:00:00Z"


@dataclass
class Lab:
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
        store = KmsStore(1, installation, "local", rmk_id, made, (first, second))
        self.store = kms_store.first(store, ring, store.rmk(material))
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
        return self.prover.prove(self.store, self.raw, (), richly=richly).proof

    def judged(self) -> Proof:
        return self.prover.judged(self.store, self.raw, LIMIT_S)

    def pass_by(self, seconds: float) -> str:
        self.clock.moment += timedelta(seconds=seconds)
        return format_utc(self.clock.moment)


@pytest.fixture
def lab() -> Lab:
    return Lab()


def test_every_wrap_is_opened_and_its_latency_taken(lab: Lab) -> None:
    proof = lab.prove()
    assert (proof.problems, proof.proved_at, proof.epoch) == ((), format_utc(NOW), 1)
    assert proof.details == {"identity": "the test"}
    told = [(one.wrap_id, one.role, one.latency_ms, one.identity) for one in proof.roots]
    first, second = lab.wraps
    assert told == [(first, "mode", 12.3, "the test"), (second, "recovery", 12.3, "the test")]


def test_what_is_only_good_to_know_is_asked_for_on_request_only(lab: Lab) -> None:
    assert "rotated_at" not in lab.prove().details
    rich = lab.prove(richly=True)
    assert rich.details["rotated_at"] == rich.roots[0].rotated_at == "2026-01-01T00:00:00Z"


@dataclass
class Ending(Root):
    """A root whose credential ends, or not."""

    end: CredentialEnd | None = None

    def credential_end(self) -> CredentialEnd | None:
        return self.end


def test_the_end_of_a_credential_is_told_with_the_root_that_has_one(lab: Lab) -> None:
    """findings K21."""
    first, second = lab.wraps
    end = CredentialEnd("2026-02-01T00:00:00Z", "2026-01-25T00:00:00Z", "the token ends")
    for wrap, known in ((first, end), (second, None)):
        lab.roots[wrap] = Ending(lab.roots[wrap].inner, lab, end=known)
    told = [(one.ends_at, one.due_at, one.notice) for one in lab.prove().roots]
    assert told == [(end.ends_at, end.due_at, end.notice), ("", "", "")]


def test_one_wrap_that_fails_is_red_at_once_and_its_last_success_stays(lab: Lab) -> None:
    """M7, R20."""
    first, second = lab.wraps
    lab.prove()
    later = lab.pass_by(10)
    lab.roots[second].failure = RootRefusedError("the key is disabled")
    proof = lab.prove()
    (problem,) = proof.problems
    key_id = lab.store.wraps[1].root_key_id
    assert problem.startswith(f"the local root {key_id} does not open the RMK")
    assert problem.endswith(f"{lab.store.rmk_id}: the key is disabled")
    assert proof.roots[1].latency_ms is None
    assert (proof.last_success(first), proof.last_success(second)) == (later, format_utc(NOW))
    lab.pass_by(10)
    assert lab.prove().last_success(second) == format_utc(NOW)
    assert proof.last_success(new_id()) == ""


def test_a_root_that_cannot_be_built_is_told_without_details(lab: Lab) -> None:
    first, _ = lab.wraps
    root = lab.roots[first]

    def unknown(wrap: WrapRecord) -> Root:
        if wrap.id == first:
            raise RootUnavailableError("nothing is known of it")
        return root

    prover = replace(lab.prover, find_root=unknown)  # type: ignore[arg-type]  # as above
    proof = prover.prove(lab.store, lab.raw, ()).proof
    assert "nothing is known of it" in proof.problems[0]
    assert proof.details == {}


def test_a_root_that_is_kept_apart_is_not_asked(lab: Lab) -> None:
    lab.roots[lab.wraps[1]].online = False
    proof = lab.prove()
    assert proof.problems == ()
    assert (proof.roots[1].online, proof.roots[1].latency_ms) == (False, None)


def test_other_checks_count_and_the_same_problem_is_told_once(lab: Lab) -> None:
    def wrong() -> None:
        raise IntegrityError("the canary is dead")

    proof, disk = lab.prover.prove(lab.store, lab.raw, (wrong, wrong))
    assert proof.problems == ("the canary is dead",)
    assert disk is None


def test_a_proof_that_cannot_be_kept_is_red(lab: Lab) -> None:
    """R15: a full disk."""
    lab.shelf.broken = True
    proof, disk = lab.prover.prove(lab.store, lab.raw, ())
    assert proof.problems == ("the proof cannot be kept: the disk is full",)
    assert disk is not None
    assert disk.message == "the disk is full"


def _of_the_disk() -> None:
    raise StorageError("the disk is full", hint="free some space")


def _of_the_keys() -> None:
    raise IntegrityError("the canary is dead")


def _stop(problem: str) -> StateError:
    return StateError(f"the keys are not in order: {problem}")


@pytest.mark.parametrize(
    ("checks", "root_fails", "expected", "words"),
    [
        ((), False, None, ""),
        ((_of_the_disk,), False, StorageError, "cannot be proved now: the disk is full"),
        ((_of_the_disk, _of_the_keys), False, StateError, "not in order: the disk is full"),
        ((_of_the_keys,), False, StateError, "not in order: the canary is dead"),
        ((_of_the_disk,), True, StateError, "not in order: the local root"),
    ],
)
def test_a_full_disk_is_told_as_one_where_no_key_is_in_question(
    lab: Lab,
    checks: tuple[Check, ...],
    root_fails: bool,
    expected: type[StrongroomError] | None,
    words: str,
) -> None:
    """Findings R11: "the keys are not in order" was said of a full disk by what goes no further than a red proof."""
    if root_fails:
        lab.roots[lab.wraps[1]].failure = RootRefusedError("the key is disabled")
    proof, disk = lab.prover.prove(lab.store, lab.raw, checks)
    status = from_proof(lab.store, proof, InMemory(), Shown(), disk=disk)
    if expected is None:
        status.check(_stop)
        return
    with pytest.raises(expected, match=words) as caught:
        status.check(_stop)
    assert type(caught.value) is expected
    assert (caught.value.hint == "free some space") == (expected is StorageError)


def test_a_key_that_does_not_open_is_not_hidden_by_a_disk_that_is_full(lab: Lab) -> None:
    """Findings R11: the proof cannot be kept either, and that must not be all that is said."""
    lab.shelf.broken = True
    proof, disk = lab.prover.prove(lab.store, lab.raw, (_of_the_keys,))
    assert disk is None
    with pytest.raises(StateError, match="not in order: the canary is dead"):
        from_proof(lab.store, proof, InMemory(), Shown(), disk=disk).check(_stop)


def test_the_last_proof_counts_until_its_limit(lab: Lab) -> None:
    """F: `Status: OK` needs a proof that is not older than the limit."""
    assert lab.judged().problems == ("the keys were not proved yet",)
    made = lab.prove()
    lab.pass_by(LIMIT_S)
    assert lab.judged() == made
    lab.pass_by(1)
    (problem,) = lab.judged().problems
    assert problem == "the last proof is 61 s old, and counts for 60 s: it says nothing of now"
    lab.pass_by(-62)
    assert "is of the future" in lab.judged().problems[0]


def test_the_last_proof_is_of_the_present_store_only(lab: Lab) -> None:
    lab.prove()
    lab.store = replace(lab.store, epoch=2)
    assert "was changed since" in lab.judged().problems[0]


def test_a_red_proof_stays_red(lab: Lab) -> None:
    lab.roots[lab.wraps[0]].failure = RootUnavailableError("gone")
    assert lab.prove().problems == lab.judged().problems


def test_a_proof_of_no_time_is_red(lab: Lab) -> None:
    made = lab.prove()
    lab.shelf.text = proofs.serialize(replace(made, proved_at="yesterday"))
    assert "not a UTC time" in lab.judged().problems[0]


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
def test_a_damaged_proof_is_none(lab: Lab, name: str) -> None:
    """kms-proof.md 2."""
    text = proofs.serialize(lab.prove())
    assert proofs.parse(text) is not None
    assert proofs.parse(DAMAGE[name](text)) is None
