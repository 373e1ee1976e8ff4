"""Notices nodes that are gone, and has their jobs taken over by living ones (ADR 42).

Every worker looks, and each step is conditional in the database: two that look at once do no harm. A worker that is not
itself among the members decides nothing, since it is the one that is cut off.
"""

import logging
import time
from collections.abc import Callable
from typing import Final

from strongroom.coordination.base import Group
from strongroom.errors import StrongroomError
from strongroom.services.jobs.gone import GoneNodes
from strongroom.services.jobs.others import Others

LOOK_S: Final = 5.0
"""Seconds between two looks."""

_log = logging.getLogger("backgrounder.Jobs")


class Takeover:
    """Looks after the jobs of the other nodes, one look at a time."""

    def __init__(
        self,
        others: Others,
        gone: GoneNodes,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare.

        Args:
            others: The nodes.
            gone: Gives back the jobs of nodes that are gone, and removes their files.
            monotonic: A clock that cannot be set, as `time.monotonic`.
        """
        self._others = others
        self._gone = gone
        self._monotonic = monotonic
        self._next_at = monotonic()
        self._away: dict[tuple[Group, str], float] = {}

    def look(self) -> None:
        """Look, if it is time; an error is logged, and the next look begins anew."""
        now = self._monotonic()
        if now < self._next_at:
            return
        self._next_at = now + LOOK_S
        try:
            self._look(now)
        except StrongroomError:
            # a node that nobody saw meanwhile was not seen to be away
            self._away.clear()
            _log.exception("the jobs of other nodes cannot be looked at; it will be tried again")

    def _look(self, now: float) -> None:
        members = {group: frozenset(self._others.members(group)) for group in Group}
        if self._others.node_id not in members[Group.WORKERS]:
            self._away.clear()
            return
        nodes = self._gone.with_work() - {self._others.node_id}
        away = {(group, node) for group in Group for node in nodes - members[group]}
        self._away = {one: self._away.get(one, now) for one in away}
        long = {one for one, since in self._away.items() if now - since >= self._others.gone_s}
        idle = sorted(node for group, node in long if group is Group.WORKERS)
        # the files of the others lie where this node cannot reach them: their jobs wait for them
        if not idle or not self._others.shares_files():
            return
        for node in idle:
            self._gone.give_back(node)
            self._gone.remove_files(node, of_jobs=(Group.NODES, node) not in long)
