"""Every component that the suite runs over: one line each."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from tests.contract.consumers import bench_redis
from tests.contract.consumers.harness import ConsumerBench

#: Name → class, which says what applies to it.
BENCHES: Mapping[str, type[ConsumerBench]] = {
    "redis": bench_redis.RedisBench,
}
#: Name → what starts it in a folder.
START: Mapping[str, Callable[[Path], AbstractContextManager[ConsumerBench]]] = {
    "redis": bench_redis.start,
}
