"""The keystore, read from docs/format/keystore.md; nothing of strongroom's own (see `reader.py`)."""

import hashlib
import hmac
from collections.abc import Iterator

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, CipherAlgorithm, algorithms, modes

SEQUENCE, SET, INTEGER, OCTETS, OID, NULL, TEXT = 0x30, 0x31, 2, 4, 6, 5, 0x1E
CONTEXT_0 = 0xA0
_HASHES = {
    "1.3.14.3.2.26": "sha1",
    "2.16.840.1.101.3.4.2.4": "sha224",
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
    "2.16.840.1.101.3.4.2.6": "sha512_256",
}
_HMACS = {
    "1.2.840.113549.2.7": "sha1",
    "1.2.840.113549.2.8": "sha224",
    "1.2.840.113549.2.9": "sha256",
    "1.2.840.113549.2.10": "sha384",
    "1.2.840.113549.2.11": "sha512",
    "1.2.840.113549.2.13": "sha512_256",
}
_KEY_ID, _IV_ID, _MAC_ID = 1, 2, 3


class RefusedError(Exception):
    """The bytes are not what the page says."""


class Der:
    """The items of one constructed item, taken in their order."""

    def __init__(self, data: bytes) -> None:
        self._items = list(_items(data))

    def take(self, tag: int) -> bytes:
        """The content of the next item."""
        if not self._items or self._items[0][0] != tag:
            raise RefusedError(f"an item of tag {tag:#x} is missing")
        return self._items.pop(0)[1]

    def inner(self, tag: int = SEQUENCE) -> "Der":
        """The items of the next item."""
        return Der(self.take(tag))

    def tag(self) -> int:
        """The tag of the next item; 0 at the end."""
        return self._items[0][0] if self._items else 0

    def number(self) -> int:
        """The next item as a whole number."""
        return int.from_bytes(self.take(INTEGER), "big")

    def oid(self) -> str:
        """The next item as an object identifier."""
        first, *rest = self.take(OID)
        arcs, value = [*divmod(first, 40)], 0
        for byte in rest:
            value = value << 7 | byte & 0x7F
            if not byte & 0x80:
                arcs.append(value)
                value = 0
        return ".".join(map(str, arcs))

    def rest(self) -> "Iterator[Der]":
        """Each item that is left, constructed."""
        while self._items:
            yield self.inner()

    def end(self) -> None:
        """Nothing follows."""
        if self._items:
            raise RefusedError("something follows")


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position < len(data):
        if position + 2 > len(data):
            raise RefusedError("an item is cut")
        tag, length = data[position], data[position + 1]
        position += 2
        if length > 0x80:
            count = length & 0x7F
            length = int.from_bytes(data[position : position + count], "big")
            position += count
            if length < 0x80 or length >> 8 * (count - 1) == 0:
                raise RefusedError("a length is not minimal")
        if position + length > len(data) or (length == 0x80 and data[position - 1] == 0x80):
            raise RefusedError("an item is cut, or of no definite length")
        yield tag, data[position : position + length]
        position += length


def open_keystore(data: bytes, password: bytes) -> dict[str, bytes]:
    """The keys of a keystore by alias.

    Raises:
        RefusedError: It is none, or the password does not fit.
    """
    whole = Der(data)
    pfx = whole.inner()
    whole.end()
    if pfx.number() != 3:
        raise RefusedError("no version 3")
    safe = _content(pfx.inner())
    _check_mac(pfx.inner(), safe, password)
    pfx.end()
    contents = Der(safe).inner()
    bags = Der(_content(contents.inner())).inner()
    contents.end()
    return dict(_key(bag, password) for bag in bags.rest())


def _content(info: Der) -> bytes:
    if info.oid() != "1.2.840.113549.1.7.1":
        raise RefusedError("no pkcs7-data")
    return info.inner(CONTEXT_0).take(OCTETS)


def _check_mac(mac: Der, safe: bytes, password: bytes) -> None:
    info = mac.inner()
    algorithm, digest = info.inner(), info.take(OCTETS)
    name = algorithm.oid()
    if name == "1.2.840.113549.1.5.14":  # PBMAC1, RFC 9579
        parameters = algorithm.inner()
        function = parameters.inner()
        digest_name = _HMACS[parameters.inner().oid()]
        key = _pbkdf2(function, password)
    else:
        digest_name = _HASHES[name]
        salt = mac.take(OCTETS)
        rounds = _rounds(mac.number() if mac.tag() else 1, salt)
        size = hashlib.new(digest_name).digest_size
        key = _pkcs12(password, salt, rounds, digest_name, _MAC_ID, size)
    if not hmac.compare_digest(hmac.digest(key, safe, digest_name), digest):
        raise RefusedError("the password does not fit, or the file was changed")


