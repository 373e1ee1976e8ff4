"""Keeps the open store in memory: for how long, and when and how often the root is asked again (R10, R11).

An outage of the root must not become an outage of the service. When the keys in memory are due, the root is asked;
while it cannot be reached, the keys serve on until a second limit, and readers do not wait for a root that hangs. A
root that answers and refuses is obeyed at once. The keys are never written anywhere: a process that ends has lost them.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from strongroom.crypto import rng
from strongroom.errors import CoordinationError, RootUnavailableError, StrongroomError
from strongroom.kms import store as kms_store
from strongroom.kms.keyring import KeyRing
from strongroom.kms.links import Known
from strongroom.kms.opening import (
    FindRoot,
    Log,
    OpenStore,
    open_store,
    reopen_store,
    tell_opened,
)
from strongroom.kms.store import KmsStore, SealedStore

#: Shortest pause between two calls to a root that fails (R10: at most one call in five seconds).
PAUSE_S = 5.0
#: Most that chance adds to the pause: service is still back within ten seconds after the root is.
_JITTER_S = 2.5
#: How long the reader whose call asks the root again waits for the answer, while the keys in memory may still serve.
_PATIENCE_S = 1.0
THREAD = "strongroom-root"


class Follows(Protocol):
    """Decides whether a store may be used, as the one after those that were seen before (docs/format/kms-store.md 6)."""

    def __call__(self, store: KmsStore, raw: bytes, known: Known | None) -> None:
        """Refuse a store that must not be used.

        Args:
            store: The store.
            raw: The bytes of that store.
            known: The store that this process has in memory; None for none.

        Raises:
            IntegrityError: The store does not follow from those that were seen before.
        """
        ...


@dataclass(frozen=True)
class Limits:
    """How long keys stay in memory.

    Attributes:
        keep_s: Seconds until the root is asked again.
        offline_s: Further seconds for which the keys serve while the root cannot be reached; if the root refuses, they
            are dropped at once.
    """

    keep_s: float = 3600.0
    offline_s: float = 3600.0


class Asking(Enum):
    """How the present version of the store is found out; asking the store itself may be a round trip to other machines."""

    #: The version that was told in the last seconds counts.
    RECENTLY = auto()
    #: As `RECENTLY`; if nobody has told for longer, keys in memory will do, for they open what they have sealed.
    TO_READ = auto()
    #: The store itself is asked.
    ITSELF = auto()


@dataclass(frozen=True)
class _Cached:
    version: int
    opened: OpenStore
    since: float
    limits: Limits

    def is_fresh(self, now: float) -> bool:
        return now < self.since + self.limits.keep_s

    def may_serve(self, now: float) -> bool:
        """Whether the keys may serve while the root cannot be reached."""
        return now < self.since + self.limits.keep_s + self.limits.offline_s


@dataclass(frozen=True)
class _Failure:
    """The store did not open, and is not tried again until a moment."""

    version: int
    error: StrongroomError
    until: float


class StoreCache:
    """The open store of a process; opens it for all callers, one opening at a time.

    A cache is the only holder of the RMK and the MEKs in a process. They stay in memory for a limited time, and each
    call notices a new version of the store, so that a rotation needs no restart.
    """

    def __init__(
        self,
        sealed: SealedStore,
        find_root: FindRoot,
        *,
        monotonic: Callable[[], float],
        log: Log,
        follows: Follows,
        limits: Callable[[], Limits] = Limits,
    ) -> None:
        """Build the cache; opens nothing yet.

        Args:
            sealed: Loads the store's bytes.
            find_root: Finds the provider of a wrap record.
            monotonic: Seconds of a clock that never goes back.
            log: Writes sentences about openings to a service's log.
            follows: Refuses a store that must not be used; called before a store is opened.
            limits: Returns the present limits; called at each opening.
        """
        self._sealed = sealed
        self._find_root = find_root
        self._monotonic = monotonic
        self._log = log
        self._follows = follows
        self._limits = limits
        self._lock = threading.Lock()
        self._cached: _Cached | None = None
        self._failure: _Failure | None = None
        self._asking: threading.Event | None = None

    def opened(self, *, asking: Asking = Asking.RECENTLY) -> OpenStore:
        """The open store: from memory while it is fresh, else opened anew.

        A single opening serves all callers that wait for it, and after a failure the root is left alone for some
        seconds. The number of calls to the root therefore grows with time, and not with the number of files (R11).

        Args:
            asking: How the version of the store is found out.

        Raises:
            StrongroomError: No root opens the store, now or a moment ago.
            CoordinationError: The coordination service does not tell which version of the store is the present one.
        """
        with self._lock:
            now = self._monotonic()
            try:
                version = self._present_version(asking)
            except CoordinationError:
                cached = self._cached
                if asking is not Asking.TO_READ or cached is None or not cached.may_serve(now):
                    raise
                return cached.opened
            cached, failure = self._of_version(version), self._failure
            if cached is not None and cached.is_fresh(now):
                return cached.opened
            if failure is not None and failure.version == version and now < failure.until:
                return self._without_root(failure.error)
            if cached is None or not cached.may_serve(now):
                # no keys in memory may serve meanwhile, so all callers wait for this single try, under the lock
                return self._open_again(version)
            # Another thread is asking the root already. Waiting here would stop every reader while the root hangs,
            # although the keys in memory may still serve.
            if self._asking is not None:
                return cached.opened
            answer = self._asking = threading.Event()
        asker = threading.Thread(target=self._ask, args=(version, answer), name=THREAD, daemon=True)
        try:
            asker.start()
        except RuntimeError:
            # as if the root could not be reached: the keys in memory serve, and a later call asks (findings R17)
            self._answer(RootUnavailableError("there is no thread to ask a root"), version, answer)
        answered = answer.wait(_PATIENCE_S)
        return self.opened(asking=asking) if answered else cached.opened

    def ring(self) -> KeyRing:
        """The MEKs of the open store, to seal by the active one.

        Raises:
            StrongroomError: No root opens the store, now or a moment ago.
            CoordinationError: The coordination service has told nothing for some seconds: what is sealed now could be
                sealed by a key that is retired.
        """
        return self.opened().ring

    def ring_for(self, mek_id: str) -> KeyRing:
        """The MEKs of the open store, to open what one of them has sealed.

        While nobody tells of the store, its keys in memory serve as they do while the root cannot be reached. A MEK
        that is not among them may be newer than what was told last, so then the store is asked for itself.

        Raises:
            StrongroomError: No root opens the store, now or a moment ago.
        """
        ring = self.opened(asking=Asking.TO_READ).ring
        if any(mek.id == mek_id for mek in ring):
            return ring
        return self.opened(asking=Asking.ITSELF).ring

    @property
    def limits(self) -> Limits:
        """How long keys stay in memory, by the present settings."""
        return self._limits()

    @property
    def age_s(self) -> float | None:
        """Seconds since a root opened the keys in memory; None if no keys are in memory, or they have expired."""
        with self._lock:
            self._drop_expired()
            return None if self._cached is None else self._monotonic() - self._cached.since

    def remember(self, opened: OpenStore) -> None:
        """Serve from a store that the caller has just committed, and proved by its roots before that.

        Without this the next call would ask the new root once more, and a root that goes away right after a change
        would end the service.
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
        """Drop expired keys from memory, even if no call asks for them."""
        with self._lock:
            self._drop_expired()

    def _present_version(self, asking: Asking) -> int:
        """The version of the store: as it was told, if the keys in memory are of that one, else as it is."""
        if asking is not Asking.ITSELF and self._cached is not None:
            recent = self._sealed.recent_version()
            if recent == self._cached.version:
                return recent
        return self._sealed.version()

    def _of_version(self, version: int) -> _Cached | None:
        """The keys in memory, brought to the present version of the store; None if they do not open that version.

        A new version under the same RMK is opened by the RMK in memory, without asking a root: a change of any setting
        makes a new version, and must not end the service while the root cannot be reached.
        """
        cached = self._cached
        if cached is None or cached.version == version:
            return cached
        raw, version = self._sealed.load()
        store = kms_store.parse(raw)
        known = cached.opened.store
        self._follows(store, raw, known.known(kms_store.serialize(known)))
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
        """Open the store in a thread of its own, while readers use the keys in memory."""
        found: _Cached | StrongroomError = RootUnavailableError("opening the KMS store broke off")
        try:
            found = self._opened_now()
        except StrongroomError as error:
            found = error
        except Exception:
            # a defect, or an error that a provider failed to translate; the keys in memory are as good as before
            import logging  # 30 ms that no command shall pay

            logging.getLogger("strongroom.kms.cache").exception("the KMS store was not opened anew")
        finally:
            self._answer(found, version, asking)

    def _answer(
        self, found: "_Cached | StrongroomError", version: int, asking: threading.Event
    ) -> None:
        """Take the result of an opening, and let waiting readers and the next opening go on, whatever the result.

        A result that comes after `forget` or `remember` is thrown away: it would bring back keys that were to be
        dropped.
        """
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
                # while the old root was asked, the store was moved to another root: ask that one
                return self._open_again(present)
            self._note(error, version)
            return self._without_root(error)
        self._failure = None
        return self._cached.opened

    def _opened_now(self) -> _Cached:
        since = self._monotonic()
        raw, version = self._sealed.load()
        store = kms_store.parse(raw)
        self._follows(store, raw, None)
        opened = open_store(store, self._find_root, self._log)
        return _Cached(version, opened, since, self._limits())

    def _note(self, error: StrongroomError, version: int) -> None:
        # the random part keeps the nodes of a cluster from calling a root that comes back all at the same moment
        pause = PAUSE_S + _JITTER_S * rng.random_bytes(1)[0] / 256
        self._failure = _Failure(version, error, self._monotonic() + pause)
        if not isinstance(error, RootUnavailableError):
            # A root that refuses may do so because an administrator revoked the key: the keys in memory must not
            # outlive that.
            self._cached = None

    def _without_root(self, error: StrongroomError) -> OpenStore:
        """The keys in memory if they may serve without the root, or the root's error."""
        cached = self._cached
        if cached is not None and cached.may_serve(self._monotonic()):
            return cached.opened
        self._cached = None
        raise error
