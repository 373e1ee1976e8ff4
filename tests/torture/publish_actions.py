"""Publishing, as the torture tests run it in a process of its own: `python -m tests.torture.publish_actions NAME HOME`."""

import sys
from collections.abc import Callable
from pathlib import Path

from strongroom.errors import StrongroomError
from strongroom.extracts.model import ContentKind, FileType
from strongroom.node.opening import Node
from strongroom.repository.rows import ContentRow
from strongroom.services.content.publish import PublishRequest
from strongroom.services.directory.sign_in import Identity, identity_on
from tests.support.servers import ADMIN
from tests.torture import nodes

HEAD = b"Hyper\x08\x00\x00\x01\x00\x02\x00"
OLD = HEAD + b"old " + nodes.CANARY * 8000
NEW = HEAD + b"new " + nodes.CANARY * 8000
_CHUNK = 100_000


def request(*, replaces: bool) -> PublishRequest:
    return PublishRequest(ContentKind.DATASOURCE, FileType.HYPER, "data", replaces=replaces)


def identity(node: Node) -> Identity:
    """The administrator on the default site."""
    with node.repository.reading() as tx:
        user, site = tx.users.find_by_name(ADMIN), tx.sites.find_by_content_url("")
        assert user is not None
        assert site is not None
        found = identity_on(tx, user, site)
    assert found is not None
    return found


def write(node: Node, content: bytes, *, replaces: bool) -> ContentRow:
    """Publish in one request."""
    with node.publishing.begin(identity(node), request(replaces=replaces)) as publication:
        for at in range(0, len(content), _CHUNK):
            publication.write(content[at : at + _CHUNK])
        return publication.finish()


def publish(node: Node) -> None:
    """New content."""
    write(node, NEW, replaces=False)


def overwrite(node: Node) -> None:
    """New content in the place of what is there."""
    write(node, NEW, replaces=True)


def upload(node: Node) -> None:
    """New content in two parts."""
    who = identity(node)
    started = node.uploads.start(who)
    for content in (NEW[:_CHUNK], NEW[_CHUNK:]):
        with node.uploads.begin_part(who, started.id) as part:
            part.write(content)
            part.finish()
    node.uploads.publish(who, request(replaces=True), started.id)


def delete(node: Node) -> None:
    """What is there goes."""
    who = identity(node)
    with node.repository.reading() as tx:
        (row,) = tx.contents.list_for_site(who.site.id)
    node.content.delete(who, ContentKind.DATASOURCE, row.id)


ACTIONS: dict[str, Callable[[Node], None]] = {
    "publish": publish,
    "overwrite": overwrite,
    "upload": upload,
    "delete": delete,
}


def main(name: str, home: str) -> int:
    """Run one action."""
    try:
        with nodes.opened(Path(home)) as node:
            ACTIONS[name](node)
    except StrongroomError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
