"""Use cases of a key and values: encrypt, decrypt, authenticate, sign. Nothing here writes a row."""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from strongroom.clock import Clock, format_utc
from strongroom.crypto import places, rng, seals
from strongroom.crypto import service_algorithms as algorithms
from strongroom.crypto.seals import Place
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import IntegrityError, StrongroomError, UsageError
from strongroom.repository.service_rows import ServiceKeyRow
from strongroom.service_keys import ciphertext
from strongroom.service_keys.model import KeyKind, check_usable, missing
from strongroom.services.service_keys.by import By
from strongroom.services.service_keys.keys import KeyAt, is_gone, versions_of
from strongroom.services.service_keys.present import Present

MOST_AT_ONCE = 1000
_VERSION = re.compile(r"[0-9]{1,9}")
DATA_KEY_BITS = (128, 256, 512)
_Item = TypeVar("_Item")


class ToEncrypt(NamedTuple):
    """A value to encrypt, what it is bound to, and the version that shall do it (0: the latest).

    Attributes:
        context: The bytes from which a derived key is derived for this value; empty for other keys.
    """

    plain: SecretBytes
    associated: bytes = b""
    version: int = 0
    context: bytes = b""


class ToDecrypt(NamedTuple):
    """A ciphertext and what it is bound to."""

    text: object
    associated: bytes = b""
    context: bytes = b""


class ToSign(NamedTuple):
    """A message to sign or authenticate; for a check with what was made of it."""

    message: bytes
    digest: str = "sha2-256"
    prehashed: bool = False
    version: int = 0
    made: object = None


class Outcome(NamedTuple):
    """The outcome of one item: its text or bytes, and the version; or why not."""

    text: str = ""
    version: int = 0
    plain: SecretBytes | None = None
    valid: bool = False
    public: str = ""
    error: StrongroomError | None = None


class Exported(NamedTuple):
    """The material of a key, by version, as its owner may have it."""

    key: ServiceKeyRow
    kind: str
    versions: dict[int, SecretBytes]


