"""Makes the KMS store of a store of format 1, for `strongroom upgrade` (docs/format/format-2.md 11); writes nothing.

RMK and MEKs stay what they are, so every wrap of a root stays, too: a root may be away. The RMK signs the new store as the
one after the old bytes. Closed stores that lay inside become references, those inside of closed ones as well.
"""

from collections.abc import Iterator
from dataclasses import replace

from strongroom.kms import closed_stores, store_1
from strongroom.kms import store as kms_store
from strongroom.kms.closed_stores import ClosedStore
from strongroom.kms.next_store import NextStore
from strongroom.kms.opening import FindRoot, OpenedKeys
from strongroom.kms.store import KmsStore, Predecessor
from strongroom.kms.store_1 import KmsStore1
from strongroom.roots.base import Context, WrapRecord
from strongroom.roots.registry import LOCAL


def linked(store: KmsStore1, raw: bytes, keys: OpenedKeys, find_root: FindRoot) -> NextStore:
    """The store of format 2 after one of format 1.

    Args:
        store: The store.
        raw: The bytes of that store.
        keys: The keys that it gave.
        find_root: Finds the local root of a wrap, which wraps anew; no other root is asked.

    Raises:
        StateError: There would be more closed stores than there may be.
    """

    def anew(wrap: WrapRecord) -> WrapRecord:
        if wrap.kind != LOCAL:
            return wrap
        context = Context(store.installation_id, store.rmk_id, wrap.id)
        made = find_root(wrap).wrap(keys.rmk.material, context)
        return replace(made, added_at=wrap.added_at, last_verified=wrap.last_verified)

    closes: dict[ClosedStore, bytes] = {}
    for one, inner in _inside(store):
        if one not in closes:
            closed_stores.check_room(tuple(closes))
            closes[one] = inner
    draft = KmsStore(
        epoch=store.epoch,
        installation_id=store.installation_id,
        mode=store.mode,
        rmk_id=store.rmk_id,
        rmk_created_at=store.rmk_created_at,
        wraps=tuple(map(anew, store.wraps)),
        former=tuple(closes),
    )
    before = Predecessor(store.epoch, raw, keys.rmk)
    made = kms_store.succeeding(draft, keys.ring, keys.rmk, before)
    return NextStore(made, keys.rmk, keys.ring, closes)


def _inside(store: KmsStore1) -> Iterator[tuple[ClosedStore, bytes]]:
    """The closed stores in a store, and those in them; all of them are of format 1."""
    for raw in store.former:
        inner = store_1.parse(raw)
        yield closed_stores.closed(raw, inner.epoch), raw
        yield from _inside(inner)
