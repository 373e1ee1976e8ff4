"""Settings and bootstrap files, killed and broken at every mutating system call: old or new, whole or absent, never mixed."""

import json
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from strongroom.clock import SystemClock
from strongroom.config import versions
from strongroom.config.pending import open_pending
from strongroom.coordination.base import Change
from strongroom.joining import admission_request, node_keys, prepared
from strongroom.runtime.paths import DataPaths
from strongroom.services.nodes import admit
from strongroom.services.nodes.admit import CREDENTIALS, BootstrapRequest
from strongroom.system.compat import override
from tests.conftest import Torture
from tests.support.web_client import serve
from tests.torture import harness, nodes
from tests.torture.harness import FAULTS, Lab, Outcome
from tests.torture.nodes import run
from tests.torture.test_node import lab_of

#: Of the cases of each test a run takes a third, by its seed; `make torture` takes all.
pytestmark = [pytest.mark.torture, pytest.mark.sampled(3)]
SECRET = "svcmonitor.notification.smtp.password"
IMPORTED = {"gateway.timeout": "900", SECRET: nodes.CANARY.decode(), "vizportal.log.level": "debug"}


def pending_of(home: Path) -> set[str]:
    """The names in the pending transaction; it must open."""
    with nodes.opened(home) as node:
        entry = node.coordinator.get(versions.PENDING)
        if entry is None:
            return set()
        configuration = node.configuration
        installation_id = configuration.document().installation_id
        return set(open_pending(entry.value, configuration.open_key, installation_id).changes)


@FAULTS
def test_importing(start: Path, few: Torture, faults: tuple[str, ...]) -> None:
    """C-19: what is pending is what was, or that with everything imported; once more, and it is applied."""
    (start / "in.json").write_text(json.dumps({"configKeys": IMPORTED}))
    before = {"service.jmx_enabled"}
    run(start / "node", "tsm", "configuration", "set", "-k", *before, "-v", "true")
    secrets = nodes.secrets_of_node(start / "node")
    words = ("settings", "import", "-f")
    lab = lab_of(start, "tsm", *words, "{place}/in.json")
    home = lab.place / "node"

    def check(outcome: Outcome) -> None:
        assert nodes.check_opens(home) == secrets
        found = pending_of(home)
        assert found in (before, before | IMPORTED.keys())
        assert found >= IMPORTED.keys() or not outcome.succeeded
        assert nodes.CANARY.decode() not in outcome.out + outcome.err
        run(home, "tsm", *words, lab.place / "in.json")
        run(home, "tsm", "pending-changes", "apply", "--ignore-prompt")
        assert nodes.check_whole(home) == secrets | {SECRET: nodes.CANARY}

    harness.torture(lab, few.choose(lab.points(*faults)), check)


@FAULTS
def test_exporting(start: Path, few: Torture, faults: tuple[str, ...]) -> None:
    """C-14: the target is absent or whole, and private at every moment."""
    secrets = nodes.secrets_of_node(start / "node")
    lab = lab_of(start, "tsm", "settings", "export", "-f", "{place}/out.json")

    def check(outcome: Outcome) -> None:
        assert nodes.check_opens(lab.place / "node") == secrets
        for path in lab.place.glob("*out.json*"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        made = lab.place / "out.json"
        assert made.exists() or not outcome.succeeded
        if made.exists():
            found = json.loads(made.read_bytes())
            assert found["configKeys"]["redis.password"].encode() == secrets["redis.password"]
            assert found["topologyVersion"]
        run(lab.place / "node", "tsm", "settings", "export", "-f", made)
        nodes.check_whole(lab.place / "node")
        assert [path.name for path in lab.place.glob("*out.json*")] == ["out.json"]

    harness.torture(lab, few.choose(lab.points(*faults)), check)


@FAULTS
def test_making_a_bootstrap_file(start: Path, few: Torture, faults: tuple[str, ...]) -> None:
    """C-21: absent or whole; a whole one proves itself, and its credential is known."""
    words = ("topology", "nodes", "get-bootstrap-file", "-f")
    lab = lab_of(start, "tsm", *words, "{place}/file")
    home = lab.place / "node"

    def check(outcome: Outcome) -> None:
        nodes.check_opens(home)
        made = lab.place / "file"
        assert made.exists() or not outcome.succeeded
        run(home, "tsm", *words, lab.place / "again")
        for path in [made] if made.exists() else []:
            file = admit.prove(path.read_bytes(), SystemClock())
            assert file.credential is not None
            with nodes.opened(home) as node:
                own = node_keys.make(file.installation_id, file.node_id)
                node.topology.admit(admission_request.make(own, file.credential, file.identity))
        nodes.check_whole(home)

    harness.torture(lab, few.choose(lab.points(*faults)), check)


@FAULTS
def test_preparing_a_node(start: Path, few: Torture, faults: tuple[str, ...]) -> None:
    """C-22: the new directory is whole or empty, and the same file makes it at the second attempt."""
    words = ("topology", "nodes", "get-bootstrap-file", "-f")
    run(start / "node", "tsm", *words, start / "file")
    place = start.with_name("place")
    lab = Lab(
        start,
        place,
        ("initialize-tsm", "-b", "{place}/file"),
        {"STRONGROOM_HOME": "{place}/two"},
    )
    home = place / "two"

    def check(outcome: Outcome) -> None:
        if not (home / "tabsvc").exists():
            assert not outcome.succeeded
            run(home, "initialize-tsm", "-b", place / "file")
        assert "PREPARED" in run(home, "strongroom", "status")
        nodes.check_alone(home)
        for path in home.rglob("*"):
            assert not stat.S_IMODE(path.lstat().st_mode) & 0o007

    harness.torture(lab, few.choose(lab.points(*faults)), check)


@dataclass
class _AdmittingLab(Lab):
    """Every run begins with a credential that has not been used yet."""

    unused: Callable[[], None] = field(kw_only=True)

    @override
    def _renew(self) -> None:
        super()._renew()
        self.unused()


@FAULTS
def test_being_admitted(start: Path, few: Torture, faults: tuple[str, ...]) -> None:
    """C-22: whatever ends the command, the same file makes an admitted node at the second attempt; it admits no other one."""
    home, place = start.with_name("place") / "two", start.with_name("place")
    with serve(shutil.copytree(start / "node", start.with_name("serving"))) as first:
        address = f"http://127.0.0.1:{first.port}"
        made = first.node.topology.make_bootstrap_file("os:test", BootstrapRequest("x", address))
        (start / "file").write_bytes(made.text.reveal())
        coordinator = first.node.coordinator
        listed = coordinator.get(CREDENTIALS)
        assert listed is not None
        fresh = listed.value

        def unused() -> None:
            coordinator.put({CREDENTIALS: Change(fresh, coordinator.version(CREDENTIALS))})

        words = ("initialize-tsm", "-b", "{place}/file")
        lab = _AdmittingLab(start, place, words, {"STRONGROOM_HOME": str(home)}, unused=unused)

        def check(outcome: Outcome) -> None:
            if not (home / "tabsvc").exists():
                assert not outcome.succeeded
                run(home, "initialize-tsm", "-b", place / "file")
            note = prepared.find(DataPaths(home))
            assert note is not None
            assert note.is_admitted
            nodes.check_alone(home)

        harness.torture(lab, few.choose(lab.points(*faults)), check)
