"""Looks at the object stores of a node's extracts, by the credentials of this process and for no longer than a limit."""

from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from strongroom.errors import StrongroomError
from strongroom.extracts import place
from strongroom.node.opening import Node
from strongroom.objectstore import looking, proof
from strongroom.objectstore.base import Bucket
from strongroom.objectstore.looking import StoreState
from strongroom.system import findings, together
from strongroom.system.findings import Finding

T = TypeVar("T")
PROVE_S: Final = 20.0
"""How long a store is waited for that is to be proved: about ten requests."""


def look(node: Node, limit_s: float) -> tuple[StoreState, ...]:
    """The store in force, and the one to which the files are being moved; none if the files lie on the node's disk.

    Args:
        node: The node.
        limit_s: Seconds for which the stores are waited for together, once their addresses are known.

    Raises:
        CoordinationError: ZooKeeper does not answer.
        FormatError: The entry with the addresses is damaged.
        UsageError: An address in it is none.
    """
    buckets = _buckets(node)
    told = together.within(
        limit_s, {name: _call(looking.look, bucket) for name, bucket in buckets.items()}
    )
    late = f"no answer within {limit_s:g} s"
    return tuple(
        told[name] or StoreState(bucket.address.shown, late) for name, bucket in buckets.items()
    )


def prove(node: Node) -> Iterator[Finding]:
    """Try what is needed of each of these stores, by objects that are removed again; one finding for each."""
    try:
        buckets = _buckets(node)
    except StrongroomError as error:
        yield findings.bad("object store", "address", error.message, error.hint)
        return
    for name, bucket in buckets.items():
        found = together.within(PROVE_S, {name: _call(_proved, bucket)})[name]
        link = f"object store {bucket.address.shown}"
        late = f"no answer within {PROVE_S:g} s"
        yield found or findings.bad(link, "conditions", late, "look whether the store is up")


def _proved(bucket: Bucket) -> Finding:
    link, check = f"object store {bucket.address.shown}", "conditions"
    try:
        proof.prove(bucket)
    except StrongroomError as error:
        return findings.bad(link, check, error.message, error.hint)
    return Finding(
        link, check, "writes, conditions, ranges, lists and removals are as they must be"
    )


def _buckets(node: Node) -> dict[str, Bucket]:
    present, _ = place.read(node.coordinator)
    return {address: node.bucket(address) for address in present.object_stores}


def _call(work: Callable[[Bucket], T], bucket: Bucket) -> Callable[[], T]:
    return lambda: work(bucket)
