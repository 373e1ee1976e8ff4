"""The key ring and its store as a state machine: K-09 to K-13, Q-19."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from strongroom.clock import FixedClock
from strongroom.crypto import rng
from strongroom.envelope.header import Header, Placement
from strongroom.envelope.keys import EnvelopeKeys
from strongroom.errors import KeyNotFoundError
from strongroom.ids import InstallationId, new_id
from strongroom.kms import next_store
from strongroom.kms import store as kms_store
from strongroom.kms.cache import StoreCache
from strongroom.kms.next_store import NextStore, RootSet
from strongroom.kms.opening import open_store
from strongroom.kms.ring_keys import RingKeys
from strongroom.kms.states import MekState
from strongroom.roots.local import LocalRoot
from tests.support.stored_forms import rewrapped, with_slot

if TYPE_CHECKING:
    from strongroom.crypto.secret import SecretBytes

HERE = Placement(new_id(), new_id())


@dataclass
class Held:
    """A sealed store in memory."""

    raw: bytes
    number: int = 1

    def version(self) -> int:
        return self.number

    def recent_version(self) -> int:
        return self.number

    def load(self) -> tuple[bytes, int]:
        return self.raw, self.number


class KeyRingMachine(RuleBasedStateMachine):
    """Rotates, retires, makes files and rewraps them; a plain dict says what must open."""

    def __init__(self) -> None:
        super().__init__()
        key = rng.new_key()
        self.clock = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))
        self.root = LocalRoot(new_id(), lambda _: key, self.clock)
        self.present = next_store.initial(
            InstallationId(new_id()), RootSet("local", self.root), self.clock.now()
        )
        self.files: dict[str, tuple[Header, SecretBytes]] = {}
        self.retired: set[str] = set()
        self.held = Held(self.present.raw)
        cache = StoreCache(
            self.held,
            lambda _: self.root,
            monotonic=lambda: 0.0,
            log=lambda *_: None,
            follows=lambda *_: None,
        )
        self.keys = EnvelopeKeys(RingKeys(cache.ring))

    @rule(hours=st.integers(-5, 50))
    def rotate(self, hours: int) -> None:
        self.clock.moment += timedelta(hours=hours)
        opened = open_store(kms_store.parse(self.present.raw), lambda _: self.root, lambda *_: None)
        self.put(next_store.rotated(opened, RootSet("local", self.root), self.clock.now()))

    @rule()
    def publish(self) -> None:
        header, dek = self.keys.new_envelope(HERE)
        self.files[new_id()] = (header, dek)

    @precondition(lambda self: self.files)
    @rule(data=st.data())
    def rewrap(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.files)))
        header, dek = self.files[name]
        if header.mek_ids & self.retired == header.mek_ids:
            return
        slot = rewrapped(self.keys, header, HERE)
        self.files[name] = (with_slot(with_slot(header, slot), slot), dek)

    @precondition(lambda self: len(self.present.ring.meks) > 1)
    @rule(data=st.data())
    def retire(self, data: st.DataObject) -> None:
        old = [mek.id for mek in self.present.ring if mek.state is MekState.DECRYPT_ONLY]
        mek_id = data.draw(st.sampled_from(old))
        opened = open_store(kms_store.parse(self.present.raw), lambda _: self.root, lambda *_: None)
        self.put(next_store.without_mek(opened, mek_id, self.clock.now()))
        self.retired.add(mek_id)

    @invariant()
    def exactly_one_key_encrypts(self) -> None:
        active = [m for m in self.present.ring if m.state is MekState.ENCRYPT_OR_DECRYPT]
        assert len(active) == 1

    @invariant()
    def the_times_of_every_key_are_in_order(self) -> None:
        for mek in self.present.ring:
            times = [mek.created_at, mek.encrypting_since, mek.decrypt_only_since]
            known = [time for time in times if time is not None]
            assert known == sorted(known)

    @invariant()
    def every_file_opens_unless_its_keys_were_retired(self) -> None:
        for header, dek in self.files.values():
            if header.mek_ids <= self.retired:
                try:
                    self.keys.open_envelope(header, HERE)
                except KeyNotFoundError:
                    continue
                raise AssertionError(header)
            assert self.keys.open_envelope(header, HERE).dek == dek

    def put(self, change: NextStore) -> None:
        next_store.prove(change, lambda _: self.root)
        assert change.store.epoch == self.present.store.epoch + 1
        self.present = change
        self.held.raw, self.held.number = change.raw, self.held.number + 1


KeyRingMachine.TestCase.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
TestKeyRing = KeyRingMachine.TestCase
