"""Credentials embedded in published content, sealed under the asset key (C-08)."""

from strongroom.clock import Clock, format_utc
from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.ids import new_id
from strongroom.repository.unit_of_work import Repository
from strongroom.secrets import asset_ring
from strongroom.secrets.asset_ring import AssetKey, AssetRing
from strongroom.services.configuration.present import PresentConfiguration

PARAMETER = "asset.keys"
_BATCH = 500


def new_key(clock: Clock) -> AssetKey:
    """A fresh asset key."""
    return AssetKey(new_id(), format_utc(clock.now()), rng.new_key())


def first_ring(clock: Clock) -> AssetRing:
    """The ring of a new installation."""
    key = new_key(clock)
    return AssetRing(key.id, (key,))


class AssetService:
    """Seals and opens embedded credentials."""

    def __init__(self, configuration: PresentConfiguration, repository: Repository) -> None:
        self._configuration = configuration
        self._repository = repository

    def ring(self) -> AssetRing:
        """The present ring."""
        return asset_ring.parse(self._configuration.open_secret(PARAMETER).reveal())

    def seal(self, plaintext: bytes, *, content_id: str) -> tuple[str, str]:
        """Seal a credential of some content: the asset key's id and the text to store."""
        return self.ring().seal(plaintext, content_id=content_id)

    def open_(self, key_id: str, sealed: str, *, content_id: str) -> SecretBytes:
        """Open the credential of a stored text.

        Raises:
            KeyNotFoundError: The ring has no asset key of this id.
            IntegrityError: The text was sealed for other content, or changed.
        """
        return self.ring().open_(key_id, sealed, content_id=content_id)

    def reseal_all(self) -> int:
        """Seal every credential anew that is not under the active asset key; returns how many these were.

        Each batch is a transaction of its own. A process killed in between leaves credentials under old keys, which the
        ring still holds; the caller removes those from the ring only after this returns.
        """
        ring, count, after = self.ring(), 0, ""
        while True:
            with self._repository.transaction() as tx:
                rows = tx.credentials.list(after_id=after, limit=_BATCH)
                for row in rows:
                    if row.asset_key_id == ring.active_id:
                        continue
                    plain = ring.open_(row.asset_key_id, row.sealed, content_id=row.content_id)
                    key_id, sealed = ring.seal(plain.reveal(), content_id=row.content_id)
                    tx.credentials.replace_sealed(row.id, row.sealed, sealed, key_id)
                    count += 1
            if len(rows) < _BATCH:
                return count
            after = rows[-1].id
