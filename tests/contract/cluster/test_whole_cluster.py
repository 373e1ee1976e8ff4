"""Three nodes as people run them, at other people's servers, and what breaks them (E2, E13, E14, E20; matrix 2, 26, 28, 40, 46).

The nodes, the servers and the identities at AWS are those of `make demo-cluster`. What is judged is what a command on
another node says, and what AWS, ZooKeeper and a clock saw.
"""

import json
import os
import random
import re
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

import pytest

from demo import clients, cluster_rig
from demo.clients import Clients
from demo.cluster import NODES, SITE, ClusterDemo
from demo.cluster_rig import Rig
from demo.show import DemoError, Story
from tests.conftest import Torture
from tests.support.components.zookeeper_ensemble import Ensemble
from tests.support.fault_server import Fault

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]

ROUNDS: Final = 30
COLD_STARTS: Final = 10
DOWNLOADS: Final = 1000
EXTRACTS: Final = 200
_LIMIT_S: Final = 240.0
_SAMPLE: Final = 10
"""A sample has one of so many rounds."""
Tell = Callable[[str, object], None]


class Whole(ClusterDemo):
    """The nodes, which are killed and begun again."""

    def begin(self, name: str) -> None:
        """Serve a node, again and again until it is ready, as systemd does; in whatever state the services are."""
        one, end = self.nodes[name], time.monotonic() + _LIMIT_S
        while True:
            server = one.server()
            try:
                server.__enter__()
            except DemoError:
                assert time.monotonic() < end, (one.folder / "serve.log").read_text()[-2000:]
                time.sleep(0.5)
                continue
            self.stack.push(server)
            return

    def kill(self, name: str) -> None:
        """All processes of a node, at once."""
        one = self.nodes[name]
        told = json.loads(next(one.home.rglob("serve.json")).read_text())
        for key in ("pid", "backgrounder_pid"):
            with suppress(ProcessLookupError):
                os.kill(told[key], signal.SIGKILL)
        assert one.process is not None
        one.process.wait(30)

    def states(self, asked: Clients, *, expect: int) -> dict[str, tuple[str, int | None]]:
        """State and epoch of each node, as a command on one of them says."""
        text = asked.run("tsm", "security", "kms", "status", "--json", quiet=True, expect=expect)
        return {one["id"]: (one["state"], one["epoch"]) for one in json.loads(text)["nodes"]}

    def generation(self) -> set[str]:
        """The configuration key of each node."""
        return {
            json.loads(next(one.home.rglob("configuration_keys.json")).read_text())["generation"]
            for one in self.nodes.values()
        }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """Three nodes that are served, each by an identity of its own at AWS, with an extract that each has taken."""
    folder = tmp_path_factory.mktemp("whole")
    with (
        cluster_rig.running(folder) as rig,
        ExitStack() as stack,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(clients, "_LIMIT_S", 900)  # the machine may have other work
        made = Whole(folder, Story(), rig, stack)
        for step in (
            made.make_node,
            made.make_cluster,
            made.add_nodes,
            made.set_mode,
            made.publish,
        ):
            step()
        yield made


def sought(is_so: Callable[[], object], limit_s: float = _LIMIT_S) -> float:
    """Seconds until something is so; after the limit, the last refusal is told."""
    begun, refused = time.monotonic(), "it is not so, and nothing was refused"
    while True:
        try:
            if is_so():
                return time.monotonic() - begun
        except DemoError as error:
            refused = str(error)
        assert time.monotonic() - begun < limit_s, f"not within {limit_s:.0f} s: {refused}"
        time.sleep(0.5)


def count_of(torture: Torture, whole: int) -> int:
    return whole if torture.whole else max(1, whole // _SAMPLE)


def test_red_is_the_node_without_its_role_and_no_other(
    whole: Whole, torture: Torture, record_property: Tell
) -> None:
    """E2, matrix 26: a random node or none, asked on another one; AWS has seen each node ask by its own principal."""
    chance, seconds = random.Random(torture.seed), []
    sought(lambda: whole.states(whole.first, expect=0))
    for _ in range(count_of(torture, ROUNDS)):
        bad = chance.choice([*NODES, ""])
        asked = whole.nodes[chance.choice([name for name in NODES if name != bad])]
        if bad:
            whole.rig.forbid(bad)
        seen, begun = len(whole.rig.aws.front.requests), time.monotonic()
        states = whole.states(asked, expect=1 if bad else 0)
        seconds.append(time.monotonic() - begun)
        expected = {name: "ERROR" if name == bad else "OK" for name in NODES}
        assert {name: state for name, (state, _) in states.items()} == expected
        assert principals(whole.rig, seen) == {keys_of(whole, name) for name in NODES}
        if bad:
            whole.rig.allow(bad)
    record_property("torture", f"E2: {len(seconds)} rounds, {max(seconds):.1f} s at most")


def principals(rig: Rig, seen: int) -> set[str]:
    """Who asked AWS to decrypt since so many requests, by the ids of their access keys."""
    return set(askers(rig, seen))


def askers(rig: Rig, seen: int) -> Counter[str]:
    """How often each has asked AWS to decrypt since so many requests."""
    found = Counter[str]()
    for request in rig.aws.front.requests[seen:]:
        if "Decrypt" in (request.headers.get("X-Amz-Target") or ""):
            match = re.search(r"Credential=(\w+)/", request.headers.get("Authorization") or "")
            assert match is not None
            found[match[1]] += 1
    return found


def keys_of(whole: Whole, name: str) -> str:
    return whole.nodes[name].variables["AWS_ACCESS_KEY_ID"]


def received(ensemble: Ensemble) -> int:
    """Packets that the servers of ZooKeeper have got, by their own count."""
    said = b"".join(ensemble.said(one) for one in ensemble.servers)
    return sum(map(int, re.findall(rb"^Received: (\d+)", said, re.MULTILINE)))


def test_publishing_asks_zookeeper_for_no_key(
    whole: Whole, torture: Torture, record_property: Tell
) -> None:
    """E14: as many packets as an idle cluster has in that time, and not one more for each extract; KMS is not asked."""
    ensemble, many = whole.rig.services.ensemble, count_of(torture, EXTRACTS)
    (whole.second.folder / "small.hyper").write_bytes(
        b"Hyper\x08\x00\x00\x01\x00\x02\x00" + bytes(99)
    )
    import tableauserverclient as tsc

    with whole.second.signed_in(SITE.lower()) as server:
        project = next(iter(tsc.Pager(server.projects))).id
        path = str(whole.second.folder / "small.hyper")
        server.datasources.publish(tsc.DatasourceItem(project, "warm"), path, "Overwrite")
        before, begun = received(ensemble), time.monotonic()
        time.sleep(10)
        idle_s = (received(ensemble) - before) / (time.monotonic() - begun)
        calls = len(whole.rig.aws.front.requests)
        before, begun = received(ensemble), time.monotonic()
        for number in range(many):
            item = tsc.DatasourceItem(project, f"small {number}")
            server.datasources.publish(item, path, "Overwrite")
        took = time.monotonic() - begun
        more = received(ensemble) - before - idle_s * took
        calls = len(whole.rig.aws.front.requests) - calls
    record_property(
        "torture",
        f"E14: {many} extracts, {more / many:.2f} packets each beyond {idle_s:.1f}/s, {calls} calls of AWS",
    )
    assert more < many / 2
    assert calls <= len(NODES)


def test_without_a_quorum_downloads_go_on_and_nothing_is_pretended(
    whole: Whole, torture: Torture, record_property: Tell
) -> None:
    """E13, matrix 2: status ends with 40, downloads go on, a publication is refused, and all comes back by itself."""
    import tableauserverclient as tsc

    ensemble, many, done = whole.rig.services.ensemble, count_of(torture, DOWNLOADS), 0
    with whole.third.signed_in(SITE.lower()) as server:
        item = next(one for one in tsc.Pager(server.datasources) if one.name == "From node1")
        for one in ensemble.servers[:2]:
            one.component.kill()
        begun = time.monotonic()
        whole.second.run("tsm", "status", expect=40, quiet=True)
        status_s = time.monotonic() - begun
        target = whole.third.folder / "back"
        for _ in range(many):
            with suppress(Exception):
                back = server.datasources.download(item.id, filepath=str(target))
                done += Path(back).read_bytes()[:5] == b"Hyper"
        begun = time.monotonic()
        project = next(iter(tsc.Pager(server.projects))).id
        file = str(whole.third.folder / "flights.hyper")

        def publish_on() -> None:
            # for a while a node goes by what it was told last
            while time.monotonic() - begun < _LIMIT_S:
                server.datasources.publish(tsc.DatasourceItem(project, "no"), file, "Overwrite")

        with pytest.raises(tsc.ServerResponseError) as refused:
            publish_on()
        publish_s = time.monotonic() - begun
    ensemble.mend()
    again_s = sought(lambda: whole.states(whole.first, expect=0))
    record_property(
        "torture",
        f"E13: status 40 after {status_s:.1f} s, {done} of {many} downloads, a publication refused"
        f" ({refused.value.code}) after {publish_s:.1f} s, all well {again_s:.1f} s after the return",
    )
    assert done >= many * 0.999


def test_everything_was_off_and_begins_in_any_order(
    whole: Whole, torture: Torture, record_property: Tell
) -> None:
    """E20, matrix 46: all processes and servers are killed at once; same epoch and generation afterwards, and no hand."""
    chance, seconds = random.Random(torture.seed), []
    before, keys = whole.states(whole.first, expect=0), whole.generation()
    postgres = whole.rig.services.postgres.component
    servers = [one.component for one in whole.rig.services.ensemble.servers]
    starts: dict[str, Callable[[], object]] = {
        **{f"zookeeper {n}": one.ensure_running for n, one in enumerate(servers, 1)},
        "postgres": postgres.ensure_running,
        **{name: lambda name=name: whole.begin(name) for name in NODES},  # type: ignore[misc]
    }
    for _ in range(count_of(torture, COLD_STARTS)):
        for one in (*servers, postgres):
            one.kill()
        for name in NODES:
            whole.kill(name)
        begun, threads = time.monotonic(), []
        for name in chance.sample(sorted(starts), len(starts)):
            threads.append(threading.Thread(target=starts[name]))
            threads[-1].start()
            time.sleep(chance.uniform(0, 0.5))
        for thread in threads:
            thread.join(_LIMIT_S)
            assert not thread.is_alive()
        sought(lambda: whole.states(whole.nodes[chance.choice(NODES)], expect=0) == before)
        seconds.append(time.monotonic() - begun)
        assert whole.generation() == keys
    record_property("torture", f"E20: {len(seconds)} cold starts, {max(seconds):.1f} s at most")


def test_three_nodes_ask_a_root_that_is_off_at_most_thrice_as_often_as_one(
    whole: Whole, torture: Torture, record_property: Tell
) -> None:
    """Matrix 28: by the emulator's count of each node's own identity, while somebody asks for the state all the time."""
    seconds = float(count_of(torture, 300))
    sought(lambda: whole.states(whole.first, expect=0))
    with whole.rig.aws.front.broken(Fault.SERVER_ERROR):
        three = asked_within(whole, seconds)
        for name in NODES[1:]:
            whole.kill(name)
        alone = asked_within(whole, seconds)
    for name in NODES[1:]:
        whole.begin(name)
    again_s = sought(lambda: whole.states(whole.first, expect=0))
    record_property(
        "torture",
        f"28: {sum(three.values())} requests of three nodes and {sum(alone.values())} of one in {seconds:.0f} s,"
        f" all well {again_s:.1f} s after the return",
    )
    assert three.keys() == {keys_of(whole, name) for name in NODES}
    assert alone.keys() == {keys_of(whole, "node1")}
    # one more for each: a window may begin just before a call
    assert sum(three.values()) <= 3 * (sum(alone.values()) + 1)


def asked_within(whole: Whole, seconds: float) -> Counter[str]:
    """How often each identity has AWS decrypt, while the state is asked for again and again."""
    seen, begun = len(whole.rig.aws.front.requests), time.monotonic()
    while time.monotonic() - begun < seconds:
        assert "OK" not in {state for state, _ in whole.states(whole.first, expect=1).values()}
    return askers(whole.rig, seen)


def test_a_node_with_an_old_disk_is_not_believed(whole: Whole, tmp_path: Path) -> None:
    """Matrix 40: keys, event log and place of a copy are behind; another node names it; its own disk serves again.

    What the other tests' kills left unsigned in a log is told as signed late, by design, until somebody says why.
    """
    third = whole.third
    for one in whole.nodes.values():
        one.run("strongroom", "events", "acknowledge", "--reason", "killed by a test", quiet=True)
    whole.kill("node3")
    old = Path(shutil.copytree(third.home, tmp_path / "old", symlinks=True))
    whole.begin("node3")
    sought(lambda: whole.states(whole.first, expect=0))
    third.run("tsm", "configuration", "set", "-k", "gateway.timeout", "-v", "1800")
    third.run("tsm", "pending-changes", "apply", "--ignore-prompt", quiet=True)
    whole.first.run("tsm", "security", "kms", "rotate", quiet=True)
    lines = third.ask("strongroom", "events", "verify")["events"]

    def witnessed() -> bool:
        """Both others have cosigned all that it had written by then."""
        said = whole.first.ask("strongroom", "events", "verify", "--all-nodes")["nodes"]
        [of_third] = [one for one in said if one["node"] == "node3"]
        return len(of_third["witnesses"]) == 2 and all(
            one["events"] >= lines and one["contained"] for one in of_third["witnesses"]
        )

    sought(witnessed)
    whole.kill("node3")
    new = Path(shutil.move(third.home, tmp_path / "new"))
    shutil.copytree(old, third.home, symlinks=True)
    whole.begin("node3")
    assert "event log: it was changed" in (third.folder / "serve.log").read_text()
    verify = ("strongroom", "events", "verify", "--all-nodes")
    sought(lambda: "node3: CHANGED" in whole.first.run(*verify, expect=20, quiet=True))
    # the keys in force are not those of the old disk, and it serves by what it has proved
    sought(lambda: whole.states(whole.first, expect=0))
    whole.kill("node3")
    shutil.rmtree(third.home)
    shutil.move(new, third.home)
    whole.begin("node3")
    sought(lambda: whole.states(whole.second, expect=0))
    sought(lambda: whole.first.run(*verify, quiet=True))
