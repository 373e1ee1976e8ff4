"""From a node to the next: bootstrap files, prepared directories, admission (C-21, C-22; S2)."""

import json
import os
import stat
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from strongroom.clock import SystemClock
from strongroom.configuration_keys.keys import ConfigurationKeys
from strongroom.crypto import age
from strongroom.errors import StateError, StorageError
from strongroom.joining import bootstrap_file, own_keys, prepared
from strongroom.node import environment, joining
from strongroom.node.opening import Node
from strongroom.runtime.paths import DataPaths
from strongroom.services.nodes.admit import CREDENTIALS, BootstrapRequest
from strongroom.services.nodes.join import OwnPaths
from tests.contract.joining.commands import ACTOR, Tsm, make, told, url
from tests.support.web_client import Served

# ---- made ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077], ids=oct)
def test_a_file_is_private_and_an_event(node: Node, tsm: Tsm, umask: int) -> None:
    """C-21, S2: who, for which node, until when."""
    before = os.umask(umask)
    try:
        said = tsm("tsm", node.paths.root, "topology", "nodes", "get-bootstrap-file", "-f", "file")
    finally:
        os.umask(before)
    assert (said.code, said.out) == (0, "")
    assert "warning: file gets the master key in the clear" in said.err
    assert stat.S_IMODE(Path("file").stat().st_mode) == 0o600
    file = bootstrap_file.parse(Path("file").read_bytes()).claimed
    assert file.keystore == node.keystore.primary.read_bytes()
    assert file.expires_at - file.created_at == timedelta(minutes=120)
    assert file.credential is not None
    assert [event["id"] for event in node.events.read()][-2:] == [
        "KEY_MOVED",
        "BOOTSTRAP_FILE_MADE",
    ]
    (details,) = told(node, "BOOTSTRAP_FILE_MADE")
    assert details["credential_id"] == file.credential.id
    assert (details["node_id"], details["sealed"]) == ("node2", False)


def test_no_key_of_extracts_and_no_setting_is_in_it(node: Node, tsm: Tsm) -> None:
    """§1.3; and nothing of the credential's secret stays in the installation."""
    made = node.topology.make_bootstrap_file(ACTOR, BootstrapRequest("x"))
    text, document = made.text.reveal(), node.configuration.document()
    opened = node.kms_cache.opened()
    materials = [opened.rmk.material, *(mek.material for mek in opened.ring)]
    raw = [material.reveal() for material in materials]
    raw += [value.encode() for value in document.values.values()]
    assert not [value for value in raw if value in text]
    assert made.file.credential is not None
    secret = made.file.credential.seed.reveal()
    for path in node.paths.root.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert secret not in data
            assert secret.hex().encode() not in data


def test_without_a_credential(node: Node, tsm: Tsm) -> None:
    """`-nec`, or for the whole installation `features.PasswordlessBootstrapInit`."""
    words = ("topology", "nodes", "get-bootstrap-file", "-f", "file")
    said = tsm("tsm", node.paths.root, *words, "-nec")
    assert "it holds no credential" in said.err
    node.configuration.set("features.PasswordlessBootstrapInit", "false", actor=ACTOR)
    node.configuration.apply(actor=ACTOR)
    said = tsm("tsm", node.paths.root, *words)
    assert "it holds no credential" in said.err
    assert bootstrap_file.parse(Path("file").read_bytes()).claimed.credential is None
    assert node.coordinator.get(CREDENTIALS) is None


def test_a_credential_that_was_issued_lies_where_0_1_0_put_it(node: Node) -> None:
    """§3.2: a file that was made before an upgrade admits its node after it; the entry was renamed with its module."""
    node.topology.make_bootstrap_file(ACTOR, BootstrapRequest("x"))
    assert node.coordinator.get("topology/credentials") is not None


