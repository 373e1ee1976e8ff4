"""Use a cluster for some minutes while its processes and services are killed: `make soak MINUTES=30 SEED=1`.

Bursts of faults alternate with calm, in which everything has to work again. It ends with 1 if anything was lost, doubled or
stuck, grew, or failed in the calm; the seed, which is printed, repeats its choices, though not its timing.
"""

import argparse
import os
import random
import secrets
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from tests.support.emulators import Aws
from tests.torture import fleet
from tests.torture.soak import load
from tests.torture.soak.faults import Faults
from tests.torture.soak.growth import Growth
from tests.torture.soak.judge import Judge
from tests.torture.soak.model import Seen

BURST_S = 75.0
GRACE_S = 45.0
"""How long after the last fault calls may still fail: sessions are renewed, jobs taken over, commands of before end."""
CALM_S = 25.0


class Soak:
    """One run."""

    def __init__(self, running: fleet.Fleet, minutes: float, seed: int) -> None:
        self.seen = Seen()
        self.world = load.begin(running, self.seen, seed)
        self.faults = Faults(running, seed)
        self.growth = Growth(running)
        self._end = time.monotonic() + minutes * 60
        self._minutes = minutes
        self._chance = random.Random(f"{seed} bursts")
        self._back: list[float] = []

    def run(self) -> list[str]:
        """Use and disturb until the end, then judge; returns what was found in words."""
        running, begun = self.world.fleet, time.monotonic()
        followed = threading.Event()
        growing = threading.Thread(target=self.growth.follow, args=(followed,), daemon=True)
        growing.start()
        threads = load.start(self.world)
        names = sorted(running.members)
        while time.monotonic() < self._end:
            # each node is spared for a third of the time
            passed = (time.monotonic() - begun) / (self._minutes * 60)
            self.faults.spared = names[min(int(passed * len(names)), len(names) - 1)]
            self._burst()
            self._calm()
        self.world.stopping.set()
        for thread in threads:
            thread.join(400)
            if thread.is_alive():
                self.seen.must_not("a call does not end")
        said = Judge(self.world).all()
        followed.set()
        grown, wrong = self.growth.told()
        for one in wrong:
            self.seen.must_not(one)
        back = ", ".join(f"{one:.0f}" for one in self._back)
        return [*said, f"ready again after the faults, in seconds: {back}", *grown]

    def _burst(self) -> None:
        end = min(self._end, time.monotonic() + BURST_S)
        while time.monotonic() < end:
            _say(f"fault: {self.faults.one()} (load {os.getloadavg()[0]:.1f})")
            time.sleep(self._chance.uniform(0, 8))
        self.faults.mend()

    def _calm(self) -> None:
        try:
            self._back.append(self.world.fleet.wait_ready())
        except AssertionError:
            self.seen.must_not("a node is not ready three minutes after everything was mended")
        _say(f"everything runs; ready after {self._back[-1]:.1f} s")
        time.sleep(GRACE_S)
        since = time.monotonic()
        time.sleep(CALM_S)
        for at, what in list(self.seen.failures):
            if at >= since:
                self.seen.must_not(f"failed though nothing was wrong for {GRACE_S:.0f} s: {what}")
        done = sum(number for (_, how), number in self.seen.counts.items() if how == "done")
        _say(
            f"calm; {done} calls done, {len(self.seen.failures)} failed, {len(self.seen.wrong)} wrong"
        )


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def _told(soak: Soak, said: list[str]) -> None:
    print("\nwhat was done to it")
    for what, number in sorted(Counter(one for _, one in soak.faults.met).items()):
        print(f"  {number:4} x {what}")
    print("calls")
    for (kind, outcome), number in sorted(soak.seen.counts.items()):
        print(f"  {number:6} x {kind}: {outcome}")
    print("at the end")
    for line in said:
        print(f"  {line}")
    for line in soak.seen.wrong:
        print(f"  WRONG  {line}")


def main() -> int:
    """Run it and print what was found."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__, allow_abbrev=False)
    parser.add_argument("minutes", type=float, nargs="?", default=30.0)
    parser.add_argument(
        "--seed", type=int, default=None, help="of every choice; by default another each time"
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave the folder, with the logs of the nodes"
    )
    arguments = parser.parse_args()
    seed = secrets.randbelow(2**32) if arguments.seed is None else arguments.seed
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    folder.chmod(0o755)
    # before the first command is forked from a process of this environment
    os.environ |= {
        "AWS_ACCESS_KEY_ID": Aws("").access_key,
        "AWS_SECRET_ACCESS_KEY": Aws("").secret_key,
    }
    print(f"a soak of {arguments.minutes:g} minutes in {folder}, --seed {seed}", flush=True)
    with fleet.running(folder, 3) as running:
        soak = Soak(running, arguments.minutes, seed)
        said = soak.run()
    _told(soak, said)
    print(f"{len(soak.seen.wrong)} wrong, seed {seed}")
    if not arguments.keep and not soak.seen.wrong:
        import shutil

        shutil.rmtree(folder)
    return 1 if soak.seen.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
