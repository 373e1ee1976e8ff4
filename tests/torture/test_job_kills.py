"""R3: a backgrounder killed again and again in mid re-encryption loses nothing and gets to the end."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from strongroom.jobs.model import JobKind
from tests.conftest import Torture
from tests.support.jobs_lab import SITE, Lab

pytestmark = pytest.mark.torture
_WORK_S = 3  # the longest that the first process may work before it dies
_MORE_S = 0.5  # and each further one so much longer: on a busy machine, too, one gets to the end
_MOST_KILLS = 200


def killed_until_done(lab: Lab, job_id: str, chance: random.Random) -> int:
    """Start a worker and kill it, until one gets to the end; returns how many died."""
    shown = 0
    for kills in range(_MOST_KILLS):
        command = [sys.executable, "-m", "tests.support.jobs_worker", str(lab.folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()  # it begins to change things
            try:
                process.wait(chance.random() * (_WORK_S + kills * _MORE_S))
            except subprocess.TimeoutExpired:
                process.kill()
        job = lab.jobs.show(job_id)
        assert job.done >= shown, "progress went back"
        shown = job.done
        for content_id in chance.sample(sorted(lab.plain), 5):
            assert lab.read(content_id) == lab.plain[content_id]
        if process.returncode == 0:
            return kills
    raise AssertionError(f"not done after {_MOST_KILLS} kills")


def test_killed_again_and_again(tmp_path: Path, torture: Torture) -> None:
    chance = random.Random(torture.seed)
    extracts, rounds = (200, 20) if torture.whole else (20, 1)
    lab = Lab(tmp_path).set_up()
    for number in range(extracts):
        size = 0 if number % 10 == 0 else int(2 ** chance.uniform(0, 20))
        lab.publish(chance.randbytes(16) * (size // 16 + 1), encrypted=True)
    kills = 0
    for _ in range(rounds):
        files = {key: lab.row(key).file_id for key in lab.plain}
        began = time.monotonic()
        job = lab.jobs.enqueue(JobKind.REENCRYPT, SITE, "os:test").id
        kills += killed_until_done(lab, job, chance)
        receipt = lab.receipt(job)
        assert (receipt.changed, receipt.verified, receipt.remaining) == (extracts, extracts, 0)
        assert all(lab.row(key).file_id != old for key, old in files.items())
        lab.check_whole()
        sys.stdout.write(f"{kills} kills, {time.monotonic() - began:.0f} s\n")
    lab.repository.close()
