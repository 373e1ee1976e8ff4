"""An item that is published again: every column is the item's, or kept, or new (issue 9 C)."""

from dataclasses import fields

from strongroom.node.opening import Node
from strongroom.repository.rows import ContentRow
from strongroom.services.content import publish
from tests.torture import publish_actions
from tests.torture.publish_actions import NEW, OLD


def test_each_column_has_one_of_three_fates(node: Node) -> None:
    """What the service gives back is what the repository has; a column more needs no second place."""
    first = publish_actions.write(node, OLD, replaces=False)
    with node.repository.transaction() as tx:
        tx.contents.update(first.id, tags=["kept"], attributes={"description": "of the old one"})
    second = publish_actions.write(node, NEW, replaces=True)
    with node.repository.reading() as tx:
        stored = tx.contents.find(first.id)
    assert stored == second
    names = {one.name for one in fields(ContentRow)}
    assert {*publish._PLACE, *publish._KEPT} <= names
    assert not {*publish._PLACE} & {*publish._KEPT}
    for name in (*publish._PLACE, *publish._KEPT):
        if name != "tags":
            assert getattr(stored, name) == getattr(first, name), name
    assert stored is not None
    assert list(stored.tags) == ["kept"]
    assert stored.storage_key != first.storage_key
    assert stored.attributes == {"description": ""}
