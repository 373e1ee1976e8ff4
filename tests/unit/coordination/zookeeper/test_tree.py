"""Paths and records of the tree in ZooKeeper (coordination.md 4.1 to 4.4)."""

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.coordination.zookeeper import tree
from strongroom.coordination.zookeeper.tree import BlobRef, Tree
from strongroom.errors import CoordinationError, UsageError

TREE = Tree("/strongroom/x")
KEYS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)


@given(KEYS)
def test_a_key_is_one_name_that_zookeeper_takes(key: str) -> None:
    """No dot alone, no control, no private character, whatever the key has."""
    name = TREE.entry(key).removeprefix("/strongroom/x/kv/")
    assert re.fullmatch(r"[A-Za-z0-9_~%-]+", name)
    assert TREE.key(name) == key


@pytest.mark.parametrize("key", ["", "x" * 513, "ü" * 257])
def test_a_key_has_bounds(key: str) -> None:
    with pytest.raises(UsageError, match="no key of an entry"):
        TREE.entry(key)


@given(
    KEYS,
    st.integers(1, 2**31),
    st.binary(max_size=100)
    | st.builds(BlobRef, st.binary(min_size=32, max_size=32), st.integers(1, tree.MAX_VALUE_BYTES)),
)
def test_a_record_is_read_as_it_was_written(
    key: str, version: int, content: bytes | BlobRef
) -> None:
    assert tree.content_of(key, version, tree.record(key, version, content)) == content


def test_the_bytes_of_a_record() -> None:
    """By hand, after 4.3."""
    digest = hashlib.sha256(b"config\x001\x00\x00value").digest()
    assert tree.record("config", 1, b"value") == digest + b"\0value"


RECORD = tree.record("config", 3, b"value")


@pytest.mark.parametrize(
    ("key", "version", "raw"),
    [
        pytest.param("pending", 3, RECORD, id="another-key"),
        pytest.param("config", 4, RECORD, id="another-version"),
        pytest.param("config", 3, RECORD[:-1], id="cut-short"),
        pytest.param("config", 3, b"", id="empty"),
        pytest.param("config", 3, RECORD[:-1] + b"X", id="another-value"),
    ],
)
def test_a_record_that_does_not_fit_is_refused(key: str, version: int, raw: bytes) -> None:
    """coordination.md 4.3."""
    with pytest.raises(CoordinationError, match="damaged"):
        tree.content_of(key, version, raw)


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"\2value", id="another-kind"),
        pytest.param(b"", id="no-kind"),
        pytest.param(b"\1" + bytes(39), id="a-short-reference"),
        pytest.param(b"\1" + bytes(32) + (2**40).to_bytes(8, "big"), id="too-long"),
    ],
)
def test_a_payload_that_is_none_is_refused(payload: bytes) -> None:
    """With the right digest, as by whoever can write the tree."""
    raw = hashlib.sha256(b"config\x003\x00" + payload).digest() + payload
    with pytest.raises(CoordinationError, match="damaged"):
        tree.content_of("config", 3, raw)


def test_chunks() -> None:
    """coordination.md 4.4."""
    value = hashlib.shake_128(b"a value").digest(1_280_000)
    ref = tree.ref_to(value)
    chunks = list(tree.chunks_of(value))
    assert [len(one) for one in chunks] == [520192, 520192, 239616]
    assert ref.chunks == 3
    assert tree.joined("config", ref, chunks) == value
    for wrong in (chunks[:2], chunks[::-1], [*chunks, b"x"]):
        with pytest.raises(CoordinationError, match="damaged"):
            tree.joined("config", ref, wrong)
