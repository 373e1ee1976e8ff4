"""The port to the keys that wrap data keys: the services of a KMS to a format, and all that a format sees of the KMS.

One `DataKeys` is one key with its versions: the active version wraps, and each that is left opens what it wrapped. The
port knows no file: the owner of a wrapped key comes as a `KeyContext`, and a wrapped key goes out as bytes. Of extracts the
versions are the MEKs (docs/adr/0029-a-port-of-data-keys.md).
"""

from typing import NamedTuple, Protocol

from strongroom.crypto import labels
from strongroom.crypto.secret import SecretBytes
from strongroom.ids import id_bytes


class KeyContext(NamedTuple):
    """The context that a wrapped key is bound to: the key opens under an equal context only.

    The id of the wrapping version is bound as well, and stands between the two parts: whoever wraps need not know beforehand
    which version is active.

    Attributes:
        label: Names the use, of `crypto.labels`. Wraps of two uses never open each other.
        before: Bytes that are bound before the id; of one length for each label.
        after: Bytes that are bound behind the id.
    """

    label: bytes
    before: bytes = b""
    after: bytes = b""

    def associated_data(self, key_id: str) -> bytes:
        """The bytes that a wrap by this version authenticates: label ‖ before ‖ id (16) ‖ after."""
        return self.label + self.before + id_bytes(key_id) + self.after


class ContextInKey(NamedTuple):
    """A context that is no associated data, but part of the derivation of the key that wraps.

    Attributes:
        label: Names the use, of `crypto.labels`. Wraps of two uses never open each other.
        before: Fields that are bound before the id.
        after: Fields that are bound behind the id.
    """

    label: bytes
    before: tuple[bytes, ...]
    after: tuple[bytes, ...]

    def info(self, key_id: str) -> bytes:
        """The bytes that the derivation takes: label and fields, the id of the wrapping version among them."""
        return labels.framed(self.label, *self.before, id_bytes(key_id), *self.after)


AnyContext = KeyContext | ContextInKey
"""The context of a wrap, bound in the one way or the other."""


class WrappedKey(NamedTuple):
    """A data key under one version.

    Attributes:
        key_id: UUID of the version that wrapped it.
        blob: The bytes that `unwrap` takes: 60 more than the key has, or 48 more under a `ContextInKey`.
    """

    key_id: str
    blob: bytes


class DataKeys(Protocol):
    """Makes, wraps and opens data keys.

    Every method may raise a `StrongroomError` of the holder of the versions, such as `RootUnavailableError`.
    """

    @property
    def active_id(self) -> str:
        """The version that wraps now; another one once the key was rotated."""
        ...

    def ids(self) -> frozenset[str]:
        """Every version that opens what it wrapped: the active one, and those before it that are not retired."""
        ...

    def generate(self, context: AnyContext) -> tuple[SecretBytes, WrappedKey]:
        """A fresh data key of 32 bytes, and its wrap under the active version."""
        ...

    def wrap(self, key: SecretBytes, context: AnyContext) -> WrappedKey:
        """A key of the caller's under the active version: for contexts that say something of the key itself.

        Each call takes fresh randomness: two wraps of one key have nothing in common.
        """
        ...

    def unwrap(self, key_id: str, blob: bytes, context: AnyContext) -> SecretBytes:
        """The key of a blob.

        Args:
            key_id: The version that wrapped it.
            blob: The blob as `wrap` or `generate` gave it.
            context: The context that the key was wrapped for.

        Raises:
            IntegrityError: Another version wrapped the blob, or for another context, or the blob was changed; the error does not
                say which.
            KeyNotFoundError: The key has no such version, or no longer.
        """
        ...
