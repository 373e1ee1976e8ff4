"""R11: what the root is asked grows with time and processes, never with files; counted at the emulator."""

from collections.abc import Callable
from contextlib import ExitStack

import pytest

from strongroom.node.opening import Node
from tests.conftest import Torture
from tests.contract.roots.outage import HERE, KEEP_S, Watched, watched
from tests.contract.roots.provider_aws import MinistackLab

pytestmark = pytest.mark.torture

PROCESSES = 3
UPTIME_S = 10 * KEEP_S
SAMPLE, WHOLE = 500, 10_000


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("lab", ["aws-ministack"], indirect=True)
def test_calls_are_bounded_by_time_and_not_by_files(
    lab: MinistackLab,
    node: Node,
    torture: Torture,
    capsys: pytest.CaptureFixture[str],
    record_property: Callable[[str, object], None],
) -> None:
    """Three processes encrypt small extracts for ten times the limit; every hundredth is read again."""
    node.modes.set_mode(lab.settings, "os:tester")
    files = WHOLE if torture.whole else SAMPLE
    lab.front.calls.clear()
    with ExitStack() as stack:
        running = [stack.enter_context(watched(node.paths.root)) for _ in range(PROCESSES)]
        for number in range(files):
            one = running[number % PROCESSES]
            one.seconds = UPTIME_S * number / files
            _encrypt(one, number)
    calls = len(lab.front.calls)
    limit = PROCESSES * (1 + UPTIME_S / KEEP_S)
    told = f"R11: {files} extracts by {PROCESSES} processes in {UPTIME_S / 3600:.0f} h of uptime: "
    told += f"{calls} calls to the root, at most {limit:.0f} allowed"
    record_property("R11", told)
    with capsys.disabled():
        print(f"\n{told}")  # noqa: T201 the figure is what the run is for
    assert set(lab.front.calls) == {"Decrypt"}
    assert PROCESSES <= calls <= limit


def _encrypt(one: Watched, number: int) -> None:
    content = b"extract %d" % number
    writer = one.node.vault.create(HERE, encrypted=True)
    writer.write(content)
    stored = writer.commit()
    if number % 100 == 0:
        assert one.read(stored) == content
