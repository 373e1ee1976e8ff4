"""The port `kms.data_keys.DataKeys`, over each place that a key ring comes from: what every holder of MEKs promises."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations

import pytest

from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import IntegrityError, KeyNotFoundError
from strongroom.ids import new_id
from strongroom.kms import canary
from strongroom.kms.data_keys import AnyContext, ContextInKey, DataKeys, KeyContext
from strongroom.kms.ring_keys import RingKeys
from strongroom.node.opening import Node
from strongroom.system.compat import override
from tests.support import derivations
from tests.support.memory_keys import MemoryKeys

BOUND = KeyContext(b"strongroom/v1/test", b"before", b"after")
IN_KEY = ContextInKey(b"strongroom/v2/test", (b"before",), (b"after",))


@pytest.fixture(autouse=True)
def contexts_of_our_own() -> Iterator[None]:
    """The port takes any context; those tried here are no rows of the product's table, and differ in one byte."""
    with derivations.fixed_randomness():
        yield


@dataclass(frozen=True)
class Holder:
    """Data keys, and what changes their versions."""

    keys: DataKeys
    rotate: Callable[[], object]
    retire: Callable[[str], object]


def _in_memory(_: Node) -> Holder:
    memory = MemoryKeys()
    return Holder(RingKeys(lambda: memory.ring), memory.rotate, memory.forget)


def _of_a_node(node: Node) -> Holder:
    return Holder(
        node.data_keys,
        lambda: node.meks.rotate("os:tester"),
        lambda mek_id: node.meks.retire(mek_id, "os:tester"),
    )


@pytest.fixture(params=[_in_memory, _of_a_node], ids=["a ring in memory", "a node's store"])
def holder(request: pytest.FixtureRequest, node: Node) -> Holder:
    made: Holder = request.param(node)
    return made


@pytest.fixture(params=[BOUND, IN_KEY], ids=["bound as associated data", "in the key"])
def context(request: pytest.FixtureRequest) -> AnyContext:
    made: AnyContext = request.param
    return made


def test_a_data_key_comes_back(holder: Holder, context: AnyContext) -> None:
    keys = holder.keys
    key, wrapped = keys.generate(context)
    assert len(key) == 32
    assert wrapped.key_id == keys.active_id
    assert keys.unwrap(wrapped.key_id, wrapped.blob, context) == key
    own = rng.new_key()
    wrapped = keys.wrap(own, context)
    assert keys.unwrap(wrapped.key_id, wrapped.blob, context) == own


def test_a_blob_shows_nothing_of_the_key_and_no_two_are_alike(
    holder: Holder, context: AnyContext
) -> None:
    key = rng.new_key()
    blobs = [holder.keys.wrap(key, context).blob for _ in range(3)]
    assert {len(blob) for blob in blobs} == {len(key) + (60 if context is BOUND else 48)}
    for one, other in combinations(blobs, 2):
        # salt, nonce or key, key
        assert one[:32] != other[:32]
        assert one[32:44] != other[32:44]
        assert one[44:] != other[44:]
    assert all(key.reveal() not in blob for blob in blobs)
    made = [holder.keys.generate(context)[0] for _ in range(3)]
    assert all(one != other for one, other in combinations(made, 2))


