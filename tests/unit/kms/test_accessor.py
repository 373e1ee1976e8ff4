"""Access to data keys: K-11, K-13, E-17."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest

from strongroom.clock import FixedClock
from strongroom.crypto import rng
from strongroom.envelope.header import Placement, parse, serialize
from strongroom.errors import (
    IntegrityError,
    KeyNotFoundError,
    RootRefusedError,
    RootUnavailableError,
    StrongroomError,
)
from strongroom.ids import InstallationId, MekId, RmkId, new_id
from strongroom.kms import cache
from strongroom.kms import store as kms_store
from strongroom.kms.accessor import KmsAccessor
from strongroom.kms.cache import Limits
from strongroom.kms.keyring import KeyRing
from strongroom.kms.keys import Rmk
from strongroom.kms.store import KmsStore
from strongroom.roots.base import Context, RootProvider, WrapRecord
from strongroom.roots.local import LocalRoot

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HERE = Placement(new_id(), new_id())
THERE = Placement(HERE.site_id, new_id())


def _set() -> threading.Event:
    event = threading.Event()
    event.set()
    return event


@dataclass
class Bench:
    """A KMS store in memory that can be rotated, with a clock that is moved by hand."""

    root: RootProvider
    store: KmsStore
    ring: KeyRing
    rmk: Rmk
    version: int = 1
    seconds: float = 0.0
    loads: int = 0
    asked: int = 0
    failure: StrongroomError | None = None
    said: list[str] = field(default_factory=list)
    on_ask: Callable[[], None] = field(default=lambda: None)
    hanging: threading.Event = field(default_factory=_set)

    def put(self, ring: KeyRing) -> None:
        self.ring = ring
        self.store = kms_store.seal_ring(
            replace(self.store, epoch=self.store.epoch + 1), ring, self.rmk
        )
        self.version += 1

    def new_rmk(self) -> None:
        """The store under another RMK, as another process leaves it."""
        rmk_id = RmkId(new_id())
        context = Context(self.store.installation_id, rmk_id, new_id())
        material, wrap = self.root.generate_data_key(context)
        self.store = replace(self.store, rmk_id=rmk_id, wraps=(wrap,))
        self.rmk = self.store.rmk(material)
        self.put(self.ring)

    def rotate(self) -> None:
        self.put(self.ring.with_new_active(MekId(new_id()), rng.new_key(), NOW))

    def find_root(self, wrap: WrapRecord) -> RootProvider:
        assert wrap.kind == "local"
        self.asked += 1
        self.on_ask()
        assert self.hanging.wait(10)
        if self.failure is not None:
            raise self.failure
        return self.root

    def load(self) -> tuple[bytes, int]:
        self.loads += 1
        return kms_store.serialize(self.store), self.version

    def accessor(self, keep_s: float = 60, offline_s: float = 30) -> KmsAccessor:
        bench = self

        class Sealed:
            def version(self) -> int:
                return bench.version

            def load(self) -> tuple[bytes, int]:
                return bench.load()

        return KmsAccessor(
            Sealed(),
            self.find_root,
            monotonic=lambda: self.seconds,
            log=lambda _, sentence: self.said.append(sentence),
            limits=lambda: Limits(keep_s, offline_s),
        )


@pytest.fixture
def bench() -> Bench:
    key, installation, rmk_id = rng.new_key(), InstallationId(new_id()), RmkId(new_id())
    root = LocalRoot(new_id(), lambda _: key, FixedClock(NOW))
    material, wrap = root.generate_data_key(Context(installation, rmk_id, new_id()))
    ring = KeyRing.with_first(MekId(new_id()), rng.new_key(), NOW)
    store = KmsStore(1, installation, "local", rmk_id, "2026-01-02T03:04:05Z", (wrap,), ())
    rmk = store.rmk(material)
    return Bench(root, kms_store.seal_ring(store, ring, rmk), ring, rmk)


def test_a_new_envelope_opens_where_it_belongs(bench: Bench) -> None:
    keys = bench.accessor()
    header, dek = keys.new_envelope(HERE)
    page = parse(serialize(header))
    assert keys.open_envelope(page, HERE) == dek
    assert keys.open_envelope(page, None) == dek
    assert page.newest.mek_id == keys.active_mek_id
    assert keys.known_mek_ids() == {keys.active_mek_id}


def test_elsewhere_it_is_refused_in_words(bench: Bench) -> None:
    keys = bench.accessor()
    header, _ = keys.new_envelope(HERE)
    with pytest.raises(IntegrityError, match=f"belongs to .*{HERE.extract_id}"):
        keys.open_envelope(header, THERE)


def test_a_placement_written_over_the_right_one_does_not_open(bench: Bench) -> None:
    """The placement is bound by the wrap, so editing the header's text of it does not help."""
    keys = bench.accessor()
    header, _ = keys.new_envelope(HERE)
    slot = replace(header.newest, placement=THERE)
    forged = replace(header, slots=(slot, None))
    with pytest.raises(IntegrityError, match="authentication failed"):
        keys.open_envelope(forged, THERE)


