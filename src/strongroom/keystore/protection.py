"""The MACs and ciphers by which the keytools of JDK 8 to 28 protect a PKCS#12 file, for reading (findings P3).

Every object identifier is checked, and an algorithm that is not listed in format/keystore.md §1.1 is refused, by its
Java name if it has one. Writing uses a single algorithm (`pkcs12`).
"""

import hashlib
import hmac
from functools import partial
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, KeystoreError
from strongroom.keystore import der

# with more, each command would take a second or longer to start
MAX_ITERATIONS = 1_000_000
_SALT_RANGE = range(8, 65)
_MAC_PURPOSE, _KEY_PURPOSE, _IV_PURPOSE = 3, 1, 2  # RFC 7292 appendix B.3

PBES2 = der.oid("1.2.840.113549.1.5.13")
PBKDF2 = der.oid("1.2.840.113549.1.5.12")
_PBMAC1 = der.oid("1.2.840.113549.1.5.14")
_TRIPLE_DES = der.oid("1.2.840.113549.1.12.1.3")  # pbeWithSHAAnd3-KeyTripleDES-CBC
_NULL = b"\x05\x00"

_DIGESTS = {
    der.oid("1.3.14.3.2.26"): "sha1",
    der.oid("2.16.840.1.101.3.4.2.4"): "sha224",
    der.oid("2.16.840.1.101.3.4.2.1"): "sha256",
    der.oid("2.16.840.1.101.3.4.2.2"): "sha384",
    der.oid("2.16.840.1.101.3.4.2.3"): "sha512",
    der.oid("2.16.840.1.101.3.4.2.6"): "sha512_256",
}
_HMACS = {
    der.oid("1.2.840.113549.2.7"): "sha1",
    der.oid("1.2.840.113549.2.8"): "sha224",
    der.oid("1.2.840.113549.2.9"): "sha256",
    der.oid("1.2.840.113549.2.10"): "sha384",
    der.oid("1.2.840.113549.2.11"): "sha512",
    der.oid("1.2.840.113549.2.13"): "sha512_256",
}
_AES_KEY_BYTES = {
    der.oid("2.16.840.1.101.3.4.1.2"): 16,
    der.oid("2.16.840.1.101.3.4.1.42"): 32,
}
#: Algorithms that are known and too weak to be read, with their Java names.
_WEAK = {
    der.oid("1.2.840.113549.1.12.1.1"): "PBEWithSHA1AndRC4_128",
    der.oid("1.2.840.113549.1.12.1.2"): "PBEWithSHA1AndRC4_40",
    der.oid("1.2.840.113549.1.12.1.5"): "PBEWithSHA1AndRC2_128",
    der.oid("1.2.840.113549.1.12.1.6"): "PBEWithSHA1AndRC2_40",
    der.oid("1.2.840.113549.1.5.3"): "PBEWithMD5AndDES",
    der.oid("1.2.840.113549.1.5.10"): "PBEWithSHA1AndDES",
}


class WeakProtectionError(KeystoreError):
    """The keystore is protected by an algorithm that is not read here; keytool can rewrite it."""

    def __init__(self, what: str) -> None:
        """Take the name of the algorithm."""
        super().__init__(
            f"the keystore is protected by {what}, which is not read here",
            hint=rewriting("tableauserver.jks", "PASSWORD_FILE"),
        )


def rewriting(path: object, password_file: object) -> str:
    """The hint for a keystore whose protection is not read: the keytool command line that rewrites it."""
    return (
        f"let Java write it anew by the algorithms of today: 'keytool -importkeystore -noprompt -srckeystore {path}"
        f" -srcstorepass:file {password_file} -destkeystore {path}.new -deststoretype PKCS12"
        f" -deststorepass:file {password_file}', then 'mv {path}.new {path}' and 'chmod 0600 {path}'"
    )


