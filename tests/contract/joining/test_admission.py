"""Strangers at the door of new nodes, and nodes that ask twice (bootstrap-file.md §3.5, §3.6, §4; S16)."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from strongroom import canonical, ids
from strongroom.cli.node import admission as asking
from strongroom.clock import FixedClock, SystemClock
from strongroom.coordination.base import Change
from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import AuthenticationError, StorageError
from strongroom.joining import admission_request, bootstrap_file, own_keys, prepared
from strongroom.joining.bootstrap_file import BootstrapFile, Credential
from strongroom.joining.node_keys import NodeKeys
from strongroom.node import create
from strongroom.node.opening import Node
from strongroom.runtime.paths import DataPaths
from strongroom.services.nodes import admit as service
from strongroom.services.nodes.admit import BootstrapRequest
from tests.contract.joining.commands import ACTOR, Tsm, make, nothing_there, own, told, url
from tests.support.web_client import Served


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(SystemClock().now())


@pytest.fixture
def timed(node_dir: Path, clock: FixedClock) -> Iterator[Node]:
    """A node whose time stands still until a test moves it."""
    node = Node(DataPaths(node_dir), clock)
    yield node
    node.close()


def made(node: Node) -> BootstrapFile:
    return node.topology.make_bootstrap_file(ACTOR, BootstrapRequest("x")).file


def credential_of(file: BootstrapFile) -> Credential:
    assert file.credential is not None
    return file.credential


def ask(node: Node, file: BootstrapFile, credential: Credential, number: int = 0) -> None:
    """Ask to be let in, past the network."""
    node.topology.admit(admission_request.make(own(file, number), credential, file.identity))


def refuse(node: Node, file: BootstrapFile, credential: Credential, words: str) -> None:
    with pytest.raises(AuthenticationError, match=words):
        ask(node, file, credential)


def stranger() -> Credential:
    return Credential(ids.new_id(), rng.new_key())


def text_of(file: BootstrapFile, credential: Credential, number: int = 0) -> bytes:
    request = admission_request.make(own(file, number), credential, file.identity)
    return admission_request.serialize(request)


def post(port: int, body: bytes) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/tsm/nodes", body)
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    return response.status, answer


# ---- strangers -----------------------------------------------------------------------------------


def test_strangers_do_not_fill_the_log(served: Served) -> None:
    """§3.6: each refusal used to be an event, synced, under the lock, with the keystore opened."""
    file, began = made(served.node), time.monotonic()
    for _ in range(40):
        status, answer = post(served.port, text_of(file, stranger()))
        assert (status, answer["error"]) == (401, "nobody knows this credential")
    minutes = (time.monotonic() - began) / 60
    assert 1 <= len(told(served.node, "NODE_REFUSED")) <= 2 + minutes


def test_strangers_take_no_lock_and_open_no_key(served: Served) -> None:
    """§3.6: neither waits for another command, nor needs the keystore."""
    file = made(served.node)
    served.node.keystore.primary.rename(served.node.keystore.primary.with_name("away"))
    with served.node.coordinator.lock("topology", wait_s=1):
        status, answer = post(served.port, text_of(file, stranger()))
    assert (status, answer["error"]) == (401, "nobody knows this credential")


def test_a_lost_answer_is_given_again(served: Served) -> None:
    """§3.5: the same request gets the same admission; one with other keys does not."""
    file = made(served.node)
    body = text_of(file, credential_of(file))
    assert post(served.port, body) == (200, {"node_id": "node2"})
    assert post(served.port, body) == (200, {"node_id": "node2"})
    status, answer = post(served.port, text_of(file, credential_of(file), 1))
    assert status == 401
    assert "it admits a node once" in answer["error"]
    assert [one["again"] for one in told(served.node, "NODE_ADMITTED")] == [False, True]


def test_the_next_event_counts_what_was_held_back(timed: Node, clock: FixedClock) -> None:
    """§3.6: one in a minute, whoever it is."""
    file = made(timed)
    for _ in range(3):
        refuse(timed, file, stranger(), "nobody knows")
    clock.moment += timedelta(seconds=59)
    refuse(timed, file, stranger(), "nobody knows")
    clock.moment += timedelta(seconds=1)
    last = stranger()
    refuse(timed, file, last, "nobody knows")
    refused = told(timed, "NODE_REFUSED")
    assert [one["held_back"] for one in refused] == [0, 3]
    assert refused[1]["credential_id"] == last.id


def test_a_clock_that_is_set_back_silences_nobody(timed: Node, clock: FixedClock) -> None:
    file = made(timed)
    refuse(timed, file, stranger(), "nobody knows")
    clock.moment -= timedelta(hours=1)
    refuse(timed, file, stranger(), "nobody knows")
    assert len(told(timed, "NODE_REFUSED")) == 2


def test_wrong_signatures_exhaust_a_credential(timed: Node, clock: FixedClock) -> None:
    """§3.6: five events, then it is a stranger's; only who has its key is told so."""
    file = made(timed)
    ours = credential_of(file)
    for _ in range(5):
        refuse(timed, file, Credential(ours.id, rng.new_key()), "nobody knows this credential")
    assert [one["held_back"] for one in told(timed, "NODE_REFUSED")] == [0] * 5
    for _ in range(3):
        refuse(timed, file, Credential(ours.id, rng.new_key()), "nobody knows this credential")
    refuse(timed, file, ours, "was refused 5 times: it is exhausted")
    clock.moment += timedelta(minutes=1)
    refuse(timed, file, ours, "was refused 5 times: it is exhausted")
    assert [one["held_back"] for one in told(timed, "NODE_REFUSED")] == [0] * 6 + [3]
    assert told(timed, "NODE_ADMITTED") == []
    other = made(timed)
    ask(timed, other, credential_of(other))