class KeyUse:
    """The use cases of a key's values."""

    def __init__(self, present: Present, clock: Clock) -> None:
        self._present = present
        self._clock = clock

    # ---- encrypting ------------------------------------------------------------------------------

    def encrypt(self, by: By, at: KeyAt, items: Sequence[ToEncrypt]) -> list[Outcome]:
        """Encrypt values.

        Raises:
            NotFoundError: No key has that name.
            StateError: The key is not enabled.
            UsageError: The key does not encrypt.
        """

        def one(key: "_Opened", item: ToEncrypt) -> Outcome:
            return _encrypted(key, item)

        return self._each(by, at, "encrypt", items, one, _encrypts)

    def decrypt(self, by: By, at: KeyAt, items: Sequence[ToDecrypt]) -> list[Outcome]:
        """Decrypt values.

        Raises:
            NotFoundError: No key has that name.
            StateError: The key is not enabled.
            UsageError: The key does not decrypt.
        """

        def one(key: "_Opened", item: ToDecrypt) -> Outcome:
            version, plain = _decrypted(key, item)
            return Outcome(version=version, plain=plain)

        return self._each(by, at, "decrypt", items, one, _encrypts)

    def rewrap(
        self, by: By, at: KeyAt, items: Sequence[ToDecrypt], version: int = 0
    ) -> list[Outcome]:
        """Encrypt values anew by the latest version, without giving them out.

        Raises:
            NotFoundError: No key has that name.
            StateError: The key is not enabled.
            UsageError: The key does not decrypt.
        """

        def one(key: "_Opened", item: ToDecrypt) -> Outcome:
            plain = _decrypted(key, item)[1]
            return _encrypted(key, ToEncrypt(plain, item.associated, version, item.context))

        return self._each(by, at, "rewrap", items, one, _encrypts)

    def data_key(
        self,
        by: By,
        at: KeyAt,
        bits: int,
        associated: bytes,
        *,
        reveal: bool,
        context: bytes = b"",
    ) -> Outcome:
        """A fresh key and its ciphertext; the key itself only where it shall be revealed.

        Raises:
            NotFoundError: No key has that name.
            StateError: The key is not enabled.
            UsageError: The key does not encrypt, or the size is none of a key.
        """
        if bits not in DATA_KEY_BITS:
            raise UsageError("invalid bit length: a data key has 128, 256 or 512 bits")

        def one(key: "_Opened", item: ToEncrypt) -> Outcome:
            wrapped = _encrypted(key, item)
            return Outcome(wrapped.text, wrapped.version, item.plain if reveal else None)

        made = ToEncrypt(SecretBytes(rng.random_bytes(bits // 8)), associated, context=context)
        operation = f"make a data key, {'revealed' if reveal else 'wrapped'}"
        (found,) = self._each(by, at, operation, [made], one, _encrypts)
        return found

    # ---- authenticating and signing --------------------------------------------------------------

    def hmac(self, by: By, at: KeyAt, items: Sequence[ToSign]) -> list[Outcome]:
        """Authenticate messages.

        Raises:
            NotFoundError: No key has that name.
            StateError: The key is not enabled.
            UsageError: The key authenticates nothing.
        """

        def one(key: "_Opened", item: ToSign) -> Outcome:
            version = versions_of(key.row).for_new(item.version)
            made = algorithms.mac(key.mac_key(version), item.digest, item.message)
            return Outcome(ciphertext.render(version, made), version)

        return self._each(by, at, "hmac", items, one, _authenticates)

    def verify_hmac(self, by: By, at: KeyAt, items: Sequence[ToSign]) -> list[Outcome]:
        """Say of messages whether the key authenticated them.

        Raises:
            NotFoundError: No key has that name.
            StateError: The key is not enabled.
            UsageError: The key authenticates nothing.
        """

        def one(key: "_Opened", item: ToSign) -> Outcome:
            given = ciphertext.parse(item.made, "HMAC")
            versions_of(key.row).check_old(given.version)
            made = algorithms.mac(key.mac_key(given.version), item.digest, item.message)
            return Outcome(version=given.version, valid=algorithms.same(made, given.data))

        return self._each(by, at, "verify hmac", items, one, _authenticates)

    def sign(self, by: By, at: KeyAt, items: Sequence[ToSign]) -> list[Outcome]:
        """Sign messages.

        Raises:
            NotFoundError: No key has that name.
            StateError: The key is not enabled.
            UsageError: The key does not sign.
        """

        def one(key: "_Opened", item: ToSign) -> Outcome:
            version = versions_of(key.row).for_new(item.version)
            made = _signature(key, version, item)
            return Outcome(ciphertext.render(version, made), version, public=key.public(version))

        return self._each(by, at, "sign", items, one, _signs)

    def verify(self, by: By, at: KeyAt, items: Sequence[ToSign]) -> list[Outcome]:
        """Say of messages whether the key signed them.

        Raises:
            NotFoundError: No key has that name.
            StateError: The key is not enabled.
            UsageError: The key does not sign.
        """

        def one(key: "_Opened", item: ToSign) -> Outcome:
            given = ciphertext.parse(item.made, "signature")
            versions_of(key.row).check_old(given.version)
            public = key.public(given.version)
            if key.kind is KeyKind.ED25519:
                _check_pure(item)
                valid = algorithms.verify_ed25519(public, item.message, given.data)
            else:
                valid = algorithms.verify_p256(
                    public, item.digest, item.message, given.data, prehashed=item.prehashed
                )
            return Outcome(version=given.version, valid=valid)

        return self._each(by, at, "verify", items, one, _signs)

    # ---- giving out ------------------------------------------------------------------------------

    def export(self, by: By, at: KeyAt, kind: str, version: str) -> Exported:
        """The material of a key that may be exported.

        Args:
            by: The caller.
            at: The key.
            kind: `encryption-key`, `signing-key`, `hmac-key` or `public-key`.
            version: A number, `latest`, or empty for all that still decrypt.

        Raises:
            NotFoundError: No key has that name.
            UsageError: The key may not be exported, or is of another kind.
        """
        key = self._opened(at)
        row = key.row
        if kind != "public-key" and not row.exportable:
            raise UsageError("private key material is not exportable")
        wanted = _wanted(row, version)
        found = {one: key.exported(kind, one) for one in wanted}
        by.key_used(at.shown, f"export {kind}", max(wanted), len(wanted))
        return Exported(row, kind, found)

    def random(self, by: By, mount: str, count: int) -> bytes:
        """Random bytes."""
        if not 1 <= count <= 128 * 1024:
            raise UsageError("between 1 and 131072 random bytes can be asked for")
        by.key_used(f"{mount}/", "random", count=count)
        return rng.random_bytes(count)

    def hash(self, by: By, mount: str, name: str, data: bytes) -> bytes:
        """The digest of some bytes."""
        made = algorithms.digest(name, data)
        by.key_used(f"{mount}/", "hash")
        return made

    # ---- parts -----------------------------------------------------------------------------------

    def _each(
        self,
        by: By,
        at: KeyAt,
        operation: str,
        items: Sequence[_Item],
        use: "Callable[[_Opened, _Item], Outcome]",
        fits: Callable[[KeyKind], str],
    ) -> list[Outcome]:
        if not 0 < len(items) <= MOST_AT_ONCE:
            raise UsageError(f"between 1 and {MOST_AT_ONCE} items are worked on at once")
        key = self._opened(at)
        if words := fits(key.kind):
            raise UsageError(f"key type {key.kind.value} does not support {words}")
        found = [_outcome(use, key, item) for item in items]
        done = [one for one in found if one.error is None]
        if done or len(items) > 1:
            newest = max((one.version for one in done), default=0)
            by.key_used(at.shown, operation, newest, len(done))
        if len(items) == 1 and found[0].error is not None:
            raise found[0].error
        return found

    def _opened(self, at: KeyAt) -> "_Opened":
        row = self._present.key(at.mount, at.name)
        if row is None or (row.delete_at and is_gone(row, format_utc(self._clock.now()))):
            raise missing(at.name)
        check_usable(at.name, row.state)
        return _Opened(row, self._present)


class _Opened:
    """A usable key, whose versions are opened as they are needed."""

    def __init__(self, row: ServiceKeyRow, present: Present) -> None:
        self.row = row
        self.kind = KeyKind(row.kind)
        self._present = present
        self._known: dict[int, SecretBytes] = {}

    def material(self, version: int) -> SecretBytes:
        """The material of a version."""
        if version not in self._known:
            self._known[version] = self._present.material(self.row, version)
        return self._known[version]

    def mac_key(self, version: int) -> SecretBytes:
        """The key by which a version authenticates."""
        key = self.material(version)
        if self.kind is KeyKind.HMAC:
            return key
        return algorithms.mac_key(key, self.row.id, version)

    def public(self, version: int) -> str:
        """The public part of a version."""
        return self._present.version(self.row, version).public

    def exported(self, kind: str, version: int) -> SecretBytes:
        """A version in the form of an export: base64, or PEM of ECDSA."""
        if kind == "hmac-key" and not _authenticates(self.kind):
            return _in_base64(self.mac_key(version))
        if kind == "encryption-key" and self.kind.encrypts:
            return _in_base64(self.material(version))
        if kind == "public-key" and self.kind.signs:
            return SecretBytes(self.public(version).encode())
        if kind == "signing-key" and self.kind is KeyKind.ED25519:
            return _in_base64(self.material(version))
        if kind == "signing-key" and self.kind is KeyKind.ECDSA_P256:
            return algorithms.pem_p256(self.material(version))
        raise UsageError(f"key type {self.kind.value} has no {kind[:40]}")


def _outcome(use: Callable[[_Opened, _Item], Outcome], key: _Opened, item: _Item) -> Outcome:
    try:
        return use(key, item)
    except (UsageError, IntegrityError) as error:
        return Outcome(error=error)


def _encrypted(key: _Opened, item: ToEncrypt) -> Outcome:
    version = versions_of(key.row).for_new(item.version)
    place, material = _place(key, version, item), key.material(version)
    if key.kind is KeyKind.AES256_GCM_CONVERGENT:
        salt = algorithms.convergent_salt(material, place, item.plain, key.row.id, version)
        sealed = seals.seal_with_salt(material, place, item.plain.reveal(), salt=salt)
    else:
        sealed = seals.seal(material, place, item.plain.reveal())
    return Outcome(ciphertext.render(version, sealed), version)


def _place(key: _Opened, version: int, item: ToEncrypt | ToDecrypt) -> Place:
    if not key.kind.derives:
        if item.context:
            raise UsageError("context is not taken: the key is not derived")
        return places.of_service_value(key.row.id, version, item.associated)
    if not item.context:
        raise UsageError("missing 'context' for key derivation: the key was made as a derived one")
    return places.of_derived_value(key.row.id, version, item.context, item.associated)


def _decrypted(key: _Opened, item: ToDecrypt) -> tuple[int, SecretBytes]:
    given = ciphertext.parse(item.text)
    versions_of(key.row).check_old(given.version)
    place = _place(key, given.version, item)
    if len(given.data) < seals.OVERHEAD_BYTES:
        raise UsageError("invalid ciphertext: it is too short")
    material = key.material(given.version)
    try:
        plain = seals.open_(material, place, given.data)
    except IntegrityError:
        raise IntegrityError from None  # all of one message: another key, another context, other bytes
    return given.version, SecretBytes(plain)


def _signature(key: _Opened, version: int, item: ToSign) -> bytes:
    if key.kind is KeyKind.ED25519:
        from strongroom.crypto.signing import SigningKey

        _check_pure(item)
        return SigningKey(key.material(version)).sign(item.message)
    return algorithms.sign_p256(
        key.material(version), item.digest, item.message, prehashed=item.prehashed
    )


def _check_pure(item: ToSign) -> None:
    if item.prehashed:
        raise UsageError("ed25519 signs messages and no digests: prehashed is not supported")


def _encrypts(kind: KeyKind) -> str:
    return "" if kind.encrypts else "encryption and decryption"


def _authenticates(kind: KeyKind) -> str:
    return "HMAC" if kind.signs else ""


def _signs(kind: KeyKind) -> str:
    return "" if kind.signs else "signing"


def _wanted(row: ServiceKeyRow, version: str) -> list[int]:
    if not version:
        return list(range(row.to_decrypt, row.latest + 1))
    if version != "latest" and not _VERSION.fullmatch(version):
        raise UsageError(f"no version of a key: {version[:20]!r}")
    wanted = row.latest if version == "latest" else int(version)
    versions_of(row).check_old(wanted)
    return [wanted]


def _in_base64(key: SecretBytes) -> SecretBytes:
    return SecretBytes(ciphertext.encoded(key.reveal()).encode())
