"""The payloads of signed statements, one function for each purpose (docs/format/statements.md 1.4); pure."""

import hashlib

from strongroom.errors import UsageError
from strongroom.ids import id_bytes

_PART_BYTES = 32


def of_wrap(key_id: str, wrap_id: str, wrap: bytes) -> bytes:
    """The statement that a recipient's wrap is of this installation: ids of the wrapped key and the wrap, and its digest."""
    return id_bytes(key_id) + id_bytes(wrap_id) + hashlib.sha256(wrap).digest()


def of_manifest(manifest: bytes) -> bytes:
    """The statement that a backup is of this installation: the digest of its manifest."""
    return of_manifest_digest(hashlib.sha256(manifest).digest())


def of_manifest_digest(sha256: bytes) -> bytes:
    """The same statement, for whoever has only the digest of the manifest."""
    return _fixed(sha256)


def of_log_key(node: str, public: bytes, first_size: int) -> bytes:
    """The statement that a node signs its event log with this key, from this number of lines on."""
    return _node(node) + _fixed(public) + first_size.to_bytes(8, "big")


def of_identity(old: bytes, new: bytes) -> bytes:
    """The statement that an installation has a new identity; signed by the old one."""
    return _fixed(old) + _fixed(new)


def of_admission(
    node: str,
    credential_id: str,
    identity: bytes,
    node_keys: tuple[bytes, bytes],
    request_key: bytes,
    asked: bytes = b"",
) -> bytes:
    """The statement that a node asks to be admitted; signed by its credential, and by its own key.

    Args:
        node: The id of the node.
        credential_id: The credential.
        identity: The public key of the installation's identity, 32 bytes.
        node_keys: The node's public keys, one to sign and one to receive, 32 bytes each.
        request_key: The key of this request, 32 bytes.
        asked: The request for a certificate; empty in a request without one.
    """
    parts = (identity, *node_keys, request_key, *digests_of(asked))
    return _node(node) + id_bytes(credential_id) + b"".join(map(_fixed, parts))


def digests_of(asked: bytes) -> tuple[bytes, ...]:
    """SHA-256 of a node's request for a certificate; nothing of a request without one."""
    return (hashlib.sha256(asked).digest(),) if asked else ()


def of_welcome(node: str, request_digest: bytes, sealed: bytes) -> bytes:
    """The statement that an installation answers a node's request by this sealed message; signed by its identity."""
    return _node(node) + _fixed(request_digest) + hashlib.sha256(sealed).digest()


def of_preflight(node: str, report: bytes) -> bytes:
    """The statement on what a node found when it tried its services and keys; signed by its own key."""
    return _node(node) + report


def of_stage_done(node: str, change_id: str, stage: str) -> bytes:
    """The statement that a node has done a stage of the change of a password; signed by its own key."""
    return _node(node) + id_bytes(change_id) + stage.encode("ascii")


def of_report(node: str, report: bytes) -> bytes:
    """The statement on how a node is now, which it makes every few seconds; signed by its own key."""
    return _node(node) + report


def of_log_heads(node: str, heads: bytes) -> bytes:
    """The statement on how far a node's event log is, and which heads of others it has witnessed; signed by its own key."""
    return _node(node) + heads


def of_acknowledgement(node: str, word: bytes) -> bytes:
    """The statement on what a node found when it tried a change of keys; signed by its own key."""
    return _node(node) + word


def of_certificates(node: str, shown: bytes) -> bytes:
    """The statement on the certificates that a node shows to other nodes; signed by its own key."""
    return _node(node) + shown


def of_software(node: str, release: bytes) -> bytes:
    """The statement on the software by which a node is served; signed by its own key."""
    return _node(node) + release


def of_drained(node: str, word: bytes) -> bytes:
    """The statement that a node serves no client and works on no job any more; signed by its own key."""
    return _node(node) + word


def of_key_bundle(by: str, to: str, change_id: str, generation: int, sealed: bytes) -> bytes:
    """The statement that a node gives another the present keys, as this sealed message; signed by the one that gives."""
    number = generation.to_bytes(8, "big")
    return _node(by) + _node(to) + id_bytes(change_id) + number + hashlib.sha256(sealed).digest()


def _node(node: str) -> bytes:
    if not node.isascii() or "\0" in node or not node:
        raise UsageError(f"{node!r} is no id of a node")
    return node.encode("ascii") + b"\0"


def _fixed(part: bytes) -> bytes:
    if len(part) != _PART_BYTES:
        raise UsageError(f"a part of a statement has {len(part)} bytes, not {_PART_BYTES}")
    return part
