"""`strongroom cluster check`: each link, and the cause of what is not as it must be (issue 11 B, matrix 11 and 16)."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from strongroom.coordination.zookeeper import probing
from strongroom.system.hosts import Endpoint
from tests.contract.cluster.test_enable import Said, command, enable
from tests.support.cluster_services import ClusterServices


def check(home: Path, services: ClusterServices, capsys: Said) -> tuple[int, list[dict[str, Any]]]:
    code = command(home, "cluster", "check", "--json", *services.options)
    said = json.loads(capsys.readouterr().out)
    assert said["ok"] == (code == 0)
    return code, said["checks"]


def bad(found: list[dict[str, Any]]) -> list[tuple[str, str, str, str]]:
    return [
        (one["link"], one["check"], one["detail"], one["hint"]) for one in found if not one["ok"]
    ]


def test_every_link_is_proved_before_and_after(
    node_dir: Path, services: ClusterServices, capsys: Said
) -> None:
    code, found = check(node_dir, services, capsys)
    assert code == 0, bad(found)
    told = {(one["link"].split()[0], one["check"]): one["detail"] for one in found}
    assert told.keys() == {
        *(("zookeeper", name) for name in ("name", "tls", "version", "plain port")),
        *(("zookeeper", name) for name in ("rights", "clock")),
        *(("postgres", name) for name in ("name", "tls", "database", "rights")),
        *(("postgres", name) for name in ("connections", "clock")),
    }
    assert "not there yet" in told["zookeeper", "rights"]
    assert len([one for one in found if one["check"] == "version"]) == 3
    assert "62 needed" in told["postgres", "connections"]
    assert enable(node_dir, services) == 0
    capsys.readouterr()
    assert command(node_dir, "cluster", "check") == 0
    said = capsys.readouterr().out
    assert "ERROR" not in said
    assert "zookeeper, owner: the tree belongs to 'tsm' alone" in said
    assert "the tree is there" in said


def test_a_single_node_is_told_what_to_name(node_dir: Path, capsys: Said) -> None:
    assert command(node_dir, "cluster", "check") == 7
    assert "its services are embedded" in capsys.readouterr().err


class Wrong(NamedTuple):
    """An option, its wrong word, and what is found."""

    option: str
    word: str
    link: str
    check: str
    words: str


@pytest.mark.parametrize(
    "wrong",
    [
        Wrong("zookeeper", "nosuch.invalid:1", "zookeeper nosuch.invalid:1", "name", "address"),
        Wrong("zookeeper", "localhost:1", "zookeeper localhost:1", "tls", "no connection"),
        Wrong("zookeeper_ca", "{strangers}/ca.pem", "zookeeper", "tls", "verify failed"),
        Wrong("zookeeper_certificate", "{strangers}/client.pem", "zookeeper", "tls", "alert"),
        Wrong("zookeeper_ca", "/nowhere/ca.pem", "zookeeper", "certificates", "cannot be read"),
    ],
    ids=lambda wrong: f"{wrong.option} {wrong.check}",
)
def test_what_is_wrong_with_zookeeper_is_named(
    wrong: Wrong, node_dir: Path, services: ClusterServices, capsys: Said
) -> None:
    strangers = services.ensemble.folder / "strangers"
    changed = services.with_changes(**{wrong.option: wrong.word.format(strangers=strangers)})
    code, found = check(node_dir, changed, capsys)
    assert code == 40
    link, name, detail, hint = bad(found)[0]
    assert link.startswith(wrong.link)
    assert name == wrong.check
    assert wrong.words in detail
    assert hint
    assert enable(node_dir, changed) == 40
    assert "nothing was changed" in capsys.readouterr().err


def test_a_server_of_another_name_is_named(
    node_dir: Path, services: ClusterServices, capsys: Said
) -> None:
    port = services.ensemble.servers[0].port
    code, found = check(node_dir, services.with_changes(zookeeper=f"127.0.0.2:{port}"), capsys)
    assert code == 40
    [(_, name, detail, hint)] = bad(found)
    # the server listens on one address of this machine only, or has no such name
    assert name == "tls"
    assert "mismatch" in detail or "refused" in detail
    assert hint


def test_a_tree_of_another_password_is_named(
    node_dir: Path, services: ClusterServices, capsys: Said
) -> None:
    assert enable(node_dir, services) == 0
    other = services.folder / "another"
    other.write_text("another password\n")
    other.chmod(0o600)
    capsys.readouterr()
    code, found = check(node_dir, services.with_changes(zookeeper_password_file=str(other)), capsys)
    assert code == 40
    [(link, name, detail, _)] = bad(found)
    assert (link, name) == ("zookeeper", "rights")
    assert "NoAuth" in detail


def test_a_tree_that_others_may_read_is_named(
    node_dir: Path, services: ClusterServices, capsys: Said
) -> None:
    from kazoo.security import OPEN_ACL_UNSAFE

    from strongroom.node import opening

    assert enable(node_dir, services) == 0
    node = opening.open_node(str(node_dir))
    installation = node.claimed_installation()
    node.close()
    with services.ensemble.judge() as client:
        client.set_acls(f"/strongroom/{installation}", OPEN_ACL_UNSAFE)
    capsys.readouterr()
    code, found = check(node_dir, services, capsys)
    assert code == 40
    assert [one[1] for one in bad(found)] == ["owner"]


class Altered(NamedTuple):
    """What an administrator does to the database, how it is undone, and what is found."""

    statement: str
    undo: str
    check: str
    words: str


@pytest.mark.parametrize(
    "altered",
    [
        Altered(
            "ALTER ROLE {0} CONNECTION LIMIT 20",
            "ALTER ROLE {0} CONNECTION LIMIT -1",
            "connections",
            "20 allowed",
        ),
        Altered(
            "ALTER DATABASE {0} OWNER TO postgres",
            "ALTER DATABASE {0} OWNER TO {0}",
            "rights",
            "may not create schemas",
        ),
        Altered(
            "ALTER DATABASE {0} SET default_transaction_read_only = on",
            "ALTER DATABASE {0} RESET default_transaction_read_only",
            "connection",
            "read-only",
        ),
        Altered(
            "ALTER DATABASE {0} SET synchronous_commit = off",
            "ALTER DATABASE {0} RESET synchronous_commit",
            "database",
            "synchronous_commit is off",
        ),
    ],
    ids=lambda altered: altered.words,
)
def test_what_is_wrong_with_the_database_is_named(
    altered: Altered, node_dir: Path, services: ClusterServices, capsys: Said
) -> None:
    services.postgres.run(altered.statement.format(services.database))
    try:
        code, found = check(node_dir, services, capsys)
    finally:
        services.postgres.run(altered.undo.format(services.database))
    assert code == 41
    [(link, name, detail, hint)] = bad(found)
    assert (link, name) == ("postgres", altered.check)
    assert altered.words in detail
    assert hint


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"postgres_password_file": "{folder}/zookeeper-password"}, "password authentication"),
        ({"postgres": "host=nosuch.invalid dbname=x user=y"}, "has no address"),
        ({"postgres": "host=localhost port=1 dbname=x user=y"}, "cannot be reached"),
    ],
)
def test_what_is_wrong_with_the_way_to_the_database_is_named(
    change: dict[str, str],
    words: str,
    node_dir: Path,
    services: ClusterServices,
    capsys: Said,
) -> None:
    changed = {name: word.format(folder=services.folder) for name, word in change.items()}
    code, found = check(node_dir, services.with_changes(**changed), capsys)
    assert code == 41
    [(_, _, detail, hint)] = bad(found)
    assert words in detail
    assert hint


def test_a_clock_that_differs_is_named() -> None:
    assert probing.clock("postgres", -2.0).is_ok
    found = probing.clock("postgres", 601.0)
    assert not found.is_ok
    assert "601.0 s" in found.detail
    assert "NTP" in found.hint


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """A server without TLS that answers whatever it is asked."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            taken, _ = server.accept()
            with taken:
                taken.recv(64)
                taken.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def test_a_port_without_tls_is_named() -> None:
    """Passwords of digest users would go over it as they are."""
    with answering(b"Zookeeper version: 3.8.0") as port:
        found = probing._plain("zookeeper", Endpoint("127.0.0.1", port))
    assert not found.is_ok
    assert f"port {port} answers without TLS" in found.detail
    with answering(b"something else") as port:
        assert probing._plain("zookeeper", Endpoint("127.0.0.1", port)).is_ok


@pytest.mark.parametrize(
    ("said", "is_ok", "words"),
    [
        (b"Zookeeper version: 3.8.0-11+deb12u2--1, built on", True, "ZooKeeper 3.8.0"),
        (b"Zookeeper version: 3.10.1-x, built on", True, "ZooKeeper 3.10.1"),
        (b"Zookeeper version: 3.4.13-x, built on", False, "3.4.13 is too old"),
        (b"This ZooKeeper instance is not currently serving requests", False, "no quorum"),
        (b"srvr is not executed because it is not in the whitelist.", False, "not tell"),
    ],
)
def test_the_version_of_a_server(said: bytes, is_ok: bool, words: str) -> None:
    found = probing._version("zookeeper", said)
    assert found.is_ok == is_ok
    assert words in found.detail
    assert bool(found.hint) != is_ok
