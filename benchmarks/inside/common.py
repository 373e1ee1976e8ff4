"""The frame of a measurement within one process: options come as JSON, figures go out as JSON."""

import json
import secrets
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from strongroom.clock import SystemClock
from strongroom.node.opening import Node
from strongroom.runtime.paths import DataPaths

ACTOR = "os:bench"
CHUNK_BYTES = 256 * 1024


def main(work: Callable[[Mapping[str, Any]], object]) -> None:
    """Run with the options of the command line."""
    json.dump(work(json.loads(sys.argv[1])), sys.stdout)


def open_node(options: Mapping[str, Any]) -> Node:
    """The node of the benchmark."""
    return Node(DataPaths(Path(options["home"])), SystemClock())


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds of one call, all threads together."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def interleave(
    works: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    before: Callable[[], None] | None = None,
) -> dict[str, list[tuple[float, float]]]:
    """Run every work once in each round, in random order; wall and CPU seconds of each run."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for _ in range(rounds):
        order = list(works)
        secrets.SystemRandom().shuffle(order)
        for name in order:
            if before is not None:
                before()
            found[name].append(timed(works[name]))
    return found


def median_wall(runs: Sequence[tuple[float, float]]) -> float:
    """Of the runs of one work."""
    return statistics.median(wall for wall, _ in runs)


def median_cpu(runs: Sequence[tuple[float, float]]) -> float:
    """Of the runs of one work."""
    return statistics.median(cpu for _, cpu in runs)
