"""`strongroom extracts` and `strongroom jobs` on a real node (P4, P5, issue part G)."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from strongroom.cli import dispatch
from strongroom.cli.content import waiting
from strongroom.envelope.header import Placement
from strongroom.jobs.model import JobKind
from strongroom.node.opening import Node
from strongroom.repository.rows import SiteMode
from strongroom.runtime.processes import SERVICES
from strongroom.services.jobs.one import stored_file
from tests.support import servers
from tests.support.backups import publish
from tests.support.servers import TestNode

Run = Callable[..., int]
Output = pytest.CaptureFixture[str]
FIELDS = ["id", "name", "kind", "state", "mek_id", "bytes", "path"]
JOB_FIELDS = ["id", "kind", "state", "done", "total", "bytes_done", "bytes_total", "receipt"]


@pytest.fixture
def run(node_dir: Path) -> Iterator[Run]:
    """Runs a command in this process; the logging that it sets up goes at the end."""

    def command(*words: str, tool: str = "strongroom") -> int:
        return dispatch.main(tool, ["--data-dir", str(node_dir), *words])

    loggers = [logging.getLogger(name) for name in ("", *SERVICES)]
    before = [(logger, list(logger.handlers), logger.propagate, logger.level) for logger in loggers]
    yield command
    for logger, handlers, propagate, level in before:
        for handler in set(logger.handlers) - set(handlers):
            handler.close()
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)


@pytest.fixture
def open_site(node: Node) -> str:
    """The default site, where extracts may be encrypted at wish."""
    site = node.sites.find("default")
    with node.repository.transaction() as tx:
        tx.sites.update(site.id, mode=int(SiteMode.ENABLED))
    return site.id


def read(node: Node, content_id: str) -> bytes:
    with node.repository.reading() as tx:
        row = tx.contents.get(content_id)
    with node.vault.open(stored_file(row), Placement(row.site_id, row.id)) as reader:
        return b"".join(reader.iterate(0, reader.size))


def said(capsys: Output) -> object:
    return json.loads(capsys.readouterr().out)


@pytest.mark.usefixtures("open_site")
def test_extracts_are_listed_with_the_fields_that_scripts_read(
    run: Run, node: Node, capsys: Output
) -> None:
    plain = publish(node, "Beta", b"plain", encrypted=False)
    sealed = publish(node, "alpha", b"sealed!", encrypted=True)
    assert run("extracts", "list", "--site", "Default", "--json") == 0
    found = said(capsys)
    assert isinstance(found, list)
    assert [list(one) for one in found] == [FIELDS, FIELDS]
    assert found[0]["id"] == sealed.id
    assert found[0] | {"path": ""} == {
        "id": sealed.id,
        "name": "alpha",
        "kind": "datasource",
        "state": "encrypted",
        "mek_id": node.envelope_keys.active_mek_id,
        "bytes": 7,
        "path": "",
    }
    assert (found[1]["state"], found[1]["mek_id"]) == ("unencrypted", None)
    assert Path(found[1]["path"]).read_bytes() == b"plain"
    assert b"sealed!" not in Path(found[0]["path"]).read_bytes()
    assert run("extracts", "list", "--site", "default") == 0
    assert plain.name in capsys.readouterr().out


@pytest.mark.usefixtures("open_site")
def test_encrypt_with_wait_prints_its_receipt_and_a_second_time_says_nothing_to_do(
    run: Run, node: Node, capsys: Output
) -> None:
    one = publish(node, "one", b"one" * 100, encrypted=False)
    assert run("extracts", "encrypt", "--site", "default", "--wait", "--json") == 0
    shown = said(capsys)
    assert isinstance(shown, dict)
    assert list(shown) == JOB_FIELDS
    assert (shown["kind"], shown["state"], shown["done"]) == ("encrypt_extracts", "succeeded", 1)
    assert shown["receipt"]["changed"] == shown["receipt"]["verified"] == 1
    assert read(node, one.id) == b"one" * 100
    assert run("extracts", "encrypt", "--site", "default", "--wait") == 0
    told = capsys.readouterr()
    assert "nothing to do: 1 extract" in told.err
    assert "--verify" in told.err
    assert "changed: 0" in told.out
    assert run("extracts", "encrypt", "--site", "default", "--wait", "--verify") == 0
    told = capsys.readouterr()
    assert "verified: 1" in told.out
    assert "--verify" not in told.err


@pytest.mark.usefixtures("open_site")
def test_a_job_that_nobody_works_on_is_cancelled_at_once(
    run: Run, node: Node, capsys: Output
) -> None:
    """Findings R2: `jobs cancel` ended with 0 and changed nothing. A process that works on jobs is left to notice it."""
    one = publish(node, "one", b"1", encrypted=False)
    site = node.sites.find("default").id
    jobs = []
    for _ in range(2):
        job = node.jobs.enqueue(JobKind.ENCRYPT, site, "os:test")
        with node.repository.transaction() as tx:
            assert tx.jobs.claim(job.id, job.created_at)
            tx.contents.set_state(one.id, [0], 2)
        jobs.append(job.id)
    with node.coordinator.lock("backgrounder-node1", wait_s=0):
        assert run("jobs", "cancel", jobs[0]) == 0
    assert "is asked to stop" in capsys.readouterr().out
    assert run("jobs", "cancel", jobs[0]) == 0
    assert run("jobs", "cancel", jobs[1]) == 0
    assert capsys.readouterr().out.count("cancelled") == 2
    assert {node.jobs.show(job).state for job in jobs} == {"cancelled"}
    with node.repository.reading() as tx:
        assert tx.contents.get(one.id).state == 0
    # the next worker finds what the dead one left of it, and lets it be
    assert run("extracts", "encrypt", "--site", "default", "--wait") == 0


@pytest.mark.usefixtures("open_site")
def test_keys_are_rotated_and_the_old_one_goes(run: Run, node: Node, capsys: Output) -> None:
    """The product's headline: rotate, re-encrypt, prove, retire (E-15, P6)."""
    sealed = [publish(node, f"ds{n}", bytes([n]) * 1000, encrypted=True) for n in range(3)]
    old = node.envelope_keys.active_mek_id
    node.meks.rotate("os:test")
    new = node.envelope_keys.active_mek_id
    assert run("security", "kms", "retire", old, tool="tsm") == 7
    assert run("extracts", "reencrypt", "--site", "default", "--wait") == 0
    assert run("extracts", "rewrap", "--site", "default", "--wait") == 0
    told = capsys.readouterr().out
    assert f"mek_id: {new}" in told
    assert "remaining: 0" in told
    assert run("security", "kms", "retire", old, tool="tsm") == 0
    for number, row in enumerate(sealed):
        assert read(node, row.id) == bytes([number]) * 1000