def test_a_few_wrong_signatures_void_nothing(timed: Node) -> None:
    """§3.6: four are refused, the right one admits."""
    file = made(timed)
    for _ in range(4):
        wrong = Credential(credential_of(file).id, rng.new_key())
        refuse(timed, file, wrong, "nobody knows this credential")
    ask(timed, file, credential_of(file))


def test_many_at_once_have_no_more_tries(timed: Node) -> None:
    """§3.6: those that wait for the lock while others exhaust the credential count as strangers."""
    file = made(timed)

    def guess(_: int) -> None:
        wrong = Credential(credential_of(file).id, rng.new_key())
        refuse(timed, file, wrong, "nobody knows this credential")

    with ThreadPoolExecutor(12) as pool, timed.coordinator.lock("topology", wait_s=1):
        guesses = [pool.submit(guess, number) for number in range(12)]
    for one in guesses:
        one.result()
    assert len(told(timed, "NODE_REFUSED")) == 6


def test_an_exhausted_credential_repeats_no_admission(timed: Node) -> None:
    """§3.6: also replays of a used file have their end."""
    file = made(timed)
    ask(timed, file, credential_of(file))
    for _ in range(5):
        with pytest.raises(AuthenticationError, match="it admits a node once"):
            ask(timed, file, credential_of(file), 1)
    refuse(timed, file, credential_of(file), "it is exhausted")


def test_an_admission_is_repeated_as_long_as_the_credential_lives(
    timed: Node, clock: FixedClock
) -> None:
    """§3.5"""
    file = made(timed)
    ask(timed, file, credential_of(file))
    clock.moment = file.expires_at - timedelta(seconds=1)
    ask(timed, file, credential_of(file))
    clock.moment = file.expires_at
    refuse(timed, file, credential_of(file), "expired at")


def test_a_wrong_signature_opens_no_key(timed: Node) -> None:
    """§3.6: it is refused before the keystore is needed."""
    file = made(timed)
    timed.keystore.primary.rename(timed.keystore.primary.with_name("away"))
    wrong = Credential(credential_of(file).id, rng.new_key())
    refuse(timed, file, wrong, "nobody knows this credential")


def test_who_holds_the_lock_is_told_to_nobody(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "LOCK_WAIT_S", 0.05)
    file = made(served.node)
    with served.node.coordinator.lock("topology", wait_s=1):
        status, answer = post(served.port, text_of(file, credential_of(file)))
    assert status == 409
    assert "cannot do this now" in answer["error"]
    assert "process" not in json.dumps(answer)


# ---- lost answers --------------------------------------------------------------------------------


