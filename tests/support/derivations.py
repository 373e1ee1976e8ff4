"""Looks at every derivation and every seal of this process, in every test (docs/format/primitives.md 5, 6).

What must never happen, and would be seen by no reader of what was written: a nonce that serves twice under one key, two
inputs that derive one output, a label that the table does not have, an AES key that no label made, a subkey from which
another subkey is derived. `watch` stands in for the three doors of `crypto/`; calls that the product makes are judged,
calls that a test makes itself, with keys and labels of its own, are not. Only digests are kept.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, wraps
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from strongroom.crypto import aead, kdf, labels, stream
from strongroom.crypto.secret import SecretBytes
from strongroom.system.compat import override

if TYPE_CHECKING:
    from types import FrameType

_DOORS = (
    "strongroom.crypto.aead",
    "strongroom.crypto.kdf",
    "strongroom.crypto.seals",
    "strongroom.crypto.stream",
)
_found: list[str] = []
_outputs: dict[bytes, bytes] = {}
#: Keys that have the context in their derivation, each with the nonce that was derived beside it.
_in_key: dict[bytes, bytes] = {}
_KEY_BYTES, _NONCE_BYTES = 32, 12
_seals: dict[bytes, bytes] = {}
counts = {"derivations": 0, "seals": 0, "streams": 0}


def _digest(*parts: bytes) -> bytes:
    told = blake2b(digest_size=16)
    for part in parts:
        told.update(len(part).to_bytes(8, "big"))
        told.update(part)
    return told.digest()


def _caller() -> str:
    """The module behind the doors that called; empty if it is none of the product."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name not in _DOORS and name != __name__:
            return name if name.startswith("strongroom.") else ""
        frame = frame.f_back
    return ""


@lru_cache(maxsize=4096)
def _sizes(info: bytes, salted: bool) -> frozenset[int]:
    """The sizes of what the table's rows derive by an info: a test asks for the same ones hundreds of times."""
    rows = (*labels.SUBKEYS, *labels.SEALS)
    return frozenset(use.size for use in rows if use.salted == salted and use.fits(info))


def derived(key: bytes, salt: bytes, info: bytes, output: bytes, caller: str) -> None:
    """Judge one derivation of the product."""
    counts["derivations"] += 1
    if len(output) not in _sizes(info, bool(salt)):
        _found.append(f"{caller} derives by an info that no row of the table has: {info[:40]!r}")
    if _digest(key) in _outputs:
        _found.append(f"{caller} derives from a subkey: {info[:40]!r}")
    before = _outputs.setdefault(_digest(output), inputs := _digest(key, salt, info))
    if before != inputs:
        _found.append(f"{caller} derives what another input gave: {info[:40]!r}")
    if len(output) > _KEY_BYTES:
        key, nonce = output[:_KEY_BYTES], output[_KEY_BYTES:][:_NONCE_BYTES]
        _outputs[_digest(key)], _in_key[_digest(key)] = inputs, _digest(nonce)


def sealed(key: bytes, nonce: bytes, aad: bytes, plaintext: bytes, caller: str) -> None:
    """Judge one seal of the product; the very same message again, as vectors make it, tells nobody anything."""
    counts["seals"] += 1
    in_key = _in_key.get(_digest(key))
    if in_key is not None and (aad or in_key != _digest(nonce)):
        _found.append(f"{caller} seals by another nonce or AAD than was derived: {aad[:40]!r}")
    if in_key is None and not any(use.fits(aad) for use in labels.BOUND):
        _found.append(f"{caller} binds by an AAD that no row of the table has: {aad[:40]!r}")
    if _digest(key) not in _outputs:
        _found.append(f"{caller} seals under a key that no label made: {aad[:40]!r}")
    message = _digest(aad, plaintext)
    if _seals.setdefault(_digest(key, nonce), message) != message:
        _found.append(f"{caller} seals twice with one nonce: {aad[:40]!r}")


def _watched_hkdf(real: Any) -> Any:
    @wraps(real)
    def hkdf(key: SecretBytes, *, salt: bytes, info: bytes, length: int = 32) -> SecretBytes:
        output: SecretBytes = real(key, salt=salt, info=info, length=length)
        if caller := _caller():
            derived(key.reveal(), salt, info, output.reveal(), caller)
        return output

    return hkdf


def _watched_seal(real: Any) -> Any:
    @wraps(real)
    def seal_with_nonce(key: SecretBytes, plaintext: bytes, *, aad: bytes, nonce: bytes) -> bytes:
        if caller := _caller():
            sealed(key.reveal(), nonce, aad, plaintext, caller)
        made: bytes = real(key, plaintext, aad=aad, nonce=nonce)
        return made

    return seal_with_nonce


class _WatchedSealer(stream.SegmentSealer):
    """Seals each number once, whatever its callers claim."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._done: set[int] = set()

    @override
    def seal_into(self, index: int, data: memoryview, target: memoryview, *, last: bool) -> None:
        if caller := _caller():
            counts["streams"] += not self._done
            if index in self._done:
                _found.append(f"{caller} seals the segment {index} of one stream twice")
            self._done.add(index)
        super().seal_into(index, data, target, last=last)


def watch() -> None:
    """Stand in for the doors; called before any other module of the product is imported.

    Raises:
        RuntimeError: A module has the real functions already, and would not be seen.
    """
    early = sorted(
        name
        for name, module in sys.modules.items()
        if name.startswith("strongroom.")
        and name not in _DOORS
        and {id(kdf.hkdf), id(aead.seal_with_nonce), id(stream.SegmentSealer)}
        & {id(value) for value in vars(module).values()}
    )
    if early:
        raise RuntimeError(f"imported before the derivations were watched: {early}")
    kdf.hkdf = _watched_hkdf(kdf.hkdf)
    aead.seal_with_nonce = _watched_seal(aead.seal_with_nonce)
    stream.SegmentSealer = _WatchedSealer  # type: ignore[misc]  # a stand-in for the class


@contextmanager
def fixed_randomness() -> Iterator[None]:
    """Forget what is found in the block: vectors are made with salts and nonces, and ports tried with labels, of their own."""
    before = list(_found)
    yield
    _found[:] = before


@contextmanager
def judged() -> Iterator[None]:
    """Fail at the end of the block if something was found in it."""
    _found.clear()
    yield
    found = sorted(set(_found))
    _found.clear()
    if found:
        raise AssertionError("\n".join(found))
