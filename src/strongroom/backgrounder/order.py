"""Decides which queued jobs may begin now; pure.

Jobs that concern the same extract run in the order in which they were queued. One exception: a job for a few extracts
may overtake a job for the whole site that does the same to them, since the result does not depend on the order.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Self

from strongroom.jobs.model import JobKind, JobOptions
from strongroom.repository.rows import JobRow
from strongroom.services.jobs.marks import Scope

LARGE_AT_ONCE: Final = 2
"""The number of large jobs (of a site, or of many extracts) at a time: a small site need not wait for a big one (P18)."""
SMALL_AT_ONCE: Final = 2
"""The number of small jobs that may run beside the large ones."""
SMALL_ITEMS: Final = 16
"""The largest number of extracts of a small job."""


@dataclass(frozen=True)
class _Looked:
    """The facts of a job that decide on its order."""

    place: tuple[str, str]
    scope: Scope
    way: tuple[JobKind, bool]

    @classmethod
    def at(cls, job: JobRow) -> Self:
        scope = Scope.of(job)
        new_data_key = JobOptions.from_dict(job.options).new_data_key
        return cls((job.created_at, job.id), scope, (scope.kind, new_data_key))


@dataclass
class _Earlier:
    """The jobs of one site that are before the one that is looked at."""

    items: set[str] = field(default_factory=set)
    whole: list[tuple[JobKind, bool]] = field(default_factory=list)
    some: list[_Looked] = field(default_factory=list)

    def add(self, job: _Looked) -> None:
        self.items |= job.scope.only
        if job.scope.is_whole_site:
            self.whole.append(job.way)
        else:
            self.some.append(job)

    def lets_by(self, job: _Looked) -> bool:
        if job.scope.is_whole_site:
            return not self.whole and all(_may_run_beside(job, one) for one in self.some)
        if not self.items.isdisjoint(job.scope.only):
            return False
        return (
            all(_agree(one, job.way) for one in self.whole)
            if is_small(job.scope)
            else not self.whole
        )


def _may_run_beside(whole: _Looked, some: _Looked) -> bool:
    """Whether a job for the whole site begins while one runs that was asked for after it, and that it let by.

    If it waited for those, too, small jobs that are asked for again and again would keep it waiting without end.
    """
    return is_small(some.scope) and some.place > whole.place and _agree(whole.way, some.way)


def is_small(scope: Scope) -> bool:
    """Whether the job is for a few extracts."""
    return 0 < len(scope.only) <= SMALL_ITEMS


def startable(
    running: Iterable[JobRow], queued: Iterable[JobRow], before: Iterable[JobRow] = ()
) -> Iterator[JobRow]:
    """The queued jobs that may begin beside those that run; looks no further than there is room for one.

    Args:
        running: Jobs that somebody works on.
        queued: Jobs that wait, oldest first.
        before: Jobs that run and cannot be worked on now: they take up no room.
    """
    sites: dict[str, _Earlier] = {}
    for job in before:
        looked = _Looked.at(job)
        _of(sites, looked.scope).add(looked)
    large, small = LARGE_AT_ONCE, SMALL_AT_ONCE
    for job in running:
        looked = _Looked.at(job)
        _of(sites, looked.scope).add(looked)
        large, small = (large, small - 1) if is_small(looked.scope) else (large - 1, small)
    for job in queued:
        if large <= 0 and small <= 0:
            return
        looked = _Looked.at(job)
        site, few = _of(sites, looked.scope), is_small(looked.scope)
        if (small if few else large) > 0 and site.lets_by(looked):
            large, small = (large, small - 1) if few else (large - 1, small)
            yield job
        site.add(looked)


def _of(sites: dict[str, _Earlier], scope: Scope) -> _Earlier:
    return sites.setdefault(scope.site_id, _Earlier())


def _agree(whole: tuple[JobKind, bool], small: tuple[JobKind, bool]) -> bool:
    """Whether an extract is the same in the end, whichever of the two comes first."""
    if (whole[0] is JobKind.DECRYPT) is not (small[0] is JobKind.DECRYPT):
        return False
    # a rewrap before it would leave nothing under an old key, and so no new data key
    return not (whole[1] or small[1])
