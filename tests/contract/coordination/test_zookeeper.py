"""What the coordinator over ZooKeeper has beside the port: sizes, access, members, watches, what is collected."""

import contextlib
import os
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from strongroom.coordination.base import Change, Versioned
from strongroom.coordination.zookeeper.coordinator import ZookeeperCoordinator
from strongroom.coordination.zookeeper.settings import Credentials
from strongroom.coordination.zookeeper.tree import MAX_MULTI_BYTES, MAX_VALUE_BYTES
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import CoordinationError, UsageError
from tests.conftest import Torture
from tests.contract.coordination.conftest import Lab
from tests.support.components.zookeeper_ensemble import (
    LIMITS,
    PASSWORD,
    record_lengths,
    toolkit,
    transaction_logs,
)

IMPATIENT = LIMITS._replace(read_s=1.5, put_s=2.0)
RECORD_BYTES = 512 * 1024


def tree_of(client: Any, path: str) -> dict[str, tuple[bytes, Any]]:
    """Every node below a path, with its bytes and its stat."""
    found = {path: client.get(path)}
    for name in client.get_children(path):
        found |= tree_of(client, f"{path}/{name}")
    return found


# ---------------------------------------------------------------- sizes


def test_a_document_of_eight_mebibytes(lab: Lab) -> None:
    """Matrix 9, E17: in chunks; as the previous document it costs nothing but an entry."""
    document, next_one = os.urandom(8 * 1024 * 1024), os.urandom(1 << 20)
    with lab.coordinator() as coordinator, lab.coordinator() as reader:
        coordinator.put({"config": Change(document, 0)})
        assert reader.get("config") == Versioned(document, 1)
        coordinator.put({"config": Change(next_one, 1), "config/previous": Change(document, 0)})
        assert reader.get("config/previous") == Versioned(document, 1)
        assert reader.get("config") == Versioned(next_one, 2)
    with lab.ensemble.judge() as client:
        nodes = tree_of(client, lab.root)
        blobs = client.get_children(f"{lab.root}/blob")
    assert len(blobs) == 2
    lengths = record_lengths(lab.ensemble.leader())
    assert 500_000 < max(lengths) < RECORD_BYTES
    assert not [one for one in lengths if MAX_MULTI_BYTES < one < 500_000]
    beside = [len(value) for path, (value, _) in nodes.items() if "/blob/" not in path]
    assert max(beside) < 200


def test_two_thousand_keys_and_a_long_certificate(lab: Lab) -> None:
    """E17: a store of 2,000 MEKs at about 1.5 KB each, and a chain of 200 KB, in one put with all other entries."""
    store, chain = os.urandom(3_000_000), os.urandom(200_000)
    small = {f"journal/rotation/{n}": Change(os.urandom(900), 0) for n in range(200)}
    with lab.coordinator() as coordinator:
        coordinator.put({"kms/store": Change(store, 0), "config": Change(chain, 0), **small})
        assert coordinator.get("kms/store") == Versioned(store, 1)
        assert coordinator.get("config") == Versioned(chain, 1)
        listed = coordinator.list("journal/rotation/")
    assert {key: one.value for key, one in listed.items()} == {
        key: change.value for key, change in small.items()
    }


@pytest.mark.cluster
def test_zookeepers_own_tool_reads_its_logs_and_no_record_is_too_long(
    lab: Lab, record_property: Callable[[str, object], None]
) -> None:
    """E17: TxnLogToolkit counts the records that we measure, and finds all checksums right."""
    store, chain = os.urandom(3_000_000), os.urandom(200_000)
    with lab.coordinator() as coordinator:
        for version in range(3):
            coordinator.put({"kms/store": Change(store, version), "config": Change(chain, version)})
    longest = 0
    for one in lab.ensemble.servers:
        one.component.kill()
        lengths = record_lengths(one)
        told = [toolkit(log) for log in transaction_logs(one)]
        assert sum(told) == len(lengths)
        longest = max(longest, *lengths)
    assert longest <= RECORD_BYTES
    record_property("torture", f"E17: the longest record has {longest} bytes")


