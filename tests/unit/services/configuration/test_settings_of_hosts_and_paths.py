"""Every setting that is a host or a path is checked when it is set, imported, applied, and used (findings K11, K12).

The settings are those of the catalogue, by their declared kind: a new one is tried without a change here.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from strongroom.cli import dispatch
from strongroom.cli.node import log_archive, places
from strongroom.config import catalog
from strongroom.config.import_rules import Outcome
from strongroom.errors import StateError, UsageError
from strongroom.node import backup, consumers
from strongroom.node.opening import Node
from strongroom.services.configuration.pending_store import Decided
from strongroom.services.configuration.settings import ImportOptions
from strongroom.system import values

ACTOR = "os:anna"
#: Names that end as one of these hold a host or a path: their kind may not be forgotten.
HOST_NAMES = (".host", ".hosts", ".server", ".replicas")
PATH_NAMES = ("_file", ".directory", ".socket", ".exports", ".log_archive", ".backuprestore")
OF_HOSTS = sorted(
    k.name for k in catalog.KEYS.values() if values.kind_of(k.check) is values.Kind.HOST
)
OF_PATHS = sorted(
    k.name for k in catalog.KEYS.values() if values.kind_of(k.check) is values.Kind.PATH
)
NO_HOSTS = [
    *("", " ", "a..b", "a b", "a.", "-a", "127.0.0.999", "bücher.example", "a\nb"),
    *(
        "http://localhost",
        "http://localhost:1",
        "user@h",
        "h/app",
        "h:2181/app",
        "::1:2181:",
        "[::1",
    ),
    *("127.0.0.1:99999", "h:0", "h:", ":1", "~", "$HOST", "a,,b", "a:1,,b:1"),
]
NO_LISTS = ["localhost", "::1:2181", "::1", "[::1]", "a:1;b:1"]
NO_HOSTS_ALONE = ["127.0.0.1:2525", "localhost:1", "[::1]:1", "a,b", "a:1,b:1"]
NO_PATHS = [
    "",
    " ",
    "~",
    "~/b",
    "~anna/b",
    "$HOME/b",
    "${HOME}/b",
    "/a/$x",
    " /a",
    "/a ",
    "/a\nb",
    "/a\0b",
    "/" + "x" * 5000,
]


def bad_values() -> list[tuple[str, str]]:
    lists = {values.host_list, values.replicas}
    found = [(name, value) for name in OF_HOSTS for value in NO_HOSTS]
    for name in OF_HOSTS:
        more = NO_LISTS if catalog.KEYS[name].check in lists else NO_HOSTS_ALONE
        found += [(name, value) for value in more]
    found += [(name, value) for name in OF_PATHS for value in NO_PATHS]
    relative = [name for name in OF_PATHS if not catalog.is_seen_from_data(name)]
    return [
        *found,
        *((name, value) for name in relative for value in ("b", "./b", "../b", "file:///b")),
    ]


def test_every_setting_of_a_host_or_a_path_says_so() -> None:
    """By name: whoever adds `x.host` or `x_file` as a plain text fails here."""
    assert set(OF_HOSTS) >= {name for name in catalog.KEYS if name.endswith(HOST_NAMES)}
    assert set(OF_PATHS) >= {name for name in catalog.KEYS if name.endswith(PATH_NAMES)}
    assert len(OF_HOSTS) >= 5
    assert len(OF_PATHS) >= 11


def test_a_bad_value_is_refused_when_it_is_set(node: Node) -> None:
    """Findings K11, K12: with what it should be, and nothing is pending afterwards."""
    for name, value in bad_values():
        with pytest.raises(UsageError) as caught:
            node.configuration.set(name, value, actor=ACTOR)
        assert name in caught.value.message, (name, value)
        assert caught.value.hint.startswith("it should be"), (name, value)
    assert not node.configuration.has_pending


def test_a_bad_value_is_refused_when_it_is_imported(node: Node) -> None:
    for name, value in bad_values():
        text = json.dumps({"configKeys": {name: value}}).encode()
        done = node.settings.import_(text, ImportOptions(), actor=ACTOR, source="a test")
        assert [one.outcome for one in done.verdicts] == [Outcome.REFUSED], (name, value)
    assert not node.configuration.has_pending


def test_a_bad_value_that_an_older_version_staged_is_refused_when_it_is_applied(node: Node) -> None:
    staged = ""
    for name, value in bad_values():
        if staged and staged != name:  # the next value of a key takes the place of the one before
            node.configuration.discard()
        staged = name
        before = node.configuration.version
        node.configuration.stage(lambda *_, n=name, v=value: Decided({n: v}), actor=ACTOR)
        with pytest.raises(UsageError, match="cannot be applied") as caught:
            node.configuration.apply(actor=ACTOR)
        assert name in caught.value.message
        assert node.configuration.version == before


def hold(node: Node, values: Mapping[str, str | None]) -> None:
    """As an older version took them: past every check."""
    node.configuration.compare_and_put(lambda document: document.with_values(values))


ON: dict[str, dict[str, str]] = {
    "pgsql.": {"pgsql.host": "localhost"},
    "redis.": {"redis.host": "localhost"},
    "svcmonitor.": {
        "svcmonitor.notification.smtp.server": "localhost",
        "svcmonitor.notification.smtp.send_account": "x",
    },
    "zookeeper.": {"zookeeper.hosts": "localhost:1"},
}


def user_of(name: str) -> Callable[[Node], object] | None:
    """Who reads the key; the listener of HTTPS has a test of its own, since it binds a port."""
    if name == "basefilepath.backuprestore":
        return backup.folder
    if name == "basefilepath.log_archive":
        return log_archive._folder
    if name.startswith("vault."):
        return lambda node: places.place(node.configuration, places.VAULT)
    if name.startswith("control."):
        return lambda node: places.place(node.configuration, places.CONTROL)
    if not catalog.has_effect(name) or name.startswith("gateway."):
        return None

    def configured(node: Node) -> object:
        return consumers.configured(node.configuration.effective, lambda _: ())

    return configured


def test_a_bad_value_that_is_held_already_is_told_by_whoever_uses_it(node: Node) -> None:
    """Findings K11: no traceback, and the way out. Empty texts meant `not used`, and mean it still."""
    used = 0
    held: dict[str, str] = {}
    for name, value in bad_values():
        use = user_of(name)
        if use is None:
            continue
        hold_all = next((on for start, on in ON.items() if name.startswith(start)), {})
        now = {**hold_all, name: value}
        hold(node, {**dict.fromkeys(held), **now})
        held = now
        if value == "" and catalog.default_of(name) is None:
            use(node)
        else:
            with pytest.raises(StateError, match="holds a value") as caught:
                use(node)
            assert name in caught.value.message
            assert f"set -k {name}" in caught.value.hint
        used += 1
    assert used > 100


@pytest.mark.parametrize("name", OF_PATHS)
def test_an_absolute_path_is_taken_as_it_is(node: Node, name: str) -> None:
    node.configuration.set(name, "/srv/ü b/../c", actor=ACTOR)
    node.configuration.apply(actor=ACTOR)
    assert node.configuration.get(name, actor=ACTOR) == "/srv/ü b/../c"


FOLDERS = {
    "basefilepath.backuprestore": backup.folder,
    "basefilepath.log_archive": log_archive._folder,
}


def test_every_folder_seen_from_the_data_directory_is_tried() -> None:
    assert {name for name in OF_PATHS if catalog.is_seen_from_data(name)} == FOLDERS.keys()


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_seen_from_the_data_directory_is_shown_as_an_absolute_path(
    name: str,
    node: Node,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Findings K12: a script in any folder can use it, however the data directory was named."""
    monkeypatch.chdir(tmp_path)
    for value in (None, "kept", "/srv/kept"):
        if value is not None:
            hold(node, {name: value})
        wanted = str(node.paths.root / (value or catalog.default_of(name) or ""))
        assert FOLDERS[name](node) == Path(wanted)
        for words in (["get", "-k", name], ["get", "-k", name, "--reason", "x"], ["list"]):
            told = [*words, "--data-dir", os.path.relpath(node.paths.root)]
            assert dispatch.main("tsm", ["configuration", *told]) == 0
            assert wanted in capsys.readouterr().out.split()
