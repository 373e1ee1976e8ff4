"""The settings of a backgrounder that may change while it works."""

import logging

from strongroom.config import versions
from strongroom.node.opening import Node
from strongroom.services.keys.stored import STALE_S
from strongroom.system.last_answer import LastAnswer

_log = logging.getLogger("backgrounder.Jobs")


class Settings:
    """Limits, role and processes of the node, and whether it is in service; nothing that cannot be read ends a process.

    The configuration is read again when it has changed (P18).
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._version = -1
        self._limits = (1, 0)
        # an entry that nobody understands may say anything: a process goes on as it was, and ends not for that
        self.limits = LastAnswer(self._read_limits, self._limits, _log, "the limits of this node")
        self.may_work = LastAnswer(
            self._read_may_work, True, _log, "role and processes of this node"
        )

    def _read_limits(self) -> tuple[int, int]:
        version = self._node.coordinator.recent_version(versions.CURRENT, STALE_S)
        if version != self._version:
            self._limits = (max(1, self._number("concurrency")), self._number("bytes_per_second"))
            self._version = version
        concurrency, bytes_per_s = self._limits
        # the limit is the node's, whose backgrounders share it
        share = max(1, self._node.node_processes.own().backgrounder)
        return concurrency, -(-bytes_per_s // share)

    def _read_may_work(self) -> bool:
        count = self._node.node_processes.own().backgrounder
        return self._node.job_roles.may_work() and count > self._node.place

    def is_maintained(self) -> bool:
        """Whether the node is out of service, by what is known."""
        return self._node.out_of_service.seen() is not None

    def _number(self, name: str) -> int:
        return int(self._node.configuration.effective(f"backgrounder.extracts.{name}") or "0")
