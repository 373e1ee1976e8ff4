"""The open store in memory: how long it serves, who asks the root, and how often (R10, R11).

A root outage is none of the service: while the root cannot be reached, the keys in memory serve until their
limit, and no reader waits for a root that hangs. Nothing is ever written down: memory is all the escrow there is.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from strongroom.crypto import rng
from strongroom.errors import RootUnavailableError, StrongroomError
from strongroom.kms import store as kms_store
from strongroom.kms.opening import (
    FindRoot,
    Log,
    OpenStore,
    open_store,
    reopen_store,
    tell_opened,
)
from strongroom.kms.store import SealedStore

#: Least pause between two tries at a root that fails (R10: at most one call in five seconds).
PAUSE_S = 5.0
#: The most that jitter adds to it: half, so that service is back within ten seconds of the root.
_JITTER_S = 2.5
#: How long the reader who asks the root anew waits for it, while there are keys that may serve.
_PATIENCE_S = 1.0
THREAD = "strongroom-root"


@dataclass(frozen=True)
class Limits:
    """How long keys stay in memory.

    Attributes:
        keep_s: Seconds until the root is asked again.
        offline_s: Further seconds that they serve while the root cannot be reached; one that
            refuses is obeyed at once.
    """

    keep_s: float = 3600.0
    offline_s: float = 3600.0


@dataclass(frozen=True)
class _Cached:
    version: int
    opened: OpenStore
    since: float
    limits: Limits

    def is_fresh(self, now: float) -> bool:
        return now < self.since + self.limits.keep_s

    def may_serve(self, now: float) -> bool:
        """Whether it may serve while the root is out of reach."""
        return now < self.since + self.limits.keep_s + self.limits.offline_s


@dataclass(frozen=True)
class _Failure:
    """The store did not open; it is not tried again for a while."""

    version: int
    error: StrongroomError
    until: float


class StoreCache:
    """Opens the store when it must, one opening at a time for all callers."""

    def __init__(
        self,
        sealed: SealedStore,
        find_root: FindRoot,
        *,
        monotonic: Callable[[], float],
        log: Log,
        limits: Callable[[], Limits],
    ) -> None:
        """Build the cache; opens nothing yet.

        Args:
            sealed: Where the store's bytes come from.
            find_root: The provider of a wrap record.
            monotonic: Seconds of a clock that never goes back.
            log: Where the seeds' sentences go.
            limits: The present limits; asked at each opening.
        """
        self._sealed = sealed
        self._find_root = find_root
        self._monotonic = monotonic
        self._log = log
        self._limits = limits
        self._lock = threading.Lock()
        self._cached: _Cached | None = None
        self._failure: _Failure | None = None
        self._asking: threading.Event | None = None

    def opened(self) -> OpenStore:
        """The open store: from memory while it is fresh, else opened anew.

        Raises:
            StrongroomError: No root opens it, now or a moment ago.
        """
        with self._lock:
            now, version = self._monotonic(), self._sealed.version()
            cached, failure = self._of_version(version), self._failure
            if cached is not None and cached.is_fresh(now):
                return cached.opened
            if failure is not None and failure.version == version and now < failure.until:
                return self._without_root(failure.error)
            if cached is None or not cached.may_serve(now):
                # nothing may serve meanwhile: every caller waits for this one try
                return self._open_again(version)
            if self._asking is not None:
                return cached.opened
            asking = self._asking = threading.Event()
        threading.Thread(target=self._ask, args=(version, asking), name=THREAD, daemon=True).start()
        answered = asking.wait(_PATIENCE_S)
        return self.opened() if answered else cached.opened

    @property
    def limits(self) -> Limits:
        """How long keys serve, as it is set now."""
        return self._limits()

    @property
    def age_s(self) -> float | None:
        """Seconds since a root opened the keys in memory; None if there are none that may serve."""
        with self._lock:
            self._drop_expired()
            return None if self._cached is None else self._monotonic() - self._cached.since

    def remember(self, opened: OpenStore) -> None:
        """Take the store that is in force from whoever has just changed it, and proved it by its roots.

        So a root that goes away right after a change of the store ends no service.
        """
        with self._lock:
            now, version = self._monotonic(), self._sealed.version()
            self._cached = _Cached(version, opened, now, self._limits())
            self._failure = self._asking = None
        tell_opened(opened, opened.store.wraps[0], self._log)

    def forget(self) -> None:
        """Drop the RMK and the MEKs from memory; the next call opens the store again."""
        with self._lock:
            self._cached = self._failure = self._asking = None

    def drop_expired(self) -> None:
        """Drop keys whose limit has passed though nobody asks for them."""
        with self._lock:
            self._drop_expired()

    def _of_version(self, version: int) -> _Cached | None:
        """What is in memory, brought to the present version of the store.

        A store of the same RMK is opened by that RMK: a setting that changes while the root is out of
        reach must not end the service, nor does the root hear of each change.
        """
        cached = self._cached
        if cached is None or cached.version == version:
            return cached
        raw, version = self._sealed.load()
        store = kms_store.parse(raw)
        if store.rmk_id != cached.opened.rmk.id:
            self._cached = None
        else:
            opened = reopen_store(store, cached.opened.rmk, self._log)
            self._cached = _Cached(version, opened, cached.since, self._limits())
        return self._cached

    def _drop_expired(self) -> None:
        cached = self._cached
        if cached is not None and not cached.may_serve(self._monotonic()):
            self._cached = None

    def _ask(self, version: int, asking: threading.Event) -> None:
        """Open the store beside the readers; what was forgotten meanwhile stays so."""
        found: _Cached | StrongroomError = RootUnavailableError("opening the KMS store broke off")
        try:
            found = self._opened_now()
        except StrongroomError as error:
            found = error
        except Exception:
            # nobody expected it, and it says nothing about the keys in memory: they serve on
            import logging  # 30 ms that no command shall pay

            logging.getLogger("strongroom.kms.cache").exception("the KMS store was not opened anew")
        finally:
            self._answer(found, version, asking)

    def _answer(
        self, found: "_Cached | StrongroomError", version: int, asking: threading.Event
    ) -> None:
        """Whatever happened: nobody waits any longer, and the next reader may ask again."""
        with self._lock:
            if self._asking is asking:
                self._asking = None
                if isinstance(found, StrongroomError):
                    self._note(found, version)
                else:
                    self._cached, self._failure = found, None
        asking.set()

    def _open_again(self, version: int) -> OpenStore:
        try:
            self._cached = self._opened_now()
        except StrongroomError as error:
            present = self._sealed.version()
            if present != version:
                # the store was moved to another root while it was being opened by this one
                return self._open_again(present)
            self._note(error, version)
            return self._without_root(error)
        self._failure = None
        return self._cached.opened

    def _opened_now(self) -> _Cached:
        since = self._monotonic()
        raw, version = self._sealed.load()
        opened = open_store(kms_store.parse(raw), self._find_root, self._log)
        return _Cached(version, opened, since, self._limits())

    def _note(self, error: StrongroomError, version: int) -> None:
        # jitter: the nodes of a cluster must not come back to a root in step
        pause = PAUSE_S + _JITTER_S * rng.random_bytes(1)[0] / 256
        self._failure = _Failure(version, error, self._monotonic() + pause)
        if not isinstance(error, RootUnavailableError):
            self._cached = None  # a root that refuses is obeyed at once

    def _without_root(self, error: StrongroomError) -> OpenStore:
        """The keys in memory, if the root is only out of reach and the offline window is open."""
        cached = self._cached
        if cached is not None and cached.may_serve(self._monotonic()):
            return cached.opened
        self._cached = None
        raise error
