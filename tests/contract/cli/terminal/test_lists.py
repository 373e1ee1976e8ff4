"""Every list has its heading on standard output with its rows, and shows ids, paths and sizes for people (findings F4).

The lists are those commands whose parsers have `--no-header`; a command that is called a list and lacks it is found.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from strongroom.access.permissions import Subject
from strongroom.cli import dispatch
from strongroom.ids import is_id
from strongroom.node import opening
from strongroom.node.opening import Node
from tests.support.backups import publish
from tests.support.closed_keys import leave_keys_behind
from tests.support.command_lines import Line, lines

Output = pytest.CaptureFixture[str]
Show = Callable[..., str]
LOCAL = Subject.local("os:tester")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
"""A verification notes its time, and another one is another time."""
CALLED_LISTS = {"list", "list-nodes", "list-dynamic-keys", "inventory", "usage"}
#: One name a line, as a shell's `for` takes it: these have no heading.
NAMES_ONLY = {
    "tsm topology list-nodes",
    "tsm configuration list-dynamic-keys",
    "strongroom access policy list",
}
#: Their rows are printed as they are read, so a long cell moves what stands behind it.
UNALIGNED = {"strongroom events list"}
ALL = list(lines())


def options(line: Line) -> set[str]:
    return {word for one in line.options for word in one.option_strings}


#: Their rows lie in an object store: tests/contract/objectstore/test_pinned_backup.py looks at it.
IN_A_STORE = {"strongroom backup pins list"}
LISTS = [line for line in ALL if "--no-header" in options(line) and line.name not in IN_A_STORE]
BIG = 3_000_000


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A node that has a row for every list."""
    from strongroom.crypto.secret import SecretBytes
    from strongroom.node import create

    root = tmp_path_factory.mktemp("filled") / "node"
    create.create_node(str(root), "admin", SecretBytes(b"correct horse battery"))
    node = opening.open_node(str(root))
    try:
        fill(node)
    finally:
        node.close()
    return root


def fill(node: Node) -> None:
    leave_keys_behind(node)
    publish(node, "📈 売上", b"x" * BIG, encrypted=True)
    node.meks.rotate("os:tester")
    publish(node, "Sales", b"y", encrypted=True)
    admin = node.users.find("admin")
    node.tokens.create(LOCAL, admin.id, "nightly")
    from strongroom.service_keys.model import KeyKind
    from strongroom.services.service_keys.by import By
    from strongroom.services.service_keys.keys import own
    from strongroom.services.service_keys.tokens import Wanted

    node.service_keys.create(By("os:tester"), own("orders"), KeyKind.AES256_GCM)
    node.service_tokens.create(By("os:tester"), Wanted(policies=["app"]))
    node.configuration.set("gateway.timeout", "100", actor="os:tester")
    from strongroom.jobs.model import JobKind

    for _ in range(2):
        site = node.sites.find("default")
        node.jobs.enqueue(JobKind("rewrap_extracts"), site.id, "os:tester")
        node.sites.create(LOCAL, f"site {len(node.sites.page(LOCAL).rows)}")


@pytest.fixture
def show(filled: Path, capsys: Output) -> Show:
    def run(line: Line, *more: str) -> str:
        words = [*line.words({"site": "default"}), *more, "--data-dir", str(filled)]
        assert dispatch.main(line.tool, words) == 0
        return MOMENT.sub("2026-01-01T00:00:00Z", capsys.readouterr().out)

    return run


def test_whatever_is_called_a_list_is_one() -> None:
    called = {line.name for line in ALL if CALLED_LISTS & set(line.verbs[-1:])}
    assert called <= {line.name for line in LISTS} | IN_A_STORE
    assert len(LISTS) >= 17


