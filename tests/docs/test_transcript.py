"""The transcript runner itself: it must be able to fail."""

import os
from pathlib import Path

import pytest

from tests.docs import transcript

DOCUMENT = """<!-- transcript: empty -->
Text.

```console
$ echo one; echo two
one
two
$ false  # exit 1
$ printf '%s\\n' a \\
>   b
a
b
```
"""


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "a.md"
    path.write_text(DOCUMENT)
    return path


def test_a_documents_commands_are_found_with_codes_and_output(document: Path) -> None:
    assert transcript.setup_of(document) == "empty"
    commands = list(transcript.steps(document))
    assert [step.command for step in commands] == [
        "echo one; echo two",
        "false",
        "printf '%s\\n' a \\\n  b",
    ]
    assert [step.code for step in commands] == [0, 1, 0]
    assert commands[0].expected == ("one", "two")


def test_the_shell_runs_them_and_says_what_came_of_it(document: Path, tmp_path: Path) -> None:
    shell = transcript.Shell(tmp_path, dict(os.environ))
    try:
        for step in transcript.steps(document):
            code, lines = shell.run(step)
            assert code == step.code
            assert transcript.agrees(step.expected, lines)
    finally:
        shell.close()


@pytest.mark.parametrize(
    ("expected", "said", "same"),
    [
        pytest.param(("a",), ["a"], True, id="equal"),
        pytest.param(("a",), ["b"], False, id="other"),
        pytest.param(("a",), ["a", "b"], False, id="more"),
        pytest.param(("a", "b"), ["a"], False, id="less"),
        pytest.param(("…",), [], True, id="any-none"),
        pytest.param(("a", "…"), ["a", "b", "c"], True, id="any-lines"),
        pytest.param(("id …, state…",), ["id 17, state ok"], True, id="inside"),
        pytest.param(("id …",), ["no 17"], False, id="inside-other"),
        pytest.param((), ["loud"], False, id="silent"),
    ],
)
def test_comparison(expected: tuple[str, ...], said: list[str], same: bool) -> None:
    assert transcript.agrees(expected, said) is same
