"""What a backup has of each node of a cluster, and what it says of one that gave nothing (docs/format/backup.md 6; b14)."""

import resource
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from strongroom.backup.nodes import DISKS, SHARED, NodeShare, NodesInBackup
from strongroom.clock import SystemClock
from strongroom.errors import LinkError, NotFoundError, StorageError
from strongroom.eventlog.events import key_events
from strongroom.eventlog.jsonl import JsonlEventLog
from strongroom.eventlog.notes import LogSigner, parse_verifier
from strongroom.joining import node_keys, registry
from strongroom.joining.node_reports import KeysSeen
from strongroom.joining.registry import NodeState, RegisteredNode
from strongroom.services.backups import gather
from strongroom.services.backups.gather import Gathered, GatherPorts
from strongroom.services.backups.own_part import OwnPart, Part, PartSeen, Write
from strongroom.services.keys import log_signing
from strongroom.system.compat import override

INSTALLATION = "6f1f5a86-41fc-4f0e-9d5a-6e1f2ad7f001"
AT = "2026-11-30T08:00:00Z"
KEYS = KeysSeen("6f1f5a86-41fc-4f0e-9d5a-6e1f2ad7f009", 3)
NAMES = ("node1", "node2")
NODE_KEYS = {name: node_keys.make(INSTALLATION, name) for name in NAMES}


def registered(name: str) -> RegisteredNode:
    keys = NODE_KEYS[name]
    node = RegisteredNode(name, keys.public, NodeState.JOINING, AT)
    return node.reported(INSTALLATION, keys, registry.Report(AT, ""))


def log_of(name: str, folder: Path) -> JsonlEventLog:
    """An event log of ten events, signed by the node's own key."""
    key = NODE_KEYS[name].log
    assert key is not None
    signer = LogSigner(log_signing.origin(INSTALLATION, name), key.signing)
    path = folder / name / f"{name}.jsonl"
    path.parent.mkdir()
    log = JsonlEventLog(path, name, SystemClock(), find_signer=lambda: signer)
    for number in range(10):
        log.append([key_events.mek_retired("os:tests", f"m{number}")])
    return log


@pytest.fixture
def logs(tmp_path: Path) -> dict[str, JsonlEventLog]:
    return {name: log_of(name, tmp_path) for name in NAMES}


def gathered(
    folder: Path, parts: Mapping[str, Part], **changed: Any
) -> tuple[NodesInBackup, dict[str, bytes], Gathered]:
    """What was gathered, and the bytes of its files."""

    def part_of(name: str) -> Part:
        if name not in parts:
            raise LinkError(f"{name} cannot be reached")
        return parts[name]

    ports: dict[str, Any] = {
        "nodes": lambda: {name: registered(name) for name in NAMES},
        "part_of": part_of,
        "keys": lambda: KEYS,
        "installation_id": INSTALLATION,
        "extracts": SHARED,
        "folder": folder / "copies",
    }
    with gather.gathered(GatherPorts(**{**ports, **changed})) as found:
        data = {}
        for name, file in found.files.items():
            data[name] = bytes(file.size)
            buffer = bytearray(file.size)
            assert file.read_into_at(0, memoryview(buffer)) == file.size
            data[name] = bytes(buffer)
        assert found.bytes == sum(map(len, data.values()))
    assert not (folder / "copies").exists()
    assert found.said is not None
    return found.said, data, found


def own(log: JsonlEventLog, keys: KeysSeen = KEYS) -> OwnPart:
    return OwnPart(log.path, lambda: keys)


def all_parts(logs: Mapping[str, JsonlEventLog]) -> dict[str, Part]:
    return {name: own(log) for name, log in logs.items()}


def test_the_log_of_each_node_is_there_with_what_verifies_it(
    tmp_path: Path, logs: dict[str, JsonlEventLog]
) -> None:
    said, files, _ = gathered(tmp_path, all_parts(logs))
    assert said.missing == ()
    for name, share in zip(NAMES, said.nodes, strict=True):
        assert files[f"events/{name}/{name}.jsonl"] == logs[name].path.read_bytes()
        assert files[f"events/{name}/{name}.checkpoint"]
        assert (share.events, share.state) == (11, "active")  # one more: the log names its key
        assert parse_verifier(share.log_key).public == registered(name).log_key
        assert set(share.files) <= set(files)


