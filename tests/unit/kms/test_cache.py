"""The open KMS store in memory: how long it serves, and who asks the root how often (K-13, R10, R11)."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest

from strongroom.clock import FixedClock
from strongroom.crypto import rng
from strongroom.errors import (
    CoordinationError,
    IntegrityError,
    RootRefusedError,
    RootUnavailableError,
    StrongroomError,
)
from strongroom.ids import InstallationId, MekId, RmkId, new_id
from strongroom.kms import cache
from strongroom.kms import store as kms_store
from strongroom.kms.cache import Limits, StoreCache
from strongroom.kms.keyring import KeyRing
from strongroom.kms.keys import Rmk
from strongroom.kms.links import Known
from strongroom.kms.store import KmsStore, Predecessor
from strongroom.roots.base import Context, RootProvider, WrapRecord
from strongroom.roots.local import LocalRoot

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def _set() -> threading.Event:
    event = threading.Event()
    event.set()
    return event


@dataclass
class Lab:
    """A KMS store in memory that can be rotated, with a clock that is moved by hand."""

    root: RootProvider
    store: KmsStore
    ring: KeyRing
    rmk: Rmk
    version: int = 1
    seconds: float = 0.0
    loads: int = 0
    asked: int = 0
    looks: int = 0
    told: int | CoordinationError | None = None
    failure: StrongroomError | None = None
    said: list[str] = field(default_factory=list)
    compared: list[Known | None] = field(default_factory=list)
    stranger: StrongroomError | None = None
    on_ask: Callable[[], None] = field(default=lambda: None)
    hanging: threading.Event = field(default_factory=_set)

    def __post_init__(self) -> None:
        self.draft, self.signer = self.store, self.rmk

    def put(self, ring: KeyRing) -> None:
        self.ring = ring
        before = Predecessor(
            self.store.epoch, kms_store.serialize(self.store), self.signer, self.store.links
        )
        self.store = kms_store.succeeding(self.draft, ring, self.rmk, before)
        self.draft, self.signer = self.store, self.rmk
        self.version += 1

    def new_rmk(self) -> None:
        """The store under another RMK, as another process leaves it."""
        rmk_id = RmkId(new_id())
        context = Context(self.store.installation_id, rmk_id, new_id())
        material, wrap = self.root.generate_data_key(context)
        self.draft = replace(self.store, rmk_id=rmk_id, wraps=(wrap,))
        self.rmk = self.draft.rmk(material)
        self.put(self.ring)

    def rotate(self) -> None:
        self.put(self.ring.with_new_active(MekId(new_id()), rng.new_key(), NOW))

    def find_root(self, wrap: WrapRecord) -> RootProvider:
        assert wrap.kind == "local"
        self.asked += 1
        self.on_ask()
        assert self.hanging.wait(60)
        if self.failure is not None:
            raise self.failure
        return self.root

    def follows(self, store: KmsStore, raw: bytes, known: Known | None) -> None:
        assert kms_store.serialize(store) == raw
        self.compared.append(known)
        if self.stranger is not None:
            raise self.stranger

    def load(self) -> tuple[bytes, int]:
        self.loads += 1
        return kms_store.serialize(self.store), self.version

    def cache(self, keep_s: float = 60, offline_s: float = 30) -> StoreCache:
        lab = self

        class Sealed:
            def version(self) -> int:
                lab.looks += 1
                return lab.version

            def recent_version(self) -> int:
                if isinstance(lab.told, CoordinationError):
                    raise lab.told
                return lab.version if lab.told is None else lab.told

            def load(self) -> tuple[bytes, int]:
                return lab.load()

        return StoreCache(
            Sealed(),
            self.find_root,
            monotonic=lambda: self.seconds,
            log=lambda _, sentence: self.said.append(sentence),
            follows=self.follows,
            limits=lambda: Limits(keep_s, offline_s),
        )


@pytest.fixture
def lab() -> Lab:
    key, installation, rmk_id = rng.new_key(), InstallationId(new_id()), RmkId(new_id())
    root = LocalRoot(new_id(), lambda _: key, FixedClock(NOW))
    material, wrap = root.generate_data_key(Context(installation, rmk_id, new_id()))
    ring = KeyRing.with_first(MekId(new_id()), rng.new_key(), NOW)
    store = KmsStore(1, installation, "local", rmk_id, "2026-01-02T03:04:05Z", (wrap,))
    rmk = store.rmk(material)
    return Lab(root, kms_store.first(store, ring, rmk), ring, rmk)


def test_the_store_is_opened_once_while_it_is_fresh(lab: Lab) -> None:
    keys = lab.cache(keep_s=60)
    for _ in range(5):
        keys.ring()
    assert lab.loads == 1
    lab.seconds = 60
    keys.ring()
    assert lab.loads == 2
    keys.forget()
    keys.ring()
    assert lab.loads == 3
    assert lab.said[-1] == f"Using RMK with ID {lab.rmk.id} to decrypt KMS store"


def age(keys: StoreCache) -> float | None:
    return keys.age_s


def test_while_the_root_is_out_of_reach_the_keys_in_memory_serve_for_a_while(lab: Lab) -> None:
    """An outage of the root is none of the service."""
    keys = lab.cache(keep_s=60, offline_s=30)
    assert age(keys) is None
    keys.ring()
    lab.failure = RootUnavailableError("out of reach")
    lab.seconds = 80
    assert keys.ring() == lab.ring
    assert age(keys) == 80
    lab.seconds = 90
    with pytest.raises(RootUnavailableError):
        keys.ring()
    assert age(keys) is None


def test_a_root_that_refuses_is_obeyed_at_once(lab: Lab) -> None:
    keys = lab.cache(keep_s=60, offline_s=30)
    keys.ring()
    lab.failure = RootRefusedError("disabled")
    lab.seconds = 60
    with pytest.raises(RootRefusedError):
        keys.ring()


def test_a_store_that_changed_is_opened_by_the_rmk_in_memory(lab: Lab) -> None:
    """R10, R11: a change of a setting, or of the ring, neither needs the root nor ends the service."""
    keys = lab.cache(keep_s=60, offline_s=30)
    keys.ring()
    lab.failure = RootUnavailableError("out of reach")
    lab.seconds = 50
    lab.rotate()
    keys.ring()
    assert keys.ring() == lab.ring
    assert lab.said[-1] == f"Using RMK with ID {lab.rmk.id} to decrypt KMS store"
    assert (lab.asked, age(keys)) == (1, 50)
    lab.seconds = 90
    with pytest.raises(RootUnavailableError):
        keys.ring()


def test_a_store_that_must_not_be_used_is_refused_before_its_root_is_asked(lab: Lab) -> None:
    """Review X5; kms-store.md 6.4: whoever has a store in memory compares with that."""
    keys = lab.cache()
    lab.stranger = IntegrityError("made by a stranger")
    with pytest.raises(IntegrityError, match="stranger"):
        keys.ring()
    assert (lab.asked, lab.compared) == (0, [None])
    lab.stranger, lab.seconds = None, 10
    keys.ring()
    known = lab.store.known(kms_store.serialize(lab.store))
    lab.rotate()
    lab.stranger = IntegrityError("made by a stranger")
    with pytest.raises(IntegrityError, match="stranger"):
        keys.ring()
    assert lab.compared[-1] == known
    lab.stranger = None
    assert keys.ring() == lab.ring


def test_a_store_of_another_rmk_is_not_served_from_memory(lab: Lab) -> None:
    keys = lab.cache()
    keys.ring()
    lab.new_rmk()
    lab.failure = RootUnavailableError("out of reach")
    with pytest.raises(RootUnavailableError):
        keys.ring()
    lab.failure = None
    lab.seconds += 10
    keys.ring()


def test_no_reader_waits_for_a_root_that_hangs(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """R10, a latency of seconds: one reader asks, and all read on with what is in memory."""
    monkeypatch.setattr(cache, "_PATIENCE_S", 0.0)
    keys = lab.cache(keep_s=60, offline_s=30)
    keys.ring()
    lab.seconds = 70
    lab.hanging.clear()
    for _ in range(5):
        assert keys.ring() == lab.ring
    assert age(keys) == 70
    lab.hanging.set()
    _landed()
    assert (lab.asked, age(keys)) == (2, 0)


def test_a_system_that_gives_no_thread_is_a_failure_like_another(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R17: a reader was refused, and no root was ever asked again by this process."""
    keys = lab.cache()
    keys.ring()
    monkeypatch.setattr(cache, "_PATIENCE_S", 10)
    lab.seconds = 61
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", _no_thread)
        assert keys.ring() == lab.ring
    assert (lab.asked, age(keys)) == (1, 61)
    lab.seconds = 70
    keys.ring()
    assert (lab.asked, age(keys)) == (2, 0)


