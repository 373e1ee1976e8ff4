"""E9, matrix 32 to 34: a job over 200 extracts whose node dies, or only stands still, at a random item; processes of their own.

Each round of the whole is a death: of the node with its backgrounder, or of the backgrounder alone. Told are the seconds from
the death to the takeover and to the end, with the load of the machine; how quick a busy machine is, is no promise.
"""

import hashlib
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import Torture
from tests.support.object_stores import BUCKET, client
from tests.torture import fleet, harness
from tests.torture.fleet import Fleet, Member, waited

pytestmark = [pytest.mark.torture, pytest.mark.cluster, pytest.mark.timeout(7200)]
EXTRACTS = 200
ROUNDS = 20
SITE = "Jobs"
HEAD = b"Hyper\x08\x00\x00\x01\x00\x02\x00"
LIMIT_S = 900.0
_REKEYED = "EXTRACT_REKEYED"


@dataclass
class Lab:
    """Two nodes that work on jobs, and a site with extracts."""

    running: Fleet
    chance: random.Random
    published: dict[str, str] = field(default_factory=dict)
    figures: list[tuple[float, float, float]] = field(default_factory=list)

    @property
    def members(self) -> list[Member]:
        return list(self.running.members.values())

    def fill(self) -> None:
        first = self.running.members["node1"].node
        first.run("strongroom", "sites", "create", SITE, "--mode", "enforced")
        # slow enough to be met in its middle; one item at a time
        for key, value in (("bytes_per_second", "500000"), ("concurrency", "1")):
            name = f"backgrounder.extracts.{key}"
            first.run("tsm", "configuration", "set", "-k", name, "-v", value)
        first.run("tsm", "pending-changes", "apply", "--ignore-prompt")
        people = self.running.members["node1"].client(SITE)
        for number in range(EXTRACTS):
            content = HEAD + self.chance.randbytes(self.chance.randrange(1, 50_000))
            made = people.publish(f"extract {number}", content)
            assert made.status == 201, made.body
            item = made.find("datasource").attrib["id"]
            self.published[item] = hashlib.sha256(content).hexdigest()

    def files(self) -> dict[str, str]:
        """The file of each extract."""
        return dict(self.running.services.query("SELECT id, file_id FROM contents"))

    def job(self, job_id: str) -> tuple[str, int, str, bool]:
        """Owner, epoch, state, and whether it has ended."""
        what = "owner_node, owner_epoch, state, finished_at IS NOT NULL"
        [row] = self.running.services.query(f"SELECT {what} FROM jobs WHERE id = '{job_id}'")
        return tuple(row)

    def told(self) -> dict[str, int]:
        """How many lines each event log has."""
        return {str(path): len(path.read_text().splitlines()) for path in self._logs()}

    def _logs(self) -> Iterator[Path]:
        for one in self.members:
            yield from sorted((one.node.home / "tabsvc" / "events").glob("*.jsonl"))

    def times_done(self, since: dict[str, int]) -> Counter[str]:
        """How often each extract got a new data key, by the logs of all nodes."""
        times: Counter[str] = Counter()
        for path in self._logs():
            for line in path.read_text().splitlines()[since.get(str(path), 0) :]:
                event = json.loads(line)
                if event["id"] == _REKEYED:
                    times[str(event["details"]["extract_id"])] += 1
        return times

    def begin(self) -> tuple[str, Member, Member]:
        """A job, the node that works on it and has come to a random item, and the other one."""
        before, at = self.files(), self.chance.randrange(3, EXTRACTS - 10)
        asked = self.chance.choice(self.members).node
        said = asked.run("strongroom", "extracts", "reencrypt", "--site", SITE, "--json")
        job_id = str(said.json["id"])
        waited(lambda: self._changed(before) >= at, LIMIT_S)
        owner = self.job(job_id)[0]
        [other] = [one for one in self.members if one.name != owner]
        return job_id, self.running.members[owner], other

    def _changed(self, before: dict[str, str]) -> int:
        return sum(before[one] != file for one, file in self.files().items())

    def check(self, job_id: str, since: dict[str, int], *, sample: int = 20) -> int:
        """The job is done, each extract once but one at most; returns how many were done twice."""
        _, _, state, _ = self.job(job_id)
        assert state == "succeeded"
        [(receipt,)] = self.running.services.query(
            f"SELECT receipt FROM jobs WHERE id = '{job_id}'"
        )
        assert (receipt["scanned"], receipt["remaining"]) == (EXTRACTS, 0)
        times = self.times_done(since)
        assert times.keys() == self.published.keys()
        twice = sum(times.values()) - EXTRACTS
        assert twice <= 1, f"{twice} extracts were done more than once"
        people = self.chance.choice([one for one in self.members if one.is_ready()]).client(SITE)
        for item in self.chance.sample(sorted(self.published), sample):
            assert hashlib.sha256(people.download(item).body).hexdigest() == self.published[item]
        return twice

    def nothing_is_left(self) -> bool:
        """No file but those of the rows, and nobody who means to write one."""
        query = self.running.services.query
        named = {key for (key,) in query("SELECT storage_key FROM contents")}
        pages = client(self.running.s3).get_paginator("list_objects_v2")
        prefix = "extracts/head/"
        heads = {
            str(one["Key"]).removeprefix(prefix)
            for page in pages.paginate(Bucket=BUCKET, Prefix=prefix)
            for one in page.get("Contents", ())
        }
        return heads == named and not query("SELECT 1 FROM intents")

    def ends(self, job_id: str, struck: float) -> float:
        """Wait for the end of a job whose owner was struck; returns when somebody else had taken it over."""
        owner, epoch, _, _ = self.job(job_id)
        taken = 0.0

        def has_ended() -> bool:
            nonlocal taken
            now = self.job(job_id)
            if not taken and (now[0] != owner or now[1] != epoch):
                taken = time.monotonic() - struck
            return now[3]

        try:
            waited(has_ended, LIMIT_S)
        finally:
            told = f"{epoch} of {owner}: taken after {taken:.1f} s, now {self.job(job_id)}"
            sys.stdout.write(f"{told}\n")
        self.figures.append((taken, time.monotonic() - struck, os.getloadavg()[0]))
        return taken

    def say(self, what: str, twice: int) -> None:
        """Hand the figures on to the session's closing lines."""
        taken, ended, load = zip(*self.figures, strict=True)
        harness.FIGURES.append(
            f"{what} {len(self.figures)} times in {EXTRACTS} extracts: taken over after"
            f" {min(taken):.0f} to {max(taken):.0f} s, ended after {min(ended):.0f} to"
            f" {max(ended):.0f} s at a load of {min(load):.0f} to {max(load):.0f};"
            f" {twice} extracts done twice"
        )