def test_archived_logs_are_there_too(tmp_path: Path, logs: dict[str, JsonlEventLog]) -> None:
    log = logs["node1"]
    (log.path.parent / "node1.jsonl.20261130T080000Z").write_bytes(b"older\n")
    (log.path.parent / "node1.jsonl.20261130T080000Z.checkpoint").write_bytes(b"note\n")
    for strange in ("node1.summary", ".node1.jsonl.next", "node10.jsonl", "node1.jsonl.old"):
        (log.path.parent / strange).write_bytes(b"not of the log")
    _, files, _ = gathered(tmp_path, all_parts(logs))
    assert files["events/node1/node1.jsonl.20261130t080000z"] == b"older\n"
    assert sorted(name for name in files if "/node1/" in name) == [
        "events/node1/node1.checkpoint",
        "events/node1/node1.jsonl",
        "events/node1/node1.jsonl.20261130t080000z",
        "events/node1/node1.jsonl.20261130t080000z.checkpoint",
    ]


def test_the_checkpoint_comes_first_and_nothing_else_is_given(
    logs: dict[str, JsonlEventLog],
) -> None:
    """6.3: an event between the two copies is then behind the checkpoint, and not missing before it."""
    part = own(logs["node1"])
    assert part.describe() == PartSeen(("node1.checkpoint", "node1.jsonl"), KEYS)
    for name in ("../node2/node2.jsonl", "node1.summary", "", "/etc/passwd"):
        with pytest.raises(NotFoundError, match="no file of this node's event log"):
            part.copy(name, lambda _: None)


def test_a_node_that_does_not_answer_is_named(
    tmp_path: Path, logs: dict[str, JsonlEventLog]
) -> None:
    said, files, found = gathered(tmp_path, {"node1": own(logs["node1"])})
    words = "node2: its event log is not in the backup: node2 cannot be reached"
    assert said.missing == (words,)
    assert not any("/node2/" in name for name in files)
    assert found.missing(3) == (words,), "a store of all nodes lacks what is lost, and nothing else"


def _cut(log: Path) -> None:
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:5]))


def _changed(log: Path) -> None:
    log.write_bytes(log.read_bytes().replace(b"m3", b"m4", 1))


def _stranger(log: Path) -> None:
    other = log.parent.parent / "node1" / "node1.checkpoint"
    log.with_suffix(".checkpoint").write_bytes(other.read_bytes())


def _without_note(log: Path) -> None:
    log.with_suffix(".checkpoint").unlink()


def _without_log(log: Path) -> None:
    log.unlink()


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (_cut, "its event log is in the backup, and was changed: "),
        (_changed, "its event log is in the backup, and was changed: "),
        (_stranger, "its event log is in the backup, and does not verify: "),
        (_without_note, "and does not verify: it has no signed checkpoint"),
        (_without_log, "it has no event log"),
    ],
)
def test_a_log_that_does_not_verify_is_named(
    tmp_path: Path,
    logs: dict[str, JsonlEventLog],
    harm: Callable[[Path], None],
    words: str,
) -> None:
    harm(logs["node2"].path)
    said, files, _ = gathered(tmp_path, all_parts(logs))
    [cause] = said.missing
    assert cause.startswith("node2: ")
    assert words in cause
    assert "events/node1/node1.jsonl" in files


def test_other_keys_than_those_in_force_are_named(
    tmp_path: Path, logs: dict[str, JsonlEventLog]
) -> None:
    other = own(logs["node2"], KEYS._replace(generation=2))
    said, files, _ = gathered(tmp_path, {**all_parts(logs), "node2": other})
    assert said.missing == ("node2: its keystore does not have the keys that are in force",)
    assert "events/node2/node2.jsonl" in files


class _Archived:
    """A part whose log is archived between the copies of its checkpoint and of its lines, so many times."""

    def __init__(self, log: JsonlEventLog, times: int) -> None:
        self._inner, self._left = own(log), times

    def describe(self) -> PartSeen:
        return self._inner.describe()

    def copy(self, name: str, write: Write) -> None:
        if name.endswith(".jsonl") and self._left:
            self._left -= 1
            write(b"")
            return
        self._inner.copy(name, write)


