"""Columns are as wide as a terminal draws them (findings D17: an emoji shifted what came behind it)."""

from argparse import Namespace

import pytest

from strongroom.cli.terminal import columns
from strongroom.cli.terminal.session import Session, SessionOptions


@pytest.mark.parametrize(
    ("text", "width"),
    [
        ("", 0),
        ("Sales", 5),
        ("売上", 4),
        ("📈", 2),
        ("e\u0301", 1),
        ("שלום\u200f", 4),
        ("❤\ufe0f", 2),
        ("📈\ufe0f", 2),
        ("👩\u200d💻", 2),
        ("ﾊﾟ", 2),
    ],
)
def test_width(text: str, width: int) -> None:
    assert columns.width(text) == width


def test_what_stands_behind_stands_below_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [["📈 売上", "a"], ["Sales", "b"]]
    session = Session(SessionOptions())
    columns.show(session, Namespace(no_header=False), ["NAME", "ID"], rows)
    said = capsys.readouterr()
    assert said.out == "NAME     ID\n📈 売上  a\nSales    b\n"
    assert said.err == ""
    columns.show(session, Namespace(no_header=True), ["NAME", "ID"], rows)
    assert capsys.readouterr().out == "📈 売上  a\nSales    b\n"
