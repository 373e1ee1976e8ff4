"""SIGKILL of `kms set-mode` at each call of the new root: old or new, never mixed; nothing is lost (R12)."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom import bootstrap
from strongroom.envelope.header import Placement
from strongroom.ids import new_id
from strongroom.services.kms_keeper import PREVIOUS_STORE
from tests.conftest import Torture
from tests.contract.roots import bench_aws
from tests.contract.roots.bench_aws import REGION, MinistackBench
from tests.servers import BIN, TestNode, create_node

pytestmark = pytest.mark.torture

HERE = Placement(new_id(), new_id())


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinistackBench]:
    with bench_aws.start_ministack(tmp_path_factory.mktemp("ministack")) as started:
        yield started


def _set_mode(node: TestNode, bench: MinistackBench, kill_at: int) -> int:
    """Run the command and kill it when it makes this call; returns its exit code."""
    arn = bench.settings.root_key_id
    bench.front.calls.clear()
    words = ["security", "kms", "set-mode", "aws", "--aws-region", REGION, "--key-arn", arn]
    process = subprocess.Popen(
        [str(BIN / "tsm"), *words],
        env=node.variables(bench.environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    bench.front.on_call = lambda number: process.kill() if number == kill_at else None
    try:
        return process.wait(60)
    finally:
        bench.front.on_call = None


def test_a_kill_at_any_call_leaves_the_old_or_the_new(
    bench: MinistackBench, tmp_path: Path, torture: Torture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A-10: the move can be done again, and every extract is read throughout."""
    for name, value in bench.environment.items():
        monkeypatch.setenv(name, value)
    served = create_node(tmp_path)
    node = bootstrap.open_node(str(served.home))
    writer = node.vault.create(HERE, encrypted=True)
    writer.write(b"content")
    stored = writer.commit()
    assert _set_mode(served, bench, kill_at=0) == 0
    calls = len(bench.front.calls)
    assert calls > 3
    outcomes = set()
    for number in torture.choose(range(1, calls + 1)):
        node.roots.set_mode(None, "os:tester")
        before = node.kms.status()
        assert _set_mode(served, bench, kill_at=number) == -9
        after = node.kms.prove()
        outcomes.add(after.mode)
        assert after.is_ok
        assert (after.mode, after.epoch) in {("local", before.epoch), ("aws", before.epoch + 1)}
        assert PREVIOUS_STORE not in node.configuration.document().values
        with node.vault.open(stored, HERE) as reader:
            assert reader.read_at(0, 7) == b"content"
    assert outcomes == {"local", "aws"}
    node.close()
