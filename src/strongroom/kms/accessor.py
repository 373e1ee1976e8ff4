"""Data keys for envelopes: makes them under the active MEK and opens them again.

The one holder of the RMK and the MEKs in a process. They are kept in memory for a limited time; a
new version of the store is noticed at the next call. It never reads or writes a file.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.envelope import header as envelope_header
from strongroom.envelope import slots
from strongroom.envelope.header import DEFAULT_SEGMENT_BYTES, Header, KeySlot, Placement
from strongroom.errors import (
    IntegrityError,
    KeyNotFoundError,
    RootUnavailableError,
    StrongroomError,
)
from strongroom.kms import store as kms_store
from strongroom.kms.keys import Mek
from strongroom.kms.opening import FindRoot, Log, OpenStore, open_store
from strongroom.kms.store import SealedStore

_BACKOFF_S = (1.0, 2.0, 5.0)
_SALT_BYTES = 32
_NONCE_BYTES = 12
_FILE_ID_BYTES = 16


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
    until: float


@dataclass(frozen=True)
class _Failure:
    """The store did not open; it is not tried again for a while."""

    version: int
    error: StrongroomError
    until: float
    count: int


class KmsAccessor:
    """Opens the key store when it must and hands out data keys."""

    def __init__(
        self,
        sealed: SealedStore,
        find_root: FindRoot,
        *,
        monotonic: Callable[[], float],
        log: Log,
        limits: Callable[[], Limits] = Limits,
    ) -> None:
        """Build the accessor; opens nothing yet.

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

    @property
    def active_mek_id(self) -> str:
        """The id of the MEK that encrypts (K-11)."""
        return self.opened().ring.active.id

    def known_mek_ids(self) -> frozenset[str]:
        """Ids of all MEKs in the ring."""
        return frozenset(mek.id for mek in self.opened().ring)

    def new_envelope(
        self, placement: Placement, *, segment_bytes: int = DEFAULT_SEGMENT_BYTES
    ) -> tuple[Header, SecretBytes]:
        """A fresh data key and the header that holds it under the active MEK."""
        dek = rng.new_key()
        prelude = envelope_header.new_prelude(
            dek, file_id=rng.random_bytes(_FILE_ID_BYTES), segment_bytes=segment_bytes
        )
        slot = self._seal(self.opened().ring.active, dek, prelude, placement, sequence=1)
        return Header(prelude, (slot, None)), dek

    def open_envelope(self, header: Header, placement: Placement | None) -> SecretBytes:
        """The data key of a header.

        The newest slot comes first; the other one is tried if it does not open, since a rewrap may
        have been cut.

        Args:
            header: A parsed header.
            placement: Where the file must belong; None trusts the header (standalone files only).

        Raises:
            IntegrityError: No slot opens, or the file belongs elsewhere, said in words.
            KeyNotFoundError: The MEKs it names are not in the store.
        """
        failure: IntegrityError | KeyNotFoundError = IntegrityError()
        for _, slot in header.intact:
            _check_placement(slot, placement)
            try:
                mek = self.opened().ring.get(slot.mek_id)
                dek = slots.open_slot(slot, header.prelude, mek=mek.material)
            except (IntegrityError, KeyNotFoundError) as error:
                failure = error
                continue
            return dek
        raise failure

    def rewrapped_slot(self, header: Header, placement: Placement | None) -> KeySlot:
        """The header's data key under the active MEK, as the slot to write next.

        Args:
            header: A parsed header.
            placement: Where the file must belong; None keeps the header's own.
        """
        dek = self.open_envelope(header, placement)
        active = self.opened().ring.active
        place = header.newest.placement if placement is None else placement
        return self._seal(
            active, dek, header.prelude, place, sequence=envelope_header.next_sequence(header)
        )

    def opened(self) -> OpenStore:
        """The open store: from memory while it is fresh, else opened anew.

        One opening at a time serves all callers, and one that failed is not tried again at once, so
        that calls to the root grow with time and not with files (R11).

        Raises:
            StrongroomError: No root opens it, now or a moment ago.
        """
        with self._lock:
            now, version = self._monotonic(), self._sealed.version()
            cached = self._cached
            if cached is not None and cached.version == version and now < cached.until:
                return cached.opened
            return self._open_again(now, version)

    @property
    def age_s(self) -> float | None:
        """Seconds since the keys in memory were opened by the root; None if none are there."""
        with self._lock:
            if self._cached is None:
                return None
            return self._monotonic() - (self._cached.until - self._limits().keep_s)

    def _open_again(self, now: float, version: int) -> OpenStore:
        failure = self._failure
        waits = failure is not None and failure.version == version and now < failure.until
        if failure is not None and waits:
            return self._without_root(failure.error, now, version)
        try:
            raw, version = self._sealed.load()
            opened = open_store(kms_store.parse(raw), self._find_root, self._log)
        except StrongroomError as error:
            count = failure.count + 1 if failure is not None and failure.version == version else 0
            pause = _BACKOFF_S[min(count, len(_BACKOFF_S) - 1)]
            # jitter: the nodes of a cluster must not come back to a root in step
            until = now + pause * (1 + rng.random_bytes(1)[0] / 512)
            self._failure = _Failure(version, error, until, count)
            return self._without_root(error, now, version)
        self._failure = None
        self._cached = _Cached(version, opened, now + self._limits().keep_s)
        return opened

    def _without_root(self, error: StrongroomError, now: float, version: int) -> OpenStore:
        """The keys in memory, if the root is only out of reach and the offline window is open."""
        cached = self._cached
        if cached is not None and isinstance(error, RootUnavailableError):
            same = cached.version == version
            if same and now < cached.until + self._limits().offline_s:
                return cached.opened
        self._cached = None
        raise error

    def forget(self) -> None:
        """Drop the RMK and the MEKs from memory; the next call opens the store again."""
        with self._lock:
            self._cached = None
            self._failure = None

    @staticmethod
    def _seal(
        mek: Mek,
        dek: SecretBytes,
        prelude: envelope_header.Prelude,
        placement: Placement,
        *,
        sequence: int,
    ) -> KeySlot:
        return slots.seal_slot(
            mek=mek.material,
            mek_id=mek.id,
            dek=dek,
            prelude=prelude,
            placement=placement,
            sequence=sequence,
            salt=rng.random_bytes(_SALT_BYTES),
            nonce=rng.random_bytes(_NONCE_BYTES),
        )


def _check_placement(slot: KeySlot, placement: Placement | None) -> None:
    if placement is None or slot.placement == placement:
        return
    owner = slot.placement
    raise IntegrityError(
        f"the file belongs to {owner.describe()}, not to {placement.describe()}",
        hint="a file was moved or replaced in the file store",
    )