def test_what_is_too_large_is_refused_before_it_is_sent(lab: Lab) -> None:
    """Matrix 9: ZooKeeper itself would cut the connection, as if an answer were lost."""
    with lab.coordinator() as coordinator:
        with pytest.raises(UsageError, match=str(MAX_VALUE_BYTES)):
            coordinator.put({"config": Change(bytes(MAX_VALUE_BYTES + 1), 0)})
        many = {f"topology/credentials/{n:064}": Change(b"x", 0) for n in range(1500)}
        with pytest.raises(UsageError, match=str(MAX_MULTI_BYTES)):
            coordinator.put(many)
        assert coordinator.list("topology/") == {}
        coordinator.put({"config": Change(b"still connected", 0)})


def test_servers_that_are_killed_bring_everything_back(lab: Lab, torture: Torture) -> None:
    """E17: each server in turn, and the one that comes back has the chunks; in a sample, one of them."""
    document = os.urandom(3 * 1024 * 1024)
    with lab.coordinator() as coordinator:
        coordinator.put({"config": Change(document, 0)})
    chosen = random.Random(torture.seed).choice(lab.ensemble.servers)
    for one in lab.ensemble.servers if torture.whole else [chosen]:
        one.component.kill()
        lab.ensemble.mend()
        with lab.coordinator(hosts=f"localhost:{one.port}") as back:
            assert back.get("config") == Versioned(document, 1)


# ---------------------------------------------------------------- access


def test_nobody_else_may_read_or_write(lab: Lab) -> None:
    """Another digest user, and a client that says none, see nothing, and no path holds what was put."""
    from kazoo.exceptions import NoAuthError

    with lab.coordinator() as coordinator:
        coordinator.put({"config": Change(b"canary-7d1f", 0)})
        with coordinator.lock("kms", wait_s=0), coordinator.alive():
            with lab.ensemble.judge() as client:
                nodes = tree_of(client, lab.root)
                for path in nodes:
                    acls, _ = client.get_acls(path)
                    assert [(one.id.scheme, one.id.id.partition(":")[0]) for one in acls] == [
                        ("digest", "tsm")
                    ], path
            assert not [path for path in nodes if "canary" in path or PASSWORD in path]
    with lab.ensemble.judge("stranger:guessed") as stranger, pytest.raises(NoAuthError):
        stranger.get(f"{lab.root}/kv/config")


def test_a_wrong_password_is_named(lab: Lab) -> None:
    with lab.coordinator() as coordinator:
        coordinator.put({"config": Change(b"x", 0)})
    wrong = lab.ensemble.settings(
        lab.root, lab.folder, credentials=lambda: Credentials.of(SecretBytes(b"another"))
    )
    with contextlib.closing(ZookeeperCoordinator(wrong)) as coordinator:
        with pytest.raises(CoordinationError, match="refused 'tsm': NoAuth") as caught:
            coordinator.get("config")
        assert "another" not in str(caught.value)
        with pytest.raises(CoordinationError, match="NoAuth"):
            coordinator.put({"config": Change(b"y", 1)})