@pytest.mark.usefixtures("open_site")
def test_one_item_is_decrypted(run: Run, node: Node, capsys: Output) -> None:
    one = publish(node, "one", b"1", encrypted=True)
    publish(node, "two", b"2", encrypted=True)
    words = ("extracts", "decrypt", "--site", "default", "--item", "ONE", "--wait", "--json")
    assert run(*words) == 0
    shown = said(capsys)
    assert isinstance(shown, dict)
    assert shown["receipt"]["scanned"] == 1
    assert read(node, one.id) == b"1"
    assert run("extracts", "list", "--site", "default", "--json") == 0
    found = said(capsys)
    assert isinstance(found, list)
    assert [item["state"] for item in found] == ["unencrypted", "encrypted"]


@pytest.mark.usefixtures("open_site")
def test_a_job_that_leaves_something_behind_fails_and_names_it(
    run: Run, node: Node, capsys: Output
) -> None:
    good = publish(node, "good", b"good", encrypted=True)
    bad = publish(node, "bad", b"bad", encrypted=True)
    path = Path(node.files.place_of(bad.storage_key))
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    assert run("extracts", "reencrypt", "--site", "default", "--wait", "--json") == 1
    told = capsys.readouterr()
    shown = json.loads(told.out)
    assert (shown["state"], shown["receipt"]["remaining"]) == ("failed", 1)
    assert f"bad ({bad.id}): authentication failed" in told.err
    assert run("jobs", "show", shown["id"], "--json") == 0
    again = capsys.readouterr()
    assert json.loads(again.out) == shown
    assert bad.id in again.err
    assert run("jobs", "show", shown["id"]) == 0
    assert "left behind" in capsys.readouterr().out
    assert read(node, good.id) == b"good"


@pytest.mark.usefixtures("open_site")
def test_without_wait_the_job_is_queued_and_can_be_cancelled(
    run: Run, node: Node, capsys: Output
) -> None:
    publish(node, "one", b"1", encrypted=False)
    assert run("extracts", "encrypt", "--site", "default") == 0
    told = capsys.readouterr()
    job = told.out.split()[-1]
    assert "nobody works on jobs now" in told.err
    assert run("extracts", "list", "--site", "default", "--json") == 0
    found = said(capsys)
    assert isinstance(found, list)
    assert found[0]["state"] == "pending encryption"
    assert run("jobs", "list", "--site", "default", "--json", tool="tsm") == 0
    listed = said(capsys)
    assert isinstance(listed, list)
    assert (listed[0]["id"], listed[0]["state"]) == (job, "queued")
    assert run("jobs", "wait", job, "--timeout", "0") == 8
    assert f"strongroom jobs wait {job}" in capsys.readouterr().err
    assert run("jobs", "cancel", job, "--json") == 0
    cancelled = said(capsys)
    assert isinstance(cancelled, dict)
    assert cancelled["state"] == "cancelled"
    assert run("jobs", "wait", job) == 7
    assert run("jobs", "cancel", job) == 7
    assert run("jobs", "list") == 0
    assert job in capsys.readouterr().out


