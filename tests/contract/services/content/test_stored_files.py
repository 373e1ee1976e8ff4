"""Files of published content when the disk fails behind a change that is done already."""

import pytest

from strongroom.errors import StorageError
from strongroom.extracts.model import ContentKind
from strongroom.filestore.local import LocalFileStore
from strongroom.node.opening import Node
from tests.torture import publish_actions
from tests.torture.publish_actions import NEW, OLD


def _published(node: Node) -> bytes:
    who = publish_actions.identity(node)
    with node.repository.reading() as tx:
        (row,) = tx.contents.list_for_site(who.site.id)
    _, reader = node.content.open(who, ContentKind.DATASOURCE, row.id)
    with reader:
        return b"".join(reader.iterate())


def test_an_old_file_that_cannot_be_removed_takes_the_new_one_with_it_no_longer(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failure came after the commit, was taken for the publication's own, and its file was removed."""

    def refuse(store: LocalFileStore, key: str) -> None:
        del store
        raise StorageError(f"cannot remove {key}")

    publish_actions.write(node, OLD, replaces=False)
    with monkeypatch.context() as patched:
        patched.setattr(LocalFileStore, "delete", refuse)
        publish_actions.write(node, NEW, replaces=True)
    assert _published(node) == NEW
    node.stored_files.recover()
    assert _published(node) == NEW
    assert len(list(node.files.list())) == 1
