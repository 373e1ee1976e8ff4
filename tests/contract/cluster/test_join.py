"""A second node joins a cluster over real services: told by a sealed answer, active by its own report (issue 11 C)."""

import base64
import http.client
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from strongroom.cli.node import admission
from strongroom.clock import FixedClock, SystemClock
from strongroom.cluster import services_file
from strongroom.coordination.base import Change
from strongroom.crypto import said
from strongroom.crypto.installation_identity import IdentityKey
from strongroom.crypto.secret import SecretBytes
from strongroom.crypto.statements import Origin, Purpose
from strongroom.errors import AuthenticationError, IntegrityError
from strongroom.ids import new_id
from strongroom.joining import admission_request, node_keys, own_keys, prepared, registry
from strongroom.joining.bootstrap_file import BootstrapFile
from strongroom.joining.registry import NodeState, RegisteredNode
from strongroom.node import create, joining, opening
from strongroom.node.opening import Node
from strongroom.runtime.paths import DataPaths
from strongroom.services.nodes import join, prepare
from strongroom.services.nodes.admit import BootstrapRequest
from strongroom.services.nodes.join import JoinService, OwnPaths
from strongroom.system.compat import override
from tests.contract.cluster.commands import Run, joined, nodes
from tests.contract.joining.commands import make, told, url
from tests.support import web_client
from tests.support.cluster_services import ROLE_PASSWORD, ClusterServices
from tests.support.components.zookeeper_ensemble import PASSWORD


def test_a_node_joins(cluster_home: Path, run: Run, tmp_path: Path) -> None:
    second = tmp_path / "two"
    assert {name: one["state"] for name, one in nodes(run, cluster_home).items()} == {
        "node1": "active"
    }
    with web_client.serve(cluster_home) as served:
        joined(served, run, second)
        assert [one["node_id"] for one in told(served.node, "NODE_ADMITTED")] == ["node2"]
    for place in (cluster_home, second):
        found = nodes(run, place)
        assert {name: one["state"] for name, one in found.items()} == {
            "node1": "active",
            "node2": "active",
        }
        assert len({one["fingerprint"] for one in found.values()}) == 2
    fingerprint = nodes(run, second)["node2"]["fingerprint"]
    with closing(opening.open_node(str(second))) as node:
        assert node.paths.node_id == "node2"
        assert len(told(node, "NODE_PREPARED")) == 1
        [event] = told(node, "NODE_JOINED")
        assert event["fingerprint"] == fingerprint
        assert node.events.verify().is_whole
    verified = run("strongroom", second, "events", "verify")
    assert verified.code == 0, verified.err
    assert prepared.find(DataPaths(second)) is None


def test_nobody_is_told_a_password_that_is_being_changed(
    cluster_home: Path, run: Run, tmp_path: Path
) -> None:
    """The node could get the one that is refused a moment later; its credential stays as it was."""
    second = tmp_path / "two"
    with web_client.serve(cluster_home) as served:
        file, outside = make(served, run), served.node.outside
        assert outside is not None
        before = outside.file
        key = outside.key_of(services_file.POSTGRES)
        changing = before.begun(services_file.POSTGRES, SecretBytes(b"the next one"), key)
        outside.write(changing, served.node.file_modes)
        said = run("initialize-tsm", second, "-b", str(file))
        assert "State: active" not in said.out
        assert list(nodes(run, cluster_home)) == ["node1"]
        outside.write(before, served.node.file_modes)
        said = run("initialize-tsm", second, "-b", str(file))
        assert said.code == 0, said.err
        assert "State: active" in said.out


# ---- interrupted, refused, altered ---------------------------------------------------------------


class KilledError(BaseException):
    """Ends the command as a kill does: nothing of it runs any more."""


def killed(*_: object, **__: object) -> None:
    raise KilledError


POINTS = {
    "the answer is there": (prepare, "admitted"),
    "the node is there": (joining, "join"),
    "its links are tried": (joining, "first_cause"),
    "it is about to tell": (JoinService, "tell"),
    "it is active": (prepared, "forget"),
}