@pytest.mark.usefixtures("open_site")
def test_a_queued_job_is_done_by_whoever_waits_for_it(run: Run, node: Node, capsys: Output) -> None:
    publish(node, "one", b"1", encrypted=False)
    assert run("extracts", "encrypt", "--site", "default", "--json") == 0
    queued = said(capsys)
    assert isinstance(queued, dict)
    assert (queued["state"], queued["receipt"]) == ("queued", None)
    assert run("jobs", "wait", queued["id"]) == 0
    assert "changed: 1" in capsys.readouterr().out


@pytest.mark.usefixtures("open_site")
def test_a_command_leaves_the_work_to_the_backgrounder_that_runs(
    run: Run, node: Node, capsys: Output
) -> None:
    publish(node, "one", b"1", encrypted=False)
    with node.coordinator.lock("backgrounder-node1", wait_s=0):
        assert run("extracts", "encrypt", "--site", "default") == 0
        told = capsys.readouterr()
        assert "nobody works" not in told.err
        job = told.out.split()[-1]
        assert run("jobs", "wait", job, "--timeout", "0.3") == 8
        with node.repository.transaction() as tx:
            tx.jobs.claim(job, "2026-11-21T12:00:00Z")
        assert run("jobs", "cancel", job) == 0
        assert "asked to stop" in capsys.readouterr().out
    assert run("jobs", "wait", job) == 7
    capsys.readouterr()
    assert run("jobs", "show", job, "--json") == 0
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("open_site")
@pytest.mark.parametrize(
    ("works", "where"), [(True, "in the backgrounder"), (False, "when a backgrounder runs")]
)
def test_an_interrupted_wait_says_that_the_job_goes_on(
    run: Run, node: Node, capsys: Output, monkeypatch: pytest.MonkeyPatch, works: bool, where: str
) -> None:
    """Findings D11."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    publish(node, "one", b"1", encrypted=False)
    with ExitStack() as stack:
        stack.enter_context(node.coordinator.lock("backgrounder-node1", wait_s=0))
        assert run("extracts", "encrypt", "--site", "default") == 0
        job = capsys.readouterr().out.split()[-1]
        if not works:
            stack.close()
        monkeypatch.setattr(waiting, "_wait_a_while", interrupted)
        assert run("jobs", "wait", job) == 130
    said = capsys.readouterr().err
    assert f"job {job} is not cancelled: it goes on {where}" in said
    assert f"strongroom jobs cancel {job}" in said


def test_wrong_requests_are_told_apart(run: Run, node: Node, capsys: Output) -> None:
    publish(node, "one", b"1", encrypted=False)
    for words, code in (
        (("extracts", "encrypt", "--site", "nowhere"), 5),
        (("extracts", "encrypt", "--site", "default"), 4),  # the site's mode is disabled
        (("extracts", "rewrap", "--site", "default", "--item", "none"), 5),
        (("extracts", "rewrap", "--site", "default", "--timeout", "3"), 2),
        (("jobs", "show", "nothing"), 5),
        (("jobs", "cancel", "nothing"), 5),
        (("jobs", "wait", "nothing"), 5),
    ):
        assert run(*words) == code, words
        assert capsys.readouterr().err


def test_a_served_node_does_the_job_in_its_backgrounder(
    node: Node, open_site: str, tmp_path: Path
) -> None:
    """The command only waits; a kill of the backgrounder in between costs nothing."""
    del open_site
    for number in range(3):
        publish(node, f"ds{number}", bytes([number]) * 100_000, encrypted=False)
    test_node = TestNode(tmp_path)
    assert test_node.home == node.paths.root
    with servers.serving(test_node):
        answer = test_node.run(
            "strongroom", "extracts", "encrypt", "--site", "default", "--wait", "--json"
        )
    assert answer.json["receipt"]["changed"] == 3
    log = node.paths.service_log("backgrounder").read_text()
    assert f"job {answer.json['id']} succeeded" in log
    assert "Using RMK with ID" in log
