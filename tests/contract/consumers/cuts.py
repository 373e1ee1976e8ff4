"""Calls of a consumer that are cut at a message, and what must hold then (R7)."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from strongroom.consumers.base import Consumer, Credential
from strongroom.errors import ConsumerUnavailableError
from tests.contract.consumers.cutting import CuttingProxy
from tests.contract.consumers.harness import ConsumerBench

#: More turns than any call takes; an enumeration ends when a call was not cut any more.
MOST_TURNS = 90


def cut_at(bench: ConsumerBench, turns: Iterable[int], *, delivered: bool) -> int:
    """Cut `admit` and `withdraw` at these messages, as far as there are so many; gives how often it cut."""
    cuts = 0
    for stage in (_admit, _withdraw):
        for turn in turns:
            present = bench.reset()
            new = bench.fresh(present)
            with CuttingProxy(bench.address, turn, delivered=delivered) as proxy:
                stage(bench, bench.consumer(address=proxy.address), new, present)
            if not proxy.has_cut:
                break
            cuts += 1
            assert bench.accepts(new) or bench.accepts(present)
            consumer = bench.consumer()
            if stage is _admit:
                consumer.admit(new, present)
                assert bench.accepts(new)
            consumer.withdraw(present, new)
            assert bench.accepts(new)
            assert not bench.accepts(present)
    return cuts


def _admit(bench: ConsumerBench, consumer: Consumer, new: Credential, present: Credential) -> None:
    with _cut():
        consumer.admit(new, present)


def _withdraw(
    bench: ConsumerBench, consumer: Consumer, new: Credential, present: Credential
) -> None:
    bench.consumer().admit(new, present)
    with _cut():
        consumer.withdraw(present, new)


@contextmanager
def _cut() -> Iterator[None]:
    """A call through the proxy succeeds, or is unavailable; nothing else."""
    try:
        yield
    except ConsumerUnavailableError:
        return
