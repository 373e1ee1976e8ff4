"""Every command that takes an id takes its first digits, if they are those of one id only (findings F4)."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from strongroom.access.permissions import Subject
from strongroom.cli import dispatch
from strongroom.ids import new_id
from strongroom.jobs.model import JobKind
from strongroom.node.opening import Node
from tests.support.backups import publish
from tests.support.command_lines import Line, lines

pytestmark = pytest.mark.table

Output = pytest.CaptureFixture[str]
Run = Callable[..., int]
LOCAL = Subject.local("os:tester")
BEGINNING = "0badcafe"
#: Name of an argument in the parsed result → whose ids it takes.
KINDS = {
    "site": "site",
    "user": "user",
    "give_to": "user",
    "id": "job",
    "mek_id": "MEK",
    "wrap_id": "wrap",
    "drop_root": "wrap",
    "item": "extract",
    "token": "token",
}
#: An `id` that is the name of a kind of event, and lists whose `--user` is only a name for `revoke NAME`.
OTHERS = {("strongroom events list", "id")}
#: The user whom a command works on is its NAME; `create` gives a new name.
NAMES = {"delete", "set-password", "set-role", "unlock"}


def id_arguments() -> list[tuple[Line, str]]:
    """Each command with each of its arguments that takes an id."""
    found = []
    for line in lines():
        dests = [one.dest for one in line.options if one.dest in KINDS]
        if line.verbs[:1] == ("users",) and line.verbs[-1] in NAMES:
            dests.append("name")
        if "set-mode" in line.verbs and "kms" in line.verbs:
            continue  # the other options are looked at first, and `--drop-root` is that of `rotate`
        found += [(line, dest) for dest in dests if (line.name, dest) not in OTHERS]
    return found


ARGUMENTS = id_arguments()


def kind_of(dest: str) -> str:
    return KINDS.get(dest, "user")


def words(line: Line, dest: str, value: str) -> list[str]:
    """A command line with a value for one argument, and what the others need for that to be looked at."""
    known = {
        "site": "default",
        "user": "admin",
        "name": "admin",
        "mode": "enabled",
        "role": "Viewer",
    }
    taken = {one.dest for one in line.options}
    if line.name == "strongroom users create":
        known["name"] = "eve"
    needed = {"site", "role", "mode", "name"} & taken
    if "password_file" in taken:
        known["password_file"] = __file__
        needed.add("password_file")
    if line.name == "strongroom tokens revoke" and dest == "user":
        return line.words({"token": "t", dest: value})
    if line.verbs[0] in {"users", "sites", "extracts"}:
        made = line.words({**{key: known[key] for key in needed}, dest: value})
    else:
        made = line.words(
            {**({"user": "admin"} if line.name.endswith("create") else {}), dest: value}
        )
    return [*made, "--yes"] if "yes" in taken else made


@pytest.fixture
def run(node_dir: Path) -> Run:
    return lambda tool, *line: dispatch.main(tool, [*line, "--data-dir", str(node_dir)])


@pytest.fixture
def alike(node: Node) -> dict[str, tuple[str, ...]]:
    """For each kind an id that begins as no other; then, where rows can be made so, two that begin alike."""
    content = publish(node, "one", b"1", encrypted=False)
    token, _ = node.tokens.create(LOCAL, content.owner_id, "t")
    job = node.jobs.enqueue(JobKind("rewrap_extracts"), content.site_id, "os:tester")
    rows = {"site": content.site_id, "user": content.owner_id, "job": job.id}
    rows |= {"token": token.id, "extract": content.id}
    found = {
        kind: (own, *(f"{BEGINNING}{new_id()[8:]}" for _ in "12")) for kind, own in rows.items()
    }
    with node.repository.transaction() as tx:
        site, user = tx.sites.get(content.site_id), tx.users.get(content.owner_id)
        for number in (1, 2):
            name: dict[str, Any] = {"name": f"n{number}"}
            url = {**name, "content_url": f"n{number}"}
            key: dict[str, Any] = {"storage_key": f"extracts/{number}"}
            tx.sites.insert(replace(site, id=found["site"][number], **url))
            tx.users.insert(replace(user, id=found["user"][number], **name))
            tx.jobs.insert(replace(tx.jobs.get(job.id), id=found["job"][number]))
            tx.contents.insert(replace(content, id=found["extract"][number], **url, **key))
            secret: dict[str, Any] = {"secret_hash": f"{number:064}"}
            tx.tokens.insert(replace(token, id=found["token"][number], **name, **secret))
    wraps = node.kms_store.current()[0].wraps
    return {**found, "MEK": (node.envelope_keys.active_mek_id,), "wrap": (wraps[0].id,)}


each = pytest.mark.parametrize(
    ("line", "dest"), ARGUMENTS, ids=[f"{line.name} {dest}" for line, dest in ARGUMENTS]
)


@each
def test_the_first_digits_are_enough(
    line: Line, dest: str, alike: dict[str, tuple[str, ...]], run: Run, capsys: Output
) -> None:
    """Whatever becomes of the command, the id was understood; in capitals, too."""
    own = alike[kind_of(dest)][0]
    code = run(line.tool, *words(line, dest, own[:8].upper()))
    said = capsys.readouterr()
    assert code not in {5, 22}, said
    assert "there is no" not in said.err


@each
def test_digits_of_no_id_are_told_as_before(
    line: Line, dest: str, run: Run, capsys: Output
) -> None:
    code = run(line.tool, *words(line, dest, "ffffffff"))
    said = capsys.readouterr()
    assert code in {5, 22}, said
    assert "ffffffff" in said.err
    assert said.out == ""


@each
def test_digits_of_several_ids_change_nothing(
    line: Line, dest: str, alike: dict[str, tuple[str, ...]], run: Run, capsys: Output
) -> None:
    """A MEK's id and a wrap's are made by chance only: of these the piece that decides is tried alone."""
    ids = alike[kind_of(dest)][1:]
    if not ids:
        assert kind_of(dest) in {"MEK", "wrap"}
        return
    assert run(line.tool, *words(line, dest, BEGINNING)) == 2
    said = capsys.readouterr()
    assert f"{BEGINNING!r} is the beginning of the ids of 2 {kind_of(dest)}s" in said.err
    assert all(one in said.err for one in ids)
    assert "hint: give more digits" in said.err
    assert said.out == ""


def test_a_name_comes_before_the_beginning_of_an_id(
    alike: dict[str, tuple[str, ...]], run: Run, capsys: Output
) -> None:
    name = alike["site"][0][:8]
    assert run("strongroom", "sites", "create", name) == 0
    assert run("strongroom", "sites", "delete", name, "--yes") == 0
    assert f"site {name!r} deleted" in capsys.readouterr().out


def test_what_a_list_shows_can_be_given_back(
    alike: dict[str, tuple[str, ...]], run: Run, capsys: Output
) -> None:
    """Ids that begin alike are shown as long as it takes."""
    assert run("strongroom", "sites", "list", "--no-header") == 0
    shown = [row.split()[-1] for row in capsys.readouterr().out.splitlines()]
    assert sorted(shown) == sorted(set(shown))
    assert all(any(one.startswith(short) for one in alike["site"]) for short in shown)
    for short in shown:
        assert run("strongroom", "users", "list", "--site", short) == 0
