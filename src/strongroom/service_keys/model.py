"""A service key as its owner sees it: kind, state, and which of its versions may do what (docs/format/service-keys.md)."""

import re
from dataclasses import dataclass
from enum import StrEnum

from strongroom.errors import NotFoundError, StateError, UsageError

MAX_VERSIONS = 100_000
MIN_WAITING_DAYS, MAX_WAITING_DAYS = 1, 365
NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,126}[A-Za-z0-9_-])?")


class KeyKind(StrEnum):
    """The purpose of a key."""

    AES256_GCM = "aes256-gcm"
    AES256_GCM_DERIVED = "aes256-gcm-derived"
    AES256_GCM_CONVERGENT = "aes256-gcm-convergent"
    HMAC = "hmac"
    ED25519 = "ed25519"
    ECDSA_P256 = "ecdsa-p256"

    @property
    def encrypts(self) -> bool:
        """Whether a key of this kind encrypts and decrypts."""
        return self is KeyKind.AES256_GCM or self.derives

    @property
    def derives(self) -> bool:
        """Whether each value has a context, from which its key is derived as well."""
        return self in {KeyKind.AES256_GCM_DERIVED, KeyKind.AES256_GCM_CONVERGENT}

    @property
    def signs(self) -> bool:
        """Whether a key of this kind signs, and has a public part."""
        return self in {KeyKind.ED25519, KeyKind.ECDSA_P256}


class KeyState(StrEnum):
    """The states of a key."""

    ENABLED = "enabled"
    DISABLED = "disabled"
    PENDING_DELETION = "pending deletion"


@dataclass(frozen=True)
class Versions:
    """The numbers that decide on versions; each is at least 1 and none is above `latest`, but for 0 as `to_encrypt`.

    Attributes:
        latest: The newest one.
        available: The oldest one that is left; those before it were trimmed.
        to_decrypt: The oldest one that still decrypts, verifies and is exported.
        to_encrypt: The oldest one that still encrypts and signs; 0 is the latest alone.
    """

    latest: int = 1
    available: int = 1
    to_decrypt: int = 1
    to_encrypt: int = 0

    def for_new(self, wanted: int) -> int:
        """The version by which something new is made.

        Args:
            wanted: The version that the caller asks for; 0 is the latest.

        Raises:
            UsageError: A version that makes nothing new is asked for.
        """
        if wanted == 0:
            return self.latest
        least = self.to_encrypt or self.to_decrypt
        if not least <= wanted <= self.latest:
            raise UsageError(
                "requested version for encryption is less than the minimum encryption key version"
                if 0 < wanted < least
                else "requested version for encryption is higher than the latest key version"
            )
        return wanted

    def check_old(self, version: int) -> None:
        """Refuse a version that opens and verifies nothing any longer.

        Raises:
            UsageError: The version is too old, or there is none such.
        """
        if version > self.latest or version < 1:
            raise UsageError("invalid ciphertext: version is too new")
        if version < self.to_decrypt:
            raise UsageError("ciphertext or signature version is disallowed by policy (too old)")

    def with_minima(self, to_decrypt: int | None, to_encrypt: int | None) -> "Versions":
        """These with other minima.

        Raises:
            UsageError: The minima contradict each other or the versions that there are.
        """
        decrypt = self.to_decrypt if to_decrypt is None else max(1, to_decrypt)
        encrypt = self.to_encrypt if to_encrypt is None else to_encrypt
        if not self.available <= decrypt <= self.latest:
            raise UsageError(
                f"min decryption version is {decrypt}, and there are the versions"
                f" {self.available} to {self.latest}"
            )
        if encrypt and not decrypt <= encrypt <= self.latest:
            raise UsageError(
                f"min encryption version is {encrypt}, and should be 0, or {decrypt} to {self.latest}"
            )
        return Versions(self.latest, self.available, decrypt, encrypt)

    def trimmed(self, available: int) -> "Versions":
        """These without what is older than a version.

        Raises:
            UsageError: A version that is needed would go.
        """
        if not self.available <= available <= self.latest:
            raise UsageError(f"there are the versions {self.available} to {self.latest}")
        if self.to_encrypt == 0:
            raise UsageError(
                "minimum available version cannot be set when minimum encryption version is not set"
            )
        if available > min(self.to_decrypt, self.to_encrypt):
            raise UsageError(
                "minimum available version cannot be set to more than minimum decryption or encryption version"
            )
        return Versions(self.latest, available, self.to_decrypt, self.to_encrypt)


def check_name(name: str) -> str:
    """A name of a key or of a policy, refused if it cannot stand in a path.

    Raises:
        UsageError: The name is empty, too long, or has characters that are not allowed.
    """
    if not NAME.fullmatch(name):
        raise UsageError(
            f"no name: {name[:60]!r}",
            hint="1 to 128 of the letters A-Z, a-z, digits, '_', '-' and '.', with no '.' at an end",
        )
    return name


def check_usable(name: str, state: str) -> None:
    """Refuse a key that is not enabled.

    Raises:
        StateError: The key is disabled, or waits for its deletion.
    """
    if state != KeyState.ENABLED:
        raise StateError(
            f"the key {name!r} is {state}",
            hint=f"'strongroom keys {'enable' if state == KeyState.DISABLED else 'cancel-deletion'} {name}' takes that back",
        )


def missing(name: str) -> NotFoundError:
    """The error for a key that does not exist."""
    return NotFoundError(f"there is no service key {name[:128]!r}", about="service key")
