"""A rotation wraps the new RMK by every online root, or fails before any change; `--drop-root` gives one up.

A recovery root is never dropped by itself, and the mode's root never at all.
"""

import pytest

from strongroom.cli import dispatch
from strongroom.crypto import age
from strongroom.errors import (
    NotFoundError,
    RootRefusedError,
    RootUnavailableError,
    StateError,
    StrongroomError,
)
from strongroom.eventlog.events import key_events
from strongroom.ids import new_id
from strongroom.node.opening import Node
from strongroom.roots import recipient
from strongroom.roots.settings import RootSettings
from tests.support.memory_root import Outside

BAO = RootSettings("openbao", "https://bao.example/transit/keys/one")
GCP = RootSettings("gcp", "projects/p/cryptoKeys/k")


@pytest.mark.parametrize("failure", [RootUnavailableError("gone"), RootRefusedError("no")])
@pytest.mark.parametrize("wanted", [None, BAO], ids=["rotate", "set-mode"])
def test_a_recovery_root_that_fails_stops_a_rotation_before_any_change(
    node: Node, outside: Outside, failure: StrongroomError, wanted: RootSettings | None
) -> None:
    wrap_id = node.roots.add(GCP, "os:tester")
    values = node.configuration.document().values
    outside.fail(GCP, failure)
    with pytest.raises(type(failure), match="nothing was changed") as caught:
        change(node, wanted)
    assert f"--drop-root {wrap_id}" in caught.value.hint
    assert node.configuration.document().values == values
    change(node, wanted, wrap_id)
    assert [wrap.kind for wrap in node.kms_store.current()[0].wraps] == [
        wanted.kind if wanted else "local"
    ]
    assert node.kms_store.root_settings() == ((wanted,) if wanted else ())
    assert node.kms_store.status().is_ok
    assert key_events.ROOT_REMOVED in [record["id"] for record in node.events.read()]


def change(node: Node, wanted: RootSettings | None, *drop: str) -> None:
    if wanted is None:
        node.meks.rotate("os:tester", drop)
    else:
        node.modes.set_mode(wanted, "os:tester", drop=drop)


def test_the_root_of_the_mode_is_never_dropped(node: Node, outside: Outside) -> None:
    node.modes.set_mode(BAO, "os:tester")
    own = node.kms_store.current()[0].wraps[0].id
    outside.fail(BAO, RootUnavailableError("gone"))
    for wanted in (None, GCP):
        with pytest.raises(StateError, match="never dropped"):
            change(node, wanted, own)
    with pytest.raises(NotFoundError):
        change(node, None, new_id())
    assert node.kms_store.current()[0].wraps[0].id == own


def test_a_recovery_root_of_which_nothing_is_known_is_named(node: Node, outside: Outside) -> None:
    wrap_id = node.roots.add(GCP, "os:tester")
    node.configuration.compare_and_put(lambda old: old.with_values({"kms.roots": None}))
    with pytest.raises(StrongroomError) as caught:
        node.meks.rotate("os:tester")
    assert wrap_id in caught.value.hint


def test_a_recipient_is_never_asked_and_so_not_dropped(node: Node) -> None:
    wrap_id = node.roots.add(recipient.settings(age.new_identity().recipient), "os:tester")
    with pytest.raises(StateError, match="never asked"):
        node.meks.rotate("os:tester", [wrap_id])
    assert node.meks.rotate("os:tester").store.wraps[1].kind == "age"


def test_both_commands_take_the_option(
    node: Node, outside: Outside, capsys: pytest.CaptureFixture[str]
) -> None:
    def tsm(*words: str) -> int:
        return dispatch.main("tsm", ["security", "kms", *words, "--data-dir", str(node.paths.root)])

    first = node.roots.add(GCP, "os:tester")
    outside.fail(GCP, RootUnavailableError("gone"))
    assert tsm("rotate") == 31
    assert f"--drop-root {first}" in capsys.readouterr().err
    assert tsm("rotate", "--drop-root", first) == 0
    assert tsm("set-mode", "local", "--drop-root", first) == 0
    assert [wrap.kind for wrap in node.kms_store.current()[0].wraps] == ["local"]
