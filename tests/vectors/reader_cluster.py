"""Opens what a cluster keeps outside of its nodes, from docs/format alone: entries in ZooKeeper, files in an object store.

The nodes of ZooKeeper and the objects are given, by clients that know nothing of strongroom; nothing of ours is imported.
"""

import hashlib
from collections.abc import Callable, Iterable
from urllib.parse import unquote

from tests.vectors.reader import check_equal
from tests.vectors.reader_pkcs12 import RefusedError

Read = Callable[[str], tuple[bytes, int]]
"""Value and version of a node of ZooKeeper, by its path below the root of the installation."""

# ---- coordination.md 4 -------------------------------------------------------------------------------


def entries(names: Iterable[str], read: Read) -> dict[str, tuple[int, bytes]]:
    """Versions and values of all entries, by the names of the nodes below `kv` (4.2, 4.3)."""
    found = {}
    for name in names:
        raw, version = read(f"kv/{name}")
        key = unquote(name)
        over = key.encode() + b"\0" + str(version + 1).encode() + b"\0" + raw[32:]
        check_equal(hashlib.sha256(over).digest(), raw[:32], f"the digest of {key}")
        found[key] = (version + 1, _value(raw[32:], read))
    return found


def _value(payload: bytes, read: Read) -> bytes:
    """The value of a payload; a large one lies in chunks (4.3, 4.4)."""
    if payload[:1] == b"\0":
        return payload[1:]
    if payload[:1] != b"\1" or len(payload) != 41:
        raise RefusedError("another kind of payload")
    digest, length = payload[1:33], int.from_bytes(payload[33:], "big")
    value = b""
    while len(value) < length:
        chunk, _ = read(f"blob/{digest.hex()}/{len(value) // (508 * 1024)}")
        if not chunk:
            raise RefusedError("an empty chunk")
        value += chunk
    check_equal(hashlib.sha256(value).digest(), digest, "the digest of a large value")
    if len(value) != length:
        raise RefusedError("another length")
    return value


# ---- object-store.md 2 -------------------------------------------------------------------------------


def stored_file(key: str, get: Callable[[str], bytes]) -> bytes:
    """The bytes of a file, by a function that gets an object by its name below the prefix."""
    head = get(f"head/{key}")
    if head[:16] != b"strongroom-head1" or len(head) > 40 + 8192:
        raise RefusedError("no head")
    length, first = int.from_bytes(head[16:24], "big"), head[40:]
    if not length:
        return first
    body = get(f"body/{key}/{head[24:40].hex()}")
    if len(body) != length or len(first) != 8192:
        raise RefusedError("another length of the body, or bytes missing before it")
    return first + body