@pytest.mark.parametrize("line", LISTS, ids=lambda line: line.name)
def test_the_heading_stands_over_its_columns_and_can_be_left_out(line: Line, show: Show) -> None:
    whole = show(line).splitlines()
    rows = show(line, "--no-header").splitlines()
    assert rows
    if line.name in NAMES_ONLY:
        assert whole == rows
        return
    assert whole[1:] == rows
    heads = [(found.start(), found[0]) for found in re.finditer(r"\S+(?: \S+)*", whole[0])]
    assert len(heads) > 1
    assert all(head == head.upper() for _, head in heads)
    if line.name not in UNALIGNED:
        for row in rows:
            begins = [place(row, start) for start, _ in heads[1:]]
            assert all(before in {"", "  "} for before in begins), (whole[0], row)


def place(row: str, column: int) -> str:
    """The two columns of a terminal before a column."""
    from strongroom.cli.terminal.columns import width

    at = next((n for n in range(len(row) + 1) if width(row[:n]) >= column), len(row))
    return row[at - 2 : at] if at < len(row) else ""


@pytest.mark.parametrize("line", LISTS, ids=lambda line: line.name)
def test_json_is_exact_whatever_is_asked_for_people(line: Line, show: Show) -> None:
    for_people = {"--no-header", "--full-ids", "--full-paths", "--bytes"} & options(line)
    plain, other = show(line, "--json"), show(line, "--json", *sorted(for_people))
    assert other == plain
    for text in texts(json.loads(plain)):
        assert not re.fullmatch(r"\d+[.]\d [KMGT]iB", text)
        assert not re.fullmatch(r"[0-9a-f]{8}", text)


def texts(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for one in value.values():
            yield from texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from texts(one)
    elif isinstance(value, str):
        yield value


@pytest.mark.parametrize(
    "line", [one for one in LISTS if "--full-ids" in options(one)], ids=lambda line: line.name
)
def test_ids_are_short_and_tell_one_from_the_other(line: Line, show: Show) -> None:
    ids = own_ids(line, json.loads(show(line, "--json")))
    short, full = show(line), show(line, "--full-ids")
    assert ids
    for one in ids:
        assert one in full
        assert one not in short
        (shown,) = {word for word in re.findall(r"[0-9a-f-]{8,}", short) if one.startswith(word)}
        assert [other for other in ids if other.startswith(shown)] == [one]


def own_ids(line: Line, shown: object) -> set[str]:
    """Those in the columns that the list shortens."""
    if line.name == "tsm security kms usage":
        assert isinstance(shown, dict)
        return set(shown["meks"])
    assert isinstance(shown, list)
    key = "mek_id" if line.name == "strongroom extracts list" else "id"
    return {one[key] for one in shown if is_id(one[key])}


@pytest.mark.parametrize(
    "line", [one for one in LISTS if "--full-paths" in options(one)], ids=lambda line: line.name
)
def test_paths_are_seen_from_the_data_directory(line: Line, show: Show, filled: Path) -> None:
    short, full = show(line), show(line, "--full-paths")
    paths = [one["path"] for one in json.loads(show(line, "--json"))]
    assert paths
    for path in paths:
        assert path in full
        assert path not in short
        assert str(Path(path).relative_to(filled)) in short


@pytest.mark.parametrize(
    "line", [one for one in LISTS if "--bytes" in options(one)], ids=lambda line: line.name
)
def test_sizes_are_for_people_or_exact(line: Line, show: Show) -> None:
    assert re.search(r"\bSIZE\b", show(line))
    assert re.search(r"\b2[.]9 MiB\b", show(line))
    exact = show(line, "--bytes")
    assert re.search(r"\bBYTES\b", exact)
    # a header page and what authenticates each segment come on top where stored bytes are counted
    assert any(BIG <= int(found) < BIG + 10_000 for found in re.findall(r"\b\d{7}\b", exact))
    assert not re.search(r"[KMG]iB", exact)


def test_a_list_without_rows_is_its_heading(node_dir: Path, capsys: Output) -> None:
    assert dispatch.main("strongroom", ["--data-dir", str(node_dir), "jobs", "list"]) == 0
    assert capsys.readouterr() == ("ID  STATE  DONE  CREATED  WHAT\n", "")