@pytest.mark.parametrize(
    ("context", "other"),
    [
        (BOUND, BOUND._replace(label=b"strongroom/v1/other")),
        (BOUND, BOUND._replace(before=b"befora")),
        (BOUND, BOUND._replace(before=b"")),
        (BOUND, BOUND._replace(after=b"aftes")),
        (BOUND, BOUND._replace(after=b"")),
        (BOUND, BOUND._replace(before=b"after", after=b"before")),
        (BOUND, BOUND._replace(label=b"strongroom/v1/testb", before=b"efore")),
        (BOUND, BOUND._replace(label=b"strongroom/v1/tes", before=b"tbefore")),
        (BOUND, BOUND._replace(before=b"beforeafter", after=b"")),
        (BOUND, BOUND._replace(before=b"", after=b"beforeafter")),
        (IN_KEY, IN_KEY._replace(label=b"strongroom/v2/other")),
        (IN_KEY, IN_KEY._replace(before=(b"befora",))),
        (IN_KEY, IN_KEY._replace(before=())),
        (IN_KEY, IN_KEY._replace(before=(b"", b"before"))),
        (IN_KEY, IN_KEY._replace(before=(b"bef", b"ore"))),
        (IN_KEY, IN_KEY._replace(after=(b"aftes",))),
        (IN_KEY, IN_KEY._replace(before=(b"after",), after=(b"before",))),
        (BOUND, ContextInKey(BOUND.label, (BOUND.before,), (BOUND.after,))),
        (IN_KEY, KeyContext(IN_KEY.label, *IN_KEY.before, *IN_KEY.after)),
    ],
    ids=lambda context: f"{context.label[-6:]!r} {context.before!r} {context.after!r}",
)
def test_under_another_context_it_does_not_open(
    holder: Holder, context: AnyContext, other: AnyContext
) -> None:
    """Nor where the parts are the same bytes, cut elsewhere, or bound in the other way."""
    key_id, blob = holder.keys.wrap(rng.new_key(), context)
    with pytest.raises(IntegrityError, match="authentication failed"):
        holder.keys.unwrap(key_id, blob, other)


def test_no_byte_of_a_blob_can_be_changed_and_none_is_left_over(
    holder: Holder, context: AnyContext
) -> None:
    """One error, with one sentence, whatever is wrong."""
    key_id, blob = holder.keys.wrap(rng.new_key(), context)
    flipped = [blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :] for at in range(len(blob))]
    cut = [blob[:length] for length in range(len(blob))]
    for changed in [*flipped, *cut, blob + b"\0", b"\0" + blob]:
        with pytest.raises(IntegrityError, match="authentication failed"):
            holder.keys.unwrap(key_id, changed, context)


def test_after_a_rotation_the_new_version_wraps_and_the_old_one_opens(
    holder: Holder, context: AnyContext
) -> None:
    """K-11."""
    keys, old = holder.keys, holder.keys.active_id
    key, wrapped = keys.generate(context)
    holder.rotate()
    assert keys.active_id != old
    assert keys.ids() == {old, keys.active_id}
    assert keys.unwrap(old, wrapped.blob, context) == key
    assert keys.wrap(key, context).key_id == keys.active_id
    with pytest.raises(IntegrityError, match="authentication failed"):
        keys.unwrap(keys.active_id, wrapped.blob, context)


def test_a_version_that_was_retired_opens_nothing_any_more(
    holder: Holder, context: AnyContext
) -> None:
    keys = holder.keys
    _, wrapped = keys.generate(context)
    holder.rotate()
    holder.retire(wrapped.key_id)
    assert keys.ids() == {keys.active_id}
    with pytest.raises(KeyNotFoundError, match=wrapped.key_id):
        keys.unwrap(wrapped.key_id, wrapped.blob, context)


def test_a_version_that_never_was_is_told(holder: Holder, context: AnyContext) -> None:
    with pytest.raises(KeyNotFoundError):
        holder.keys.unwrap(new_id(), holder.keys.generate(context)[1].blob, context)


def test_one_holder_opens_what_another_wrapped_under_the_same_meks(
    node: Node, context: AnyContext
) -> None:
    """A backup's ring opens what the node sealed, and the other way round."""
    ring = node.kms_cache.ring()
    apart = RingKeys(lambda: ring)
    for here, there in ((apart, node.data_keys), (node.data_keys, apart)):
        key, wrapped = here.generate(context)
        assert there.unwrap(wrapped.key_id, wrapped.blob, context) == key


def test_the_canary_passes(holder: Holder) -> None:
    canary.check(holder.keys)


class _Lying(RingKeys):
    @override
    def unwrap(self, key_id: str, blob: bytes, context: AnyContext) -> SecretBytes:
        super().unwrap(key_id, blob, context)
        return rng.new_key()


def test_the_canary_finds_that_another_key_comes_back() -> None:
    """findings M2."""
    ring = MemoryKeys().ring
    with pytest.raises(IntegrityError):
        canary.check(_Lying(lambda: ring))
