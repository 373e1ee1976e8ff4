"""A node that takes a retired MEK for active writes nothing under it, whatever it writes (design of the cluster, b7; matrix 6).

It was cut off from the coordination service for a moment, in which another node rotated the keys and retired the old one.
Its rows lie where the other's do, and there it is refused.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from strongroom.cli import dispatch
from strongroom.crypto.secret import SecretBytes
from strongroom.envelope.header import Placement
from strongroom.errors import StateError, StrongroomError
from strongroom.extracts.vault import ExtractVault
from strongroom.ids import new_id
from strongroom.node import opening
from strongroom.node.opening import Node
from strongroom.repository.gateways.guards import MekState
from strongroom.repository.reach import ROWS
from strongroom.service_keys.model import KeyKind
from strongroom.services.jobs.journal import JobJournal
from strongroom.services.service_keys.by import By
from strongroom.services.service_keys.keys import own
from strongroom.services.service_keys.mounts import BUILT_IN
from strongroom.services.service_keys.secrets import SecretAt
from tests.support.backups import publish

ACTOR = "os:tester"
BY = By(ACTOR)
SECRET = SecretAt(next(one for one in BUILT_IN if one.path == "secret"), "app/db")


def _job(node: Node) -> None:
    journal = JobJournal(node.repository, node.files, node.clock)
    vault = ExtractVault(node.files, node.envelope_keys, intent=journal.announce)
    with vault.create(Placement(new_id(), new_id()), encrypted=True) as writer:
        writer.write(b"content")
        writer.commit()


#: Every way to write something new under the MEK that is taken for active.
WAYS: dict[str, Callable[[Node], object]] = {
    "publication": lambda node: publish(node, "new", b"content"),
    "job": _job,
    "service key": lambda node: node.service_keys.create(BY, own("new"), KeyKind.AES256_GCM),
    "version of a service key": lambda node: node.service_keys.rotate(BY, own("old")),
    "secret": lambda node: node.service_secrets.write(BY, SECRET, {"password": "new"}),
    "wrapped answer": lambda node: node.service_wrapping.wrap(SecretBytes(b"{}"), 60, "sys/x"),
    "reseal": lambda node: node.service_keys.reseal(BY),
}


@pytest.fixture
def stale(node: Node) -> Iterator[Node]:
    """Another node, as far as keys go, which goes on with the keys that it has now."""
    node.service_keys.create(BY, own("old"), KeyKind.AES256_GCM)
    node.meks.rotate(ACTOR)
    with (
        closing(opening.open_node(str(node.paths.root))) as other,
        pytest.MonkeyPatch.context() as patch,
    ):
        known = other.kms_cache.opened()
        patch.setattr(other.kms_cache, "opened", lambda **_: known)
        yield other


@pytest.mark.parametrize("way", WAYS)
def test_what_is_written_under_a_retired_key_is_refused(node: Node, stale: Node, way: str) -> None:
    old = str(node.envelope_keys.active_mek_id)
    assert stale.envelope_keys.active_mek_id == old
    node.meks.rotate(ACTOR)
    node.meks.retire(old, ACTOR)
    with pytest.raises(StateError, match=f"MEK {old}: it is being retired") as refused:
        WAYS[way](stale)
    assert "as they are now" in refused.value.hint
    found = node.meks.usage()
    assert (found.missing, found.unreadable) == ({}, ())
    WAYS[way](node)


def test_a_key_that_is_in_use_opens_and_encrypts_nothing_new(node: Node) -> None:
    """The count refuses the retirement; what is there is read."""
    publish(node, "one", b"content")
    old = str(node.envelope_keys.active_mek_id)
    node.meks.rotate(ACTOR)
    with pytest.raises(StateError, match="it is the key of 1 extract"):
        node.meks.retire(old, ACTOR)
    with node.repository.reading() as tx:
        assert tx.meks.state(old) is MekState.RETIRING
    publish(node, "two", b"content")
    assert node.meks.usage().by_mek[old].extracts == 1


def test_a_job_leaves_an_extract_readable_whose_new_key_goes(node: Node, tmp_path: Path) -> None:
    """The header has the slot before beside the new one, and the row names the key before."""
    row = publish(node, "one", b"content of one")
    before = row.mek_id
    node.meks.rotate(ACTOR)
    active = str(node.envelope_keys.active_mek_id)
    line = ["--data-dir", str(node.paths.root), "extracts", "rewrap", "--site", "Default", "--wait"]

    def state(to: MekState) -> None:
        with node.repository.transaction(ROWS) as tx:
            assert tx.meks.set_state(active, to, 1)

    state(MekState.RETIRING)
    assert dispatch.main("strongroom", line) != 0
    with node.repository.reading() as tx:
        present = tx.contents.get(row.id)
    assert present.mek_id == before
    with node.stored_files.open(present, Placement(row.site_id, row.id)) as reader:
        assert reader.as_file().read() == b"content of one"
    with pytest.raises(StrongroomError, match="it is the key of"):
        node.meks.retire(before, ACTOR)
    state(MekState.USABLE)
    assert dispatch.main("strongroom", line) == 0
    with node.repository.reading() as tx:
        assert tx.contents.get(row.id).mek_id == active