@contextmanager
def losing(port: int, answers: int) -> Iterator[str]:
    """A way to a server on which the first answers get lost."""

    def carry(listener: socket.socket) -> None:
        lost = 0
        while True:
            client, _ = listener.accept()
            with client, socket.create_connection(("127.0.0.1", port)) as server:
                asked = client.recv(1 << 16)
                if not asked:
                    return
                while b"request_key" not in asked:
                    asked += client.recv(1 << 16)
                server.sendall(asked)
                answer = server.recv(1 << 16)
                while not answer.endswith(b"}"):
                    answer += server.recv(1 << 16)
                if lost == answers:
                    client.sendall(answer)
                lost = min(lost + 1, answers)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=carry, args=(listener,))
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        socket.create_connection(listener.getsockname()).close()
        thread.join()


def test_an_answer_that_is_lost_is_asked_for_again(
    served: Served, tsm: Tsm, tmp_path: Path
) -> None:
    with losing(served.port, 1) as address:
        bootstrap = served.node.topology.make_bootstrap_file(ACTOR, BootstrapRequest("x", address))
        Path("file").write_bytes(bootstrap.text.reveal())
        said = tsm("initialize-tsm", tmp_path / "two", "-b", "file")
    assert said.code == 0, said.err
    assert f"admitted by {address}" in said.err
    assert [one["again"] for one in told(served.node, "NODE_ADMITTED")] == [False, True]


def test_a_node_whose_answers_are_lost_keeps_what_it_needs(
    served: Served, tsm: Tsm, tmp_path: Path
) -> None:
    """It does not know that it was admitted: credential and keys stay, and are good for the same admission."""
    home = tmp_path / "two"
    with losing(served.port, 2) as address:
        bootstrap = served.node.topology.make_bootstrap_file(ACTOR, BootstrapRequest("x", address))
        Path("file").write_bytes(bootstrap.text.reveal())
        said = tsm("initialize-tsm", home, "-b", "file")
        assert "not admitted by anybody yet" in said.err
        note = prepared.find(DataPaths(home))
        assert note is not None
        assert note.credential == bootstrap.file.credential
        assert asking.ask(bootstrap.file, own_keys.read(DataPaths(home)))
    assert [path.name for path in home.iterdir()] == ["tabsvc"]


def test_a_command_that_is_broken_off_behind_its_admission_runs_again(
    served: Served, tsm: Tsm, tmp_path: Path
) -> None:
    """Its file used to be spent: the keys outlive what was built aside."""
    home, path = tmp_path / "two", make(served, tsm)
    file = bootstrap_file.parse(path.read_bytes()).claimed

    def broken_off(file: BootstrapFile, own: NodeKeys) -> bool:
        assert asking.ask(file, own)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        create.prepare_node(str(home), file, broken_off)
    assert not (home / "tabsvc").exists()
    said = tsm("initialize-tsm", tmp_path / "three", "-b", str(path))
    assert said.code == 3
    assert nothing_there(tmp_path / "three")
    said = tsm("initialize-tsm", home, "-b", str(path))
    assert said.code == 0, said.err
    assert f"admitted by {url(served)}" in said.err
    assert [one.name for one in home.iterdir()] == ["tabsvc"]


@pytest.mark.parametrize("left", [b"", b"cut"], ids=["empty", "cut"])
def test_damaged_keys_are_made_anew(tmp_path: Path, left: bytes) -> None:
    """They are on the disk before anybody is asked: damaged ones were never sent."""
    installation = ids.new_id()
    keys = own_keys.ensure(tmp_path, installation, "node2").public
    assert own_keys.ensure(tmp_path, installation, "node2").public == keys
    path = tmp_path / own_keys.FOLDER / "node.json"
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(left)
    assert own_keys.ensure(tmp_path, installation, "node2").public != keys
    path.unlink()
    path.mkdir()
    with pytest.raises(StorageError, match=r"cannot read .*node\.json"):
        own_keys.ensure(tmp_path, installation, "node2")


def test_another_file_gets_other_keys(tmp_path: Path) -> None:
    """A directory that was tried with one file may be used with one for another node, or of another installation."""
    installation = ids.new_id()
    first = own_keys.ensure(tmp_path, installation, "node2").public
    second = own_keys.ensure(tmp_path, installation, "node3").public
    third = own_keys.ensure(tmp_path, ids.new_id(), "node3").public
    assert len({first, second, third}) == 3


def test_a_node_without_its_keys_says_so(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"node\.json is not there"):
        own_keys.read(DataPaths(tmp_path))