def read_salt(reader: der.Reader) -> bytes:
    """A salt, within its bounds."""
    salt = reader.take(der.OCTET_STRING)
    if len(salt) not in _SALT_RANGE:
        raise FormatError(f"a salt has {len(salt)} bytes")
    return salt


def read_iterations(reader: der.Reader) -> int:
    """A count of iterations, within its bounds: checked before any derivation."""
    iterations = reader.integer()
    if not 0 < iterations <= MAX_ITERATIONS:
        raise FormatError(f"{iterations} iterations are not within 1 to {MAX_ITERATIONS}")
    return iterations


def mac_fits(mac_data: der.Reader, safe: bytes, password: SecretBytes) -> bool:
    """Whether the MAC of a file is that of its contents under the password.

    Raises:
        FormatError: The MAC is not of a kind that a JDK writes.
    """
    digest_info = mac_data.inside(der.SEQUENCE)
    algorithm = digest_info.inside(der.SEQUENCE)
    mac = digest_info.only(der.OCTET_STRING)
    kind = algorithm.oid()
    if kind == _PBMAC1:
        derived, name = _pbmac1(der.Reader(algorithm.only(der.SEQUENCE)), password)
        mac_data.take(
            der.OCTET_STRING
        )  # a salt and a count stand there, and are not used (RFC 9579)
        mac_data.integer()
    else:
        name = _one_of(_DIGESTS, kind, "that the MAC is by SHA-1 or SHA-2")
        algorithm.optional(_NULL)
        algorithm.end()
        salt, iterations = read_salt(mac_data), read_iterations(mac_data)
        size = hashlib.new(name).digest_size
        derived = derive(password, salt, iterations, name, _MAC_PURPOSE, size)
    mac_data.end()
    return hmac.compare_digest(mac, hmac.digest(derived, safe, name))


def decrypt(shrouded: bytes, password: SecretBytes) -> bytes:
    """The contents of an EncryptedPrivateKeyInfo.

    Raises:
        WeakProtectionError: The contents are encrypted by an algorithm that is not read here.
        FormatError: The element is of another form, or does not open by the password.
    """
    info = der.Reader(der.Reader(shrouded).only(der.SEQUENCE))
    algorithm = info.inside(der.SEQUENCE)
    ciphertext = info.only(der.OCTET_STRING)
    kind = algorithm.oid()
    if kind in _WEAK:
        raise WeakProtectionError(_WEAK[kind])
    parameters = der.Reader(algorithm.only(der.SEQUENCE))
    if kind == PBES2:
        return _unpadded(*_by_pbes2(parameters, password), ciphertext)
    if kind == _TRIPLE_DES:
        return _unpadded(*_by_triple_des(parameters, password), ciphertext)
    raise FormatError("it does not say PBES2")


def derive(
    password: SecretBytes, salt: bytes, iterations: int, digest: str, purpose: int, size: int
) -> bytes:
    """RFC 7292 appendix B.2: key material for one purpose."""
    # hashlib.sha256() and the like are faster than hashlib.new(), and this loop runs at each command's start
    hashed = getattr(hashlib, digest, partial(hashlib.new, digest))
    block_bytes = hashed().block_size
    secret = password.reveal().decode("ascii").encode("utf-16-be") + b"\x00\x00"
    start = bytearray(_filled(salt, block_bytes) + _filled(secret, block_bytes))
    derived = b""
    while True:
        block = bytes([purpose]) * block_bytes + bytes(start)
        for _ in range(iterations):
            block = hashed(block).digest()
        derived += block
        if len(derived) >= size:
            return derived[:size]
        added = int.from_bytes(_filled(block, block_bytes)[:block_bytes]) + 1
        for at in range(0, len(start), block_bytes):
            number = int.from_bytes(start[at : at + block_bytes]) + added
            start[at : at + block_bytes] = (number % (1 << 8 * block_bytes)).to_bytes(block_bytes)


