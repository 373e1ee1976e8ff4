"""Data keys for envelopes: makes them under the active MEK and opens them again.

The one holder of the RMK and the MEKs in a process, by its cache: they stay in memory for a limited time,
and a new version of the store is noticed at the next call. It never reads or writes a file.
"""

from collections.abc import Callable

from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.envelope import header as envelope_header
from strongroom.envelope import slots
from strongroom.envelope.header import DEFAULT_SEGMENT_BYTES, Header, KeySlot, Placement
from strongroom.errors import IntegrityError, KeyNotFoundError
from strongroom.kms.cache import Limits, StoreCache
from strongroom.kms.keys import Mek
from strongroom.kms.opening import FindRoot, Log, OpenStore
from strongroom.kms.store import SealedStore

_SALT_BYTES = 32
_NONCE_BYTES = 12
_FILE_ID_BYTES = 16


class KmsAccessor:
    """Opens the KMS store when it must and hands out data keys."""

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
        self._cache = StoreCache(sealed, find_root, monotonic=monotonic, log=log, limits=limits)

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
        return self._cache.opened()

    @property
    def limits(self) -> Limits:
        """How long keys serve, as it is set now."""
        return self._cache.limits

    @property
    def age_s(self) -> float | None:
        """Seconds since a root opened the keys in memory; None if there are none that may serve."""
        return self._cache.age_s

    def remember(self, opened: OpenStore) -> None:
        """Serve from a store that was changed and proved just now, without asking its roots again."""
        self._cache.remember(opened)

    def forget(self) -> None:
        """Drop the RMK and the MEKs from memory; the next call opens the store again."""
        self._cache.forget()

    def drop_expired(self) -> None:
        """Drop keys whose limit has passed though nobody asks for them."""
        self._cache.drop_expired()

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
