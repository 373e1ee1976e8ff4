"""How far a writing transaction reaches: which other writers it excludes; pure.

SQLite has one writer at a time, whatever a transaction says here. PostgreSQL has many. There a transaction holds locks
to its end, taken at its beginning (docs/adr/0034-a-repository-for-several-writers.md):

- `EVERYTHING`, the default: there is no other writer, as with SQLite. It is right whatever the transaction does.
- `of_site`, `of_account`, `DISPATCH`: there is no other writer with the same name, and none that reaches everything.
  Whoever chooses this has looked at every other transaction with a reach of its own.
- `ROWS`: each statement says by its own condition what it expects of the row that it changes. Only writers that reach
  everything are excluded.

A transaction has one name at most, and the locks of a MEK and of the logs' anchor are taken after it; so no two can wait
for each other.
"""

import hashlib
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Reach:
    """The reach of a writing transaction.

    Attributes:
        alone: No other writer is let in.
        name: No other writer with the same name is let in; empty without a name.
    """

    alone: bool = False
    name: str = ""

    @property
    def key(self) -> int:
        """The number by which PostgreSQL locks the name; two names with one number only wait for each other in vain."""
        return _key(self.name)


def of_site(site_id: str) -> Reach:
    """The content, projects, uploads and jobs of a site."""
    return Reach(name=f"site {site_id}")


def of_account(user_id: str) -> Reach:
    """Sign-in to an account: its failures and its sessions."""
    return Reach(name=f"account {user_id}")


def of_mek(mek_id: str) -> Reach:
    """Writing under a MEK, which its retirement waits for; held beside the name of the transaction, and after it."""
    return Reach(name=f"mek {mek_id}")


def _key(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)


LOG_ANCHOR: Final = Reach(name="event log anchor")
"""The one row on all nodes' event logs; held beside the name of the transaction, and last of all."""
DISPATCH: Final = Reach(name="dispatch")
"""The choice of the queued job that begins next, over all nodes."""
EVERYTHING: Final = Reach(alone=True)
ROWS: Final = Reach()
WHOLE_KEY: Final = _key("strongroom")
"""The number of the lock that a transaction takes alone if it reaches everything, and shared if it does not."""
