"""SIGTERM at every mutating call of a server and of a backgrounder (findings R1): it ends, and what was answered is kept.

`tests/contract/doors/http/test_stopping.py` shows that it ends whatever clients do; here a client does one thing after the
other, and the moment is counted in calls of the server. What was not answered is there whole or not at all.
"""

import contextlib
import http.client
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from strongroom.system.compat import override
from tests.conftest import Torture
from tests.support.servers import ROOT
from tests.support.web_client import BOUNDARY, Client, Reply, multipart
from tests.torture import harness, nodes, test_jobs, test_publish
from tests.torture.harness import TERM, Lab, Outcome, Point
from tests.torture.nodes import run
from tests.torture.publish_actions import NEW, OLD

#: Of the cases of each test a run takes a third, by its seed; `make torture` takes all.
pytestmark = [pytest.mark.torture, pytest.mark.sampled(3)]
_READY_S = 60.0
_HALF = len(NEW) // 2
_STEPS = ("publish", "read", "begin", "part", "part", "replace", "read", "delete")
Story = Callable[["Visit", Client], None]


@dataclass
class Visit:
    """What a client did and was told.

    Attributes:
        asked: What was begun, in order.
        told: What was answered as done.
        wrong: What was answered, and must not have been.
    """

    asked: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def ask(self, name: str, send: Callable[[], Reply]) -> Reply:
        """Send a request; whoever is not answered goes no further."""
        self.asked.append(name)
        reply = send()
        if reply.status >= 300:
            if reply.status < 500 and reply.status != 429:
                self.wrong.append(f"{name}: {reply.status} {reply.body[:300]!r}")
            raise http.client.HTTPException(name)
        self.told.append(name)
        return reply


@dataclass
class ServedLab(Lab):
    """A server; its client begins as soon as it is ready, and ends it at the end, if it still runs then."""

    story: Story = lambda _visit, _client: None
    visit: Visit = field(default_factory=Visit)
    _thread: threading.Thread | None = field(default=None, init=False, repr=False, compare=False)
    _ended: threading.Event = field(default_factory=threading.Event, init=False, compare=False)

    @override
    def run(self, point: Point) -> Outcome:
        try:
            return super().run(point)
        finally:
            self._join()

    @override
    def _renew(self) -> None:
        self._join()
        super()._renew()
        self.visit, self._ended = Visit(), threading.Event()
        self._thread = threading.Thread(
            target=_visit, args=(self.place / "node", self.story, self.visit, self._ended)
        )
        self._thread.start()

    @override
    def close(self) -> None:
        self._join()
        super().close()

    def _join(self) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()


def _visit(home: Path, story: Story, visit: Visit, ended: threading.Event) -> None:
    note = home / "tabsvc" / "serve.json"
    latest = time.monotonic() + _READY_S
    while not note.exists():
        if ended.wait(0.02) or time.monotonic() > latest:
            return
    found = json.loads(note.read_text())
    client = Client(int(found["url"].rpartition(":")[2]))
    with contextlib.suppress(OSError, http.client.HTTPException):
        visit.ask("sign in", client.sign_in)
        story(visit, client)
    if note.exists() and not ended.is_set():
        with contextlib.suppress(ProcessLookupError):
            os.kill(found["pid"], signal.SIGTERM)


def _transfers(visit: Visit, client: Client) -> None:
    """Publish in one request, read it, publish in parts over it, read that, delete."""
    published = visit.ask("publish", lambda: client.publish("one", OLD))
    item = published.find("datasource").get("id", "")
    _read(visit, client, item, OLD)
    begun = visit.ask("begin", lambda: client.on_site("POST", "/fileUploads"))
    upload = begun.find("fileUpload").get("uploadSessionId", "")
    kind = {"content-type": f"multipart/mixed; boundary={BOUNDARY}"}
    for piece in (NEW[:_HALF], NEW[_HALF:]):
        body = multipart(("request_payload", "", b""), ("tableau_file", "f", piece))
        path = f"/fileUploads/{upload}"
        visit.ask("part", lambda path=path, body=body: client.on_site("PUT", path, body, {}, kind))  # type: ignore[misc]
    payload = b'<tsRequest><datasource name="one"/></tsRequest>'
    query = {"uploadSessionId": upload, "datasourceType": "hyper", "overwrite": "true"}
    visit.ask(
        "replace",
        lambda: client.on_site(
            "POST", "/datasources", multipart(("request_payload", "", payload)), query, kind
        ),
    )
    _read(visit, client, item, NEW)
    visit.ask("delete", lambda: client.on_site("DELETE", f"/datasources/{item}"))


