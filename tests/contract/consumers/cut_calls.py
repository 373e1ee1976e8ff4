"""Calls of a consumer that are cut at a message, and what must hold then (R7)."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from strongroom.consumers.base import Consumer, Credential
from strongroom.errors import ConsumerUnavailableError
from tests.contract.consumers.cutting_proxy import CuttingProxy
from tests.contract.consumers.harness import ConsumerLab

#: More turns than any call takes; an enumeration ends when a call was not cut any more.
MOST_TURNS = 90


def cut_at(lab: ConsumerLab, turns: Iterable[int], *, delivered: bool) -> int:
    """Cut `admit` and `withdraw` at these messages, as far as there are so many; gives how often it cut."""
    cuts = 0
    for stage in (_admit, _withdraw):
        for turn in turns:
            present = lab.reset()
            new = lab.fresh(present)
            with CuttingProxy(lab.address, turn, delivered=delivered) as proxy:
                stage(lab, lab.consumer(address=proxy.address), new, present)
            if not proxy.has_cut:
                break
            cuts += 1
            assert lab.accepts(new) or lab.accepts(present)
            consumer = lab.consumer()
            if stage is _admit:
                consumer.admit(new, present)
                assert lab.accepts(new)
            consumer.withdraw(present, new)
            assert lab.accepts(new)
            assert not lab.accepts(present)
    return cuts


def _admit(lab: ConsumerLab, consumer: Consumer, new: Credential, present: Credential) -> None:
    with _cut():
        consumer.admit(new, present)


def _withdraw(lab: ConsumerLab, consumer: Consumer, new: Credential, present: Credential) -> None:
    lab.consumer().admit(new, present)
    with _cut():
        consumer.withdraw(present, new)


@contextmanager
def _cut() -> Iterator[None]:
    """A call through the proxy succeeds, or is unavailable; nothing else."""
    try:
        yield
    except ConsumerUnavailableError:
        return
