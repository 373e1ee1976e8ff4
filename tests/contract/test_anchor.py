"""What is put back is noticed: docs/format/anchor.md; issue 10, "Must show" 3; review X1, X4; findings S3, S4, S5.

Two generated tables, over a real coordination database, event log with checkpoints, repository and records: every subset of
the places put back to an older state, and every kind of entry treated in every way that needs no key.
"""

import shutil
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import pytest

from strongroom.coordination.comparison import Fault
from strongroom.coordination.entries import Author, EntryKey
from strongroom.crypto import rng
from strongroom.errors import StrongroomError
from strongroom.ids import new_id
from tests.support.anchored_world import KINDS, World, raw_rows, set_rows

pytestmark = pytest.mark.table

PARTS = ("coordination", "anchor", "repository", "events", "checkpoint")
SUBSETS = [frozenset(one) for size in range(1, 5) for one in combinations(PARTS, size)]

# ---- every proper subset of the places, put back -----------------------------------------------------


def far(world: World) -> None:
    """Several changes of all kinds."""
    world.rotate_kms()
    world.change_setting()
    world.decrypt()
    world.rotate_kms()


def near(world: World) -> None:
    """One change of the keys."""
    world.rotate_kms()


def events_only(world: World) -> None:
    """Something was read, and nothing was put."""
    world.decrypt()


DISTANCES: dict[str, Callable[[World], None]] = {
    "far": far,
    "near": near,
    "events only": events_only,
}
ALONE = frozenset({"repository"})
#: What is not noticed, as docs/format/anchor.md 4.1 lists it; in the last row nothing else has changed at all.
LISTED: dict[str, Callable[[frozenset[str]], bool]] = {
    "far": lambda _: False,
    "near": lambda parts: parts == ALONE,
    "events only": lambda parts: (
        parts & {"repository", "events", "checkpoint"}
        in (
            frozenset(),
            ALONE,
            frozenset({"repository", "checkpoint"}),
            frozenset({"repository", "events", "checkpoint"}),
        )
    ),
}


class Before(World):
    """A world at its present, with a copy of what was before."""

    copy: Path
    now: Path


