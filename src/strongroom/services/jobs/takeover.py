"""Notices nodes that are gone, and has their jobs taken over by living ones (ADR 42).

The controller looks, and writes under the fence of its lock (ADR 48): one that was paused, and believes what it saw before,
takes nothing from a node that came back meanwhile. A node that is not itself among the members decides nothing, since it
is the one that is cut off.
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
    """Looks after the jobs of all nodes, one look at a time."""

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
        self._away: dict[tuple[Group, str], float] = {}

    def look(self) -> None:
        """Look, every `LOOK_S`; an error is logged, and the next look begins anew."""
        try:
            self._look(self._monotonic())
        except StrongroomError:
            # a node that nobody saw meanwhile was not seen to be away
            self._away.clear()
            _log.exception("the jobs of other nodes cannot be looked at; it will be tried again")

    def _look(self, now: float) -> None:
        members = {group: frozenset(self._others.members(group)) for group in Group}
        if self._others.node_id not in members[Group.NODES]:
            self._away.clear()
            return
        nodes = self._gone.with_work()
        away = {(group, node) for group in Group for node in nodes - members[group]}
        self._away = {one: self._away.get(one, now) for one in away}
        long = {one for one, since in self._away.items() if now - since >= self._others.gone_s}
        idle = sorted(node for group, node in long if group is Group.WORKERS)
        # the files of a node may lie where this one cannot reach them: its jobs wait for it
        if not idle or not self._others.shares_files():
            return
        for node in idle:
            self._gone.give_back(node)
            self._gone.remove_files(node, of_jobs=(Group.NODES, node) not in long)
