"""R3: a backgrounder killed again and again in mid re-encryption loses nothing and gets to the end."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from strongroom.jobs.model import JobKind
from tests.conftest import Torture
from tests.jobs_bench import SITE, Bench

pytestmark = pytest.mark.torture
_WORK_S = 3  # the longest that a process may work before it dies
_MOST_KILLS = 200


def killed_until_done(bench: Bench, job_id: str, chance: random.Random) -> int:
    """Start a worker and kill it, until one gets to the end; returns how many died."""
    shown = 0
    for kills in range(_MOST_KILLS):
        command = [sys.executable, "-m", "tests.jobs_worker", str(bench.folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()  # it begins to change things
            try:
                process.wait(chance.random() * _WORK_S)
            except subprocess.TimeoutExpired:
                process.kill()
        job = bench.jobs.show(job_id)
        assert job.done >= shown, "progress went back"
        shown = job.done
        for content_id in chance.sample(sorted(bench.plain), 5):
            assert bench.read(content_id) == bench.plain[content_id]
        if process.returncode == 0:
            return kills
    raise AssertionError(f"not done after {_MOST_KILLS} kills")


def test_killed_again_and_again(tmp_path: Path, torture: Torture) -> None:
    chance = random.Random(torture.seed)
    extracts, rounds = (200, 20) if torture.whole else (20, 1)
    bench = Bench(tmp_path).set_up()
    for number in range(extracts):
        size = 0 if number % 10 == 0 else int(2 ** chance.uniform(0, 20))
        bench.publish(chance.randbytes(16) * (size // 16 + 1), encrypted=True)
    kills = 0
    for _ in range(rounds):
        files = {key: bench.row(key).file_id for key in bench.plain}
        began = time.monotonic()
        job = bench.jobs.enqueue(JobKind.REKEY, SITE, "os:test").id
        kills += killed_until_done(bench, job, chance)
        receipt = bench.receipt(job)
        assert (receipt.changed, receipt.verified, receipt.remaining) == (extracts, extracts, 0)
        assert all(bench.row(key).file_id != old for key, old in files.items())
        bench.check_whole()
        sys.stdout.write(f"{kills} kills, {time.monotonic() - began:.0f} s\n")
    bench.repository.close()
