"""A primary of PostgreSQL that was replaced and still runs: no connection that was opened with it is used any more.

Such a server answers, shows for ever what was so when it was replaced, and takes no changes. A new connection goes to
a server that does, as the address asks (`target_session_attrs`).
"""

import time
from typing import Any, Final

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.interfaces import ExceptionContext
from sqlalchemy.exc import DisconnectionError

from strongroom.repository.dialects import postgres as codes
from strongroom.repository.dialects.causes import Cause

SERVES: Final = (
    "NOT pg_is_in_recovery() AND current_setting('default_transaction_read_only') = 'off'"
)
"""An expression of SQL: whether the server takes changes, also where the transaction is one that only reads."""
_OPENED: Final = "strongroom_opened"


class Replacement:
    """Keeps connections from use that were opened before a primary was found to be replaced.

    Args:
        engine: The connections.
    """

    def __init__(self, engine: Engine) -> None:
        self._found_s = float("-inf")
        event.listen(engine, "connect", self._opened)
        event.listen(engine, "checkout", self._taken)

    def found(self, connection: Connection) -> None:
        """Give up a connection with a server that takes no changes any more, and all that are as old."""
        self._found_s = time.monotonic()
        connection.invalidate()

    def _opened(self, _driver: object, record: Any) -> None:
        record.info[_OPENED] = time.monotonic()

    def _taken(self, _driver: object, record: Any, _proxy: object) -> None:
        if record.info[_OPENED] <= self._found_s:
            raise DisconnectionError("opened before the primary was replaced")


def is_of_replaced(context: ExceptionContext) -> bool:
    """Whether an error is a server's that took changes when it was connected; our own readers ask for such a refusal."""
    if codes.cause_of(context.original_exception) is not Cause.READ_ONLY:
        return False
    options = context.connection.get_execution_options() if context.connection else {}
    return not options.get("postgresql_readonly", False)
