"""A-24, A-25, R17 with real emulators and a real token: a backup brings all that a fresh machine needs but the credential."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from strongroom.crypto.secret import SecretBytes
from strongroom.errors import RootError
from strongroom.node import create, opening
from strongroom.node.opening import Node
from tests.contract.roots.harness import PATIENCE_S, RootLab
from tests.contract.roots.provider_aws import MinistackLab
from tests.contract.roots.providers import started
from tests.support import backups
from tests.support.backups import State
from tests.support.fault_server import Fault

pytestmark = pytest.mark.interop

NAMES = ("aws-ministack", "azure", "openbao", "pkcs11")


@pytest.fixture(scope="module")
def labs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], RootLab]]:
    with started(tmp_path_factory.mktemp) as found:
        yield found


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The data directories of two installations; not to be changed."""
    roots = [tmp_path_factory.mktemp(name) / "node" for name in ("one", "other")]
    for root in roots:
        create.create_node(str(root), "admin", SecretBytes(b"correct horse battery"))
    return roots


@pytest.fixture
def nodes(two: list[Path], tmp_path: Path) -> Iterator[list[Node]]:
    """A source and a fresh target."""
    copies = [shutil.copytree(root, tmp_path / root.parent.name) for root in two]
    opened = [opening.open_node(copy.as_posix()) for copy in copies]
    yield opened
    for node in opened:
        node.close()


@pytest.mark.parametrize("name", NAMES)
def test_a_fresh_machine_opens_it_by_the_sources_root(
    labs: Callable[[str], RootLab],
    nodes: list[Node],
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Unreachable: refused before the first change. Reachable: by Decrypt alone, into local mode and into another key."""
    lab = labs(name)
    for variable, value in lab.environment.items():
        monkeypatch.setenv(variable, value)
    lab.quicken(monkeypatch)
    lab.await_answers(PATIENCE_S, monkeypatch)
    source, target = nodes
    source.modes.set_mode(lab.settings, "os:tester")
    backups.publish(source, "one", b"content of an extract" * 1000)
    wanted = backups.contents(source)
    made = backups.make(source, tmp_path / "b.tsbak")
    source.meks.rotate("os:tester")
    secrets = list(lab.settings.secrets.values())
    credential = secrets[0] if secrets else None
    for secret in secrets:
        assert secret.reveal() not in made.path.read_bytes()
    if name == "pkcs11":  # a library to load is never taken from a backup
        target.roots.add(lab.settings, "os:tester")
    before = State.of(target)
    with ExitStack() as undo:
        lab.break_it(Fault.UNREACHABLE, undo)
        with pytest.raises(RootError, match="nothing here opens"):
            backups.restore(target, made.path, credential=credential, use_backup_roots=True)
    assert State.of(target) == before
    with ExitStack() as undo:
        if isinstance(lab, MinistackLab):
            lab.allow(("kms:Decrypt",))
            undo.callback(lab.allow, ("kms:Decrypt", "kms:GenerateDataKey"))
        done = backups.restore(target, made.path, credential=credential, use_backup_roots=True)
    assert done.opened_by.startswith(f"the {lab.settings.kind} root ")
    assert backups.contents(target) == wanted
    assert target.kms_store.status().is_ok
    target.modes.set_mode(lab.foreign_settings, "os:tester")
    backups.restore(target, made.path, credential=credential, use_backup_roots=True)
    assert backups.contents(target) == wanted
    assert (target.kms_store.status().mode, target.kms_store.status().is_ok) == (
        lab.settings.kind,
        True,
    )
