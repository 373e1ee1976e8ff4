"""The interface to a root, which protects the RMK, and the record of one wrap."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from strongroom.crypto.secret import SecretBytes
from strongroom.errors import IntegrityError

WrapForm = Literal["direct", "indirect"]
#: `last_verified` of a wrap that was never opened so far.
NEVER = "1970-01-01T00:00:00Z"


@dataclass(frozen=True)
class Context:
    """The ids that a wrap of the RMK is bound to, as a provider's encryption context or as additional data (AAD)."""

    installation_id: str
    rmk_id: str
    wrap_id: str

    def pairs(self) -> dict[str, str]:
        """The pairs that a provider with an encryption context binds, sorted by name."""
        return {"installation": self.installation_id, "rmk": self.rmk_id, "wrap": self.wrap_id}

    @property
    def ids(self) -> tuple[str, str, str]:
        """Installation, RMK and wrap."""
        return self.installation_id, self.rmk_id, self.wrap_id

    @classmethod
    def of(cls, pairs: Mapping[str, str]) -> "Context":
        """The context of these pairs.

        Raises:
            IntegrityError: The pairs are not those of a wrap of the RMK.
        """
        if set(pairs) != {"installation", "rmk", "wrap"}:
            raise IntegrityError
        return cls(pairs["installation"], pairs["rmk"], pairs["wrap"])


@dataclass(frozen=True)
class WrapRecord:
    """A wrap of the RMK, with all that is needed to open it later, on another machine.

    Attributes:
        id: UUID of this wrap; part of its context.
        kind: The kind of the provider: `local`, `aws`, `azure` …
        form: `direct`: the provider wrapped the RMK; `indirect`: its data key seals the RMK.
        root_key_id: The provider's name of its key: configuration-key id, ARN, versioned kid.
        region: Provider's region, or empty.
        blob: The ciphertext from the provider, of the RMK or of the data key.
        inner: Indirect form: nonce, ciphertext and tag of the RMK under the data key; else empty.
        context: The exact pairs bound, kept for a restore elsewhere (A-25).
        added_at: UTC, K-12 form.
        last_verified: UTC, K-12 form: when a real unwrap last gave the RMK.
        version: The version of the seals in the record, 1 or 2 (docs/format/kms-store.md 5.4); 2 is written.
    """

    id: str
    kind: str
    form: WrapForm
    root_key_id: str
    region: str
    blob: bytes
    inner: bytes
    context: Mapping[str, str]
    added_at: str
    last_verified: str
    version: int = 2


@dataclass(frozen=True)
class RootDescription:
    """The public facts of a root: its kind and the names of its key and identity; nothing secret."""

    kind: str
    root_key_id: str
    details: Mapping[str, str]
    #: Whether the root can unwrap now; a recovery recipient cannot, since its private half is kept away from the node.
    online: bool = True


class RootProvider(Protocol):
    """Wraps and unwraps the RMK.

    A provider translates every exception of its library to a `RootError`, raised from its cause: `RootUnavailableError`
    if another try may help, `RootRefusedError` if not. A blob that does not open is an `IntegrityError`.
    """

    def generate_data_key(self, context: Context) -> tuple[SecretBytes, WrapRecord]:
        """A fresh 32-byte key and its wrap. Providers that only wrap refuse with `StateError`."""
        ...

    def wrap(self, key: SecretBytes, context: Context) -> WrapRecord:
        """Wrap a given key."""
        ...

    def unwrap(self, record: WrapRecord) -> SecretBytes:
        """The key of a record; its stored context is bound again."""
        ...

    def describe(self) -> RootDescription:
        """The public facts of the root; sends no request."""
        ...

    def check(self) -> None:
        """A real round trip: generate or wrap, unwrap, compare."""
        ...


@runtime_checkable
class TellsRotation(Protocol):
    """A provider that may know when its key was last renewed."""

    def rotated_at(self) -> str:
        """The time in UTC, K-12 form; empty if the provider does not say, or may not be asked. Never an error."""
        ...


@dataclass(frozen=True)
class CredentialEnd:
    """The end of a credential that nothing here renews (findings K21).

    Attributes:
        ends_at: The time after which the credential is of no use; UTC, K-12 form; empty if the time is not known.
        due_at: The time from which on the operator should act; UTC, K-12 form.
        notice: The credential that ends and the action to take, in words.
    """

    ends_at: str
    due_at: str
    notice: str


@runtime_checkable
class TellsEnd(Protocol):
    """A provider that may know when its credential ends for good."""

    def credential_end(self) -> CredentialEnd | None:
        """The end; None if the credential does not end, or no end is known. Asked after an unwrap; never an error."""
        ...


@runtime_checkable
class KeepsCredentials(Protocol):
    """A provider whose credential ends unless it is renewed in time."""

    def renew_credentials(self, until_next_s: float) -> None:
        """Renew the credential if half of its time will be over at the next call of this function.

        Args:
            until_next_s: The number of seconds until the next call.

        Raises:
            RootError: The credential cannot be renewed now.
        """
        ...
