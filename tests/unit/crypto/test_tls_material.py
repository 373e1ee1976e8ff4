"""Certificates and keys for TLS, judged (findings K18); over whole nodes: `contract/services/test_https_material`."""

import base64
from datetime import UTC, datetime

import pytest

from strongroom.crypto import certificates, tls_material
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError
from strongroom.keystore import der

NOW = datetime(2026, 11, 28, tzinfo=UTC)
NOTHING = SecretBytes(b"")
MADE = certificates.new_internal_certificates(NOW)


def _pkcs8(algorithm: str) -> SecretBytes:
    info = der.element(
        der.SEQUENCE,
        der.integer(0),
        der.element(der.SEQUENCE, der.oid(algorithm)),
        der.element(der.OCTET_STRING, bytes(34)),
    )
    text = base64.encodebytes(info)
    return SecretBytes(b"-----BEGIN PRIVATE KEY-----\n" + text + b"-----END PRIVATE KEY-----\n")


def test_what_belongs_together_passes() -> None:
    tls_material.check(MADE.node.certificate, MADE.root.certificate, MADE.node.key, NOTHING, NOW)
    tls_material.check_key(MADE.node.certificate, MADE.node.key)


def test_a_key_of_none_of_several_certificates_is_refused() -> None:
    chain = MADE.root.certificate
    with pytest.raises(FormatError, match="belongs to another certificate"):
        tls_material.check(MADE.node.certificate, chain, MADE.admin.key, NOTHING, NOW)


def test_a_key_of_an_algorithm_that_is_not_known_is_refused() -> None:
    with pytest.raises(FormatError, match="not supported"):
        tls_material.check_key(MADE.node.certificate, _pkcs8("1.2.643.7.1.1.1.1"))


def test_a_byte_order_mark_is_left_out() -> None:
    marked = tls_material.BYTE_ORDER_MARK + MADE.node.certificate
    tls_material.check_key(marked, MADE.node.key)
    assert tls_material.without_mark(marked) == MADE.node.certificate
