"""The entry of a staged KMS store (docs/format/key-changes.md 1)."""

import pytest

from strongroom.coordination.floors import Point
from strongroom.crypto import rng
from strongroom.errors import FormatError, IntegrityError
from strongroom.ids import new_id
from strongroom.kms import staged
from strongroom.kms.staged import Content, StagedState, StagedStore

INSTALLATION, KEY = new_id(), rng.new_key()
BARE = StagedStore(
    change_id=new_id(),
    state=StagedState.STAGED,
    at="2026-11-30T12:00:00Z",
    by="node1",
    nodes=("node2", "node3"),
    registry="ab" * 32,
    epoch=3,
    present=Point(2, bytes(32)),
    key_id=new_id(),
    sealed=b"",
)


@pytest.mark.parametrize("settings", [None, b"settings"])
def test_what_was_staged_comes_back_and_opens_for_its_own_change(settings: bytes | None) -> None:
    content = Content(b"a store", settings)
    made = BARE.with_content(content, INSTALLATION, KEY)
    found = staged.parse(made.serialize())
    assert found == made
    assert found.opened(INSTALLATION, KEY) == content
    with pytest.raises(IntegrityError):
        found._replace(change_id=new_id()).opened(INSTALLATION, KEY)


def test_a_withdrawn_one_has_no_content_and_a_staged_one_has_some() -> None:
    made = BARE.with_content(Content(b"a store", None), INSTALLATION, KEY)
    gone = made.withdrawn("2026-11-30T12:00:01Z")
    assert staged.parse(gone.serialize()).sealed == b""
    for wrong in (BARE, made._replace(state=StagedState.WITHDRAWN)):
        with pytest.raises(FormatError, match="state and its content do not fit"):
            staged.parse(wrong.serialize())
