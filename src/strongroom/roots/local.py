"""The local root: the configuration key, and so the keystore, protects the RMK (K-05, Q-02)."""

from collections.abc import Callable

from strongroom.clock import Clock
from strongroom.crypto import aead, labels, places, rng, seals
from strongroom.crypto.kdf import hkdf
from strongroom.crypto.secret import SecretBytes
from strongroom.ids import id_bytes
from strongroom.roots import wraps
from strongroom.roots.base import Context, RootDescription, WrapRecord
from strongroom.roots.kinds import LogWords, RootKind
from strongroom.roots.registry import LOCAL

KIND = LOCAL

ROOT = RootKind(
    KIND,
    build=None,  # only a node can, since the key is in the node's keystore
    title="Local",
    page="roots-troubleshooting",
    shown={},
    log_words=LogWords(
        "LocalKmsEncryptionEnvelopeAccessor",
        "LocalKmsEncryptionEnvelope",
        "configuration key with ID",
    ),
)


class LocalRoot:
    """Wraps the RMK under a subkey of one configuration key (docs/format/kms-store.md 5.4)."""

    def __init__(self, key_id: str, open_key: Callable[[str], SecretBytes], clock: Clock) -> None:
        """Build the root.

        Args:
            key_id: The configuration key that wraps; records name the one that unwraps.
            open_key: Gives a configuration key by its id.
            clock: For the times in records.
        """
        self._key_id = key_id
        self._open_key = open_key
        self._clock = clock

    def generate_data_key(self, context: Context) -> tuple[SecretBytes, WrapRecord]:
        """A fresh key of our own generator, and its wrap."""
        key = rng.new_key()
        return key, self.wrap(key, context)

    def wrap(self, key: SecretBytes, context: Context) -> WrapRecord:
        """Wrap a key under the configuration key."""
        place = places.of_local_root(*context.ids)
        blob = seals.wrap(key, place, kek=self._open_key(self._key_id))
        return wraps.new_record(context, KIND, self._key_id, blob, self._clock)

    def unwrap(self, record: WrapRecord) -> SecretBytes:
        """The key of a record of either version, under the configuration key that the record names.

        Raises:
            IntegrityError: The record does not open.
            KeyNotFoundError: The configuration key of the record is no longer in the keystore.
        """
        ids, key = Context.of(record.context).ids, self._open_key(record.root_key_id)
        if record.version == 1:
            kek = hkdf(key, salt=b"", info=labels.ROOT_LOCAL)
            aad = labels.ROOT_LOCAL + b"".join(map(id_bytes, ids))
            return aead.unwrap(record.blob, kek=kek, aad=aad)
        return wraps.unsealed(record.blob, places.of_local_root(*ids), key)

    def describe(self) -> RootDescription:
        """The configuration key's id."""
        return RootDescription(KIND, self._key_id, {})

    def check(self) -> None:
        """Wrap and unwrap a fresh key.

        Raises:
            RootError: Another key came back.
        """
        wraps.check_round_trip(self, f"the configuration key {self._key_id}")