def _read(visit: Visit, client: Client, item: str, expected: bytes) -> None:
    if visit.ask("read", lambda: client.download(item)).body != expected:
        visit.wrong.append("a download was answered as whole, and is not")


def _possible(visit: Visit) -> list[list[bytes]]:
    """What may be published now."""
    states: list[list[bytes]] = [[]]
    for name, after in (("publish", [OLD]), ("replace", [NEW]), ("delete", [])):
        if name in visit.told:
            states = [after]
        elif name in visit.asked:
            states = [*states, after]
    return states


def test_a_server_that_is_ended_keeps_what_it_answered(start: Path, few: Torture) -> None:
    """findings R1, R9: with 0 once it listens, without a traceback; after a start nothing half-done is left."""
    run(start / "node", "strongroom", "sites", "set-mode", "Default", "enforced")
    words = ("strongroom", "serve", "--port", "0", "--no-backgrounder")
    place = start.with_name("place")
    lab = ServedLab(start, place, words, {"STRONGROOM_HOME": "{place}/node"}, story=_transfers)
    home = place / "node"

    def check(outcome: Outcome) -> None:
        visit = lab.visit
        assert visit.wrong == []
        # before it listens it dies of the signal, as of a kill
        assert outcome.succeeded or (outcome.code == -signal.SIGTERM and not visit.told)
        nodes.check_no_canary(home)
        notes = [home / "tabsvc" / name for name in ("serve.json", "control.path")]
        assert not outcome.succeeded or not any(note.exists() for note in notes)
        for note in notes:
            note.unlink(missing_ok=True)  # of a dead process; the next one says where it listens
        logs = "".join(path.read_text() for path in (home / "tabsvc" / "logs").glob("*.log"))
        assert "Traceback" not in logs, logs
        found = test_publish.contents(home)
        assert found in _possible(visit), (visit.asked, visit.told)
        nodes.project(home)
        nodes.check_whole(home)

    points = lab.points(TERM)
    assert lab.visit.told == ["sign in", *_STEPS], "the client was not served by itself"
    harness.torture(lab, few.choose(points), check)


@pytest.mark.parametrize("verb", ["encrypt", "reencrypt"])
def test_a_backgrounder_that_is_ended_leaves_its_job_to_the_next(
    start: Path, few: Torture, verb: str
) -> None:
    """findings R2: with 0, each extract old or new; the next one does the rest, and only the rest."""
    home = start / "node"
    test_jobs.prepare(home, encrypted=verb != "encrypt", rotate=verb == "reencrypt")
    run(home, "strongroom", "extracts", verb, "--site", "default")
    words = ("python", "-m", "tests.torture.working", "{place}/node")
    lab = Lab(start, start.with_name("place"), words, {"PYTHONPATH": str(ROOT)})
    home = lab.place / "node"

    def check(outcome: Outcome) -> None:
        assert outcome.succeeded or outcome.code == -signal.SIGTERM
        test_jobs.check_readable(home)
        with nodes.opened(home) as node:
            job = node.jobs.list()[0]  # the newest
            assert job.state in {"queued", "running", "succeeded"}, job
        run(home, "strongroom", "extracts", verb, "--site", "default", "--wait")
        test_jobs.check_tidy(home, encrypted=True)
        with nodes.opened(home) as node:
            assert node.jobs.show(job.id).state == "succeeded"

    harness.torture(lab, few.choose(lab.points(TERM)), check)
