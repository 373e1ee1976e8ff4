"""Checks whether a certificate, its chain and a private key can serve TLS, before they are applied (findings K18).

Pure: takes PEM and the present time. Refusals of the TLS library itself are found by
`services.configuration.https_material`, which tries a handshake.
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_KEY_KINDS = (
    rsa.RSAPrivateKey,
    ec.EllipticCurvePrivateKey,
    ed25519.Ed25519PrivateKey,
    ed448.Ed448PrivateKey,
)


def without_mark(pem: bytes) -> bytes:
    """PEM without the byte order mark that some editors add, which makes the TLS library skip the first block."""
    return pem.removeprefix(BYTE_ORDER_MARK)


def check(
    certificate: bytes, chain: bytes, key: SecretBytes, passphrase: SecretBytes, moment: datetime
) -> None:
    """Refuse material with which no client could be served.

    Args:
        certificate: PEM of the server's certificate, which intermediate ones may follow.
        chain: PEM of intermediate certificates, each the issuer of the one before; may be empty.
        key: PEM of the private key.
        passphrase: The passphrase of the key; empty if the key is not encrypted.
        moment: The present.

    Raises:
        FormatError: A part is wrong; the message says which and why.
    """
    own = _certificates(certificate, "the certificate")
    found = [*own, *(_certificates(chain, "the chain") if chain.strip() else [])]
    public = _spki(_private_key(key, passphrase).public_key())
    if _spki(found[0].public_key()) != public:
        for number, one in enumerate(found[1:], start=2):
            if _spki(one.public_key()) == public:
                raise FormatError(
                    f"the certificates are in the wrong order: that of the private key is number {number}, and must be the first"
                )
        raise FormatError(f"the private key belongs to another certificate than {_name(found[0])}")
    _check_order(found)
    for one in found:
        if moment > one.not_valid_after_utc:
            raise FormatError(
                f"the certificate {_name(one)} ended on {_day(one.not_valid_after_utc)}"
            )
        if moment < one.not_valid_before_utc:
            raise FormatError(
                f"the certificate {_name(one)} is not valid before {_day(one.not_valid_before_utc)}"
            )


def check_key(certificate: bytes, key: SecretBytes) -> None:
    """Refuse a private key that does not belong to the certificate.

    Raises:
        FormatError: The key belongs to another certificate, or a part is damaged.
    """
    (first, *_) = _certificates(certificate, "the certificate")
    if _spki(first.public_key()) != _spki(_private_key(key, SecretBytes(b"")).public_key()):
        raise FormatError(f"the private key belongs to another certificate than {_name(first)}")


def _certificates(pem: bytes, what: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(without_mark(pem))
    except ValueError as error:
        raise FormatError(f"{what} is damaged, or not in PEM") from error


def _private_key(key: SecretBytes, passphrase: SecretBytes) -> Any:
    """The key, if TLS can use its kind; a passphrase is ignored if the key is not encrypted."""
    phrase = passphrase.reveal()
    try:
        found = _loaded(without_mark(key.reveal()), phrase or None)
    except UnsupportedAlgorithm as error:
        raise FormatError("the private key is of a kind that is not supported") from error
    except TypeError:
        # from None: the library's message may say something about the passphrase
        raise FormatError(
            "the private key is encrypted, and there is no passphrase for it"
        ) from None
    except ValueError:
        sentence = (
            "cannot be opened: the passphrase is wrong, or it is damaged"
            if phrase
            else "is damaged, or not in PEM"
        )
        raise FormatError(f"the private key {sentence}") from None
    if not isinstance(found, _KEY_KINDS):
        raise FormatError(
            "the private key is of a kind that TLS does not use; take RSA or an elliptic curve"
        )
    return found


def _loaded(pem: bytes, phrase: bytes | None) -> Any:
    if phrase is not None and b"ENCRYPTED" not in pem:
        phrase = None
    return serialization.load_pem_private_key(pem, phrase)


def _check_order(found: Sequence[x509.Certificate]) -> None:
    """Each certificate must be issued by the one behind it."""
    for number, (one, issuer) in enumerate(pairwise(found), start=1):
        try:
            one.verify_directly_issued_by(issuer)
        except Exception as error:  # the library raises errors of many kinds here
            raise FormatError(
                f"the certificates are in the wrong order: number {number + 1}, {_name(issuer)}, did not issue number"
                f" {number}, {_name(one)}"
            ) from error


def _spki(public: Any) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return bytes(public.public_bytes(serialization.Encoding.DER, form))


def _name(one: x509.Certificate) -> str:
    return repr(one.subject.rfc4514_string() or f"number {one.serial_number:x}")


def _day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")