def test_the_life_of_a_file_is_a_setting(node: Node) -> None:
    key = "tabadmincontroller.auth.expiration.minutes"
    node.configuration.set(key, "5", actor=ACTOR)
    node.configuration.apply(actor=ACTOR)
    file = node.topology.make_bootstrap_file(ACTOR, BootstrapRequest("x")).file
    assert file.expires_at - file.created_at == timedelta(minutes=5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("-f", "-"), "keys are not printed"),
        (("-f", "none/file"), "there is no folder none"),
        (("-f", "file", "--server", "http://example.test"), "https"),
    ],
    ids=["stdout", "folder", "server"],
)
def test_what_is_not_made(node: Node, tsm: Tsm, options: tuple[str, ...], words: str) -> None:
    said = tsm("tsm", node.paths.root, "topology", "nodes", "get-bootstrap-file", *options)
    assert said.code == 2
    assert words in said.err
    assert told(node, "BOOTSTRAP_FILE_MADE") == []


def test_no_life_no_file(node: Node, tsm: Tsm) -> None:
    key = "tabadmincontroller.auth.expiration.minutes"
    node.configuration.set(key, "0", actor=ACTOR)
    node.configuration.apply(actor=ACTOR)
    said = tsm("tsm", node.paths.root, "topology", "nodes", "get-bootstrap-file", "-f", "file")
    assert said.code == 2
    assert f"{key} is 0" in said.err


# ---- used ----------------------------------------------------------------------------------------


def test_a_node_is_prepared_and_admitted(served: Served, tsm: Tsm, tmp_path: Path) -> None:
    """C-22: keystore replicas, configuration keys, its place, and nothing that the cluster has."""
    file, home = make(served, tsm), tmp_path / "two"
    said = tsm("initialize-tsm", home, "-b", str(file), "--accepteula")
    assert said.code == 0, said.err
    assert f"admitted by {url(served)}; it joins when the cluster comes" in said.err
    second = Node(DataPaths(home, "node2"), SystemClock())
    first = served.node
    assert {state.condition.value for state in second.keystore.verify()} == {"intact"}
    document = first.configuration.document()
    keys = ConfigurationKeys(second.keystore, second.keystore.load(), document.installation_id)
    key_id = document.configuration_key_id
    assert keys.open(key_id) == first.configuration.open_key(key_id)
    assert {path.name for path in (home / "tabsvc").iterdir()} == {
        "certificate-request.json",
        "config",
        "events",
        "keystore",
        "logs",
        "node.json",
        "prepared.json",
    }
    ids = [event["id"] for event in second.events.read()]
    assert ids == ["KEY_MOVED", "NODE_PREPARED"]
    (admitted,) = told(first, "NODE_ADMITTED")
    assert admitted["node_id"] == "node2"
    note = prepared.find(second.paths)
    assert note is not None
    assert note.is_admitted
    assert note.credential is None
    assert (home / "tabsvc/node.json").stat().st_mode & 0o777 == 0o600
    assert admitted["fingerprint"] == own_keys.read(second.paths).public.fingerprint


def test_a_prepared_node_says_so(served: Served, tsm: Tsm, tmp_path: Path) -> None:
    home = tmp_path / "two"
    tsm("initialize-tsm", home, "-b", str(make(served, tsm)))
    said = tsm("strongroom", home, "status")
    assert (said.code, said.out) == (0, "Status: PREPARED\n")
    assert "prepared as node2 of the installation" in said.err
    assert "it joins when the cluster comes" in said.err
    listed = json.loads(tsm("tsm", home, "status", "--json").out)
    assert (listed["status"], listed["node"], listed["admitted"]) == ("PREPARED", "node2", True)
    said = tsm("tsm", home, "configuration", "list")
    assert said.code == 7
    assert "is prepared as node2" in said.err


def test_everything_of_a_prepared_node_is_private(served: Served, tsm: Tsm, tmp_path: Path) -> None:
    """S2: the modes of a node, whatever the umask."""
    file_modes = environment.installation_file_modes()
    for umask in (0o000, 0o022, 0o077):
        home, file = tmp_path / oct(umask), make(served, tsm)
        before = os.umask(umask)
        try:
            assert tsm("initialize-tsm", home, "-b", str(file)).code == 0
        finally:
            os.umask(before)
        for path in [home, *home.rglob("*")]:
            wanted = file_modes.folder_mode if path.is_dir() else file_modes.file_mode
            assert stat.S_IMODE(path.lstat().st_mode) in {wanted, 0o700, 0o600}, path