@pytest.mark.parametrize(("times", "missing"), [(2, 0), (3, 1)])
def test_a_log_that_is_archived_meanwhile_is_copied_anew(
    tmp_path: Path, logs: dict[str, JsonlEventLog], times: int, missing: int
) -> None:
    parts = {**all_parts(logs), "node2": _Archived(logs["node2"], times)}
    assert len(gathered(tmp_path, parts)[0].missing) == missing


def test_of_nodes_that_are_gone_or_joining_nothing_is_asked(
    tmp_path: Path, logs: dict[str, JsonlEventLog]
) -> None:
    joining = RegisteredNode("node2", NODE_KEYS["node2"].public, NodeState.JOINING, AT)
    for other, states in ((joining, ["active", "joining"]), (joining.removed(AT), ["active"])):
        nodes = {"node1": registered("node1"), "node2": other}
        parts = {"node1": own(logs["node1"])}
        said, _, _ = gathered(tmp_path, parts, nodes=lambda nodes=nodes: nodes)
        assert [one.state for one in said.nodes] == states
        assert said.missing == ()


def test_extracts_of_other_disks_are_not_called_lost() -> None:
    two = NodesInBackup(DISKS, (NodeShare("node1", "active"), NodeShare("node2", "active")))
    assert Gathered(two).missing(0) == ()
    assert Gathered(two).missing(2) == (
        "2 extracts not on the disk of this node, and not in the backup",
    )
    alone = NodesInBackup(DISKS, two.nodes[:1])
    for found in (Gathered(alone), gather.NOTHING):
        assert found.missing(2) == ()


class _FromAfar(OwnPart):
    """A part that comes by a connection, whose client takes every error of the system for one of the connection."""

    @override
    def copy(self, name: str, write: Write) -> None:
        try:
            super().copy(name, write)
        except OSError as error:
            raise LinkError("node2 cannot be reached") from error


def test_no_room_on_this_machine_is_no_word_on_the_other_node(
    tmp_path: Path, logs: dict[str, JsonlEventLog]
) -> None:
    parts = {**all_parts(logs), "node2": _FromAfar(logs["node2"].path, lambda: KEYS)}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(StorageError, match="cannot write"):
            gathered(tmp_path, parts)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not (tmp_path / "copies").exists()


def test_a_node_of_a_former_process_number_leaves_nothing_in_the_way(
    tmp_path: Path, logs: dict[str, JsonlEventLog]
) -> None:
    """A killed backup in a container had the same process id as this one."""
    (tmp_path / "copies" / "node2abc").mkdir(parents=True)
    assert gathered(tmp_path, all_parts(logs))[0].missing == ()


def test_a_log_without_a_key_of_its_own_proves_nothing(
    tmp_path: Path, logs: dict[str, JsonlEventLog]
) -> None:
    silent = RegisteredNode("node2", NODE_KEYS["node2"].public, NodeState.ACTIVE, AT)
    nodes = {"node1": registered("node1"), "node2": silent}
    said, files, _ = gathered(tmp_path, all_parts(logs), nodes=lambda: nodes)
    words = "node2: its event log is in the backup, and no key of its own is registered for it"
    assert said.missing == (words,)
    assert files["events/node2/node2.jsonl"]


def test_long_words_of_another_machine_are_cut(
    tmp_path: Path, logs: dict[str, JsonlEventLog]
) -> None:
    class Talkative(OwnPart):
        @override
        def describe(self) -> PartSeen:
            raise LinkError("x" * 5_000_000)

    parts = {**all_parts(logs), "node2": Talkative(logs["node2"].path, lambda: KEYS)}
    said, _, _ = gathered(tmp_path, parts)
    assert said.missing[0].startswith("node2: its event log is not in the backup: xxx")
    assert len(said.missing[0]) < 600
    assert said.serialize()


def test_a_checkpoint_is_not_read_however_large_it_is(
    tmp_path: Path, logs: dict[str, JsonlEventLog]
) -> None:
    note = logs["node2"].path.with_suffix(".checkpoint")
    note.write_bytes(note.read_bytes() + b"\n" * 100_000)
    said, _, _ = gathered(tmp_path, all_parts(logs))
    assert "its checkpoint is larger than any" in said.missing[0]
