"""Pauses sign-in to an account after failures, separately for each address, so that nobody can lock a user out (S9).

The failures of each pair of account and address are kept in memory, and timed by the monotonic clock, which no
administrator sets back. The account's row counts the failures from all addresses as well, and pauses the account only
after many more.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from strongroom.access import passwords

MOST = 10_000
"""How many pairs of account and address are remembered; beyond that, the least recently used pair is forgotten."""
Place = tuple[str, str]


@dataclass
class _Tries:
    """Failures in a row against one password hash; a new password begins a new count."""

    password_hash: str | None = field(repr=False)
    failures: int = 0
    until: float = 0.0
    is_known: bool = False


class SignInThrottle:
    """The pauses of accounts, one for each address; for many threads."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._guard = threading.Lock()
        self._tries: OrderedDict[Place, _Tries] = OrderedDict()

    def is_paused(self, user_id: str, peer: str, password_hash: str | None) -> bool:
        """Whether sign-in to the account from this address is paused now."""
        with self._guard:
            found = self._of(user_id, peer, password_hash)
            return found is not None and self._monotonic() < found.until

    def knows(self, user_id: str, peer: str, password_hash: str | None) -> bool:
        """Whether the user has signed in from this address with the present password."""
        with self._guard:
            found = self._of(user_id, peer, password_hash)
            return found is not None and found.is_known

    def failed(self, user_id: str, peer: str, password_hash: str | None) -> None:
        """Count a failure of this account at this address, and pause it as many failures demand."""
        with self._guard:
            found = self._remember(user_id, peer, password_hash)
            found.failures += 1
            pause = passwords.pause_s(found.failures)
            found.until = self._monotonic() + pause if pause else 0.0

    def entered(self, user_id: str, peer: str, password_hash: str | None) -> None:
        """Note a sign-in to this account from this address, which ends its failures there."""
        with self._guard:
            found = self._remember(user_id, peer, password_hash)
            found.failures, found.until, found.is_known = 0, 0.0, True

    def forget(self, user_id: str) -> None:
        """Forget all failures of an account."""
        with self._guard:
            for place in [one for one in self._tries if one[0] == user_id]:
                del self._tries[place]

    def _of(self, user_id: str, peer: str, password_hash: str | None) -> _Tries | None:
        found = self._tries.get((user_id, peer))
        return found if found is not None and found.password_hash == password_hash else None

    def _remember(self, user_id: str, peer: str, password_hash: str | None) -> _Tries:
        found = self._of(user_id, peer, password_hash) or _Tries(password_hash)
        self._tries[user_id, peer] = found
        self._tries.move_to_end((user_id, peer))
        while len(self._tries) > MOST:
            self._tries.popitem(last=False)
        return found
