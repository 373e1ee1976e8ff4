"""Rotating and retiring MEKs: what a retirement looks at first (K-10, K-11, P6; findings D5, M4)."""

import pytest

from strongroom.errors import ConflictError, KeyNotFoundError, StateError
from strongroom.eventlog.events import key_events
from strongroom.node.opening import Node
from strongroom.services.keys.history import Outside
from strongroom.services.keys.keeper import LOCK
from strongroom.services.keys.mek_end import MekEnd
from strongroom.services.keys.mek_use import MekUse, UseCount
from strongroom.services.keys.meks import MeksService, what_is_outside

ACTOR = "os:tester"


class Store:
    """What extracts and the log are said to use, and whether the question was asked under the lock."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.use: dict[str, MekUse] = {}
        self.unreadable: tuple[str, ...] = ()
        self.outside: dict[str, Outside] = {}
        self.came: dict[str, MekUse] = {}
        self.locked: list[bool] = []

    @property
    def service(self) -> MeksService:
        return MeksService(self.node.kms_store, lambda: self.count, lambda: self.outside)

    @property
    def marked(self) -> MeksService:
        """The same, which has the repository refuse what is about to be written under a MEK that goes."""
        end = MekEnd(self.node.repository)
        return MeksService(self.node.kms_store, lambda: self.count, lambda: self.outside, end=end)

    def count(self) -> UseCount:
        self.locked.append(self._is_locked())
        if len(self.locked) > 1:
            self.use |= self.came
        return self.use, self.unreadable

    def _is_locked(self) -> bool:
        try:
            with self.node.coordinator.lock(LOCK, wait_s=0):
                return False
        except ConflictError:
            return True


@pytest.fixture
def store(whole: Node) -> Store:
    return Store(whole)


def rotated(store: Store) -> str:
    """A MEK that only decrypts."""
    old = store.node.envelope_keys.active_mek_id
    store.service.rotate(ACTOR)
    return old


def refused(store: Store, mek_id: str, words: str) -> None:
    before = store.node.configuration.document()
    seen = len(list(store.node.events.read()))
    with pytest.raises(StateError, match=words):
        store.service.retire(mek_id, ACTOR)
    assert store.node.configuration.document() == before
    assert len(list(store.node.events.read())) == seen
    assert mek_id in store.node.envelope_keys.known_mek_ids()


def test_a_mek_that_extracts_use_is_not_retired(store: Store) -> None:
    old = rotated(store)
    store.use = {old: MekUse(1, 4096)}
    refused(store, old, r"the key of 1 extract \(4[.]0 KiB\)")
    assert store.service.usage().unused == ()


def test_no_mek_is_retired_while_a_file_cannot_be_read(store: Store) -> None:
    """Nobody can tell which key it needs."""
    old = rotated(store)
    store.unreadable = ("ab/cd.sealed",)
    refused(store, old, "1 file cannot be read")
    assert store.service.usage().unused == ()


@pytest.mark.parametrize("outside", [Outside(files=1), Outside(backups=1)])
def test_a_mek_that_something_elsewhere_needs_is_given_up_by_word_only(
    store: Store, outside: Outside
) -> None:
    """findings D5."""
    old = rotated(store)
    store.outside = {old: outside}
    refused(store, old, "by the event log")
    assert store.service.usage().unused == ()
    store.service.retire(old, ACTOR, gives_up=outside)
    assert old not in store.node.envelope_keys.known_mek_ids()


def test_what_was_given_up_is_what_is_lost_at_most(store: Store) -> None:
    """findings D5: somebody sealed another file between the question and the answer."""
    old = rotated(store)
    store.outside = {old: Outside(files=2)}
    with pytest.raises(StateError, match="at least 2 files"):
        store.service.retire(old, ACTOR, gives_up=Outside(files=1, backups=9))
    assert old in store.node.envelope_keys.known_mek_ids()


def test_the_mek_that_encrypts_is_never_retired(store: Store) -> None:
    refused(store, store.node.envelope_keys.active_mek_id, "encrypts new data")


def test_what_nothing_uses_is_retired_and_told(store: Store) -> None:
    old = rotated(store)
    assert store.service.usage().unused == (old,)
    store.service.retire(old, ACTOR)
    assert old not in store.node.envelope_keys.known_mek_ids()
    told = [record["id"] for record in store.node.events.read()]
    assert told[-2:] == [key_events.MEK_RETIRED, key_events.KMS_STORE_CHANGED]
    with pytest.raises(KeyNotFoundError):
        store.service.retire(old, ACTOR)


def test_all_is_counted_before_the_lock_of_keys_and_what_came_since_under_it(store: Store) -> None:
    """F15: nobody who changes keys waits while the headers of all files are read; D5: what comes meanwhile counts."""
    old = rotated(store)
    store.came = {old: MekUse(1, 4096)}
    with pytest.raises(StateError, match="the key of 1 extract"):
        store.marked.retire(old, ACTOR)
    assert store.locked == [False, True]
    assert old in store.node.envelope_keys.known_mek_ids()
    store.use, store.came, store.locked = {}, {}, []
    store.marked.schedule(old, 1, ACTOR)
    store.marked.take_back(old, ACTOR)
    store.marked.retire(old, ACTOR)
    assert store.locked == [False, True] * 2
    assert old not in store.node.envelope_keys.known_mek_ids()


def test_what_is_in_use_is_refused_before_the_lock(store: Store) -> None:
    old = rotated(store)
    store.use = {old: MekUse(1, 4096)}
    for asked in (
        lambda: store.marked.retire(old, ACTOR),
        lambda: store.marked.schedule(old, 1, ACTOR),
    ):
        with pytest.raises(StateError, match="the key of 1 extract"):
            asked()
    assert store.locked == [False, False]


def test_meks_that_files_name_and_the_store_has_not_are_told(store: Store) -> None:
    store.use = {"somebody's": MekUse(3, 5), store.node.envelope_keys.active_mek_id: MekUse(1, 1)}
    report = store.service.usage()
    assert report.missing == {"somebody's": MekUse(3, 5)}
    assert report.by_mek == {report.active: MekUse(1, 1)}


def test_what_is_outside_is_a_sentence() -> None:
    assert what_is_outside(Outside(1, 0)).endswith("needs it")
    assert what_is_outside(Outside(1, 1)).endswith("need it")
