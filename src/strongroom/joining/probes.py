"""The probe by which a reader asks every node for a proof of the keys, as bytes and back (docs/format/node-reports.md 3); pure.

The note has the MAC of an entry: who only has ZooKeeper's password cannot have nodes ask their roots.
"""

from typing import Final

from strongroom.canonical import ASCII, Kind, from_base64, to_base64
from strongroom.errors import FormatError

NAME: Final = "probe"
ENTRY: Final = "status/probe"
"""The name of the note under its MAC."""
FORMAT: Final = "strongroom-probe-1"
NONCE_BYTES: Final = 16
MOST: Final = 32
"""The nonces of as many readers stand in a probe; the oldest goes first."""
_KIND = Kind("the probe of the nodes", ASCII, most=4096)


def with_nonce(nonces: tuple[str, ...], nonce: bytes) -> tuple[str, ...]:
    """The nonces of a probe after another reader has asked."""
    return (*nonces, to_base64(nonce))[-MOST:]


def serialize(nonces: tuple[str, ...]) -> bytes:
    """The canonical bytes of a probe."""
    return _KIND.dumps({"format": FORMAT, "nonces": list(nonces)})


def parse(data: bytes) -> tuple[str, ...]:
    """The nonces of a probe.

    Raises:
        FormatError: The probe is damaged.
    """
    fields = _KIND.loads(data)
    fields.check_version("format", FORMAT)
    fields.check_names({"format", "nonces"})
    fields.check_count("nonces", "nonces", MOST)
    found = fields.texts("nonces")
    for one in found:
        if len(from_base64(one) or b"") != NONCE_BYTES:
            raise FormatError("a nonce of the probe has another length")
    return found