def test_a_file_comes_sealed_and_through_a_pipe(served: Served, tsm: Tsm, tmp_path: Path) -> None:
    """C-21, C-22: read once, opened by an identity."""
    identity = age.new_identity()
    (tmp_path / "key").write_bytes(identity.text.reveal())
    file = make(served, tsm, "file", "--recipient", identity.recipient)
    assert age.is_sealed(file.read_bytes())
    (made,) = told(served.node, "BOOTSTRAP_FILE_MADE")
    assert made["sealed"] is True
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    said = tsm("initialize-tsm", tmp_path / "two", "-b", str(file))
    assert said.code == 2
    assert "they are sealed with age; nothing was changed" in said.err
    writer = threading.Thread(target=pipe.write_bytes, args=(file.read_bytes(),))
    writer.start()
    said = tsm("initialize-tsm", tmp_path / "two", "-b", str(pipe), "--identity", "key")
    writer.join()
    assert said.code == 0, said.err


def test_nobody_answers(node: Node, tsm: Tsm, tmp_path: Path) -> None:
    """Prepared all the same, but not admitted: the credential is kept for joining, while it is valid."""
    made = node.topology.make_bootstrap_file(ACTOR, BootstrapRequest("x", "http://127.0.0.1:1"))
    Path("file").write_bytes(made.text.reveal())
    home = tmp_path / "two"
    said = tsm("initialize-tsm", home, "-b", "file")
    assert said.code == 0
    assert "not admitted by anybody yet" in said.err
    note = prepared.find(DataPaths(home))
    assert note is not None
    assert note.credential == made.file.credential
    assert "seed" not in repr(note)
    assert "not admitted yet" in tsm("strongroom", home, "status").err


def test_a_node_that_an_earlier_version_prepared_is_known(
    node: Node, tsm: Tsm, tmp_path: Path
) -> None:
    """Its credential, a secret that would be sent, is taken nowhere any more; what it is, is still told."""
    made = node.topology.make_bootstrap_file(ACTOR, BootstrapRequest("x"))
    Path("file").write_bytes(made.text.reveal())
    home = tmp_path / "two"
    tsm("initialize-tsm", home, "-b", "file")
    path = home / "tabsvc/prepared.json"
    members = json.loads(path.read_bytes())
    members["credential"] = {"id": members["credential"]["id"], "secret": "AAAA"}
    path.write_text(json.dumps(members | {"format": "strongroom-prepared-1", "request_key": "AA"}))
    assert "not admitted yet" in tsm("strongroom", home, "status").err
    note = prepared.find(DataPaths(home))
    assert note is not None
    assert note.credential is None


def test_a_prepared_node_of_a_single_one_may_ask_again(
    served: Served, tsm: Tsm, tmp_path: Path
) -> None:
    """The answer is the same, and the node waits for a cluster."""
    home, file = tmp_path / "two", make(served, tsm)
    assert tsm("initialize-tsm", home, "-b", str(file)).code == 0
    said = tsm("initialize-tsm", home, "-b", str(file))
    assert said.code == 0, said.err
    assert "it joins when the cluster comes" in said.err
    assert [one["again"] for one in told(served.node, "NODE_ADMITTED")] == [False, True]
    said = tsm("tsm", served.node.paths.root, "topology", "list-nodes", "-v")
    assert said.out.startswith("node1\n  tabadmincontroller\n")


def test_a_node_that_was_told_nothing_cannot_join(served: Served, tsm: Tsm, tmp_path: Path) -> None:
    home = tmp_path / "two"
    assert tsm("initialize-tsm", home, "-b", str(make(served, tsm))).code == 0
    waiting = prepared.find(DataPaths(home))
    assert waiting is not None
    with pytest.raises(StateError, match="was not told where its services are"):
        joining.join(home, waiting, OwnPaths(), lambda _: None)


def test_a_record_that_cannot_be_removed_says_so(tmp_path: Path) -> None:
    (tmp_path / "tabsvc/prepared.json").mkdir(parents=True)
    with pytest.raises(StorageError, match="cannot remove"):
        prepared.forget(DataPaths(tmp_path))