def _no_thread(_: object) -> None:
    raise RuntimeError("can't start new thread")


def test_an_exception_that_nobody_expected_is_a_failure_like_another(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody waits for that try for ever, and the root is asked again after the pause."""
    keys = lab.cache()
    keys.ring()
    monkeypatch.setattr(cache, "_PATIENCE_S", 10)

    def break_off() -> None:
        raise ZeroDivisionError

    lab.seconds, lab.on_ask = 61, break_off
    for _ in range(2):
        keys.ring()
        assert lab.asked == 2
    assert "ZeroDivisionError" in caplog.text
    lab.seconds, lab.on_ask = 70, lambda: None
    keys.ring()
    keys.ring()
    assert lab.asked == 3


def test_what_was_forgotten_while_the_root_was_asked_stays_forgotten(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_PATIENCE_S", 0.0)
    keys = lab.cache(keep_s=60, offline_s=30)
    keys.ring()
    lab.seconds = 70
    lab.hanging.clear()
    keys.ring()
    keys.forget()
    lab.hanging.set()
    _landed()
    assert age(keys) is None


def test_a_store_that_is_moved_while_its_root_is_asked_is_opened_by_the_next_one(
    lab: Lab,
) -> None:
    """A root that goes away right after a move is not the root any more."""
    keys = lab.cache()
    failures: list[StrongroomError | None] = [RootUnavailableError("left"), None]

    def move() -> None:
        lab.failure = failures.pop(0)
        lab.new_rmk()

    lab.on_ask = move
    keys.ring()
    assert (lab.asked, failures) == (2, [])


def _landed() -> None:
    """Wait until whoever asks the root is done."""
    for thread in threading.enumerate():
        if thread.name == cache.THREAD:
            thread.join(60)


def test_keys_whose_limit_has_passed_are_dropped_though_nobody_asks(lab: Lab) -> None:
    keys = lab.cache(keep_s=60, offline_s=30)
    keys.ring()
    lab.seconds = 89
    keys.drop_expired()
    assert age(keys) == 89
    lab.seconds = 90
    keys.drop_expired()
    assert age(keys) is None


def test_a_root_that_fails_is_not_asked_by_every_caller(lab: Lab) -> None:
    """R10, R11: at most a call in five seconds, with jitter; then it is tried again."""
    keys = lab.cache()
    lab.failure = RootUnavailableError("out of reach")
    for _ in range(200):
        lab.seconds += 0.5
        for _ in range(3):
            with pytest.raises(RootUnavailableError):
                keys.ring()
    assert 10 <= lab.asked <= 100 / 5 + 3
    lab.failure = None
    lab.seconds += 10
    keys.ring()
    assert age(keys) == 0


def test_a_new_version_of_the_store_is_tried_at_once(lab: Lab) -> None:
    keys = lab.cache()
    lab.failure = RootUnavailableError("out of reach")
    with pytest.raises(RootUnavailableError):
        keys.ring()
    lab.failure = None
    lab.rotate()
    keys.ring()


# ---- what is told of the store, where asking is a round trip (cluster.md b5, E14) ------------------


def test_keys_in_memory_cost_no_look_at_the_store(lab: Lab) -> None:
    keys = lab.cache()
    keys.ring()
    before = lab.looks
    for _ in range(1000):
        keys.ring()
        keys.ring_for(lab.ring.active.id)
    assert lab.looks == before


def test_what_is_told_late_is_looked_at(lab: Lab) -> None:
    """A node that has put a store itself knows more than it was told."""
    keys = lab.cache()
    keys.ring()
    lab.told = lab.version
    lab.rotate()
    lab.told, newer = None, lab.ring.active.id
    assert keys.ring().active.id == newer
    lab.told = lab.version - 1
    assert keys.ring().active.id == newer
    assert lab.loads == 2


def test_a_key_that_nobody_has_told_of_is_looked_for(lab: Lab) -> None:
    """Another node seals by a key of which this one hears some milliseconds later."""
    keys = lab.cache()
    keys.ring()
    lab.told = lab.version
    lab.rotate()
    new = lab.ring.active.id
    assert keys.ring().active.id != new
    assert keys.ring_for(new).active.id == new
    lab.told, looks = None, lab.looks
    unknown = MekId(new_id())
    assert unknown not in [mek.id for mek in keys.ring_for(unknown)]
    assert lab.looks == looks + 1, "and for a key that nobody has, once"


def test_while_nobody_tells_of_the_store_it_is_read_and_nothing_is_sealed(lab: Lab) -> None:
    """Matrix 2: a node that is cut off could seal by a key that is retired; what it opens, it opens rightly."""
    keys = lab.cache(keep_s=60, offline_s=30)
    mek_id = keys.ring().active.id
    lab.told = CoordinationError("ZooKeeper does not answer")
    with pytest.raises(CoordinationError, match="does not answer"):
        keys.ring()
    assert keys.ring_for(mek_id).active.id == mek_id
    lab.seconds = 89
    assert keys.ring_for(mek_id).active.id == mek_id
    lab.seconds = 90
    with pytest.raises(CoordinationError, match="does not answer"):
        keys.ring_for(mek_id)
    lab.told = None
    assert keys.ring().active.id == mek_id


def test_a_process_that_was_told_nothing_as_yet_asks(lab: Lab) -> None:
    lab.told = CoordinationError("ZooKeeper does not answer")
    assert lab.cache().ring().active.id == lab.ring.active.id
