"""A test that fails ends as one that failed, whatever its message holds, and the tests after it run."""

from enum import StrEnum
from pathlib import Path

from tests.support import inner_runs
from tests.support.reports import sendable

CONFTEST = "from tests.support.reports import pytest_report_to_serializable\n"
TESTS = r"""
import pathlib, sys, warnings

def test_a_name_of_odd_bytes():
    assert "x\udcff" == "y"

def test_an_exception_of_odd_text():
    raise ValueError("\ud800")

def test_a_property_that_is_no_plain_value(record_property):
    record_property("where", pathlib.Path("x"))
    raise AssertionError

def test_whatever_comes_afterwards():
    pass
"""


class _Kind(StrEnum):
    ONE = "one"


def test_a_run_with_workers_goes_on_after_every_failure(tmp_path: Path) -> None:
    done = inner_runs.run(tmp_path, CONFTEST, TESTS, "-q")
    assert "3 failed, 1 passed" in done.stdout, done.stdout
    assert "INTERNALERROR" not in done.stdout + done.stderr


def test_what_is_sent_is_plain() -> None:
    sent = sendable({"a": ("\udcff", _Kind.ONE, 1, 2.5, None, True, b"b"), _Kind.ONE: Path("x")})
    assert sent == {"a": ("\\udcff", "one", 1, 2.5, None, True, b"b"), "one": "PosixPath('x')"}
    assert [type(one) for one in sent["a"]] == [str, str, int, float, type(None), bool, bytes]
