"""R17: backup and restore over every pair of modes, the source's root reachable and not, rotation between, twice."""

import itertools
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from typing_extensions import override

from strongroom.backup import opening
from strongroom.crypto import age
from strongroom.crypto.age import Identity, OpenWith, SealTo
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import KeyNotFoundError, RootError, RootUnavailableError
from strongroom.kms.states import MekState
from strongroom.node import backup_roots, roots
from strongroom.node import opening as bootstrap
from strongroom.node.opening import Node
from strongroom.roots.base import Context, WrapRecord
from strongroom.roots.settings import RootSettings
from tests.conftest import Torture
from tests.support import backups
from tests.support.backups import State
from tests.support.memory_root import Outside, OutsideRoot

MODES = ("local", "aws", "azure", "openbao", "pkcs11")
SECRETS = {"openbao": "token", "pkcs11": "pin"}
TOKEN = SecretBytes(b"what opens the source's root")


@dataclass(frozen=True)
class Case:
    """One restore: from a mode to a mode, with the source's root reachable or not."""

    source: str
    target: str
    reachable: bool

    @override
    def __str__(self) -> str:
        return f"{self.source}-{self.target}-{'reachable' if self.reachable else 'unreachable'}"


CASES = [
    Case(source, target, reachable)
    for reachable in (True, False)
    for source, target in itertools.product(MODES, MODES)
]


class DecryptOnly(OutsideRoot):
    """What a target has of the source's root (A-25)."""

    @override
    def generate_data_key(self, context: Context) -> tuple[SecretBytes, WrapRecord]:
        raise AssertionError("a key was made by the source's root")

    @override
    def wrap(self, key: SecretBytes, context: Context) -> WrapRecord:
        raise AssertionError("a key was wrapped by the source's root")


@dataclass
class World:
    """The roots outside, by key; some are down, some only decrypt."""

    outside: Outside = field(default_factory=Outside)
    down: set[str] = field(default_factory=set)
    decrypt_only: set[str] = field(default_factory=set)

    def build(self, settings: RootSettings) -> OutsideRoot:
        if name := SECRETS.get(settings.kind):
            assert settings.secrets[name] == TOKEN, "asked with another credential"
        place = self.outside
        if settings.root_key_id in self.down:
            place = Outside(place.keys, RootUnavailableError("the source's root is down"))
        root = place.provider(settings)
        if settings.root_key_id in self.decrypt_only:
            return DecryptOnly(root.outside, root.settings, root.inner)
        return root


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    found = World()
    monkeypatch.setattr(roots.RootProviders, "build", lambda _, settings: found.build(settings))
    monkeypatch.setattr(backup_roots, "checked", lambda settings: settings)  # no real kinds
    return found


def settings_of(mode: str, place: str) -> RootSettings | None:
    if mode == "local":
        return None
    secrets = {SECRETS[mode]: TOKEN} if mode in SECRETS else {}
    return RootSettings(mode, f"{mode}://{place}/key", {"region": place}, secrets)


def prepared(node: Node, mode: str, place: str) -> Node:
    if wanted := settings_of(mode, place):
        node.modes.set_mode(wanted, "os:tester")
    return node


@pytest.fixture
def opened() -> Iterator[list[Node]]:
    nodes: list[Node] = []
    yield nodes
    for node in nodes:
        node.close()


def test_every_pair_of_modes(
    pristine_node: Path,
    other_dir: Path,
    tmp_path: Path,
    world: World,
    torture: Torture,
    opened: list[Node],
) -> None:
    """A-24 to A-26: decrypt-only MEKs, a new RMK, all extracts readable; else refused before the first change."""
    for case in torture.choose(CASES):
        folder = tmp_path / str(case)
        nodes = [
            bootstrap.open_node(shutil.copytree(place, folder / name).as_posix())
            for place, name in ((pristine_node, "source"), (other_dir, "target"))
        ]
        opened += nodes
        world.down, world.decrypt_only = set(), set()
        _check(case, nodes[0], nodes[1], world)


