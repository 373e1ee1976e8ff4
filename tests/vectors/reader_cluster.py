"""Reads what a cluster left with ZooKeeper and an object store, from docs/format alone; nothing of ours is imported.

Entries by coordination.md 4.3 and 4.4, files by object-store.md 1 and 2.
"""

import hashlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

_HEAD = b"strongroom-head1"


def entries(client: Any, root: str) -> dict[str, tuple[int, bytes]]:
    """Every entry of a tree, with its version; `client` is kazoo's."""
    found = {}
    for name in client.get_children(f"{root}/kv"):
        data, stat = client.get(f"{root}/kv/{name}")
        key, version = unquote(name), stat.version + 1
        digest, payload = data[:32], data[32:]
        told = key.encode() + b"\0" + str(version).encode() + b"\0" + payload
        assert hashlib.sha256(told).digest() == digest, key
        value = payload[1:] if payload[:1] == b"\0" else _blob(client, root, payload)
        found[key] = (version, value)
    return found


def file(objects: Mapping[str, bytes], prefix: str, key: str) -> bytes:
    """The bytes of a stored file."""
    head = objects[f"{prefix}/head/{key}"]
    assert head[:16] == _HEAD
    length, body_id, first = int.from_bytes(head[16:24], "big"), head[24:40], head[40:]
    if not length:
        return first
    body = objects[f"{prefix}/body/{key}/{body_id.hex()}"]
    assert len(body) == length
    assert len(first) == 8192
    return first + body


def _blob(client: Any, root: str, payload: bytes) -> bytes:
    assert payload[:1] == b"\1"
    digest, length = payload[1:33], int.from_bytes(payload[33:41], "big")
    place = f"{root}/blob/{digest.hex()}"
    numbers = sorted(client.get_children(place), key=int)
    value = b"".join(client.get(f"{place}/{number}")[0] for number in numbers)
    assert (hashlib.sha256(value).digest(), len(value)) == (digest, length)
    return value