@pytest.fixture
def lab(tmp_path: Path, torture: Torture) -> Iterator[Lab]:
    tmp_path.chmod(0o755)
    with fleet.running(tmp_path, 2) as running:
        made = Lab(running, random.Random(torture.seed))
        made.fill()
        yield made


def test_a_job_of_a_node_that_died(lab: Lab, torture: Torture) -> None:
    twice = 0
    for number in range(ROUNDS if torture.whole else torture.size):
        since = lab.told()
        job_id, owner, _ = lab.begin()
        struck = time.monotonic()
        if number % 2:
            os.kill(owner.backgrounder_pid or 0, signal.SIGKILL)
        else:
            owner.kill()
        lab.ends(job_id, struck)
        twice += lab.check(job_id, since)
        if not number % 2:
            owner.start()
        lab.running.wait_ready()
        waited(lab.nothing_is_left, LIMIT_S)
    lab.say("killed", twice)


def test_a_job_of_a_node_that_stood_still(lab: Lab, torture: Torture) -> None:
    """The node wakes in the midst of what the other one does, or behind its end, and changes nothing more."""
    twice = 0
    for number in range(ROUNDS if torture.whole else torture.size):
        since = lab.told()
        job_id, owner, other = lab.begin()
        held = lab.job(job_id)[:2]
        pids = {owner.pid, owner.backgrounder_pid} if number % 4 < 2 else {owner.backgrounder_pid}
        struck = time.monotonic()
        for pid in pids:
            os.kill(pid or 0, signal.SIGSTOP)
        try:
            if number % 2:
                waited(lambda job=job_id, before=held: lab.job(job)[:2] != before, LIMIT_S)  # type: ignore[misc]
                lab.figures.append((time.monotonic() - struck, 0.0, os.getloadavg()[0]))
            else:
                lab.ends(job_id, struck)
        finally:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid or 0, signal.SIGCONT)
        if number % 2:
            waited(lambda job=job_id: lab.job(job)[3], LIMIT_S)  # type: ignore[misc]
            taken, _, load = lab.figures[-1]
            lab.figures[-1] = (taken, time.monotonic() - struck, load)
        ended, files = lab.job(job_id), lab.files()
        # a backgrounder that stands still alone is replaced by its own node, if that is quicker
        assert ended[0] == other.name or (owner.pid not in pids and ended[:2] != held)
        lab.running.wait_ready()
        # whoever woke has to let go of its own, and removes what it was writing
        waited(lab.nothing_is_left, LIMIT_S)
        assert lab.job(job_id) == ended
        assert lab.files() == files
        twice += lab.check(job_id, since)
    lab.say("stood still", twice)
