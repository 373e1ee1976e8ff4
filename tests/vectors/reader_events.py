"""Event logs, their checkpoints and their summary, read from docs/format/events.md (see `reader.py`)."""

import hashlib
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.vectors.reader import check_equal, check_members, loaded, unbase64
from tests.vectors.reader_pkcs12 import RefusedError


def events(log: bytes) -> list[Any]:
    """The events of a log whose chain holds (1)."""
    lines = log.splitlines(keepends=True)
    found, before = [], "0" * 64
    for number, line in enumerate(lines, 1):
        event = loaded(line.removesuffix(b"\n"), escaped=True)
        check_members(event, "v seq prev time node actor id details")
        if (event["v"], event["seq"], event["prev"]) != (1, number, before):
            raise RefusedError(f"line {number} does not follow from the one before")
        before = hashlib.sha256(line.removesuffix(b"\n")).hexdigest()
        found.append(event)
    return found


def checkpoint(log: bytes, data: bytes, seed: bytes, origin: str) -> int:
    """How many lines of a log its checkpoint file signs (5)."""
    frontier, head, note = _stored(data)
    text, _, signatures = note.decode().partition("\n\n")
    name, size, root = text.split("\n")
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    key_id = hashlib.sha256(name.encode() + b"\n\x01" + public.public_bytes_raw()).digest()[:4]
    if name != origin:
        raise RefusedError("the note of another log")
    # a note of the time when the key was replaced has a line of the former key as well (5.2)
    signed = [line.split(" ") for line in signatures.rstrip("\n").split("\n")]
    found = [unbase64(one[2]) for one in signed if one[:2] == ["\u2014", origin]]
    signature = next((one for one in found if one[:4] == key_id), b"")
    if not signature:
        raise RefusedError("another key signed")
    try:
        public.verify(signature[4:], text.encode() + b"\n")
    except InvalidSignature as error:
        raise RefusedError("the signature does not verify") from error
    lines = log.splitlines()[: int(size)]
    check_equal(_tree(lines), unbase64(root), "the root")
    if lines and hashlib.sha256(lines[-1]).hexdigest() != head:
        raise RefusedError("the head is another line")
    check_equal(root_of(frontier), unbase64(root), "the root of the frontier")
    return int(size)


def _stored(data: bytes) -> tuple[list[bytes], str, bytes]:
    """The frontier, the head and the note of a checkpoint file, in either form (5.3)."""
    mark = b"strongroom-checkpoint-2\n"
    if not data.startswith(mark):
        state, _, note = data.partition(b"\n")
        members = loaded(state + b"\n", escaped=True, end=b"\n")
        check_members(members, "frontier head")
        return [unbase64(one) for one in members["frontier"]], members["head"], note
    if len(data) != 4096:
        raise RefusedError("another length")
    head, _, note = data[len(mark) : 512].rstrip(b"\n").partition(b"\n")
    nodes = data[512:].rstrip(b"\n").decode().split("\n")
    if len(nodes) != int(note.split(b"\n")[1]).bit_count():
        raise RefusedError("another number of nodes")
    return [unbase64(one) for one in nodes], head.decode(), note + b"\n"


def _tree(lines: list[bytes]) -> bytes:
    """RFC 6962, section 2.1."""
    if len(lines) < 2:
        return hashlib.sha256(b"\0" + lines[0] if lines else b"").digest()
    half = 1 << (len(lines) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + _tree(lines[:half]) + _tree(lines[half:])).digest()


def root_of(nodes: list[bytes]) -> bytes:
    """The root that a frontier gives (5.1)."""
    *others, root = nodes
    for node in reversed(others):
        root = hashlib.sha256(b"\1" + node + root).digest()
    return root


def check_follows(log: bytes, archived: bytes, file: str) -> None:
    """Whether a log follows an archived one (7.1, 7.2)."""
    [told] = [one["details"] for one in events(log)[:2] if one["id"] == "EVENT_LOG_ARCHIVED"]
    lines = archived.splitlines()
    if (told["file"], told["size"], told["root"]) != (file, len(lines), _tree(lines).hex()):
        raise RefusedError("it follows another log")


def check_extends(log: bytes, size: int, root: bytes) -> None:
    """Whether a log begins with the lines of a tree (5.1)."""
    check_equal(_tree(log.splitlines()[:size]), root, "the root")


def summary(data: bytes, seed: bytes, origin: str) -> Any:
    """The summary of a log (8)."""
    signature, _, text = data.partition(b"\n")
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    try:
        public.verify(unbase64(signature.decode()), f"derived from {origin}\n".encode() + text)
    except InvalidSignature as error:
        raise RefusedError("the signature does not verify") from error
    return loaded(text, escaped=True)
