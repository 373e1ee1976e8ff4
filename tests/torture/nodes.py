"""Nodes for the torture tests: one to start from, and what must hold of it after any fault."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from strongroom.doors.http import upkeep
from strongroom.keystore.replicas import ReplicaCondition
from strongroom.node import opening
from strongroom.node.opening import Node
from strongroom.secrets import enc
from tests.support.servers import BIN
from tests.support.stored_forms import differing_files
from tests.torture.forks import Command, ForkServer

CANARY = b"a plaintext that must not stay anywhere: 7b1c4e0d9f2a"
PLAINTEXT = b"HyPe\x00 of the torture tests " + b"0123456789abcdef" * 40_000
_KNOWN = re.compile(
    r"""tabsvc/(
        config/\w+_0\.[\d.]+/(tabsvc\.yml|workgroup\.yml
            |tabsvc/keystores/(tableauserver\.jks|configuration_keys\.json)(\.(lost|replaced)-[\dTZ-]+)?)
        |keystore/password(\.lost-[\dTZ-]+)?
        |recovery/configuration_keys\.json(\.replaced-[\dTZ-]+)?
        |(repository|coordination)/\w+\.db(\.before-cluster)?(-wal|-shm)?
        |(addresses|certificate|certificate-request|node)\.json
        |authorities/(postgres|zookeeper)\.pem
        |zookeeper-client\.pem
        |coordination/(locks/[\w.-]+|[\w-]+\.lock)
        |events/node1\.(jsonl(\.torn-\d+-[0-9a-f]{8}|\.\d{8}T\d{6}Z(\.checkpoint)?)?|checkpoint|summary)
        |logs/[\w-]+\.log
        |extracts/.*
    )""",
    re.VERBOSE,
)


@contextmanager
def opened(home: Path) -> Iterator[Node]:
    """The node, in this process, until the end of the block."""
    node = opening.open_node(str(home))
    try:
        yield node
    finally:
        node.close()


def secrets_of(node: Node) -> dict[str, bytes]:
    """Every secret of the present configuration, opened."""
    document = node.configuration.document()
    names = [name for name, text in document.values.items() if enc.is_enc(text)]
    return {name: node.configuration.open_secret(name).reveal() for name in names}


def secrets_of_node(home: Path) -> dict[str, bytes]:
    """The same of a node that is not open."""
    with opened(home) as node:
        return secrets_of(node)


def check_opens(home: Path) -> dict[str, bytes]:
    """Right after the fault, with nothing mended: every key and secret opens, the chain of events holds."""
    with opened(home) as node:
        found = secrets_of(node)
        assert found
        status = node.kms_store.status()
        assert status.is_ok, status
        # a kill may leave the last lines unsigned; that is no change (findings R10)
        report = node.events.verify()
        assert not report.is_changed, report
        for state in node.keystore.verify():
            assert state.condition is not ReplicaCondition.UNUSABLE, state
    return found


def check_whole(home: Path) -> dict[str, bytes]:
    """After the command was run again and a server started: all replicas, projections and folders are tidy."""
    found = check_opens(home)
    with opened(home) as node:
        assert {state.condition for state in node.key_files.verify()} == {ReplicaCondition.INTACT}
        assert differing_files(node.configuration) == ()
        upkeep.at_start(node)
        upkeep.look_through_files(node)
        assert node.events.verify().is_whole
    strange = [
        name
        for path in home.rglob("*")
        if path.is_file() and not _KNOWN.fullmatch(name := path.relative_to(home).as_posix())
    ]
    assert strange == []
    check_no_canary(home)
    return found


def check_alone(home: Path) -> None:
    """Nothing but the node is in a new data directory.

    A kill behind the last rename may leave an empty folder, or the key of a request that was answered.
    """
    strange = {path for path in home.iterdir() if path.name != "tabsvc"}
    assert all(path.name.startswith(".init-") for path in strange), strange
    assert {left.name for path in strange for left in path.iterdir()} <= {"request.key"}


def project(home: Path) -> None:
    """What each start of the server does: rewrite the projections of the configuration."""
    with opened(home) as node:
        node.configuration.project()


def check_no_canary(folder: Path) -> None:
    """The canary stands in no file."""
    for path in folder.rglob("*"):
        if path.is_file() and CANARY in path.read_bytes():
            raise AssertionError(f"plaintext in {path.relative_to(folder)}")


def run(home: Path, *words: str | Path) -> str:
    """Run a command of the product on this node; it must succeed."""
    command = Command(
        [str(BIN / words[0]), "--data-dir", str(home), *map(str, words[1:])],
        home.parent,
        os.environ,
    )
    done = _warm_server().learn(command)
    assert done.code == 0, f"{words[:3]} ended with {done.code}: {done.err}"
    return done.out


@cache
def _warm_server() -> ForkServer:
    """One for all commands of this test process: it imports what each of them imported, once."""
    return ForkServer(os.environ)


def copy(source: Path, target: Path) -> Path:
    """A copy of a folder, as it is."""
    shutil.copytree(source, target, symlinks=True)
    return target
