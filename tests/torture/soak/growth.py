"""How the processes of the nodes grow: resident memory and descriptors, for each process by itself."""

import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.torture.fleet import Fleet

EVERY_S = 5.0
WARM_S = 150.0
"""How long a process may grow at first, or a third of its life: pools and caches fill, a first job loads libraries."""
LEAST_S = 240.0
"""How long a process must have lived after that to be judged."""
MOST_MEMORY = 1.05
MOST_DESCRIPTORS = 8


@dataclass
class Life:
    """A process, with what it had at which time."""

    name: str
    samples: list[tuple[float, int, int]] = field(default_factory=list)

    def judged(self) -> tuple[float, float, int, int] | None:
        """Medians of memory in MiB and of descriptors, of the first and the last third after it was warm."""
        begun, last_at = self.samples[0][0], self.samples[-1][0]
        cold_s = max(WARM_S, (last_at - begun) / 3)
        warm = [one for one in self.samples if one[0] - begun > cold_s]
        if not warm or warm[-1][0] - warm[0][0] < LEAST_S:
            return None
        third = max(1, len(warm) // 3)
        first, last = warm[:third], warm[-third:]
        memory = [_median([one[1] for one in part]) / 1024 for part in (first, last)]
        descriptors = [_median([one[2] for one in part]) for part in (first, last)]
        return memory[0], memory[1], descriptors[0], descriptors[1]


class Growth:
    """Looks at every process of every node, every `EVERY_S`."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.lives: dict[int, Life] = {}

    def follow(self, stopping: threading.Event) -> None:
        """Look until the end."""
        while not stopping.wait(EVERY_S):
            for member in self._fleet.members.values():
                for kind, pid in (
                    ("server", member.pid),
                    ("backgrounder", member.backgrounder_pid),
                ):
                    if pid is not None:
                        self._look(f"{kind} of {member.name}", pid)

    def _look(self, name: str, pid: int) -> None:
        with suppress(OSError, StopIteration, ValueError):
            status = Path(f"/proc/{pid}/status").read_text()
            memory = next(one for one in status.splitlines() if one.startswith("VmRSS:"))
            descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
            life = self.lives.setdefault(pid, Life(name))
            life.samples.append((time.monotonic(), int(memory.split()[1]), descriptors))

    def told(self) -> tuple[list[str], list[str]]:
        """What each process that lived long enough has grown, and what of that is too much."""
        said, wrong = [], []
        for pid, life in self.lives.items():
            found = life.judged()
            if found is None:
                continue
            before, after, fds, fds_after = found
            lived = life.samples[-1][0] - life.samples[0][0]
            line = (
                f"{life.name} ({pid}, {lived:.0f} s): {before:.0f} to {after:.0f} MiB,"
                f" {fds} to {fds_after} descriptors"
            )
            said.append(line)
            if after > before * MOST_MEMORY or fds_after > fds + MOST_DESCRIPTORS:
                wrong.append(f"grows: {line}")
        return said, wrong


def _median(values: list[int]) -> int:
    return sorted(values)[len(values) // 2]
