"""What looks at every derivation and seal finds what it is there for (docs/format/primitives.md 5.2, 6.1)."""

import os
from collections.abc import Callable

import pytest

from strongroom.crypto import kdf, labels
from strongroom.crypto.secret import SecretBytes
from strongroom.crypto.stream import SegmentSealer
from strongroom.secrets import enc
from tests.support import derivations

KEY_ID = "00000000-0000-4000-8000-000000000001"
HERE = "strongroom.test"


def fresh() -> SecretBytes:
    return SecretBytes(os.urandom(32))


def subkey(info: bytes = labels.ENC, *, key: bytes = b"", output: bytes = b"") -> bytes:
    output = output or os.urandom(32)
    derivations.derived(key or os.urandom(32), b"", info, output, HERE)
    return output


def sealed_with(nonce: bytes, text: bytes, key: bytes) -> None:
    aad = labels.ENC + bytes(17) + b"parameter"
    derivations.sealed(key, nonce, aad, text, HERE)


def one_nonce_twice() -> None:
    key = subkey()
    sealed_with(bytes(12), b"one", key)
    sealed_with(bytes(12), b"other", key)


def one_output_twice() -> None:
    subkey(output=subkey())


def in_key() -> bytes:
    """Key and nonce by the info of a slot of format 2."""
    info = labels.framed(labels.SLOT_2, bytes(64), bytes(8), bytes(2), bytes(16), bytes(32))
    output = os.urandom(44)
    derivations.derived(os.urandom(32), b"salt", info, output, HERE)
    return output


def sealed_by(made: bytes, aad: bytes = b"") -> None:
    derivations.sealed(made[:32], made[32:], aad, b"text", HERE)


FAULTS: dict[str, tuple[Callable[[], object], str]] = {
    "a nonce twice": (one_nonce_twice, "twice with one nonce"),
    "an output twice": (one_output_twice, "what another input gave"),
    "another label": (lambda: subkey(b"strongroom/v1/other"), "no row of the table"),
    "a label with another tail": (
        lambda: subkey(labels.KMS_MAC + bytes(31)),
        "no row of the table",
    ),
    "a subkey of another length": (
        lambda: subkey(labels.ENC, output=os.urandom(44)),
        "no row of the table",
    ),
    "a nonce that was not derived": (
        lambda: derivations.sealed(in_key()[:32], bytes(12), b"", b"", HERE),
        "another nonce or AAD",
    ),
    "an AAD beside a context in the key": (
        lambda: sealed_by(in_key(), b"aad"),
        "another nonce or AAD",
    ),
    "no AAD and no context": (
        lambda: derivations.sealed(subkey(), bytes(12), b"", b"", HERE),
        "binds by an AAD",
    ),
    "a subkey of a subkey": (lambda: subkey(key=subkey()), "derives from a subkey"),
    "a key of no label": (lambda: sealed_with(bytes(12), b"text", os.urandom(32)), "no label made"),
    "another AAD": (
        lambda: derivations.sealed(subkey(), bytes(12), b"aad", b"", HERE),
        "binds by an AAD",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found(name: str) -> None:
    act, words = FAULTS[name]
    with pytest.raises(AssertionError, match=words), derivations.judged():
        act()


def test_the_product_is_looked_at_by_whatever_door_it_comes() -> None:
    """A module that has the real functions under a name of its own would not be seen."""
    before = dict(derivations.counts)
    enc.seal_value(fresh(), KEY_ID, "redis.password", b"value")
    assert derivations.counts["derivations"] == before["derivations"] + 1
    assert derivations.counts["seals"] == before["seals"] + 1
    assert SegmentSealer.__name__ == "_WatchedSealer"


def test_what_a_test_derives_itself_is_its_own_affair() -> None:
    before = dict(derivations.counts)
    kdf.hkdf(fresh(), salt=b"", info=b"of a test")
    assert derivations.counts == before


def test_the_very_same_message_may_be_made_again() -> None:
    key = subkey()
    sealed_with(bytes(12), b"one", key)
    sealed_with(bytes(12), b"one", key)


def test_a_context_in_the_key_needs_no_aad() -> None:
    with derivations.judged():
        sealed_by(in_key())
