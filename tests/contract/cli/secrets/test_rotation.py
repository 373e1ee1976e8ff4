"""`tsm security secrets rotate` and `regenerate-internal-tokens`, with a real Redis (C-24, C-28, Q-04)."""

import io
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from strongroom.cli import dispatch
from strongroom.errors import ConsumerError, StateError, UsageError
from strongroom.node import opening
from strongroom.node.opening import Node
from strongroom.runtime import running
from tests.support.components.redis import Redis, acl_hash, running_redis

PARAMETER = "redis.password"
USER = "strongroom"
RIGHTS = "~* &* +@all"


@pytest.fixture
def redis(node: Node) -> Iterator[Redis]:
    """Configured in the node, with its present password as a hash."""
    password = node.configuration.open_secret(PARAMETER).reveal().decode()
    user = f"user {USER} on {acl_hash(password)} {RIGHTS}"
    with running_redis("user default off", user) as server:
        for key, value in {
            "redis.socket": str(server.socket),
            "redis.acl_file": str(server.acl_file),
        }.items():
            node.configuration.set(key, value, actor="os:tester")
        node.configuration.apply(actor="os:tester")
        yield server


def tsm(node: Node, *words: str) -> int:
    return dispatch.main("tsm", [*words, "--data-dir", str(node.paths.root)])


def password(node: Node) -> str:
    return node.configuration.open_secret(PARAMETER).reveal().decode()