@pytest.mark.parametrize("point", POINTS)
def test_an_interrupted_command_is_finished_by_the_next(
    cluster_home: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """The same file and directory go on, as the same node, whatever was done and not known to be."""
    second = tmp_path / "two"
    with web_client.serve(cluster_home) as served:
        file = make(served, run)
        with monkeypatch.context() as patched:
            patched.setattr(*POINTS[point], killed)
            with pytest.raises(KilledError):
                run("initialize-tsm", second, "-b", str(file))
        said = run("initialize-tsm", second, "-b", str(file))
        assert said.code == 0, said.err
        assert "State: active" in said.out
        assert len([one for one in told(served.node, "NODE_ADMITTED") if not one["again"]]) == 1
    found = nodes(run, second)
    assert found["node2"]["state"] == "active"
    assert prepared.find(DataPaths(second)) is None
    with closing(opening.open_node(str(second))) as node:
        assert len(told(node, "NODE_JOINED")) == 1
        assert node.state_faults() == ()


def test_a_node_that_is_still_joining_does_nothing_else(
    cluster_home: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = tmp_path / "two"
    with web_client.serve(cluster_home) as served:
        file = make(served, run)
        with monkeypatch.context() as patched:
            patched.setattr(JoinService, "tell", killed)
            with pytest.raises(KilledError):
                run("initialize-tsm", second, "-b", str(file))
    assert nodes(run, cluster_home)["node2"]["state"] == "joining"
    said = run("tsm", second, "configuration", "list")
    assert said.code == 7
    assert "is prepared as node2" in said.err
    assert "joining; it was interrupted; 'initialize-tsm -b' with the same file goes on" in said.err
    said = run("strongroom", second, "status")
    assert said.out == "Status: JOINING\n"
    said = run("strongroom", second, "serve", "--port", "0")
    assert said.code == 7


@contextmanager
def relaying(port: int, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Iterator[str]:
    """Somebody between the new node and the first one, who changes the answers."""

    class Between(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("POST", self.path, body)
            response = connection.getresponse()
            answer = json.dumps(change(json.loads(response.read()))).encode()
            connection.close()
            self.send_response(response.status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        @override
        def log_request(self, code: object = "-", size: object = "-") -> None:
            """Says nothing."""

    with HTTPServer(("127.0.0.1", 0), Between) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def flipped(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def change(answer: dict[str, Any]) -> dict[str, Any]:
        raw = bytearray(base64.b64decode(answer[name]))
        raw[len(raw) // 2] ^= 1
        return {**answer, name: base64.b64encode(bytes(raw)).decode()}

    return change


def of_another_identity(answer: dict[str, Any]) -> dict[str, Any]:
    """Signed by a stranger: he repeats the sealed message, and says that it is his."""
    message = base64.b64decode(answer["services"])
    stranger = IdentityKey(Origin(new_id()), SecretBytes(b"s" * 32))
    signature = stranger.sign(Purpose.WELCOME, said.of_welcome("node2", bytes(32), message))
    return {**answer, "signature": base64.b64encode(signature).decode()}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (flipped("services"), 20),
        (flipped("signature"), 20),
        (of_another_identity, 20),
        (lambda answer: {**answer, "services": "?"}, 21),
        (lambda answer: {"node_id": answer["node_id"], "services": answer["services"]}, 21),
    ],
    ids=["services", "signature", "identity", "no base64", "unsigned"],
)
def test_an_altered_answer_is_refused(
    cluster_home: Path,
    run: Run,
    tmp_path: Path,
    change: Callable[[dict[str, Any]], dict[str, Any]],
    code: int,
) -> None:
    """Nothing of the node is made; the same file joins once nobody is between."""
    second = tmp_path / "two"
    with web_client.serve(cluster_home) as served:
        with relaying(served.port, change) as address:
            made_ = served.node.topology.make_bootstrap_file(
                "os:tests", BootstrapRequest("x", address)
            )
            Path("file").write_bytes(made_.text.reveal())
            found = run("initialize-tsm", second, "-b", "file")
            assert found.code == code, found.err
            assert not (second / "tabsvc").exists()
            assert nodes(run, cluster_home)["node2"]["state"] == "joining"
        own = own_keys.ensure(second, made_.file.installation_id, "node2", asks=True)
        answer = admission.ask(replace(made_.file, server=url(served)), own)
        assert answer.welcome is not None


def test_what_goes_over_the_wire_opens_for_the_node_alone(cluster_home: Path) -> None:
    """The sealed answer holds no password in the clear, and another key does not open it."""
    with web_client.serve(cluster_home) as served:
        file = served.node.topology.make_bootstrap_file("os:tests", BootstrapRequest("x")).file
        assert file.credential is not None
        keys, others = (node_keys.make(file.installation_id, "node2") for _ in range(2))
        request = admission_request.make(keys, file.credential, file.identity)
        sealed = served.node.topology.admit(request)
        assert sealed is not None
        assert file.signer is not None
        for password in (PASSWORD, ROLE_PASSWORD):
            assert password.encode() not in sealed.message
        with pytest.raises(IntegrityError):
            join.opened(sealed, request, others, file.signer)
        found = join.opened(sealed, request, keys, file.signer)
        assert found.passwords["zookeeper"].reveal() == PASSWORD.encode()
        assert found.passwords["postgres"].reveal() == ROLE_PASSWORD.encode()


def test_used_expired_and_foreign_files_are_refused(
    cluster_home: Path, run: Run, tmp_path: Path, pristine_node: Path
) -> None:
    with web_client.serve(cluster_home) as served:
        file = make(served, run)
        assert run("initialize-tsm", tmp_path / "two", "-b", str(file)).code == 0
        again = run("initialize-tsm", tmp_path / "three", "-b", str(file))
        assert again.code == 3
        assert "it admits a node once" in again.err
        clock = FixedClock(SystemClock().now() - timedelta(minutes=180))
        with closing(Node(served.node.paths, clock)) as earlier:
            late = earlier.topology.make_bootstrap_file("os:tests", BootstrapRequest("x"))
        Path("late").write_bytes(late.text.reveal())
        expired = run("initialize-tsm", tmp_path / "three", "-b", "late")
        assert expired.code == 21
        assert "expired at" in expired.err
        create.create_node(str(tmp_path / "other"), "admin", SecretBytes(b"correct horse battery"))
        with closing(opening.open_node(str(tmp_path / "other"))) as other:
            strange = other.topology.make_bootstrap_file(
                "os:tests", BootstrapRequest("x", url(served))
            )
        Path("strange").write_bytes(strange.text.reveal())
        foreign = run("initialize-tsm", tmp_path / "three", "-b", "strange")
        assert foreign.code == 3
        assert "of another installation" in foreign.err or "nobody knows" in foreign.err
    assert set(nodes(run, cluster_home)) == {"node1", "node2"}
    assert not (tmp_path / "three" / "tabsvc").exists()


def test_two_nodes_join_at_once(cluster_home: Path, run: Run, tmp_path: Path) -> None:
    """Each gets an id of its own, and no change of one is lost by that of the other."""
    with web_client.serve(cluster_home) as served:
        files = [
            served.node.topology.make_bootstrap_file(
                "os:tests", BootstrapRequest("x", url(served))
            ).file
            for _ in range(2)
        ]

        def come(file: BootstrapFile) -> str:
            place = tmp_path / file.node_id
            waiting = create.prepare_node(str(place), file, admission.ask)
            return joining.join(place, waiting, OwnPaths(), lambda _: None).cause

        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(come, files)) == ["", ""]
    found = nodes(run, cluster_home)
    assert {name: one["state"] for name, one in found.items()} == {
        "node1": "active",
        "node2": "active",
        "node3": "active",
    }
    assert len({one["fingerprint"] for one in found.values()}) == 3


def test_a_node_that_nobody_answered_asks_again(
    cluster_home: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was prepared, with its keys and its credential; the same command goes on."""
    second = tmp_path / "two"
    with web_client.serve(cluster_home) as served:
        file = make(served, run)
        with monkeypatch.context() as patched:
            patched.setattr(admission, "_answered", lambda *_: None)
            said_ = run("initialize-tsm", second, "-b", str(file))
        assert said_.code == 0, said_.err
        assert "not admitted by anybody yet" in said_.err
        assert run("strongroom", second, "status").out == "Status: PREPARED\n"
        said_ = run("initialize-tsm", second, "-b", str(file))
        assert said_.code == 0, said_.err
        assert "State: active" in said_.out
    assert nodes(run, second)["node2"]["state"] == "active"


def test_a_request_with_other_keys_than_the_registered_ones_is_refused(cluster_home: Path) -> None:
    """Nor is one for a node that was left out meanwhile."""
    with web_client.serve(cluster_home) as served:
        topology = served.node.topology
        file = topology.make_bootstrap_file("os:tests", BootstrapRequest("x")).file
        assert file.credential is not None
        keys, others = (node_keys.make(file.installation_id, "node2") for _ in range(2))
        registered = RegisteredNode(
            "node2", others.public, NodeState.JOINING, "2026-11-30T00:00:00Z"
        )
        name = registry.PREFIX + "node2"
        served.node.coordinator.put({name: Change(registered.serialize(), 0)})
        request = admission_request.make(keys, file.credential, file.identity)
        with pytest.raises(AuthenticationError, match="node2 is registered with other keys"):
            topology.admit(request)
        served.node.peers.leave_out("os:tests", ["node2"])
        request = admission_request.make(others, file.credential, file.identity)
        with pytest.raises(AuthenticationError, match="node2 is left out"):
            topology.admit(request)


def test_a_node_without_an_entry_is_not_made_active(
    cluster_home: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = tmp_path / "two"
    with web_client.serve(cluster_home) as served:
        file = make(served, run)
        with monkeypatch.context() as patched:
            patched.setattr(JoinService, "tell", killed)
            with pytest.raises(KilledError):
                run("initialize-tsm", second, "-b", str(file))
        coordinator, name = served.node.coordinator, registry.PREFIX + "node2"
        coordinator.put({name: Change(None, coordinator.version(name))})
    said_ = run("initialize-tsm", second, "-b", str(file))
    assert said_.code == 7
    assert "node2 is not registered" in said_.err
    prepared.forget(DataPaths(second))
    said_ = run("strongroom", second, "serve", "--port", "0")
    assert said_.code == 7
    assert "node2 is not among the nodes of the installation" in said_.err


def test_every_node_admits_further_ones(cluster_home: Path, run: Run, tmp_path: Path) -> None:
    second = tmp_path / "two"
    with web_client.serve(cluster_home) as served:
        joined(served, run, second)
    with web_client.serve(second) as two:
        joined(two, run, tmp_path / "three")
    assert set(nodes(run, cluster_home)) == {"node1", "node2", "node3"}


# ---- preflight -----------------------------------------------------------------------------------


def test_a_node_whose_preflight_fails_stays_joining_with_its_cause(
    cluster_home: Path, run: Run, tmp_path: Path, services: ClusterServices
) -> None:
    """It says so itself, under its signature; once the cause is gone the same command goes on."""
    second, wrong = tmp_path / "two", services.ensemble.folder / "ca.pem"
    with web_client.serve(cluster_home) as served:
        file = make(served, run)
        said_ = run("initialize-tsm", second, "-b", str(file), "--postgres-ca", str(wrong))
    assert said_.code == 7
    assert "node2 is joining and not active: postgres" in said_.err
    assert "it goes on from here" in said_.err
    found = nodes(run, cluster_home)["node2"]
    assert found["state"] == "joining"
    assert found["cause"].startswith("postgres")
    shown = run("tsm", cluster_home, "topology", "list-nodes", "-v").out
    assert f"  State: joining\n  Since: {found['since']}\n" in shown
    assert f"  Cause: {found['cause']}\n" in shown
    state = json.loads(run("strongroom", second, "status", "--json").out)
    assert (state["status"], state["cause"]) == ("JOINING", found["cause"])
    right = str(services.postgres.ca_file)
    # the first node need not be there any more: everything is known
    said_ = run("initialize-tsm", second, "-b", str(file), "--postgres-ca", right)
    assert said_.code == 0, said_.err
    found = nodes(run, cluster_home)["node2"]
    assert (found["state"], found["cause"]) == ("active", "")


def test_a_node_that_reaches_no_zookeeper_says_it_here(
    cluster_home: Path, run: Run, tmp_path: Path, services: ClusterServices
) -> None:
    second, none = tmp_path / "two", tmp_path / "none.pem"
    with web_client.serve(cluster_home) as served:
        file = make(served, run)
        said_ = run("initialize-tsm", second, "-b", str(file), "--zookeeper-certificate", str(none))
    assert said_.code == 7
    assert "none.pem" in said_.err
    assert nodes(run, cluster_home)["node2"]["cause"] == ""
    assert "none.pem" in run("strongroom", second, "status").err
    folder = services.ensemble.folder
    options = ["--zookeeper-certificate", str(folder / "client.pem")]
    options += ["--zookeeper-ca", str(folder / "ca.pem")]
    said_ = run("initialize-tsm", second, "-b", str(file), *options)
    assert said_.code == 0, said_.err


def test_a_directory_goes_on_with_its_own_file_only(
    cluster_home: Path, run: Run, tmp_path: Path
) -> None:
    second = tmp_path / "two"
    with web_client.serve(cluster_home) as served:
        file, other = make(served, run), make(served, run, "other")
        options = ("--postgres-ca", str(tmp_path / "none.pem"))
        assert run("initialize-tsm", second, "-b", str(file), *options).code == 7
        said_ = run("initialize-tsm", second, "-b", str(other))
    assert said_.code == 6
    assert "the file is for node3" in said_.err