@pytest.fixture(scope="module", params=DISTANCES)
def distance(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def before(distance: str, tmp_path_factory: pytest.TempPathFactory) -> Before:
    folder = tmp_path_factory.mktemp("world") / "installation"
    folder.mkdir()
    world = Before(folder)
    assert world.findings() == ()
    world.copy = world.snapshot("before")
    DISTANCES[distance](world)
    world.now = world.snapshot("now")
    return world


@pytest.fixture
def world(before: Before) -> Iterator[Before]:
    yield before
    shutil.rmtree(before.folder)
    shutil.copytree(before.now, before.folder)


def noticed(world: World) -> str:
    """How a start would end: the refusal of one part by itself, or everything that the comparison finds."""
    try:
        return "; ".join(one.text for one in world.findings())
    except StrongroomError as error:
        return error.message


def test_the_present_is_right(world: Before) -> None:
    assert noticed(world) == ""


@pytest.mark.slow
@pytest.mark.parametrize("parts", SUBSETS, ids=lambda parts: "+".join(sorted(parts)))
def test_a_subset_that_is_put_back_is_noticed_or_listed(
    world: Before, distance: str, parts: frozenset[str]
) -> None:
    world.put_back(world.copy, *parts)
    assert bool(noticed(world)) != LISTED[distance](parts)


@pytest.mark.slow
def test_everything_put_back_is_not_noticed(world: Before) -> None:
    """4.1: it is the same state as it was. A note that lies elsewhere tells it."""
    world.put_back(world.copy, *PARTS)
    assert noticed(world) == ""


@pytest.mark.slow
def test_a_later_generation_of_the_records_is_right_and_an_older_one_is_not(
    world: Before, distance: str
) -> None:
    world.grow_records()
    assert noticed(world) == ""
    world.change_setting()
    assert noticed(world) == ""
    world.put_back(world.copy, "records")
    assert "generation" in noticed(world)


@pytest.mark.slow
def test_the_review_s_attack_on_log_and_checkpoint(world: Before, distance: str) -> None:
    """X1: both put back together verified, exit 0; and a rewritten tail was signed by the node."""
    world.put_back(world.copy, "events", "checkpoint")
    assert "the event log of node1 is older than it was" in noticed(world)
    world.events("FILE_ENCRYPTED", "FILE_ENCRYPTED", "FILE_ENCRYPTED", "FILE_ENCRYPTED")
    world.events(*["FILE_ENCRYPTED"] * 9)
    assert "the event log of node1 is another one" in noticed(world)


@pytest.mark.slow
def test_a_log_that_nothing_signs_any_more(world: Before, distance: str) -> None:
    """findings S4: the signing key deleted, and the tail cut."""
    (world.folder / "events.checkpoint").unlink()
    assert "the checkpoint of node1 is missing" in noticed(world)
    (world.folder / "events.jsonl").unlink()
    assert "the event log of node1 is older" in noticed(world)


@pytest.mark.slow
def test_an_old_store_without_the_repository_s_mark(world: Before, distance: str) -> None:
    """findings S5: the log speaks against the store, and an empty repository against the anchor."""
    for end in ("", "-wal", "-shm"):
        (world.folder / f"repository.db{end}").unlink(missing_ok=True)
    world.make_repository()
    assert "the anchor in the repository is missing" in noticed(world)
    if distance != "events only":
        world.put_back(world.copy, "coordination", "anchor")
        assert "(as the event log says)" in noticed(world)


# ---- every kind of entry, in every way that needs no key ---------------------------------------------


class Attacked:
    """What an attacker has: the database, what it was before, and another installation of his own."""

    def __init__(self, world: World, name: str, old: Path, foreign: Path) -> None:
        self.world, self.name = world, name
        self.rows = raw_rows(world.folder)
        self.old, self.foreign = raw_rows(old), raw_rows(foreign)

    def set(self, version: int, value: bytes) -> None:
        set_rows(self.world.folder, {**self.rows, self.name: (version, value)})

    def made_by(self, key: EntryKey, generation: int) -> bytes:
        """An entry that somebody makes with a key that once was a configuration key here."""
        author = Author(self.world.installation, generation, key)
        version, _ = self.rows[self.name]
        return author.make(self.name, b"{}", base_version=version - 1, change_id=new_id())


def deleted(it: Attacked) -> None:
    set_rows(it.world.folder, {key: row for key, row in it.rows.items() if key != it.name})


def older(it: Attacked) -> None:
    it.set(*it.old[it.name])


def replayed(it: Attacked) -> None:
    it.set(it.rows[it.name][0], it.old[it.name][1])


def of_another_name(it: Attacked) -> None:
    others = sorted(key for key, (version, _) in it.rows.items() if key != it.name and version)
    same = [key for key in others if it.rows[key][0] == it.rows[it.name][0]] or others
    it.set(*it.rows[same[0]])


def of_another_installation(it: Attacked) -> None:
    it.set(*it.foreign[it.name])


def downgraded(it: Attacked) -> None:
    version, value = it.rows[it.name]
    it.set(version, value[100:])


def of_another_key(it: Attacked) -> None:
    it.set(it.rows[it.name][0], it.made_by(EntryKey(new_id(), rng.new_key()), 1))


def of_another_generation(it: Attacked) -> None:
    """By whoever has the key: a generation that the records have not reached."""
    it.set(it.rows[it.name][0], it.made_by(it.world.key, 2))


def changed(it: Attacked) -> None:
    version, value = it.rows[it.name]
    it.set(version, value[:-1] + bytes([value[-1] ^ 1]))


WAYS = {
    way.__name__: way
    for way in (
        deleted,
        older,
        replayed,
        of_another_name,
        of_another_installation,
        downgraded,
        of_another_key,
        of_another_generation,
        changed,
    )
}


class Two(NamedTuple):
    """A world, what it was, and one of a stranger."""

    world: World
    old: Path
    now: Path
    foreign: Path


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Two:
    top = tmp_path_factory.mktemp("two")
    folders = top / "one" / "installation", top / "other" / "installation"
    for folder in folders:
        folder.mkdir(parents=True)
    world, stranger = map(World, folders)
    old = world.snapshot("old")
    names = set(KINDS.values()) - {"anchor", "config", "kms/store"}
    world.rotate_kms()
    world.put(dict.fromkeys(names, b'{"third":1}'))
    stranger.rotate_kms()
    stranger.put(dict.fromkeys(names, b'{"third":1}'))
    return Two(world, old, world.snapshot("now"), stranger.folder)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS)
def test_what_is_done_to_an_entry_is_noticed(two: Two, kind: str, way: str) -> None:
    set_rows(two.world.folder, raw_rows(two.now))
    assert noticed(two.world) == ""
    WAYS[way](Attacked(two.world, KINDS[kind], two.old, two.foreign))
    assert noticed(two.world)


@pytest.fixture
def to_be_put_back(two: Two) -> Iterator[Two]:
    """The same for a test that puts: event log and repository go on with it, and the other tests change rows alone."""
    yield two
    shutil.rmtree(two.world.folder)
    shutil.copytree(two.now, two.world.folder)


@pytest.mark.slow
def test_an_entry_that_nobody_put_is_noticed(to_be_put_back: Two) -> None:
    """A journal that was finished is put back: genuine, of the right version, and not in the anchor."""
    two = to_be_put_back
    rows = raw_rows(two.now)
    name = KINDS["a rotation under way"]
    journal = rows.pop(name)
    set_rows(two.world.folder, rows)
    assert Fault.MISSING in noticed(two.world)
    two.world.put({})
    assert noticed(two.world) == ""
    set_rows(two.world.folder, {**raw_rows(two.world.folder), name: journal})
    assert Fault.UNKNOWN in noticed(two.world)