def test_after_a_rotation_new_files_get_the_new_key_and_old_ones_still_open(bench: Bench) -> None:
    """K-11; the accessor notices the new version of the store by itself."""
    keys = bench.accessor()
    old, dek = keys.new_envelope(HERE)
    bench.rotate()
    new, _ = keys.new_envelope(HERE)
    assert keys.open_envelope(old, HERE) == dek
    assert new.newest.mek_id == bench.ring.active.id != old.newest.mek_id


def test_a_rewrap_keeps_the_data_key_and_takes_the_active_key(bench: Bench) -> None:
    keys = bench.accessor()
    header, dek = keys.new_envelope(HERE)
    bench.rotate()
    slot = keys.rewrapped_slot(header, HERE)
    assert slot.mek_id == bench.ring.active.id
    assert slot.sequence == header.newest.sequence + 1
    assert keys.open_envelope(header.with_slot(slot), HERE) == dek
    assert keys.rewrapped_slot(header, None).placement == HERE


def test_a_reader_tries_the_other_slot(bench: Bench) -> None:
    keys = bench.accessor()
    header, dek = keys.new_envelope(HERE)
    slot = keys.rewrapped_slot(header, HERE)
    broken = header.with_slot(replace(slot, wrapped_dek=bytes(48)))
    assert keys.open_envelope(broken, HERE) == dek


def test_without_its_key_a_file_does_not_open(bench: Bench) -> None:
    keys = bench.accessor()
    header, _ = keys.new_envelope(HERE)
    bench.rotate()
    bench.put(bench.ring.without(header.newest.mek_id))
    with pytest.raises(KeyNotFoundError, match=header.newest.mek_id):
        keys.open_envelope(header, HERE)


def test_a_prelude_that_commits_to_another_key_is_refused(bench: Bench) -> None:
    """Key commitment: a wrapped key that opens is still compared with the prelude."""
    keys = bench.accessor()
    header, _ = keys.new_envelope(HERE)
    other, _ = keys.new_envelope(HERE)
    with pytest.raises(IntegrityError):
        keys.open_envelope(replace(other, slots=header.slots), HERE)


def test_the_store_is_opened_once_while_it_is_fresh(bench: Bench) -> None:
    keys = bench.accessor(keep_s=60)
    for _ in range(5):
        keys.new_envelope(HERE)
    assert bench.loads == 1
    bench.seconds = 60
    keys.new_envelope(HERE)
    assert bench.loads == 2
    keys.forget()
    keys.new_envelope(HERE)
    assert bench.loads == 3
    assert bench.said[-1] == f"Using RMK with ID {bench.rmk.id} to decrypt KMS store"


def age(keys: KmsAccessor) -> float | None:
    return keys.age_s


def test_while_the_root_is_out_of_reach_the_keys_in_memory_serve_for_a_while(bench: Bench) -> None:
    """Architecture section 9 rule 5: an outage of the root is none of the service."""
    keys = bench.accessor(keep_s=60, offline_s=30)
    assert age(keys) is None
    header, dek = keys.new_envelope(HERE)
    bench.failure = RootUnavailableError("out of reach")
    bench.seconds = 80
    assert keys.open_envelope(header, HERE) == dek
    assert age(keys) == 80
    bench.seconds = 90
    with pytest.raises(RootUnavailableError):
        keys.open_envelope(header, HERE)
    assert age(keys) is None


def test_a_root_that_refuses_is_obeyed_at_once(bench: Bench) -> None:
    keys = bench.accessor(keep_s=60, offline_s=30)
    keys.new_envelope(HERE)
    bench.failure = RootRefusedError("disabled")
    bench.seconds = 60
    with pytest.raises(RootRefusedError):
        keys.new_envelope(HERE)