# ---- the request is bound to what it asks for (X16) ------------------------------------------------


def test_what_an_eavesdropper_has_admits_nobody_else(served: Served) -> None:
    """X16: the credential's secret was on the wire, and whoever sat on the port was admitted in the node's place."""
    file = made(served.node)
    seen = json.loads(text_of(file, credential_of(file)))
    seed = credential_of(file).seed.reveal()
    assert seed not in json.dumps(seen).encode()
    theirs = json.loads(text_of(file, stranger(), 1))
    for name in ("signing_key", "sealing_key", "request_key"):
        status, answer = post(served.port, json.dumps(seen | {name: theirs[name]}).encode())
        assert (status, answer["error"]) == (401, "nobody knows this credential"), name
    assert told(served.node, "NODE_ADMITTED") == []
    assert post(served.port, json.dumps(seen).encode()) == (200, {"node_id": "node2"})
    (admitted,) = told(served.node, "NODE_ADMITTED")
    assert admitted["fingerprint"] == own(file).public.fingerprint


def test_whoever_names_another_s_key_is_refused(timed: Node) -> None:
    """The node shows that it has the private half: a credential's holder cannot bring in a key that is somebody else's."""
    file = made(timed)
    ours, credential = own(file), credential_of(file)
    mixed = NodeKeys(
        (file.installation_id, file.node_id),
        SecretBytes(b"x" * 32),
        SecretBytes(b"y" * 32),
        SecretBytes(b"z" * 32),
    )
    mixed.public = ours.public
    request = admission_request.make(mixed, credential, file.identity)
    with pytest.raises(AuthenticationError, match="not signed by the node's own key"):
        timed.topology.admit(request)
    (refused,) = told(timed, "NODE_REFUSED")
    assert "own key" in refused["reason"]


def test_a_file_from_before_the_identity_was_renewed(timed: Node) -> None:
    """The request is for the identity that the file names."""
    file = made(timed)
    timed.identity.renew(ACTOR)
    refuse(timed, file, credential_of(file), "before the identity of the installation was renewed")
    other = made(timed)
    ask(timed, other, credential_of(other))


def test_a_credential_of_an_earlier_version_is_refused_in_words(timed: Node) -> None:
    """§5.2: it is known, but nothing that could be checked is known of it; and its entry is brought to the new form."""
    file = made(timed)
    credential = credential_of(file)
    entry = timed.coordinator.get(service.CREDENTIALS)
    assert entry is not None
    row = json.loads(entry.value)["credentials"][0]
    kept = {name: value for name, value in row.items() if name not in {"public", "identity"}}
    used = kept | {"id": ids.new_id(), "node_id": "node3", "used_at": row["expires_at"]}
    rows = [one | {"digest": "ab" * 32} for one in (kept, used)]
    first = {"format": "strongroom-credentials-1", "credentials": rows}
    change = Change(canonical.dumps(first), entry.version)
    timed.coordinator.put({service.CREDENTIALS: change})
    refuse(timed, file, credential, "was made by an earlier version")
    assert [one["held_back"] for one in told(timed, "NODE_REFUSED")] == [0]
    other = made(timed)
    assert other.node_id == "node4"
    ask(timed, other, credential_of(other))
    entry = timed.coordinator.get(service.CREDENTIALS)
    assert entry is not None
    assert b"strongroom-credentials-2" in entry.value
    assert b"digest" not in entry.value
    refuse(timed, file, credential, "was made by an earlier version")


def test_a_request_of_an_earlier_version_is_refused_in_words(served: Served) -> None:
    members = {"installation_id": ids.new_id(), "node_id": "node2", "credential_id": ids.new_id()}
    body = json.dumps(members | {"secret": "AAAA", "request_key": "AAAA"}).encode()
    status, answer = post(served.port, body)
    assert status == 400
    assert "of an earlier version" in answer["error"]
    assert "new bootstrap file" in answer["hint"]


def test_a_first_node_may_take_the_place(tmp_path: Path) -> None:
    """What an attempt for a further node left is removed with all that was built aside."""
    own_keys.ensure(tmp_path, ids.new_id(), "node2")
    create.create_node(str(tmp_path), "admin", SecretBytes(b"correct horse battery"))
    assert [path.name for path in tmp_path.iterdir()] == ["tabsvc"]
