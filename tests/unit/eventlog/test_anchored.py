"""The anchor of event logs, as bytes (docs/format/anchor.md 5)."""

import pytest

from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, IntegrityError
from strongroom.eventlog import anchored
from strongroom.eventlog.anchored import Anchored
from strongroom.eventlog.merkle import EMPTY, Frontier
from strongroom.ids import new_id

HERE, KEY_ID, KEY = new_id(), new_id(), SecretBytes(bytes(range(32)))
AT = "2026-11-21T20:00:00Z"


def _tree(lines: int) -> Frontier:
    tree = EMPTY
    for number in range(lines):
        tree = tree.grown(b"line %d" % number)
    return tree


def _lines_backwards(last: int) -> list[bytes]:
    return [b"line %d" % number for number in reversed(range(last))]


def _row(**logs: int) -> bytes:
    trees = {node: _tree(size) for node, size in logs.items()}
    return Anchored(AT, trees).row(HERE, KEY_ID, KEY)


@pytest.mark.parametrize("size", [0, 1, 2, 7, 1000])
def test_a_row_gives_the_trees_that_were_written(size: int) -> None:
    row = _row(node1=size, node2=3)
    assert anchored.key_of(row) == KEY_ID
    found = anchored.open_row(row, HERE, KEY)
    assert found == Anchored(AT, {"node1": _tree(size), "node2": _tree(3)})


def test_every_bit_of_a_row_is_proved() -> None:
    row = _row(node1=5)
    for at in range(16, len(row)):
        changed = row[:at] + bytes([row[at] ^ 1]) + row[at + 1 :]
        with pytest.raises(IntegrityError, match="MAC of the event log's anchor"):
            anchored.open_row(changed, HERE, KEY)
    for place in ((new_id(), KEY), (HERE, SecretBytes(bytes(32)))):
        with pytest.raises(IntegrityError):
            anchored.open_row(row, *place)
    with pytest.raises(IntegrityError):
        anchored.open_row(bytes(16) + row[16:], HERE, KEY)


@pytest.mark.parametrize("length", [0, 15, 16, 47])
def test_a_row_that_is_cut_short_is_damaged(length: int) -> None:
    with pytest.raises(FormatError, match="the anchor of the event logs"):
        anchored.key_of(_row(node1=5)[:length])
    with pytest.raises(FormatError):
        anchored.open_row(_row(node1=5)[:length], HERE, KEY)


def test_a_tree_of_another_size_is_refused() -> None:
    wrong = Anchored(AT, {"node1": Frontier(4, _tree(3).nodes)}).row(HERE, KEY_ID, KEY)
    with pytest.raises(FormatError, match="another size"):
        anchored.open_row(wrong, HERE, KEY)


@pytest.mark.parametrize("before", [0, 1, 6, 7])
def test_a_log_that_only_grew_goes_on(before: int) -> None:
    after = (7, _tree(7).root)
    assert anchored.goes_on(_tree(before), _lines_backwards(7), after)


def test_any_other_log_does_not_go_on() -> None:
    after = (7, _tree(7).root)
    assert not anchored.goes_on(_tree(8), _lines_backwards(7), after), "fewer lines"
    assert not anchored.goes_on(_tree(5), _lines_backwards(6), after), "other lines"
    assert not anchored.goes_on(_tree(5).grown(b"x"), _lines_backwards(7), after), "another past"
    assert not anchored.goes_on(_tree(0), _lines_backwards(5), after), "lines are missing"
    assert not anchored.goes_on(_tree(7).grown(b"x"), [], (8, _tree(8).root)), "another end"
