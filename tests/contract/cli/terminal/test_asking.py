"""What takes something away for good asks a person first, and one word takes every question away (findings F4).

The list of such commands is `asking.ASKED`; each is run at a real terminal, answered with n, and then told not to ask.
"""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from strongroom.cli.terminal.asking import ASKED
from strongroom.crypto import age
from strongroom.kms.store import digest
from strongroom.node.opening import Node
from tests.support import golden
from tests.support.closed_keys import leave_keys_behind
from tests.support.command_lines import Line, lines
from tests.support.servers import TestNode, create_node
from tests.support.terminals import at_terminal

WORDS = ["-y", "--yes", "--ignore-prompt"]
#: Verbs and parts of options by which something goes; a command that has one is in the list.
TAKES_AWAY = {
    "delete",
    "remove",
    "revoke",
    "retire",
    "discard",
    "restore",
    "drop",
    "abandon",
    "forget",
}
TAKES_AWAY |= {"purge", "erase", "wipe", "destroy", "reset"}
#: Takes the word for scripts of the other product, and never asks.
ASKS_NEVER = {"strongroom backup make", "tsm maintenance backup"}
#: A loss is known, or the other product asks as well: nothing is done without an answer.
NEEDS_AN_ANSWER = {
    "strongroom backup restore",
    "strongroom sites delete",
    "strongroom sites set-mode",
    "tsm maintenance restore",
    "tsm pending-changes apply",
    "tsm security kms former forget",
    "tsm topology set-process",
}

#: A rotation gives no recovery recipient up: it was agreed to, and is refused for that.
REFUSED = {"tsm security kms rotate"}


def name_of(line: Line) -> str:
    """As the list has it: `set-mode` stands for all its modes."""
    return line.name.partition(" kms set-mode ")[0] + " kms set-mode" * (
        " kms set-mode " in line.name
    )


LINES = list(lines())


def takes_away(line: Line) -> bool:
    options = [word for one in line.options for word in one.option_strings]
    words = {part for word in (*line.verbs, *options) for part in word.strip("-").split("-")}
    return bool(words & TAKES_AWAY)


def test_the_list_is_whole() -> None:
    """Each command with such a verb or option is in it, each of it has the word, and no other command."""
    assert {name_of(one) for one in LINES if takes_away(one)} <= set(ASKED)
    with_word = {name_of(one) for one in LINES if "--yes" in option_strings(one)}
    assert with_word == set(ASKED) | ASKS_NEVER


def option_strings(line: Line) -> set[str]:
    return {word for one in line.options for word in one.option_strings}


@pytest.mark.parametrize("line", [one for one in LINES if "--yes" in option_strings(one)], ids=str)
def test_the_word_is_the_same_everywhere(line: Line) -> None:
    (option,) = [one for one in line.options if "--yes" in one.option_strings]
    assert list(option.option_strings) == WORDS
    assert option.help


# ---- at a real terminal ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """A node that has something of all that can go; for each command of the list a line that takes it away."""
    made = create_node(tmp_path_factory.mktemp("filled"))
    run = made.run
    with opened(made) as node:
        leave_keys_behind(node)
    run("strongroom", "sites", "create", "Extra")
    run("strongroom", "sites", "set-mode", "Default", "enabled")
    publish_one(made)
    run("strongroom", "users", "create", "bob", "--no-password")
    for user in ("admin", "bob"):
        run("strongroom", "tokens", "create", "t", "--user", user)
    old = run("tsm", "security", "kms", "usage", "--json").json["active"]
    run("tsm", "security", "kms", "rotate")
    run("strongroom", "extracts", "rewrap", "--site", "Default", "--wait")
    policy = made.folder / "policy.hcl"
    policy.write_text('path "secret/*" { capabilities = ["read"] }')
    run("strongroom", "access", "policy", "write", "p", str(policy))
    run("strongroom", "access", "token", "create", "--policy", "p")
    [token] = run("strongroom", "access", "token", "list", "--json").json
    run("strongroom", "keys", "create", "k")
    recipient = age.new_identity().recipient
    kms = ("tsm", "security", "kms")
    run(*kms, "roots", "add", "age", "--recipient", recipient)
    roots = run(*kms, "roots", "list", "--json").json
    wrap = next(root["wrap_id"] for root in roots if root["kind"] == "age")
    run("tsm", "maintenance", "backup", "-f", "b")
    run("tsm", "configuration", "set", "-k", "gateway.timeout", "-v", "100")
    password = str(made.password_file)
    with opened(made) as node:
        store, raw = node.kms_store.current()
    return {
        "home": [str(made.folder)],
        "strongroom access policy delete": ["p"],
        "strongroom access token revoke": [token["accessor"]],
        "strongroom backup restore": ["-f", "b"],
        "strongroom cluster renew": ["--authority"],
        "strongroom keys schedule-deletion": ["k"],
        "strongroom sites delete": ["Extra"],
        "strongroom sites set-mode": ["Default", "disabled"],
        "strongroom tokens revoke": ["t", "--user", "admin"],
        "strongroom users delete": ["bob"],
        "strongroom users set-password": ["bob", "--password-file", password, "--revoke-tokens"],
        "tsm maintenance enter": ["--reason", "new disks"],
        "tsm maintenance restore": ["-f", "b"],
        "tsm pending-changes apply": [],
        "tsm pending-changes discard": [],
        "tsm security identity renew": [],
        "tsm security kms accept": ["--epoch", str(store.epoch), "--digest", digest(raw)],
        "tsm security kms former forget": [store.former[0].digest],
        "tsm security kms retire": [old],
        "tsm security kms roots remove": [wrap],
        "tsm security kms rotate": ["--drop-root", wrap],
        "tsm security kms set-mode": ["local", "--abandon-external-keys"],
        "tsm security secrets rotate": ["redis.password", "--forget-unfinished"],
        "tsm topology drain": ["-n", "node1"],
        "tsm topology set-process": ["-n", "node1", "-pr", "backgrounder", "-c", "0"],
    }


