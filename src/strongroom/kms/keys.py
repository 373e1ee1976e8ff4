"""The RMK and the MEKs as values (docs/format/kms-store.md 2 and 5 to 6); pure."""

from dataclasses import dataclass, replace
from datetime import datetime

from strongroom.crypto import aead, labels
from strongroom.crypto.kdf import hkdf
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, StateError
from strongroom.ids import InstallationId, MekId, RmkId, id_bytes
from strongroom.kms.states import NEXT, MekState

KEY_BYTES = 32


@dataclass(frozen=True)
class Rmk:
    """The root master key (K-09): seals the MEKs, authenticates the store, and signs the store after it."""

    id: RmkId
    installation_id: InstallationId
    material: SecretBytes

    def __post_init__(self) -> None:
        if len(self.material) != KEY_BYTES:
            message = f"the RMK {self.id} has {len(self.material)} bytes instead of {KEY_BYTES}"
            raise FormatError(message)

    def wrap_key(self) -> SecretBytes:
        """The subkey that wrapped MEKs in a store of format 1 (2.1)."""
        return self._subkey(labels.KMS_MEK_WRAP)

    def mac_key(self) -> SecretBytes:
        """The subkey that authenticated a store of format 1 (2.1)."""
        return self._subkey(labels.KMS_MAC)

    def linked_mac_key(self) -> SecretBytes:
        """The subkey that authenticates the store (kms-store.md 5.7)."""
        return self._subkey(labels.KMS_MAC_2)

    def successor_seed(self) -> SecretBytes:
        """The seed of the key that signs the store after one of this RMK (kms-store.md 6.2)."""
        return self._subkey(labels.KMS_SUCCESSOR)

    def mek_aad(self, mek_id: MekId) -> bytes:
        """The AAD of a wrapped MEK: installation, RMK and MEK, so that the wrap opens in no other place (2.2)."""
        return labels.KMS_MEK + self._place() + id_bytes(mek_id)

    def _place(self) -> bytes:
        return id_bytes(self.installation_id) + id_bytes(self.id)

    def _subkey(self, label: bytes) -> SecretBytes:
        return hkdf(self.material, salt=b"", info=label + self._place())


@dataclass(frozen=True)
class Mek:
    """A master extract key (K-10).

    Attributes:
        id: UUID of the MEK.
        state: `encrypt or decrypt` for the active MEK, `decrypt-only` for the others.
        created_at: When the MEK was made.
        encrypting_since: When the MEK became active; None if it never was active here.
        decrypt_only_since: When the MEK became decrypt-only; None while it is active.
        material: The key, 32 bytes.
        retire_at: The time from which on the MEK may be removed; from now until then it is not used for reading either.
            None unless a retirement is scheduled.
    """

    id: MekId
    state: MekState
    created_at: datetime
    encrypting_since: datetime | None
    decrypt_only_since: datetime | None
    material: SecretBytes
    retire_at: datetime | None = None

    def with_state(self, state: MekState, now: datetime) -> "Mek":
        """This key in another state.

        Raises:
            StateError: The present state does not lead to that one.
        """
        if state not in NEXT[self.state]:
            message = f"MEK {self.id} cannot go from {self.state} to {state}"
            raise StateError(message)
        # if the clock was set back, the present would precede `encrypting_since`, and a reader refuses times out of
        # order
        since = max(now, self.encrypting_since or self.created_at)
        return replace(self, state=state, decrypt_only_since=since)


def unwrap_mek(mek_id: MekId, wrapped: bytes, rmk: Rmk, wrap_key: SecretBytes) -> SecretBytes:
    """Unwrap the material of a MEK of a store of format 1 (2.2).

    Raises:
        IntegrityError: The bytes are not this MEK wrapped by this RMK.
    """
    return aead.unwrap(wrapped, kek=wrap_key, aad=rmk.mek_aad(mek_id))
