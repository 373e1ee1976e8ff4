"""Docstrings and comments name their subject (CONTRIBUTING.md), so that a reader need not know the answer already.

`Raises: NotFoundError: There is none.` and `"Told when it has ended."` are true, and of no use to a stranger. A sentence
that begins with such a word is found here; whether the others are good is a question for people.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.structure.test_repository import relative, sources

_VAGUE = re.compile(
    r"(?:It|Its|What|Whoever|Who|Whom|Whose|Which|One|Nobody|Somebody|They|Their|Theirs|Those|That|Told|Such"
    r"|None (?:of (?:it|them)|is|was|are|were)|There (?:is|are) (?:none|no such)"
    r"|(?:Whether|Where|When|How|If|From|Of|By|As|Until) (?:it|its|they|one|nobody|somebody))\b"
)
_ENTRY = re.compile(r"\s+[\w.*`, ]+: (?=\S)")
_SECTIONS = {"Args:", "Attributes:", "Raises:", "Returns:", "Yields:"}


@pytest.mark.parametrize("path", sources(), ids=relative)
def test_no_docstring_and_no_comment_begins_with_a_word_for_what_was_not_named(path: Path) -> None:
    source = path.read_text()
    assert [*_docstrings(source), *_comments(source)] == []


@pytest.mark.parametrize(
    "docstring",
    [
        "What a restore asks.",
        "It is there.",
        "A job.\n\n    Args:\n        ended: Told when it has ended.",
        "A job.\n\n    Raises:\n        NotFoundError: There is none.",
        "A job.\n\n    Raises:\n        NotFoundError: There is no such job.",
        "A job.\n\n    Returns:\n        Whether it has ended.",
        "A job.\n\n    Attributes:\n        first, second: Its names.",
    ],
)
def test_a_docstring_without_a_subject_is_found(docstring: str) -> None:
    assert len(list(_docstrings(f'def job():\n    """{docstring}\n    """\n'))) == 1


@pytest.mark.parametrize(
    "docstring",
    [
        "A job: what it does is written in its row.",
        "Items of a list; none is skipped.",
        "A job.\n\n    Raises:\n        NotFoundError: No job has this id.",
        "A job.\n\n    It may be called at any time.",
    ],
)
def test_a_docstring_with_a_subject_is_not(docstring: str) -> None:
    assert list(_docstrings(f'def job():\n    """{docstring}\n    """\n')) == []


def test_a_comment_without_a_subject_is_found() -> None:
    source = "a = 1  # what nobody needs\n# a line whose\n# it goes on\nb = 1  #: its sum\n"
    assert list(_comments(source)) == ["1: what nobody needs", "4: its sum"]


def _docstrings(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        body = getattr(node, "body", None)
        for one in body if isinstance(body, list) else ():
            if isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant):
                for number, sentence in _sentences(str(one.value.value)):
                    if _VAGUE.match(sentence):
                        yield f"{one.lineno + number}: {sentence}"


def _sentences(docstring: str) -> Iterator[tuple[int, str]]:
    """The first sentence of a docstring, and those of its sections' entries."""
    section = ""
    for number, line in enumerate(docstring.splitlines()):
        text = line.strip()
        if text in _SECTIONS:
            section = text
        elif number == 0 or section in {"Returns:", "Yields:"}:
            yield number, text
            section = ""
        elif section and (entry := _ENTRY.match(line)):
            yield number, line[entry.end() :]


def _comments(source: str) -> Iterator[str]:
    last = -1  # the line of the comment before, which one on a line of its own may continue
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            text, line = token.string.lstrip("#: "), token.start[0]
            begins = line != last + 1 or not token.line.lstrip().startswith("#")
            last = line
            if begins and _VAGUE.match(text[:1].upper() + text[1:]):
                yield f"{line}: {text}"
