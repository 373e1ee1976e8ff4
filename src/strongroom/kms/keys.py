"""The RMK and the MEKs as values, and the wrap of one under the other; pure.

Format: docs/format/kms-store.md section 2.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from strongroom.crypto import aead
from strongroom.crypto.kdf import hkdf
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, StateError
from strongroom.ids import InstallationId, MekId, RmkId, id_bytes
from strongroom.kms.states import NEXT, MekState

KEY_BYTES = 32
_WRAP_LABEL = b"strongroom/v1/kms/mek-wrap"
_MAC_LABEL = b"strongroom/v1/kms/mac"
_MEK_LABEL = b"strongroom/v1/kms/mek"


@dataclass(frozen=True)
class Rmk:
    """The root master key (K-09): wraps MEKs and authenticates the store, each by a subkey."""

    id: RmkId
    installation_id: InstallationId
    material: SecretBytes

    def __post_init__(self) -> None:
        if len(self.material) != KEY_BYTES:
            message = f"the RMK {self.id} has {len(self.material)} bytes instead of {KEY_BYTES}"
            raise FormatError(message)

    def wrap_key(self) -> SecretBytes:
        """The subkey that wraps MEKs (2.1)."""
        return self._subkey(_WRAP_LABEL)

    def mac_key(self) -> SecretBytes:
        """The subkey that authenticates the store (2.1)."""
        return self._subkey(_MAC_LABEL)

    def mek_aad(self, mek_id: MekId) -> bytes:
        """What a wrapped MEK is bound to (2.2)."""
        return _MEK_LABEL + self._place() + id_bytes(mek_id)

    def _place(self) -> bytes:
        return id_bytes(self.installation_id) + id_bytes(self.id)

    def _subkey(self, label: bytes) -> SecretBytes:
        return hkdf(self.material, salt=b"", info=label + self._place())


@dataclass(frozen=True)
class Mek:
    """A master extract key (K-10).

    Attributes:
        id: UUID.
        state: Encrypt or decrypt, or decrypt-only.
        created_at: When it was made.
        encrypting_since: First transition to encrypt and decrypt; None if it never encrypted here.
        decrypt_only_since: Transition to decrypt-only; None while it encrypts.
        material: 32 bytes.
    """

    id: MekId
    state: MekState
    created_at: datetime
    encrypting_since: datetime | None
    decrypt_only_since: datetime | None
    material: SecretBytes

    def with_state(self, state: MekState, now: datetime) -> "Mek":
        """This key after a step.

        Raises:
            StateError: There is no such step.
        """
        if state not in NEXT[self.state]:
            message = f"MEK {self.id} cannot go from {self.state} to {state}"
            raise StateError(message)
        # a clock that was set back must not break the order of the three times (K-10)
        since = max(now, self.encrypting_since or self.created_at)
        return replace(self, state=state, decrypt_only_since=since)


def wrap_mek(mek: Mek, rmk: Rmk, wrap_key: SecretBytes) -> bytes:
    """The MEK under the RMK's wrapping subkey (2.2)."""
    return aead.wrap(mek.material, kek=wrap_key, aad=rmk.mek_aad(mek.id))


def unwrap_mek(mek_id: MekId, wrapped: bytes, rmk: Rmk, wrap_key: SecretBytes) -> SecretBytes:
    """The material of a wrapped MEK.

    Raises:
        IntegrityError: It is not this MEK under this RMK.
    """
    return aead.unwrap(wrapped, kek=wrap_key, aad=rmk.mek_aad(mek_id))
