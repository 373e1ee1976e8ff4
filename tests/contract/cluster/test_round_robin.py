"""The real tabcmd and TSC, unchanged, through a proxy that gives each request to the next of three nodes (issues 11 and 12)."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import tableauserverclient as tsc

from strongroom.ids import new_id
from strongroom.repository.rows import SiteMode
from tests.contract.cluster.commands import Run, joined
from tests.support import object_stores, web_client
from tests.support.emulators import Aws
from tests.support.round_robin import RoundRobin, round_robin
from tests.support.web_client import ADMIN, HYPER, PASSWORD

MIB = 1024 * 1024


@pytest.fixture
def proxy(
    cluster_home: Path,
    run: Run,
    tmp_path: Path,
    moto_store: Aws,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[RoundRobin]:
    """Three nodes that share their extracts, behind one address."""
    with ExitStack() as stack:
        object_stores.credentials(moto_store, monkeypatch)
        address = object_stores.bucket(moto_store.url, new_id()).address.text
        assert run("strongroom", cluster_home, "extracts", "move", "--to", address).code == 0
        first = stack.enter_context(web_client.serve(cluster_home))
        first.site("Sales", SiteMode.ENFORCED)
        ports = [first.port]
        for name in ("two", "three"):
            home = joined(first, run, tmp_path / name)
            ports.append(stack.enter_context(web_client.serve(home)).port)
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        yield stack.enter_context(round_robin(*urls))


def test_the_real_clients_do_not_notice_that_there_are_several_nodes(
    proxy: RoundRobin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signed in on one, published on another, read on the third; chunks of one upload on each: the same bytes."""
    tsc_uploads_its_chunks_to_all_nodes(proxy, tmp_path, monkeypatch)
    proxy.handed.clear()
    tabcmd_signs_in_publishes_and_reads_on_different_nodes(proxy, tmp_path)


def tsc_uploads_its_chunks_to_all_nodes(
    proxy: RoundRobin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TSC_FILESIZE_LIMIT_MB", "1")
    monkeypatch.setenv("TSC_CHUNK_SIZE_MB", "1")
    path = tmp_path / "big.hyper"
    path.write_bytes(HYPER[:12] + os.urandom(7 * MIB))
    server = tsc.Server(proxy.url, use_server_version=True)
    with server.auth.sign_in(tsc.TableauAuth(ADMIN, PASSWORD, "Sales")):
        [project] = [one for one in tsc.Pager(server.projects) if one.name.lower() == "default"]
        made = server.datasources.publish(
            tsc.DatasourceItem(project.id, name="Big"), str(path), tsc.Server.PublishMode.CreateNew
        )
        for _ in range(3):
            back = Path(server.datasources.download(made.id, filepath=str(tmp_path / "back")))
            assert _digest(back) == _digest(path)
    assert set(proxy.nodes_of("PUT", "/fileUploads/")) == {0, 1, 2}
    assert set(proxy.nodes_of("GET", "/content")) == {0, 1, 2}


def tabcmd_signs_in_publishes_and_reads_on_different_nodes(
    proxy: RoundRobin, tmp_path: Path
) -> None:
    (tmp_path / "sales.hyper").write_bytes(HYPER)
    (tmp_path / "password").write_text(f"{PASSWORD}\n")

    def tabcmd(*words: str) -> None:
        done = subprocess.run(
            [str(Path(sys.executable).parent / "tabcmd"), *words],
            cwd=tmp_path,
            env={**os.environ, "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    login = ["login", "-s", proxy.url, "-u", ADMIN, "--password-file", "password", "-t", "sales"]
    tabcmd(*login)
    tabcmd("publish", "sales.hyper", "-n", "Sales", "--overwrite")
    tabcmd("publish", "sales.hyper", "-n", "Sales", "--overwrite")
    tabcmd("get", "/datasources/Sales.tdsx", "-f", "back.tdsx")
    [back] = tmp_path.glob("back.*")  # TSC chooses the ending
    assert back.read_bytes() == HYPER
    assert {number for _, number in proxy.handed} == {0, 1, 2}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