def publish_one(made: TestNode) -> None:
    """An encrypted extract, on the default site."""
    from tests.support.backups import publish

    with opened(made) as node:
        publish(node, "one", b"1", encrypted=True)


@contextmanager
def opened(made: TestNode) -> Iterator[Node]:
    """The node within this process."""
    from strongroom.node import opening

    node = opening.open_node(str(made.home))
    try:
        yield node
    finally:
        node.close()


@pytest.fixture
def fresh(filled: dict[str, list[str]], tmp_path: Path) -> TestNode:
    """A copy of that node."""
    node = TestNode(tmp_path)
    shutil.copytree(Path(filled["home"][0]) / "node", node.home)
    return node


UPGRADE = "strongroom upgrade"
#: Needs a cluster: tests/contract/cluster/test_leaving.py.
REMOVAL = "tsm topology remove-nodes"
#: Needs an object store: tests/contract/objectstore/test_pinned_backup.py.
RELEASE = "strongroom backup pins release"
TAKEN = [name for name in ASKED if name not in {UPGRADE, REMOVAL, RELEASE}]


@pytest.mark.slow
def test_a_person_is_asked_before_an_upgrade(tmp_path: Path) -> None:
    node = TestNode(golden.unpack(golden.REVISIONS[-1], tmp_path))
    line = [*UPGRADE.split(), "--no-backup"]
    code, said = at_terminal(node, line, b"n\n")
    assert (code, "go on? (y/n): " in said) == (7, True), said
    assert "nothing was changed: the" in said
    code, said = at_terminal(node, [*line, "--yes"], b"")
    assert (code, "go on?" in said) == (0, False), said


@pytest.mark.parametrize(("name", "word"), list(zip(TAKEN, WORDS * len(TAKEN), strict=False)))
def test_a_person_is_asked_and_no_means_no(
    name: str, word: str, filled: dict[str, list[str]], fresh: TestNode
) -> None:
    """Then each of the three forms of the word in turn: what was not agreed to was not done, and is done now."""
    line = [*name.split(), *filled[name]]
    code, said = at_terminal(fresh, line, b"n\n")
    assert "go on? (y/n): " in said, said
    assert re.search("nothing was (changed|applied|restored): the", said), said
    assert "hint: answer y, or " in said
    assert code == 7
    code, said = at_terminal(fresh, [*line, word], b"")
    assert "go on?" not in said
    assert (code, "never asked" in said) == ((7, True) if name in REFUSED else (0, False)), said


@pytest.mark.parametrize("name", TAKEN)
def test_a_script_without_an_answer_loses_nothing_that_is_known_to_be_lost(
    name: str, filled: dict[str, list[str]], fresh: TestNode
) -> None:
    """And what a script names otherwise is done: it did not mistype."""
    line = [*name.split(), *filled[name]]
    assert fresh.run(*line, check=False).code == (7 if name in NEEDS_AN_ANSWER | REFUSED else 0)
    assert fresh.run("tsm", "security", "kms", "status", "--json").json["status"] == "OK"


def test_a_mek_that_something_outside_still_needs_is_not_retired_by_a_script(
    filled: dict[str, list[str]], fresh: TestNode
) -> None:
    """Findings D5: known loss, so an answer is needed there, too."""
    (fresh.folder / "x").write_bytes(b"x")
    fresh.run("strongroom", "encrypt", "x", "x.sealed")
    usage = fresh.run("tsm", "security", "kms", "usage", "--json").json
    fresh.run("tsm", "security", "kms", "rotate")
    fresh.run("strongroom", "extracts", "rewrap", "--site", "Default", "--wait")
    fresh.run("strongroom", "keys", "reseal")
    refused = fresh.run("tsm", "security", "kms", "retire", usage["active"], check=False)
    assert refused.code == 7
    assert "at least 1 file outside the store" in refused.err
    assert usage["active"] in json.dumps(
        fresh.run("tsm", *["security", "kms", "usage", "--json"]).json
    )
    assert fresh.run("tsm", "security", "kms", "retire", usage["active"], "--yes").code == 0


def test_scripts_for_the_other_product_may_say_it_anywhere(fresh: TestNode) -> None:
    """Findings K14: every command of tsm takes `--ignore-prompt`, also where nothing is asked."""
    assert fresh.run("tsm", "topology", "list-nodes", "--ignore-prompt").out == "node1\n"
    assert fresh.run("tsm", "stop", "--ignore-prompt").out == "Status: STOPPED\n"
