"""A call of the short way that is cut off in a maintenance (b14)."""

import asyncio
from typing import Any

from strongroom.doors.vault.protocol import VaultProtocol


def test_a_call_whose_loop_has_ended_is_cut_off_already() -> None:
    """Whoever cuts off goes on with the others, and looks again."""
    loop = asyncio.new_event_loop()
    loop.close()
    protocol: Any = VaultProtocol.__new__(VaultProtocol)
    protocol.loop, protocol.transport = loop, asyncio.Transport()
    protocol._cut()
