"""Jobs killed and broken at every mutating system call: each extract is old or new, and the next run ends the work.

The command runs the job in its own process, as it does while no `serve` runs: dispatcher, engine and work are the
backgrounder's.
"""

from pathlib import Path

import pytest

from strongroom.envelope.header import Placement
from strongroom.repository.rows import SiteMode
from strongroom.services.jobs.one import stored_file
from tests.conftest import Torture
from tests.support.backups import publish
from tests.torture import harness, nodes
from tests.torture.harness import BROKEN, FULL, KILL, Lab, Outcome
from tests.torture.nodes import run

#: Of the cases of each test a run takes a third, by its seed; `make torture` takes all.
pytestmark = [pytest.mark.torture, pytest.mark.sampled(3)]
DATA = {"big": nodes.CANARY + b"x" * 600_000, "small": nodes.CANARY, "empty": b""}


def prepare(home: Path, *, encrypted: bool, rotate: bool) -> None:
    """Three extracts on the default site, and an engine that has run before."""
    with nodes.opened(home) as node:
        with node.repository.transaction() as tx:
            site = tx.sites.find_by_content_url("")
            assert site is not None
            tx.sites.update(site.id, mode=int(SiteMode.ENABLED))
        run(home, "strongroom", "extracts", "rewrap", "--site", "default", "--wait")
        for name, data in DATA.items():
            publish(node, name, data, encrypted=encrypted)
        if rotate:
            node.meks.rotate("os:test")


def check_readable(home: Path) -> None:
    """Right after the fault: every extract that a row names opens, whole."""
    with nodes.opened(home) as node:
        with node.repository.reading() as tx:
            site = tx.sites.find_by_content_url("")
            assert site is not None
            rows = tx.contents.list_for_site(site.id)
        assert {row.name for row in rows} == set(DATA)
        for row in rows:
            with node.vault.open(stored_file(row), Placement(row.site_id, row.id)) as reader:
                assert b"".join(reader.iterate(0, reader.size)) == DATA[row.name]


def check_tidy(home: Path, *, encrypted: bool) -> None:
    """After the next run: nothing lies about, nothing is pending, all is under one key."""
    check_readable(home)
    with nodes.opened(home) as node:
        with node.repository.reading() as tx:
            assert tx.intents.list() == []
            known = tx.contents.storage_keys()
            assert not [job for job in tx.jobs.list() if not job.finished_at]
            site = tx.sites.find_by_content_url("")
            assert site is not None
            assert {row.state for row in tx.contents.list_for_site(site.id)} == {int(encrypted)}
        assert set(node.files.list()) == known
        active = {node.envelope_keys.active_mek_id} if encrypted else set()
        assert all(node.vault.mek_ids(key) == active for key in known)
        assert node.events.verify().breaks == ()
    hidden = [path for path in (home / "tabsvc/extracts").rglob(".*") if path.is_file()]
    assert hidden == []
    if encrypted:
        nodes.check_no_canary(home)


@pytest.mark.parametrize("faults", [(KILL,), (FULL, BROKEN)], ids=["kill", "fault"])
@pytest.mark.parametrize("verb", ["encrypt", "decrypt", "reencrypt", "rewrap"])
def test_a_job(start: Path, few: Torture, verb: str, faults: tuple[str, ...]) -> None:
    """E-13, and the rules of crashes."""
    prepare(start / "node", encrypted=verb != "encrypt", rotate=verb in {"reencrypt", "rewrap"})
    words = ("strongroom", "extracts", verb, "--site", "default", "--wait")
    place = start.with_name("place")
    lab = Lab(start, place, words, {"STRONGROOM_HOME": "{place}/node"})
    home = place / "node"

    def check(outcome: Outcome) -> None:
        check_readable(home)
        if verb in {"reencrypt", "rewrap"}:
            nodes.check_no_canary(home)
        if outcome.succeeded:
            check_tidy(home, encrypted=verb != "decrypt")
        run(home, *words)
        check_tidy(home, encrypted=verb != "decrypt")

    harness.torture(lab, few.choose(lab.points(*faults)), check)