def _key(bag: Der, password: bytes) -> tuple[str, bytes]:
    if bag.oid() != "1.2.840.113549.1.12.10.1.5":
        raise RefusedError("no secretBag")
    secret = bag.inner(CONTEXT_0).inner()
    if secret.oid() != "1.2.840.113549.1.12.10.1.2":
        raise RefusedError("no pkcs8ShroudedKeyBag")
    encrypted = Der(secret.inner(CONTEXT_0).take(OCTETS)).inner()
    algorithm, sealed = encrypted.inner(), encrypted.take(OCTETS)
    plain = Der(_decrypted(algorithm, sealed, password)).inner()
    if plain.number() != 0 or plain.inner().oid() != "2.16.840.1.101.3.4.1":
        raise RefusedError("no AES key")
    key, alias = plain.take(OCTETS), ""
    for attribute in bag.inner(SET).rest():
        if attribute.oid() == "1.2.840.113549.1.9.20":
            alias = attribute.inner(SET).take(TEXT).decode("utf-16-be")
    return alias, key


def _decrypted(algorithm: Der, sealed: bytes, password: bytes) -> bytes:
    name = algorithm.oid()
    parameters = algorithm.inner()
    cipher: CipherAlgorithm
    if name == "1.2.840.113549.1.5.13":  # PBES2
        function, scheme = parameters.inner(), parameters.inner()
        key = _pbkdf2(function, password, by_cipher={"2": 16, "42": 32}, scheme=scheme)
        cipher, iv = algorithms.AES(key), scheme.take(OCTETS)
    elif name == "1.2.840.113549.1.12.1.3":  # pbeWithSHAAnd3-KeyTripleDES-CBC
        salt = parameters.take(OCTETS)
        rounds = _rounds(parameters.number(), salt)
        key = _pkcs12(password, salt, rounds, "sha1", _KEY_ID, 24)
        cipher, iv = TripleDES(key), _pkcs12(password, salt, rounds, "sha1", _IV_ID, 8)
    else:
        raise RefusedError("an encryption that the page does not name")
    decryptor = Cipher(cipher, modes.CBC(iv)).decryptor()
    padded = decryptor.update(sealed) + decryptor.finalize()
    count = padded[-1]
    if not 0 < count <= len(iv) or padded[-count:] != bytes([count]) * count:
        raise RefusedError("the padding is wrong")
    return padded[:-count]


def _pbkdf2(
    function: Der,
    password: bytes,
    by_cipher: dict[str, int] | None = None,
    scheme: Der | None = None,
) -> bytes:
    if function.oid() != "1.2.840.113549.1.5.12":
        raise RefusedError("no PBKDF2")
    parameters = function.inner()
    salt = parameters.take(OCTETS)
    rounds = _rounds(parameters.number(), salt)
    size = parameters.number() if parameters.tag() == INTEGER else 0
    name = _HMACS[parameters.inner().oid()] if parameters.tag() else "sha1"
    if scheme is not None and by_cipher is not None:
        prefix, _, last = scheme.oid().rpartition(".")
        if prefix != "2.16.840.1.101.3.4.1" or size not in (0, by_cipher.get(last)):
            raise RefusedError("no AES in CBC mode")
        size = by_cipher[last]
    return hashlib.pbkdf2_hmac(name, password, salt, rounds, size)


def _rounds(count: int, salt: bytes) -> int:
    if not 1 <= count <= 1_000_000 or not 8 <= len(salt) <= 64:
        raise RefusedError("iterations or salt beyond their bounds")
    return count


def _pkcs12(password: bytes, salt: bytes, rounds: int, name: str, purpose: int, size: int) -> bytes:
    """RFC 7292 appendix B.2, with the password as BMPString and two zero bytes."""
    block = hashlib.new(name).block_size
    text = password.decode("ascii").encode("utf-16-be") + b"\0\0"

    def filled(data: bytes) -> bytes:
        length = block * -(-len(data) // block)
        return (data * (length // len(data) + 1))[:length]

    state, made = filled(salt) + filled(text), b""
    while len(made) < size:
        digest = bytes([purpose]) * block + state
        for _ in range(rounds):
            digest = hashlib.new(name, digest).digest()
        made += digest
        added = int.from_bytes(filled(digest)[:block], "big") + 1
        state = b"".join(
            ((int.from_bytes(state[i : i + block], "big") + added) % (1 << 8 * block)).to_bytes(
                block, "big"
            )
            for i in range(0, len(state), block)
        )
    return made[:size]
