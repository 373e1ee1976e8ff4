"""Where the services of a cluster are, and by which authorities a new node believes them (docs/format/bootstrap-file.md §1.2).

Pure. A bootstrap file has them, so that on a new machine no certificate of an authority has to lie beside the file.
"""

import hashlib
from collections.abc import Mapping
from typing import Final, NamedTuple

from strongroom.canonical import Fields, to_base64
from strongroom.errors import FormatError

AUTHORITIES, ADDRESSES = "authorities", "addresses"
_MOST: Final = 512
"""Certificates of one service: a bundle of a cloud's database has some hundred."""
MOST_ADDRESSES: Final = 64
_LONGEST: Final = 512


class Authorities(NamedTuple):
    """The certificates by which each link is believed, in DER; none where the machine's own authorities are.

    Attributes:
        nodes: The internal authority, and those before it that are believed still.
        postgres: The authority of PostgreSQL's certificate.
        web: The certificate of the web service at which the node asks to be admitted, and its chain.
        zookeeper: The authority of ZooKeeper's certificates.
    """

    nodes: tuple[bytes, ...] = ()
    postgres: tuple[bytes, ...] = ()
    web: tuple[bytes, ...] = ()
    zookeeper: tuple[bytes, ...] = ()


class Addresses(NamedTuple):
    """The places of the services, each `host:port`; none of a single node.

    Attributes:
        nodes: The control services of the nodes.
        postgres: The hosts of PostgreSQL.
        zookeeper: The servers of ZooKeeper.
    """

    nodes: tuple[str, ...] = ()
    postgres: tuple[str, ...] = ()
    zookeeper: tuple[str, ...] = ()


class Bearings(NamedTuple):
    """All of that."""

    authorities: Authorities = Authorities()
    addresses: Addresses = Addresses()

    def members(self) -> dict[str, object]:
        """The two members of the file."""
        return {
            AUTHORITIES: {
                name: [_pinned(one) for one in found]
                for name, found in self.authorities._asdict().items()
            },
            ADDRESSES: {name: list(found) for name, found in self.addresses._asdict().items()},
        }

    def pins(self) -> Mapping[str, tuple[str, ...]]:
        """SHA-256 of each certificate, hexadecimal, by the name of the link; for people, who compare them."""
        return {
            name: tuple(map(_pin, found))
            for name, found in self.authorities._asdict().items()
            if found
        }


NOTHING: Final = Bearings()


def is_address(text: str) -> bool:
    """Whether a text may be an address of the file: `host:port`, short and in ASCII."""
    host, _, port = text.rpartition(":")
    is_plain = text.isascii() and text.isprintable() and len(text) <= _LONGEST
    return bool(host) and port.isdecimal() and is_plain


def of_fields(fields: Fields) -> Bearings:
    """The bearings in a file.

    Raises:
        FormatError: A member is malformed, or a certificate is not the one of its pin.
    """
    authorities, addresses = fields.inner(AUTHORITIES), fields.inner(ADDRESSES)
    authorities.check_names(Authorities._fields)
    addresses.check_names(Addresses._fields)
    return Bearings(
        Authorities(*(_certificates(authorities, name) for name in Authorities._fields)),
        Addresses(*(_places(addresses, name) for name in Addresses._fields)),
    )


def _pinned(certificate: bytes) -> dict[str, str]:
    return {
        "certificate": to_base64(certificate),
        "sha256": _pin(certificate),
    }


def _pin(certificate: bytes) -> str:
    return hashlib.sha256(certificate).hexdigest()


def _certificates(fields: Fields, name: str) -> tuple[bytes, ...]:
    fields.check_count(name, "certificates", _MOST)
    return tuple(_certificate(one, name) for one in fields.objects(name))


def _certificate(fields: Fields, name: str) -> bytes:
    fields.check_names(("certificate", "sha256"))
    found = fields.raw("certificate")
    if _pin(found) != fields.hexadecimal("sha256", 32):
        raise FormatError(
            f"a certificate of {name} in the bootstrap file is not the one that its pin names"
        )
    return found


def _places(fields: Fields, name: str) -> tuple[str, ...]:
    fields.check_count(name, "addresses", MOST_ADDRESSES)
    found = fields.texts(name)
    if not all(map(is_address, found)):
        raise FormatError(f"an address of {name} in the bootstrap file is none")
    return found
