"""The port to whoever protects the RMK, and the record of one wrap."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from strongroom.crypto.secret import SecretBytes

WrapForm = Literal["direct", "indirect"]
#: Kinds that only wrap: their private half is kept apart, and `strongroom recover` alone asks for it.
RECIPIENT_KINDS = ("age", "shares")
#: `last_verified` of a wrap that nobody has opened as yet.
NEVER = "1970-01-01T00:00:00Z"


@dataclass(frozen=True)
class Context:
    """What a wrap of the RMK is bound to: a provider's encryption context, or an AAD."""

    installation_id: str
    rmk_id: str
    wrap_id: str

    def pairs(self) -> dict[str, str]:
        """The pairs that a provider with an encryption context binds, sorted by name."""
        return {"installation": self.installation_id, "rmk": self.rmk_id, "wrap": self.wrap_id}


@dataclass(frozen=True)
class WrapRecord:
    """One wrap of the RMK, with all that is needed to open it later, elsewhere.

    Attributes:
        id: UUID of this wrap; part of its context.
        kind: Which provider: `local`, `aws`, `azure` …
        form: `direct`: the provider wrapped the RMK; `indirect`: its data key seals the RMK.
        root_key_id: The provider's name of its key: configuration-key id, ARN, versioned kid.
        region: Provider's region, or empty.
        blob: What the provider gave (ciphertext of the RMK, or of the data key).
        inner: Indirect form: nonce, ciphertext and tag of the RMK under the data key; else empty.
        context: The exact pairs bound, kept for a restore elsewhere (A-25).
        added_at: UTC, K-12 form.
        last_verified: UTC, K-12 form: when a real unwrap last gave the RMK.
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


@dataclass(frozen=True)
class RootDescription:
    """What one may show of a root: its kind and the public names of its key and identity."""

    kind: str
    root_key_id: str
    details: Mapping[str, str]
    #: Whether it can be asked to unwrap now; recovery recipients cannot, without what is kept apart.
    online: bool = True


class RootProvider(Protocol):
    """Wraps and unwraps the RMK.

    Every foreign exception becomes a `RootError`, from the cause: `RootUnavailableError` if another
    try may help, `RootRefusedError` if not; a blob that does not open is an `IntegrityError`.
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
        """The root without its secrets; asks nobody."""
        ...

    def check(self) -> None:
        """A real round trip: generate or wrap, unwrap, compare."""
        ...


@runtime_checkable
class TellsRotation(Protocol):
    """A provider that may know when its key was last renewed."""

    def rotated_at(self) -> str:
        """UTC, K-12 form; empty if it is not known or not permitted to know. Never an error."""
        ...


@runtime_checkable
class KeepsCredentials(Protocol):
    """A provider whose credential ends unless it is renewed in time."""

    def renew_credentials(self, until_next_s: float) -> None:
        """Renew what would be past half of its time at the next call, so many seconds from now.

        Raises:
            RootError: It cannot be renewed now.
        """
        ...