# ---- inside ------------------------------------------------------------------------------------


class _Opening(NamedTuple):
    """A cipher that is ready to decrypt, and its block size."""

    cipher: "Cipher[modes.CBC]"
    block_bytes: int


def _one_of(names: dict[bytes, str], kind: bytes, what: str) -> str:
    if kind not in names:
        raise FormatError(f"it does not say {what}")
    return names[kind]


def _pbkdf2(reader: der.Reader, password: SecretBytes) -> bytes:
    """The key derived by PBKDF2; its length is in the parameters, as every JDK writes it."""
    reader.expect(PBKDF2, "PBKDF2")
    details = der.Reader(reader.only(der.SEQUENCE))
    salt, iterations, size = read_salt(details), read_iterations(details), details.integer()
    digest = "sha1"  # the default if no function is given (RFC 8018 appendix A.2)
    if details.more:
        function = details.inside(der.SEQUENCE)
        digest = _one_of(_HMACS, function.oid(), "that PBKDF2 uses HMAC-SHA256 or another SHA")
        function.optional(_NULL)
        function.end()
        details.end()
    if size not in {*_AES_KEY_BYTES.values(), hashlib.new(digest).digest_size}:
        raise FormatError(f"a derived key has {size} bytes")
    return hashlib.pbkdf2_hmac(digest, password.reveal(), salt, iterations, size)


def _pbmac1(parameters: der.Reader, password: SecretBytes) -> tuple[bytes, str]:
    """The MAC's key and hash (RFC 9579)."""
    key = _pbkdf2(parameters.inside(der.SEQUENCE), password)
    scheme = parameters.inside(der.SEQUENCE)
    parameters.end()
    name = _one_of(_HMACS, scheme.oid(), "that the MAC is an HMAC")
    scheme.optional(_NULL)
    scheme.end()
    return key, name


def _by_pbes2(parameters: der.Reader, password: SecretBytes) -> _Opening:
    key = _pbkdf2(parameters.inside(der.SEQUENCE), password)
    scheme = parameters.inside(der.SEQUENCE)
    parameters.end()
    size = _AES_KEY_BYTES.get(scheme.oid())
    iv = scheme.only(der.OCTET_STRING)
    if size is None or size != len(key):
        raise FormatError("it does not say AES-128-CBC or AES-256-CBC with a key of that length")
    if len(iv) != 16:
        raise FormatError("an encrypted key has the wrong length")
    return _Opening(Cipher(algorithms.AES(key), modes.CBC(iv)), 16)


def _by_triple_des(parameters: der.Reader, password: SecretBytes) -> _Opening:
    """The cipher that JDK 8 uses, and later ones on request (`keystore.pkcs12.legacy`)."""
    from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES  # seldom needed

    salt, iterations = read_salt(parameters), read_iterations(parameters)
    parameters.end()
    key, iv = (
        derive(password, salt, iterations, "sha1", purpose, size)
        for purpose, size in ((_KEY_PURPOSE, 24), (_IV_PURPOSE, 8))
    )
    return _Opening(Cipher(TripleDES(key), modes.CBC(iv)), 8)


def _unpadded(cipher: "Cipher[modes.CBC]", block_bytes: int, ciphertext: bytes) -> bytes:
    if not ciphertext or len(ciphertext) % block_bytes:
        raise FormatError("an encrypted key has the wrong length")
    decryptor = cipher.decryptor()
    padded = decryptor.update(ciphertext) + decryptor.finalize()
    padding = padded[-1]
    if not 0 < padding <= block_bytes or padded[-padding:] != bytes([padding]) * padding:
        raise FormatError("an entry does not open under the password")
    return padded[:-padding]


def _filled(text: bytes, block_bytes: int) -> bytes:
    """Repeat to a whole number of hash blocks."""
    size = -(-len(text) // block_bytes) * block_bytes
    return (text * (size // len(text) + 1))[:size]