def test_a_tree_that_is_not_there_is_named(lab: Lab) -> None:
    elsewhere = lab.ensemble.settings(f"{lab.root}/elsewhere", lab.folder)
    with (
        contextlib.closing(ZookeeperCoordinator(elsewhere)) as coordinator,
        pytest.raises(CoordinationError, match="NoNode"),
    ):
        coordinator.put({"config": Change(b"y", 0)})


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ("another authority", "certificate verify failed"),
        ("a stranger's certificate", "alert|unknown ca|certificate|Connection dropped|EOF|closed"),
        ("nobody there", "Connection refused"),
    ],
)
def test_why_a_connection_fails(lab: Lab, changed: str, named: str) -> None:
    """Matrix 11: exit code 40 in the limit of a read, with the cause, where kazoo only waits."""
    strangers = lab.ensemble.folder / "strangers"
    cases: dict[str, dict[str, Any]] = {
        "another authority": {"ca_file": strangers / "ca.pem"},
        "a stranger's certificate": {"certificate_file": strangers / "client.pem"},
        "nobody there": {"hosts": "localhost:9"},
    }
    settings = lab.ensemble.settings(lab.root, lab.folder, limits=IMPATIENT, **cases[changed])
    with contextlib.closing(ZookeeperCoordinator(settings)) as coordinator:
        began = time.monotonic()
        with pytest.raises(CoordinationError, match=named) as caught:
            coordinator.get("config")
        assert time.monotonic() - began < IMPATIENT.read_s + 1
        assert caught.value.exit_code == 40
        assert "zookeeper.md" in caught.value.hint


def test_a_server_with_another_name_is_refused(lab: Lab) -> None:
    """Matrix 11: its certificate is of the right authority; kazoo by itself would take it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(lab.ensemble.folder / "elsewhere.example.pem")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with contextlib.suppress(OSError):
                        context.wrap_socket(connection, server_side=True).close()

        thread = threading.Thread(target=serve)
        thread.start()
        hosts = f"localhost:{listener.getsockname()[1]}"
        settings = lab.ensemble.settings(lab.root, lab.folder, limits=IMPATIENT, hosts=hosts)
        with (
            contextlib.closing(ZookeeperCoordinator(settings)) as coordinator,
            pytest.raises(CoordinationError, match="Hostname mismatch"),
        ):
            coordinator.get("config")
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(30)


def test_the_systems_authorities_are_not_trusted(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """kazoo's own context would take a server whose authority only the environment names."""
    monkeypatch.setenv("SSL_CERT_FILE", str(lab.ensemble.folder / "ca.pem"))
    strangers = lab.ensemble.folder / "strangers" / "ca.pem"
    settings = lab.ensemble.settings(lab.root, lab.folder, limits=IMPATIENT, ca_file=strangers)
    with (
        contextlib.closing(ZookeeperCoordinator(settings)) as coordinator,
        pytest.raises(CoordinationError, match="certificate verify failed"),
    ):
        coordinator.get("config")


def test_there_is_no_plain_port(lab: Lab) -> None:
    """A server takes nothing but TLS 1.3 with a certificate of its own authority."""
    port = lab.ensemble.servers[0].port
    with socket.create_connection(("127.0.0.1", port), 5) as plain:
        plain.sendall(b"srvr")
        plain.settimeout(1)
        with contextlib.suppress(OSError):
            assert b"Mode" not in plain.recv(4096)
    context = ssl.create_default_context(cafile=str(lab.ensemble.folder / "ca.pem"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(lab.ensemble.folder / "client.pem")
    with (
        socket.create_connection(("127.0.0.1", port), 5) as plain,
        pytest.raises(OSError, match=r"alert|EOF|reset"),
        context.wrap_socket(plain, server_hostname="localhost"),
    ):
        pytest.fail("TLS 1.2 was taken")


def test_certificates_that_cannot_be_read(lab: Lab) -> None:
    settings = lab.ensemble.settings(lab.root, lab.folder, ca_file=Path("/nowhere/ca.pem"))
    with pytest.raises(CoordinationError, match=r"/nowhere/ca\.pem"):
        ZookeeperCoordinator(settings).get("config")


@pytest.mark.parametrize(
    "wrong", [{"hosts": "https://zk1"}, {"root": "strongroom"}, {"root": "/a/../b"}, {"root": "/"}]
)
def test_settings_that_make_no_sense(lab: Lab, wrong: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        lab.ensemble.settings(wrong.pop("root", lab.root), lab.folder, **wrong)
