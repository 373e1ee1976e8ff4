"""Two nodes of a cluster share their extracts in an object store (issue 11 and 12 A; real services, moto)."""

from contextlib import closing
from pathlib import Path

import pytest

from strongroom.errors import StateError
from strongroom.extracts import place
from strongroom.node import file_moves, opening
from strongroom.repository.rows import SiteMode
from tests.contract.cluster.commands import Run, joined, nodes
from tests.contract.joining.commands import make
from tests.support import object_stores, web_client
from tests.support.emulators import Aws
from tests.support.web_client import ADMIN, HYPER, PASSWORD


@pytest.fixture
def address(server: Aws, tmp_path: Path) -> str:
    return object_stores.bucket(server.url, tmp_path.name.replace("_", "-")).address.text


def test_published_on_one_read_and_deleted_on_the_other(
    cluster_home: Path, run: Run, tmp_path: Path, address: str
) -> None:
    assert run("strongroom", cluster_home, "extracts", "move", "--to", address).code == 0
    second = tmp_path / "two"
    with web_client.serve(cluster_home) as first:
        joined(first, run, second)
        one = first.site("Sealed", SiteMode.ENFORCED)
        item = one.publish("Flights").find("datasource").get("id", "")
        with web_client.serve(second) as other, other.node.coordinator.alive():
            two = other.client("Sealed", ADMIN, PASSWORD)
            assert two.download(item).body == HYPER
            again = two.publish("Flights", HYPER[:5000], query={"overwrite": "true"})
            assert again.status == 201, again.body
            assert one.download(item).body == HYPER[:5000]
            # a start and a sweep of the one take nothing from the other
            assert other.node.stored_files.recover() == 0
            assert other.node.sweep_files() == 0
            assert one.on_site("DELETE", f"/datasources/{item}").status == 204
            assert two.download(item).status == 404
            with pytest.raises(StateError, match="alive"):
                file_moves.moves(first.node).plan(address.replace("?", "-other?"))
    with (
        closing(opening.open_node(str(cluster_home))) as node,
        pytest.raises(StateError, match="node2 could read nothing"),
    ):
        file_moves.moves(node).plan(place.DISK)


def test_a_node_that_cannot_use_the_store_does_not_become_active(
    cluster_home: Path, run: Run, tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no credentials of its own; with them, the same command goes on."""
    assert run("strongroom", cluster_home, "extracts", "move", "--to", address).code == 0
    second = tmp_path / "two"
    with web_client.serve(cluster_home) as first:
        file = make(first, run)
        with monkeypatch.context() as patched:
            patched.delenv("AWS_ACCESS_KEY_ID")
            patched.setenv("AWS_EC2_METADATA_DISABLED", "true")
            patched.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
            patched.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
            said = run("initialize-tsm", second, "-b", str(file))
        assert said.code != 0
        found = nodes(run, cluster_home)["node2"]
        assert found["state"] == "joining"
        assert "object store" in found["cause"]
        said = run("initialize-tsm", second, "-b", str(file))
        assert said.code == 0, said.err
    assert nodes(run, cluster_home)["node2"]["state"] == "active"
