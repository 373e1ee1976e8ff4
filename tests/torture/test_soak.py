"""The soak sees what it is there for: its model, its look at growth, and its judge over what was broken on purpose (E22)."""

import random
import time
from pathlib import Path

import pytest

from tests.support import object_stores
from tests.torture import fleet
from tests.torture.soak import growth, load
from tests.torture.soak.growth import Growth, Life
from tests.torture.soak.judge import Judge
from tests.torture.soak.model import Register, Seen


def test_a_name_holds_what_was_answered() -> None:
    register = Register()
    mark = register.mark()
    assert register.claim()
    register.begin("one")
    assert register.possible == {None, "one"}
    register.done("one")
    assert register.possible == {"one"}
    assert register.since(mark) == {None, "one"}, "of a read that began before"
    assert register.since(register.mark()) == {"one"}


def test_a_call_without_an_answer_leaves_both_and_is_left_alone_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever stood still goes on with what it was doing, and would be taken for a lost later change."""
    register = Register("one")
    assert register.claim()
    assert not register.claim(), "one change at a time"
    register.begin("two")
    register.unknown()
    assert register.possible == {"one", "two"}
    assert not register.claim()
    later = time.monotonic() + 1000
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert register.claim()
    register.begin("three")
    register.done("three")
    assert register.possible == {"three"}


@pytest.mark.parametrize(
    ("memory_a_minute", "descriptors_a_minute", "grows"),
    [(0, 0.0, False), (2_000, 0.0, True), (0, 2.0, True)],
)
def test_a_process_that_grows_is_told(
    memory_a_minute: int, descriptors_a_minute: float, *, grows: bool
) -> None:
    """A leak of 2 MiB, or of two descriptors, a minute."""
    seen = Growth(fleet=None)  # type: ignore[arg-type]
    life = seen.lives[1] = Life("server of node1")
    for at in range(0, 900, 5):
        memory = 150_000 + int(memory_a_minute * at / 60)
        life.samples.append((float(at), memory, 60 + int(descriptors_a_minute * at / 60)))
    said, wrong = seen.told()
    assert len(said) == 1
    assert bool(wrong) == grows


def test_a_process_that_lived_shortly_is_not_judged() -> None:
    seen = Growth(fleet=None)  # type: ignore[arg-type]
    lived = int(growth.WARM_S + growth.LEAST_S) - 10
    seen.lives[1] = Life("server of node1", [(float(at), at, at) for at in range(0, lived, 5)])
    assert seen.told() == ([], [])


@pytest.mark.torture
@pytest.mark.cluster
def test_the_judge_finds_what_is_broken_on_purpose(tmp_path: Path) -> None:
    """E22: lost, doubled, changed and stuck things, of each kind one; and nothing is wrong before."""
    with fleet.running(tmp_path, 1) as running:
        seen, chance = Seen(), random.Random(1)
        world = load.begin(running, seen, 1)
        callers = (load.Publisher(world, 1), load.Program(world, 1))
        for _ in range(40):
            for one in callers:
                one.call(running.members["node1"])
        judge = Judge(world, settles_s=3.0)
        judge.all()
        assert seen.wrong == []
        rows = judge.contents()
        damaged, lost, other, listed = chance.sample(rows, 4)
        client = object_stores.client(running.s3)
        heads = "extracts/head/"
        head = {"Bucket": object_stores.BUCKET, "Key": f"{heads}{damaged.key}"}
        raw = bytearray(client.get_object(**head)["Body"].read())
        raw[-1] ^= 1
        client.put_object(**head, Body=bytes(raw))
        client.delete_object(Bucket=object_stores.BUCKET, Key=f"{heads}{lost.key}")
        client.put_object(Bucket=object_stores.BUCKET, Key=f"{heads}nobody", Body=b"x")
        running.services.query(f"DELETE FROM contents WHERE id = '{listed.id}'")
        running.services.query(
            "INSERT INTO intents (storage_key, file_id, mek_id, purpose, created_at, node_id, boot_id)"
            " VALUES ('stuck', '', '', 'write', '2020-01-01T00:00:00Z', 'node9', 'x')"
        )
        world.extracts[other.name] = Register("something else")
        world.rotations["done"] += 1
        name, text, _ = world.ciphertexts[0]
        world.ciphertexts[0] = (name, text, b"another plaintext")
        world.values["value1"] = Register("another value")
        judge.all()
    told = "\n".join(seen.wrong)
    for expected in (
        f"does not open {damaged.name}",
        f"a file is missing: {lost.key}",
        "a file is without a row: nobody",
        f"{listed.name} is lost",
        "still there after 3 s: intent",
        f"{other.name} is ",
        "0 new MEKs after 1",
        f"{text} does not open at node1",
        "value1 is ",
    ):
        assert expected in told, told
