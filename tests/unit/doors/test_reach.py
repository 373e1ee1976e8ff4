"""The class of each verb and command for somebody elsewhere (b8: read, change, never remote)."""

import pytest

from strongroom.cli import dispatch
from strongroom.doors.control import reach, verbs
from strongroom.doors.control.reach import Reach
from strongroom.errors import PermissionDeniedError


def test_each_verb_of_the_socket_has_a_class() -> None:
    assert set(reach.VERBS) == {*verbs.VERBS, reach.HELLO}
    assert reach.of_verb("a verb of a later version") is Reach.NEVER


def test_what_gives_out_keys_is_never_remote() -> None:
    for verb in ("data-keys.generate", "data-keys.unwrap", "backup.wrap", "kms.roots.add"):
        assert reach.of_verb(verb) is Reach.NEVER


def test_the_named_commands_are_commands() -> None:
    assert {words[0] for words in reach.COMMANDS} <= set(dispatch.COMMANDS["tsm"])


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["status", "-v"], Reach.READ),
        (["security", "kms", "status"], Reach.READ),
        (["configuration", "set", "-k", "x"], Reach.CHANGE),
        (["topology", "nodes", "get-bootstrap-file", "-f", "x"], Reach.NEVER),
        (["security", "kms", "set-mode", "local"], Reach.NEVER),
        (["maintenance", "backup"], Reach.NEVER),
        ([], Reach.NEVER),
    ],
)
def test_a_command_has_the_class_of_its_first_words(words: list[str], found: Reach) -> None:
    assert reach.of_command(words) is found


def test_what_is_never_remote_says_so_by_name() -> None:
    with pytest.raises(
        PermissionDeniedError, match="'tsm topology nodes get-bootstrap-file' is never"
    ):
        reach.check_command(["topology", "nodes", "get-bootstrap-file", "-f", "x"])
    reach.check_command(["status"])


def test_a_node_changes_nothing_through_another_one() -> None:
    reach.check_verb_of_node("kms.status", "node2")
    for verb in ("kms.rotate", "data-keys.unwrap", reach.COMMAND):
        with pytest.raises(PermissionDeniedError, match="node2 asks for"):
            reach.check_verb_of_node(verb, "node2")


def test_what_a_node_has_for_a_backup_is_for_nodes_only() -> None:
    """ADR 55: no password fetches an event log, and a node gets nothing that is never remote by the same way."""
    for verb in ("backup.part", "backup.copy"):
        reach.check_verb_of_node(verb, "node2")
        with pytest.raises(PermissionDeniedError, match="is for nodes only"):
            reach.check_verb_of_person(verb)
    for verb in ("kms.status", "kms.rotate", reach.HELLO):
        reach.check_verb_of_person(verb)
    for verb in ("backup.wrap", "a verb of a later version"):
        for check in (reach.check_verb_of_person, lambda one: reach.check_verb_of_node(one, "n")):
            with pytest.raises(PermissionDeniedError, match="never remote"):
                check(verb)