def test_a_rotated_password_is_the_one_that_redis_takes(
    node: Node, redis: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    before = password(node)
    assert redis.accepts(USER, before)
    assert tsm(node, "security", "secrets", "rotate", PARAMETER) == 0
    said = capsys.readouterr()
    assert f"{PARAMETER}: rotated  (redis/{USER})" in said.out
    after = password(node)
    assert redis.accepts(USER, after)
    assert not redis.accepts(USER, before)
    assert not [one for one in (before, after) if one in said.out + said.err]


def test_verify_says_who_lets_the_configured_value_in(
    node: Node, redis: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("security", "secrets", "verify")
    assert tsm(node, *words) == 0
    assert capsys.readouterr().out == f"{PARAMETER}: valid  (redis/{USER})\n"
    with redis.component.down():
        assert tsm(node, *words, PARAMETER) == ConsumerError.exit_code
        said = capsys.readouterr()
        assert f"{PARAMETER}: NOT valid" in said.out
        assert "Redis does not answer" in said.err
        assert tsm(node, *words, "--json") == ConsumerError.exit_code
        (found,) = json.loads(capsys.readouterr().out)
        assert (found["consumer"], bool(found["problem"])) == (f"redis/{USER}", True)


def test_verify_without_a_component_says_so(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    assert tsm(node, "security", "secrets", "verify") == 0
    assert "nobody was asked" in capsys.readouterr().err


def test_a_plan_for_people_and_for_scripts(
    node: Node, redis: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    before = password(node)
    assert tsm(node, "security", "secrets", "rotate", "--only", "passwords", "--dry-run") == 0
    said = capsys.readouterr()
    assert f"{PARAMETER}  (redis/{USER}: {redis.socket}, user {USER})" in said.out
    assert "jdbc.password  (configuration only)" in said.out
    assert "nothing was changed" in said.err
    words = ("security", "secrets", "rotate", PARAMETER, "--dry-run", "--json")
    assert tsm(node, *words) == 0
    (planned,) = json.loads(capsys.readouterr().out)
    assert planned["parameters"] == [PARAMETER]
    assert planned["overlaps"]
    assert (password(node), redis.accepts(USER, before)) == (before, True)


def test_a_component_that_is_down_keeps_its_old_password_and_the_others_go_on(
    node: Node, redis: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    before, other = password(node), node.configuration.open_secret("jdbc.password")
    words = ("security", "secrets", "rotate", PARAMETER, "jdbc.password")
    with redis.component.down():
        assert tsm(node, *words) == ConsumerError.exit_code
    said = capsys.readouterr()
    assert f"{PARAMETER}: still the old value" in said.out
    assert f"{PARAMETER} at admit: Redis does not answer" in said.err
    assert password(node) == before
    assert node.configuration.open_secret("jdbc.password") != other
    assert tsm(node, *words, "--dry-run") == 0
    assert "an interrupted rotation would be finished" in capsys.readouterr().err
    assert tsm(node, "security", "secrets", "list") == 0
    assert f"{PARAMETER}: rotation not finished, the last try ended with" in capsys.readouterr().err
    assert tsm(node, *words, "--json") == 0
    done = {one["parameters"][0]: one for one in json.loads(capsys.readouterr().out)}
    assert done[PARAMETER]["state"] == "rotated"
    assert redis.accepts(USER, password(node))
    assert not redis.accepts(USER, before)


def test_a_value_comes_from_a_file_a_pipe_or_stdin(
    node: Node, redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("security", "secrets", "rotate", PARAMETER, "--value-file")
    chosen = [f"long-enough-and-random-{one}" for one in range(3)]
    file, pipe = tmp_path / "file", tmp_path / "pipe"
    file.write_text(chosen[0] + "\n")
    assert tsm(node, *words, str(file)) == 0
    assert redis.accepts(USER, chosen[0])
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(chosen[1],))
    writer.start()
    assert tsm(node, *words, str(pipe)) == 0
    writer.join()
    assert redis.accepts(USER, chosen[1])
    stdin = io.TextIOWrapper(io.BytesIO(chosen[2].encode() + b"\r\n"))
    monkeypatch.setattr("sys.stdin", stdin)
    assert tsm(node, *words, "-") == 0
    assert redis.accepts(USER, chosen[2])
    assert password(node) == chosen[2]


@pytest.mark.parametrize("value", [b"", b"\n", b"\xff\xfe"])
def test_a_value_that_is_none_is_refused(node: Node, tmp_path: Path, value: bytes) -> None:
    before, file = password(node), tmp_path / "file"
    file.write_bytes(value)
    words = ("security", "secrets", "rotate", PARAMETER, "--value-file", str(file))
    assert tsm(node, *words) == UsageError.exit_code
    assert password(node) == before


def test_something_must_be_named(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    assert tsm(node, "security", "secrets", "rotate") == UsageError.exit_code
    assert "nothing is named" in capsys.readouterr().err


# ---- regenerate-internal-tokens ------------------------------------------------------------------


def test_everything_is_renewed_in_redis_too(
    node: Node, redis: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    before, key_id = password(node), node.configuration.document().configuration_key_id
    assert tsm(node, "security", "regenerate-internal-tokens") == 0
    assert "Internal tokens were regenerated." in capsys.readouterr().out
    assert redis.accepts(USER, password(node))
    assert not redis.accepts(USER, before)
    assert node.configuration.document().configuration_key_id != key_id


@pytest.mark.parametrize(
    ("only", "keys", "secret"),
    [(["keys"], True, False), (["passwords"], False, True), (["certs", PARAMETER], False, True)],
)
def test_a_scope_leaves_the_rest(
    node: Node, redis: Redis, only: list[str], *, keys: bool, secret: bool
) -> None:
    before, document = password(node), node.configuration.document()
    assert tsm(node, "security", "regenerate-internal-tokens", "--only", *only) == 0
    assert (password(node) != before) is secret
    changed = node.configuration.document().configuration_key_id != document.configuration_key_id
    assert changed is keys
    assert redis.accepts(USER, password(node))


def test_a_scope_that_cannot_be_done_leaves_no_journal(node: Node) -> None:
    """It would be in the way of every later run."""
    mail, words = (
        "svcmonitor.notification.smtp.password",
        ("security", "regenerate-internal-tokens"),
    )
    node.configuration.set("svcmonitor.notification.smtp.server", "127.0.0.1", actor="os:tester")
    node.configuration.set("svcmonitor.notification.smtp.send_account", "alerts", actor="os:tester")
    node.configuration.apply(actor="os:tester")
    assert tsm(node, *words, "--only", "no.such") == 5
    assert tsm(node, *words, "--only", mail) == UsageError.exit_code
    node.configuration.set(PARAMETER, "by hand", actor="os:tester")
    assert tsm(node, *words, "--only", PARAMETER) == StateError.exit_code
    assert tsm(node, *words, "--only", "certs") == 0


def test_what_a_component_did_not_take_is_named_though_the_keys_are_new(
    node: Node, redis: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    """The key of the journal's value stays until the rotation is done (rotation-journal.md §2.5)."""
    before, key_id = password(node), node.configuration.document().configuration_key_id
    with redis.component.down():
        words = ("security", "regenerate-internal-tokens", "--json")
        assert tsm(node, *words) == ConsumerError.exit_code
    said = capsys.readouterr()
    done: dict[str, Any] = json.loads(said.out)
    left = [one for one in done["rotated"] if one["state"] != "rotated"]
    assert [(one["parameters"], one["state"]) for one in left] == [([PARAMETER], "kept")]
    assert PARAMETER in said.err
    assert password(node) == before
    assert redis.accepts(USER, before)
    assert node.configuration.document().configuration_key_id != key_id
    keys = node.open_configuration_keys(node.configuration.document().installation_id)
    assert key_id in {record.id for record in keys.records}
    assert tsm(node, "security", "secrets", "rotate", PARAMETER) == 0
    assert redis.accepts(USER, password(node))
    assert tsm(node, "security", "regenerate-internal-tokens", "--only", "keys") == 0
    keys = node.open_configuration_keys(node.configuration.document().installation_id)
    assert key_id not in {record.id for record in keys.records}


def test_a_plan_of_a_regeneration(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    version = node.configuration.version
    assert tsm(node, "security", "regenerate-internal-tokens", "--dry-run") == 0
    out = capsys.readouterr().out
    assert "1. rotating passwords and certificates" in out
    assert "7. removing old master keys" in out
    words = ("security", "regenerate-internal-tokens", "--dry-run", "--json", "--only", "keys")
    assert tsm(node, *words) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["secrets"], len(plan["steps"]), plan["resumes"]) == ([], 6, False)
    assert node.configuration.version == version


def test_offline_needs_the_server_stopped_and_keeps_it_so(
    node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("security", "regenerate-internal-tokens", "--offline", "--only", "certs")
    with running.sole_server(node.paths):
        assert tsm(node, *words) == StateError.exit_code
    assert "stop 'strongroom serve' first" in capsys.readouterr().err
    assert tsm(node, *words) == 0
    assert "may be started again" in capsys.readouterr().err


def test_a_start_finishes_what_was_cut(
    node: Node, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """R7: the next start converges, without a command; one that cannot yet says so."""
    before = password(node)
    with redis.component.down():
        assert tsm(node, "security", "secrets", "rotate", PARAMETER) == ConsumerError.exit_code
        make_due(node)
        node.rotation_upkeep.finish()
    assert "stopped at admit" in caplog.text
    make_due(node)
    again = opening.open_node(str(node.paths.root))
    again.rotation_upkeep.finish()
    again.close()
    assert redis.accepts(USER, password(node))
    assert password(node) != before
    node.rotation_upkeep.finish()


def make_due(node: Node) -> None:
    (found,) = node.rotation.journals.all()
    node.rotation.journals._store(found, replace(found.journal, not_before=""))


def test_an_unfinished_rotation_of_another_user_is_refused_until_it_is_given_up(
    node: Node, redis: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    """format/rotation-journal.md §2.8: the journal may hold the only valid password."""
    words = ("security", "secrets", "rotate", PARAMETER)
    with redis.component.down():
        assert tsm(node, *words) == ConsumerError.exit_code
    before = password(node)
    node.configuration.reset("redis.socket", actor="os:tester")
    node.configuration.apply(actor="os:tester")
    for more in ((), ("--dry-run",)):
        assert tsm(node, *words, *more) == StateError.exit_code
        assert "--forget-unfinished" in capsys.readouterr().err
    assert tsm(node, *words, "--forget-unfinished", "--dry-run") == 0
    assert len(node.rotation.journals.all()) == 1
    assert password(node) == before
    assert tsm(node, *words, "--forget-unfinished") == 0
    assert node.rotation.journals.all() == []
    assert password(node) != before
