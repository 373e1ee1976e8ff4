"""The gate by itself: whom it cuts off, and how often (b14)."""

from strongroom.doors.http.gate import Gate


def test_each_request_is_cut_off_once_however_often_somebody_looks() -> None:
    """The second time would interrupt the answer that tells the client, and be counted in the word of the node."""
    gate, ended = Gate(), list[str]()
    one = gate.enter(lambda: ended.append("one"))
    assert gate.cut() == 1
    two = gate.enter(lambda: ended.append("two"))
    assert (gate.cut(), gate.cut(), ended) == (1, 0, ["one", "two"])
    assert gate.under_way == 2
    gate.leave(one)
    gate.leave(two)
    assert (gate.under_way, gate.cut()) == (0, 0)
