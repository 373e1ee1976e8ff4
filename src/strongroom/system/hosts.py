"""Parses hosts, ports and lists of them as people write them, for every setting that names a host (findings K11).

Pure: no name service is asked. An accepted value is returned in one spelling. The text of each `HostError` says what
the value should be, so that a wrong value is refused with an explanation when it is set, and not when it is used.
"""

import ipaddress
import re
from typing import NamedTuple

MAX_PORT = 65535
_MAX_NAME = 253
"""Longest name, by RFC 1035 2.3.4, without the dot at the end."""
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
"""A label, by RFC 1123 2.1, and with the underscore that container networks use."""
_ZONE = re.compile(r"[A-Za-z0-9_.-]{1,32}")
_BRACKETS = "an IPv6 address in brackets, such as [::1]:{}"


class HostError(ValueError):
    """A text that names no host; the message says what the text should be."""


class Endpoint(NamedTuple):
    """A host with its port.

    Attributes:
        host: A name in lower case, or an address; IPv6 without brackets.
        port: The port, 1 to 65535.
    """

    host: str
    port: int

    @property
    def text(self) -> str:
        """`host:port`, IPv6 in brackets."""
        return f"{bracketed(self.host)}:{self.port}"


def host(text: str) -> str:
    """Parse a name or an address alone; returns it in its one spelling.

    Raises:
        HostError: The text is empty, has a scheme, path, port or user beside the host, or is no name.
    """
    _check_bare(text)
    inside = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if "[" in inside or "]" in inside:
        raise HostError("a host without a port; that is a setting of its own")
    if ":" in inside:
        if inside.count(":") == 1:
            raise HostError("a host without a port; that is a setting of its own")
        return _ipv6(inside)
    if inside is not text:
        raise HostError("a name or an IPv4 address without brackets; they are for IPv6")
    return _name(inside)


def address(text: str) -> str:
    """Parse an IPv4 or IPv6 address on which a server can listen; a name is not accepted.

    Raises:
        HostError: The text is no address.
    """
    found = host(text)
    try:
        ipaddress.ip_address(found)
    except ValueError:
        raise HostError("an IP address of this machine, such as 127.0.0.1, :: or 0.0.0.0") from None
    return found


def endpoint(text: str) -> Endpoint:
    """Parse `host:port`.

    Raises:
        HostError: The host is none, or the port is missing or no port.
    """
    _check_bare(text)
    bare, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        raise HostError("a host with its port, such as 127.0.0.1:2181")
    if ":" in bare and not (bare.startswith("[") and bare.endswith("]")):
        raise HostError(_BRACKETS.format(port if _is_port(port) else 2181))
    if not _is_port(port):
        raise HostError(f"a host with its port from 1 to {MAX_PORT}, such as 127.0.0.1:2181")
    return Endpoint(host(bare), int(port))


def endpoints(text: str) -> tuple[Endpoint, ...]:
    """Parse `host:port,host:port`, with or without blanks around the commas.

    Raises:
        HostError: A part is not `host:port`.
    """
    return tuple(endpoint(one.strip(" ")) for one in text.split(","))


def joined(found: "tuple[Endpoint, ...]") -> str:
    """A list in its one spelling."""
    return ",".join(one.text for one in found)


def bracketed(found: str) -> str:
    """A host as it stands before a colon and a port."""
    return f"[{found}]" if ":" in found else found


def is_loopback(found: str) -> bool:
    """Whether data that is sent to this host stays on this machine."""
    try:
        return ipaddress.ip_address(found).is_loopback
    except ValueError:
        return found == "localhost"


def _check_bare(text: str) -> None:
    """Refuse a host with something around it, as when a person copies it from a URL."""
    if not text:
        raise HostError("a host; to have none, reset the key with -d")
    if not text.isascii():
        raise HostError(
            "an internationalised name in its ASCII form, such as xn--bcher-kva.example"
        )
    if any(one.isspace() or not one.isprintable() for one in text):
        raise HostError("one host without blanks")
    if "://" in text:
        raise HostError("a host without a scheme such as https://")
    if "/" in text:
        raise HostError("a host without a path")
    if "@" in text:
        raise HostError("a host without a user before it")
    if "," in text:
        raise HostError("one host, not several")


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= MAX_PORT


def _ipv6(text: str) -> str:
    plain, percent, zone = text.partition("%")
    if percent and not _ZONE.fullmatch(zone):
        raise HostError("an IPv6 address with the zone's name after %, such as fe80::1%eth0")
    try:
        found = ipaddress.IPv6Address(plain)
    except ValueError:
        raise HostError("a name, an IPv4 or an IPv6 address, without a port") from None
    return f"{found}{percent}{zone}"


def _name(text: str) -> str:
    folded = text.lower()
    if folded.endswith("."):
        raise HostError("a name without the dot at its end, as certificates have it")
    labels = folded.split(".")
    if labels[-1].isdigit():
        # no domain ends with a number, and the system's resolver would take 1.2 for an address
        try:
            return str(ipaddress.IPv4Address(folded))
        except ValueError:
            raise HostError("an IPv4 address of four numbers from 0 to 255") from None
    if len(folded) > _MAX_NAME or not all(map(_LABEL.fullmatch, labels)):
        raise HostError(
            "a name of letters, digits, hyphens and underscores, its parts of 1 to 63 with dots between"
        )
    return folded