def _check(case: Case, source: Node, target: Node, world: World) -> None:
    prepared(source, case.source, "source")
    backups.publish(source, "before", b"under the first MEK" * 1000)
    source.meks.rotate("os:tester")
    backups.publish(source, "after", b"under the second MEK" * 1000)
    wanted, identity = backups.contents(source), age.new_identity()
    sealed = case.source == "local" and case.reachable  # a keystore reaches no other machine
    to = SealTo((identity.recipient,)) if sealed else backups.NOBODY
    made = backups.make(source, source.paths.backups / "b.tsbak", to)
    source.meks.rotate("os:tester")
    prepared(target, case.target, "target")
    root = settings_of(case.source, "source")
    if root is not None:
        world.decrypt_only.add(root.root_key_id)
        if not case.reachable:
            world.down.add(root.root_key_id)
    if case.reachable:
        for _ in range(2):
            _check_restored(target, made.path, _given(identity, sealed=sealed), wanted, case)
        return
    backups.publish(target, "own", b"of the target")
    before = State.of(target)
    with pytest.raises(RootError if root else KeyNotFoundError, match="nothing here opens"):
        backups.restore(target, made.path, credential=TOKEN, use_backup_roots=True)
    assert State.of(target) == before, case


def _given(identity: Identity, *, sealed: bool) -> OpenWith:
    return OpenWith((identity,)) if sealed else backups.NOTHING


def _check_restored(
    target: Node, path: Path, given: OpenWith, wanted: dict[str, bytes], case: Case
) -> None:
    before = target.kms_store.status()
    done = backups.restore(target, path, given, credential=TOKEN, use_backup_roots=True)
    after = target.kms_store.status()
    assert backups.contents(target) == wanted, case
    assert after.is_ok, (case, after.problems)
    assert after.mode == case.target
    assert after.rmk_id not in {before.rmk_id, *(mek.id for mek in after.meks)}
    states = {mek.id: mek.state for mek in after.meks}
    assert states.pop(done.mek_id) is MekState.ENCRYPT_OR_DECRYPT
    assert set(states.values()) == {MekState.DECRYPT_ONLY}
    assert done.missing == {}
    # a new file goes under the new MEK, and the next restore takes it away again
    assert backups.publish(target, "new", b"x").mek_id == done.mek_id


def test_an_account_of_the_ways_is_given(
    source: Node, target: Node, tmp_path: Path, world: World
) -> None:
    """Q-07: whoever is refused learns what was tried, and what to give."""
    prepared(source, "openbao", "source")
    made = backups.make(source, tmp_path / "b.tsbak")
    world.down.add("openbao://source/key")
    with pytest.raises(RootUnavailableError) as caught:
        backups.restore(target, made.path, credential=TOKEN, use_backup_roots=True)
    assert "the source's root is down" in caught.value.message
    assert "--root-credential-file" in caught.value.hint
    assert isinstance(caught.value, opening.NOT_OPENED)
    assert b"what opens" not in made.path.read_bytes()  # credentials are in no backup


@pytest.mark.parametrize("mode", ["aws", "pkcs11"])
def test_what_came_in_closed_opens_once_its_root_answers(
    source: Node, target: Node, tmp_path: Path, world: World, mode: str
) -> None:
    """Q-07, Q-05: restored without keys; then `kms adopt`, or a second restore where a credential is needed."""
    prepared(source, mode, "source")
    wanted = backups.contents(source)
    made = backups.make(source, tmp_path / "b.tsbak")
    root = settings_of(mode, "source")
    assert root is not None
    world.down.add(root.root_key_id)
    done = backups.restore(
        target, made.path, without_keys=True, credential=TOKEN, use_backup_roots=True
    )
    assert len(done.missing) == 2
    assert target.kms_store.status().is_ok
    world.down.clear()
    world.decrypt_only.add(root.root_key_id)
    if mode == "aws":
        assert set(target.roots.adopt("os:tester")) == set(made.manifest.mek_ids)
    else:
        assert target.roots.adopt("os:tester") == ()
        backups.restore(target, made.path, credential=TOKEN, use_backup_roots=True)
    assert backups.contents(target) == wanted
    assert target.kms_store.current()[0].former == ()
    assert target.kms_store.root_settings() == ()
