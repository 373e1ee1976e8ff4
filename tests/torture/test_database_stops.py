"""R6, matrix 13, 18 and 36, E15: PostgreSQL stops at once, again and again, under publications, reads and jobs of three nodes."""

import os
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import Torture
from tests.support.web_client import Client, Reply
from tests.torture import fleet, harness
from tests.torture.fleet import Fleet
from tests.torture.soak import load
from tests.torture.soak.judge import Judge
from tests.torture.soak.load import SITE, Publisher, Reader, World
from tests.torture.soak.model import Seen

pytestmark = [pytest.mark.torture, pytest.mark.cluster, pytest.mark.timeout(7200)]
STOPS = 200
PUBLICATIONS = 500
LIMIT_S = 60.0


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet.running(tmp_path_factory.mktemp("fleet"), 3) as made:
        yield made


def test_publishers_of_one_name_at_three_nodes(running: Fleet, torture: Torture) -> None:
    """Matrix 18: one is first and the others are told, or each replaces the one before; no 500, and no file left over."""
    nodes = running.members
    nodes["node1"].node.run("strongroom", "sites", "create", "Names", "--mode", "enforced")
    clients = [one.client("Names") for one in nodes.values()]
    rounds = PUBLICATIONS if torture.whole else 20
    chance = random.Random(torture.seed)
    answers = dict[int, int]()
    with ThreadPoolExecutor(len(clients)) as pool:
        for number in range(rounds):
            contents = [load.HEAD + chance.randbytes(5_000) for _ in clients]
            query = {"overwrite": "true"} if number % 2 else {"createnew": "true"}

            def publish(
                client: Client,
                content: bytes,
                name: str = f"name {number // 2}",
                query: dict[str, str] = query,
            ) -> Reply:
                return client.publish(name, content, query=query)

            said = list(pool.map(publish, clients, contents))
            for reply in said:
                answers[reply.status] = answers.get(reply.status, 0) + 1
                assert reply.status in {201, 409}, reply.body
            won = [body for body, reply in zip(contents, said, strict=True) if reply.status == 201]
            assert len(won) == 1 or number % 2
            if won:
                made = next(one for one in said if one.status == 201)
                item = made.find("datasource").attrib["id"]
                bodies = {one.download(item).body for one in clients}
                assert len(bodies) == 1
                assert bodies <= set(won)
    [(count, names)] = running.services.query("SELECT count(*), count(DISTINCT name) FROM contents")
    assert count == names == (rounds + 1) // 2
    harness.FIGURES.append(f"{rounds} times three publishers of one name: {answers}")


def test_stops_under_load(running: Fleet, torture: Torture) -> None:
    stops = STOPS if torture.whole else 5
    seen = Seen()
    world = load.begin(running, seen, torture.seed)
    chance = random.Random(f"{torture.seed} stops")
    callers = [Publisher(world, 1), Publisher(world, 2), Reader(world, 1)]
    threads = [threading.Thread(target=one.run, daemon=True) for one in callers]
    for one in threads:
        one.start()
    back = [_stop(world, chance) for _ in range(stops)]
    world.stopping.set()
    for one in threads:
        one.join(120)
    said = Judge(world).all()
    assert seen.wrong == []
    back.sort()
    harness.FIGURES.append(
        f"{stops} stops: a publication is done again {back[len(back) // 2]:.1f} s after the start (median),"
        f" {back[-1]:.1f} s at most; load {os.getloadavg()[0]:.0f}; {'; '.join(said)}"
    )


def _stop(world: World, chance: random.Random) -> float:
    """A stop at a random moment, with a job under way; how long after the start a publication is done."""
    member = world.member(chance)
    if chance.random() < 0.5:
        verb = chance.choice(("rewrap", "reencrypt", "encrypt"))
        member.node.run("strongroom", "extracts", verb, "--site", SITE, check=False)
    time.sleep(chance.uniform(0, 1.5))
    server = world.fleet.postgres.component
    server.abort()
    time.sleep(chance.uniform(0, 0.5))
    server.start()
    begun = time.monotonic()
    for one in world.fleet.members.values():
        client = world.client(one)
        fleet.waited(lambda client=client: _publishes(client), LIMIT_S)  # type: ignore[misc]
    return time.monotonic() - begun


def _publishes(client: Client) -> bool:
    reply = client.publish("again", query={"overwrite": "true"})
    assert reply.status in {201, 423}, reply.body
    return reply.status == 201
