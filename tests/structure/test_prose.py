"""The documents' prose is no wider than 120 characters (issue 9, part D)."""

from pathlib import Path

import pytest

from scripts import links, prose
from tests.structure.test_repository import relative

DOCUMENTS = [path for path in links.documents() if not relative(path).startswith("docs/reference/")]


@pytest.mark.parametrize("path", DOCUMENTS, ids=relative)
def test_no_line_of_prose_is_wider_than_a_hundred_and_twenty(path: Path) -> None:
    """`python -m scripts.prose --write` wraps them; tables and code are excepted."""
    assert prose.wide(path.read_text()) == []


def test_there_are_documents() -> None:
    assert len(DOCUMENTS) > 60


LONG = "word " * 40


@pytest.mark.parametrize(
    ("text", "widths"),
    [
        pytest.param(LONG.strip(), [119, 79], id="a-paragraph"),
        pytest.param(f"- {LONG}\n- short", [116, 86, 7], id="items"),
        pytest.param(f"| {LONG} |", [204], id="a-table"),
        pytest.param(f"```\n{LONG.strip()}\n```", [3, 199, 3], id="code"),
        pytest.param(f"# {LONG}".strip(), [201], id="a-heading"),
        pytest.param("a\nb", [1, 1], id="breaks-stay"),
        pytest.param("x" * 150, [150], id="one-word"),
    ],
)
def test_what_is_wrapped(text: str, widths: list[int]) -> None:
    made = prose.wrapped(text)
    assert [len(line) for line in made.splitlines()] == widths
    assert made.split() == text.split()
    assert prose.wide(made) == []
    assert prose.wrapped(made) == made


def test_what_is_too_wide_is_found() -> None:
    assert prose.wide(f"short\n{LONG}\n") == [2]
    assert prose.wide(f"```\n{LONG}\n```\n") == []


def test_a_dash_does_not_become_an_item() -> None:
    text = "a" * 119 + " - " + "b" * 50
    assert prose.wrapped(text) == text + "\n"
