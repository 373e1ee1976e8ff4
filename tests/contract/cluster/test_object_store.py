"""The object store in `cluster status`, `cluster check` and the reports of the nodes (matrix 19)."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from strongroom.node import cluster_status, object_stores
from tests.contract.cluster.commands import Run, joined
from tests.support import object_stores as stores
from tests.support import servers, web_client
from tests.support.emulators import Aws
from tests.support.object_stores import Between, Fault
from tests.support.waiting import in_the_end

MOST_S = 25.0
"""What docs/howto/cluster.md promises of `status`."""


@pytest.fixture
def between(server: Aws) -> Iterator[Between]:
    with stores.between(server) as standing:
        yield standing


@pytest.fixture
def home(cluster_home: Path, run: Run, between: Between, tmp_path: Path) -> Path:
    """The data directory of a node whose extracts lie in a store, behind a server that misbehaves when told."""
    address = stores.bucket(between.url, tmp_path.name.replace("_", "-")).address.text
    said = run("strongroom", cluster_home, "extracts", "move", "--to", address)
    assert said.code == 0, said.err
    return cluster_home


def status(run: Run, home: Path) -> tuple[int, dict[str, Any]]:
    begun = time.monotonic()
    said = run("strongroom", home, "cluster", "status", "--json")
    assert time.monotonic() - begun < MOST_S
    return said.code, json.loads(said.out)


def checked(run: Run, home: Path) -> tuple[int, list[dict[str, Any]]]:
    """The findings on stores."""
    said = run("strongroom", home, "cluster", "check", "--json")
    found = json.loads(said.out)["checks"]
    return said.code, [one for one in found if one["link"].startswith("object store")]


def test_a_store_that_serves_is_told(home: Path, run: Run, between: Between) -> None:
    code, found = status(run, home)
    assert (code, found["problems"]) == (0, [])
    [store] = found["object_stores"]
    assert store["address"].startswith("s3://")
    assert between.url in store["address"]
    assert (store["reachable"], store["problem"]) == (True, None)
    assert (
        f"Extracts: {store['address']}, can be read"
        in run("strongroom", home, "cluster", "status").out
    )
    code, [proved] = checked(run, home)
    assert (code, proved["ok"], proved["check"]) == (0, True, "conditions")


def test_files_on_the_disk_are_told(cluster_home: Path, run: Run) -> None:
    code, found = status(run, cluster_home)
    assert (code, found["object_stores"]) == (0, [])
    assert checked(run, cluster_home)[1] == []


def test_a_store_that_refuses_is_named(home: Path, run: Run, between: Between) -> None:
    """Exit code 41, as of a publication; both services serve, and all else is shown."""
    between.dies_after = 0
    code, found = status(run, home)
    assert code == 41
    [problem] = found["problems"]
    assert problem["where"] == f"object store {found['object_stores'][0]['address']}"
    assert "does not let us list" in problem["problem"]
    assert found["postgres"]["writable"]
    said = run("strongroom", home, "cluster", "status")
    assert "does not serve" in said.out
    assert "does not let us list" in said.err
    code, [refused] = checked(run, home)
    assert (code, refused["ok"]) == (41, False)
    between.dies_after = None
    assert status(run, home)[0] == 0


def test_who_may_list_and_not_read_is_named(home: Path, run: Run, between: Between) -> None:
    between.faults.append(Fault("GET", "probe/status", status=403, code="AccessDenied"))
    code, found = status(run, home)
    assert code == 41
    assert "does not let us read" in found["problems"][0]["problem"]


def test_a_silent_store_is_waited_for_no_longer_than_told(
    home: Path, run: Run, between: Between, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_status, "_STORE_S", 1.0)
    monkeypatch.setattr(object_stores, "PROVE_S", 1.0)
    going_on = threading.Event()

    def be_silent(_number: int, _when: str) -> None:
        going_on.wait(60)

    between.told = be_silent
    try:
        code, found = status(run, home)
        assert code == 41
        [problem] = found["problems"]
        assert problem["problem"] == "no answer within 1 s"
        assert between.url in problem["where"]
        code, [silent] = checked(run, home)
        assert (code, silent["detail"]) == (41, "no answer within 1 s")
    finally:
        between.told = lambda _number, _when: None
        going_on.set()


def test_a_store_that_ignores_conditions_fails_the_check(
    home: Path, run: Run, between: Between
) -> None:
    """Matrix 23, after the store was replaced or a proxy came between: `status`, which writes nothing, cannot see it."""
    between.left_out = lambda name, _value: name == "if-none-match"
    assert status(run, home)[0] == 0
    code, [refused] = checked(run, home)
    assert (code, refused["ok"]) == (41, False)
    assert "does not honour conditions" in refused["detail"]


def test_each_node_tells_how_it_reaches_the_store_by_its_own_credentials(
    cluster_home: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two servers at a SeaweedFS that checks signatures; the credentials of one are taken from it."""
    folder, second = tmp_path / "weed", tmp_path / "two"
    folder.mkdir()
    with ExitStack() as stack:
        store = stack.enter_context(stores.running("SeaweedFS", folder))
        stores.credentials(store, monkeypatch)
        address = stores.bucket(store.url, "shared").address.text
        assert run("strongroom", cluster_home, "extracts", "move", "--to", address).code == 0
        with web_client.serve(cluster_home) as first:
            joined(first, run, second)
        good = {
            "AWS_ACCESS_KEY_ID": store.access_key,
            "AWS_SECRET_ACCESS_KEY": store.secret_key,
        }
        bad = {**good, "AWS_SECRET_ACCESS_KEY": "another one"}
        for node_id, home, own in (("node1", cluster_home, good), ("node2", second, bad)):
            variables = servers.TestNode(
                tmp_path, environment={"STRONGROOM_HOME": str(home), **own}
            ).variables()
            command = [str(servers.BIN / "strongroom"), "serve", "--port", "0"]
            served = servers.ready(command, tmp_path / f"{node_id}.err", tmp_path, variables)
            stack.enter_context(served)

        def told() -> dict[str, Any]:
            return {
                one["id"]: one
                for one in json.loads(run("tsm", cluster_home, "status", "--json").out)["nodes"]
            }

        in_the_end(lambda: all(one["processes"].get("object store") for one in told().values()))
        found = told()
        # the keys of both are proved: extracts are what the second one cannot serve
        assert {one["state"] for one in found.values()} == {"OK"}
        assert found["node1"]["processes"]["object store"] == "running"
        assert "object store" in found["node2"]["processes"]["object store"]
        said = run("tsm", cluster_home, "status", "-v")
        assert said.code == 1
        one, _, two = said.out.partition("node2: ")
        assert "'Strongroom Object Store 0' is running." in one
        assert "'Strongroom Object Store 0' is in an error state." in two
        assert "node2: the object store " in said.err
        assert str(store.secret_key) not in said.out + said.err
        # who is asked looks by its own: the command at the first node finds nothing wrong
        assert status(run, cluster_home)[0] == 0
        assert run("tsm", second, "status").code == 1
