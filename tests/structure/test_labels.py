"""One label, one use: no two uses of a key can be taken for each other (docs/format/primitives.md 5.2, 9)."""

import ast
import re
from itertools import combinations

import pytest

from scripts import reference
from strongroom.crypto import labels
from strongroom.crypto.labels import Field, Kind, Use
from tests.structure.test_repository import ROOT, relative, sources

FORMATS = sorted((ROOT / "docs/format").glob("*.md"))
_LABEL = re.compile(r"`(?:info )?\"?(strongroom/v\d+/[a-z0-9/-]+[a-z0-9])")


def clashes(uses: tuple[Use, ...]) -> list[tuple[bytes, bytes]]:
    """Pairs of uses of one key by which the same bytes could be given to the same operation."""
    return [
        (one.label, other.label)
        for one, other in combinations(uses, 2)
        if (one.kind, one.key) == (other.kind, other.key) and _can_meet(one, other)
    ]


def _can_meet(one: Use, other: Use) -> bool:
    begins = one.label.startswith(other.label) or other.label.startswith(one.label)
    # one without a label is told apart by its length, and by nothing else
    if one.label and other.label:
        return begins
    return not (one.has_fixed_width and other.has_fixed_width and one.width != other.width)


def test_no_two_uses_of_a_key_can_be_given_the_same_bytes() -> None:
    assert clashes(labels.USES) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param((b"a/mek", ()), (b"a/mek-wrap", ()), id="a-beginning"),
        pytest.param((b"a/b", ()), (b"a/b", (Field("id", 16),)), id="the-same-label"),
        pytest.param((b"", (Field("any", 0),)), (b"a", ()), id="no-label-and-any-length"),
        pytest.param((b"", (Field("id", 16),)), (b"abcd", (Field("x", 12),)), id="one-length"),
    ],
)
def test_a_clash_is_found(
    first: tuple[bytes, tuple[Field, ...]], second: tuple[bytes, tuple[Field, ...]]
) -> None:
    uses = tuple(Use(label, Kind.INFO, "key", fields, "x.md") for label, fields in (first, second))
    assert clashes(uses) == [(first[0], second[0])]
    others = (uses[0], uses[1]._replace(key="another key"))
    assert clashes(others) == []


def test_only_the_last_field_may_have_any_length() -> None:
    assert [use.label for use in labels.USES if any(not one.size for one in use.fields[:-1])] == []


def test_labels_stand_in_one_module() -> None:
    strays = [
        f"{relative(path)}:{node.lineno}: {node.value!r}"
        for path in sources()
        if relative(path) != "src/strongroom/crypto/labels.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, bytes | str)
        and re.match(rb"strongroom/v\d", _bytes(node.value))
    ]
    assert strays == []


def _bytes(value: bytes | str) -> bytes:
    return value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")


def test_each_label_has_a_use_and_each_use_a_label() -> None:
    named = {value for value in vars(labels).values() if isinstance(value, bytes)}
    assert named == {use.label for use in labels.USES} - {b""}


def test_pages_name_the_labels_of_their_uses_and_no_others() -> None:
    known = {use.label.rstrip(b"\0/").decode() for use in labels.USES}
    for path in FORMATS:
        text = path.read_text()
        if path.name in {"primitives.md", "format-2.md"}:  # the table itself; what is planned
            continue
        wanted = {
            use.label.rstrip(b"\0").decode() for use in labels.USES if use.page == path.name
        } - {""}
        assert {label for label in wanted if label not in text} == set(), path.name
        assert set(_LABEL.findall(text)) - known == set(), path.name


def test_the_table_of_labels_is_what_the_code_says() -> None:
    """`make docs` writes it anew."""
    page = (ROOT / "docs/format/primitives.md").read_text()
    assert reference.with_labels(page) == page
    assert "`strongroom/v1/kms/mac`" in page