def test_a_store_that_changed_is_opened_by_the_rmk_in_memory(bench: Bench) -> None:
    """R10, R11: a change of a setting, or of the ring, neither needs the root nor ends the service."""
    keys = bench.accessor(keep_s=60, offline_s=30)
    keys.new_envelope(HERE)
    bench.failure = RootUnavailableError("out of reach")
    bench.seconds = 50
    bench.rotate()
    header, _ = keys.new_envelope(HERE)
    assert header.newest.mek_id == bench.ring.active.id
    assert bench.said[-1] == f"Using RMK with ID {bench.rmk.id} to decrypt KMS store"
    assert (bench.asked, age(keys)) == (1, 50)
    bench.seconds = 90
    with pytest.raises(RootUnavailableError):
        keys.new_envelope(HERE)


def test_a_store_of_another_rmk_is_not_served_from_memory(bench: Bench) -> None:
    keys = bench.accessor()
    keys.new_envelope(HERE)
    bench.new_rmk()
    bench.failure = RootUnavailableError("out of reach")
    with pytest.raises(RootUnavailableError):
        keys.new_envelope(HERE)
    bench.failure = None
    bench.seconds += 10
    keys.new_envelope(HERE)


def test_no_reader_waits_for_a_root_that_hangs(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R10, a latency of seconds: one reader asks, and all read on with what is in memory."""
    monkeypatch.setattr(cache, "_PATIENCE_S", 0.0)
    keys = bench.accessor(keep_s=60, offline_s=30)
    header, dek = keys.new_envelope(HERE)
    bench.seconds = 70
    bench.hanging.clear()
    for _ in range(5):
        assert keys.open_envelope(header, HERE) == dek
    assert age(keys) == 70
    bench.hanging.set()
    _landed()
    assert (bench.asked, age(keys)) == (2, 0)


def test_an_exception_that_nobody_expected_is_a_failure_like_another(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody waits for that try for ever, and the root is asked again after the pause."""
    accessor = bench.accessor()
    accessor.new_envelope(HERE)
    monkeypatch.setattr(cache, "_PATIENCE_S", 10)

    def break_off() -> None:
        raise ZeroDivisionError

    bench.seconds, bench.on_ask = 61, break_off
    for _ in range(2):
        accessor.new_envelope(HERE)
        assert bench.asked == 2
    assert "ZeroDivisionError" in caplog.text
    bench.seconds, bench.on_ask = 70, lambda: None
    accessor.new_envelope(HERE)
    accessor.new_envelope(HERE)
    assert bench.asked == 3


def test_what_was_forgotten_while_the_root_was_asked_stays_forgotten(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_PATIENCE_S", 0.0)
    keys = bench.accessor(keep_s=60, offline_s=30)
    keys.new_envelope(HERE)
    bench.seconds = 70
    bench.hanging.clear()
    keys.new_envelope(HERE)
    keys.forget()
    bench.hanging.set()
    _landed()
    assert age(keys) is None


def test_a_store_that_is_moved_while_its_root_is_asked_is_opened_by_the_next_one(
    bench: Bench,
) -> None:
    """A root that goes away right after a move is not the root any more."""
    keys = bench.accessor()
    failures: list[StrongroomError | None] = [RootUnavailableError("left"), None]

    def move() -> None:
        bench.failure = failures.pop(0)
        bench.new_rmk()

    bench.on_ask = move
    keys.new_envelope(HERE)
    assert (bench.asked, failures) == (2, [])


def _landed() -> None:
    """Wait until whoever asks the root is done."""
    for thread in threading.enumerate():
        if thread.name == cache.THREAD:
            thread.join(10)


def test_keys_whose_limit_has_passed_are_dropped_though_nobody_asks(bench: Bench) -> None:
    keys = bench.accessor(keep_s=60, offline_s=30)
    keys.new_envelope(HERE)
    bench.seconds = 89
    keys.drop_expired()
    assert age(keys) == 89
    bench.seconds = 90
    keys.drop_expired()
    assert age(keys) is None


def test_a_root_that_fails_is_not_asked_by_every_caller(bench: Bench) -> None:
    """R10, R11: at most a call in five seconds, with jitter; then it is tried again."""
    keys = bench.accessor()
    bench.failure = RootUnavailableError("out of reach")
    for _ in range(200):
        bench.seconds += 0.5
        for _ in range(3):
            with pytest.raises(RootUnavailableError):
                keys.new_envelope(HERE)
    assert 10 <= bench.asked <= 100 / 5 + 3
    bench.failure = None
    bench.seconds += 10
    keys.new_envelope(HERE)
    assert age(keys) == 0


def test_a_new_version_of_the_store_is_tried_at_once(bench: Bench) -> None:
    keys = bench.accessor()
    bench.failure = RootUnavailableError("out of reach")
    with pytest.raises(RootUnavailableError):
        keys.new_envelope(HERE)
    bench.failure = None
    bench.rotate()
    keys.new_envelope(HERE)
