"""`tsm configuration` and `tsm pending-changes`, in this process: C-19, C-20, C-25, P11, P13, Q-13, Q-14, Q-30."""

import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from strongroom.cli import dispatch
from strongroom.cli.secrets import configuration
from strongroom.config import catalog, versions
from strongroom.coordination.base import Change
from strongroom.node.opening import Node
from tests.support.small_node import ASSET_KEYS, copy_small_node

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def node(pristine: Path, tmp_path: Path) -> Iterator[Node]:
    made = copy_small_node(pristine, tmp_path)
    yield made
    made.close()


@pytest.fixture
def run(node: Node, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `tsm …` with a stdin that is no terminal."""

    def call(*words: str, stdin: bytes = b"") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = dispatch.main("tsm", [*words, "--data-dir", str(node.paths.root)])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


def test_get_prints_the_value_and_a_newline(node: Node, run: Run) -> None:
    """C-25."""
    value = node.configuration.open_secret("pgsql.readonly_password").reveal().decode()
    command = ("configuration", "get", "-k", "pgsql.readonly_password", "--reason", "ticket 7")
    assert run(*command) == (0, f"{value}\n", "")
    (event,) = node.events.read()
    assert event["id"] == "SECRET_REVEALED"
    assert event["details"] == {"parameter": "pgsql.readonly_password", "reason": "ticket 7"}
    assert str(event["actor"]).startswith("os:")


def test_get_of_every_kind_of_key(run: Run) -> None:
    """P11: a default, a known key without a value, an unknown key; told apart by exit codes, too."""
    assert run("configuration", "get", "--key", "gateway.timeout") == (0, "7200\n", "")
    code, out, err = run("configuration", "get", "-k", "ssl.key.passphrase")
    assert (code, out) == (7, "")
    assert "known key, but it is not set" in err
    code, out, err = run("configuration", "get", "-k", "redis.pasword")
    assert (code, out) == (5, "")
    assert "Unknown key 'redis.pasword'" in err
    assert "did you mean 'redis.password'" in err


def test_key_material(run: Run) -> None:
    """Q-13."""
    code, out, err = run("configuration", "get", "-k", "asset.keys")
    assert (code, out) == (4, "")
    assert "--reveal-key-material" in err
    code, out, _ = run("configuration", "get", "-k", "asset.keys", "--reveal-key-material")
    assert (code, out) == (0, f"{ASSET_KEYS.decode()}\n")


def test_set_apply_get(run: Run) -> None:
    """C-19: pending first."""
    code, out, err = run("configuration", "set", "-k", "gateway.timeout", "-v", "100")
    assert (code, out) == (0, "")
    assert "1 pending change;" in err
    assert run("configuration", "get", "-k", "gateway.timeout")[1] == "7200\n"
    code, out, err = run("pending-changes", "apply", "--ignore-prompt")
    assert (code, out) == (0, "")
    assert "(y/n)" not in err
    assert "1 change applied: configuration version 2" in err
    assert "restarts" in err
    assert run("configuration", "get", "-k", "gateway.timeout")[1] == "100\n"
    assert run("configuration", "set", "-k", "gateway.timeout", "-d")[0] == 0
    run("pending-changes", "apply", "--ignore-prompt")
    assert run("configuration", "get", "-k", "gateway.timeout")[1] == "7200\n"


@pytest.mark.parametrize("key", ["gateway.timeout", "filestore.log.level"])
def test_a_key_without_effect_is_taken_and_said_to_be_one(run: Run, key: str) -> None:
    """Scripts for the other product set it; whoever reads their output is not misled."""
    value = catalog.default_of(key) or ""
    code, out, err = run("configuration", "set", "-k", key, "-v", value)
    assert (code, out) == (0, "")
    assert f"{key} is accepted for scripts, nothing here uses it\n1 pending change;" in err
    rows = json.loads(run("configuration", "list", "--json")[1])
    (row,) = [row for row in rows if row["key"] == key]
    assert not row["has_effect"]
    assert row["summary"].endswith("; accepted for scripts, nothing here uses it")


def test_a_key_with_an_effect_needs_no_word(run: Run) -> None:
    words = ("configuration", "set", "-k", "vizportal.log.level")
    assert "nothing here" not in run(*words, "-v", "warn")[2]
    code, _, err = run(*words, "-v", "warning")
    assert code == 2
    assert "one of trace, debug, info, warn, error, fatal, off" in err


def test_a_secret_on_the_command_line_works_and_warns(run: Run) -> None:
    """P13."""
    code, _, err = run("configuration", "set", "-k", "redis.password", "-v", "hunter2")
    assert code == 0
    assert "warning" in err
    assert "hunter2" not in err


@pytest.mark.parametrize(
    ("data", "kept"),
    [(b"hunter2\n", "hunter2"), (b"hunter2\r\n", "hunter2"), (b" a \n", " a "), (b"a", "a")],
)
def test_a_password_from_stdin(run: Run, data: bytes, kept: str) -> None:
    command = ("configuration", "set", "-k", "redis.password", "--value-file", "-")
    code, _, err = run(*command, stdin=data)
    assert (code, "warning" in err) == (0, False)
    run("pending-changes", "apply", "--ignore-prompt")
    assert run("configuration", "get", "-k", "redis.password")[1] == f"{kept}\n"


def test_a_certificate_from_a_file_keeps_its_line_break(run: Run, tmp_path: Path) -> None:
    pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    file = tmp_path / "cert.pem"
    file.write_text(pem)
    assert (
        run("configuration", "set", "-k", "ssl.cert.file_bytes", "--value-file", str(file))[0] == 0
    )
    run("pending-changes", "apply", "--ignore-prompt")
    assert run("configuration", "get", "-k", "ssl.cert.file_bytes")[1] == f"{pem}\n"


@pytest.mark.parametrize(
    ("words", "stdin", "code", "says"),
    [
        (["-k", "redis.password"], b"", 2, "nobody to ask"),
        (["-k", "redis.password", "--value-file", "-"], b"\xff", 2, "UTF-8"),
        (["-k", "redis.password", "--value-file", "-"], b"x" * ((4 << 20) + 1), 2, "more than"),
        (["-k", "redis.password", "--value-file", "-"], b"", 2, "empty"),
        (["-k", "redis.password", "--value-file", "-"], b" a \n\n", 2, "more than one line"),
        (["-k", "redis.password", "--value-file", "/nowhere/x"], b"", 41, "cannot read"),
        (["-k", "kms.persistent_store", "-v", "x"], b"", 4, "key management"),
        (["-k", "asset.keys", "-d"], b"", 4, "key management"),
        (["-k", "gateway.timeout", "-v", "soon"], b"", 2, "whole number"),
        (["-k", "gateway.timout", "-v", "1"], b"", 5, "did you mean 'gateway.timeout'"),
        (["-k", "../x", "-v", "1", "-frc"], b"", 2, "no configuration key"),
    ],
)
def test_set_refuses(run: Run, words: list[str], stdin: bytes, code: int, says: str) -> None:
    """Each with its own exit code, and nothing pending."""
    got, out, err = run("configuration", "set", *words, stdin=stdin)
    assert (got, out) == (code, "")
    assert says in err
    assert "no pending changes" in run("pending-changes", "list")[2]


@pytest.mark.parametrize(
    "words",
    [
        ["configuration"],
        ["configuration", "get"],
        ["configuration", "get", "-k", "gateway.timeout", "-k", "redis.port"],
        ["configuration", "set", "-k", "a", "-v", "1", "-d"],
        ["configuration", "frobnicate"],
    ],
)
def test_usage(run: Run, words: list[str]) -> None:
    """Q-30; findings D18: of two values of one option neither is guessed."""
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert "usage: tsm" in err


def test_an_option_without_its_value(run: Run) -> None:
    """Q-30: the data directory, which stands behind it, is not taken for the value."""
    code, out, err = run("pending-changes", "apply", "--request-timeout")
    assert (code, out) == (2, "")
    assert "--request-timeout needs a value before --data-dir" in err


def test_unknown_keys_by_force(run: Run) -> None:
    assert run("configuration", "set", "-k", "my.thing", "-v", "1", "--force-keys")[0] == 0
    assert run("pending-changes", "apply", "--ignore-prompt")[0] == 0
    assert run("configuration", "get", "-k", "my.thing")[1] == "1\n"
    (row,) = [
        row for row in json.loads(run("configuration", "list", "--json")[1]) if not row["summary"]
    ]
    assert (row["key"], row["has_effect"]) == ("my.thing", False)


def test_list(run: Run) -> None:
    """Q-14."""
    code, out, _ = run("configuration", "list")
    assert code == 0
    heading, *lines = out.splitlines()
    assert heading.split() == ["KEY", "STATE", "VALUE"]
    rows = {line.split()[0]: line.split()[1:] for line in lines}
    assert rows["redis.password"] == ["set", "********"]
    assert rows["gateway.timeout"] == ["default", "7200"]
    assert rows["ssl.key.passphrase"] == ["unset", "-"]
    as_json = json.loads(run("configuration", "list", "--json")[1])
    assert {
        "key": "redis.password",
        "value": "********",
        "state": "set",
        "secret": True,
        "dynamic": False,
        "has_effect": True,
        "summary": "password for Redis",
    } in as_json
    assert len(as_json) == len(rows)


def test_list_dynamic_keys(run: Run) -> None:
    names = run("configuration", "list-dynamic-keys")[1].splitlines()
    assert "vizqlserver.log.level" in names
    assert "gateway.timeout" not in names
    assert "filestore.log.level" not in names  # a change of it changes nothing
    assert json.loads(run("configuration", "list-dynamic-keys", "--json")[1]) == names


def test_pending_list(run: Run) -> None:
    assert run("pending-changes", "list", "--json") == (0, "[]\n", "")
    run("configuration", "set", "-k", "vizqlserver.log.level", "-v", "debug")
    code, out, err = run("pending-changes", "list", "--config-only")
    assert (code, out) == (
        0,
        "KEY                    NEEDS       VALUE\nvizqlserver.log.level  no restart  debug\n",
    )
    assert "none of them needs a restart" in err
    run("configuration", "set", "-k", "redis.password", "--value-file", "-", stdin=b"hunter2")
    run("configuration", "set", "-k", "gateway.timeout", "-d")
    code, out, err = run("pending-changes", "list", "--no-header")
    assert out.splitlines() == [
        "gateway.timeout        restart     reset to its default",
        "redis.password         restart     ********",
        "vizqlserver.log.level  no restart  debug",
    ]
    assert "restarts the server" in err
    assert json.loads(run("pending-changes", "list", "--json")[1])[1] == {
        "key": "redis.password",
        "value": "********",
        "needs_restart": True,
    }


# ---- C-20: the prompt ----------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [b"y\n", b"yes\n", b"Y\n"])
def test_a_restart_is_asked_about(run: Run, answer: bytes) -> None:
    """Though the server is stopped."""
    run("configuration", "set", "-k", "gateway.timeout", "-v", "1")
    code, out, err = run("pending-changes", "apply", stdin=answer)
    assert (code, out) == (0, "")
    assert "restarts the server; go on? (y/n)" in err
    assert "no pending" in run("pending-changes", "list")[2]


@pytest.mark.parametrize("answer", [b"n\n", b"\n", b"", b"maybe\n"])
def test_a_no_changes_nothing(run: Run, answer: bytes) -> None:
    run("configuration", "set", "-k", "gateway.timeout", "-v", "1")
    code, out, err = run("pending-changes", "apply", stdin=answer)
    assert (code, out) == (7, "")
    assert "nothing was applied" in err
    assert run("pending-changes", "list", "--no-header")[1] == "gateway.timeout  restart  1\n"


def test_no_restart_no_prompt(run: Run) -> None:
    run("configuration", "set", "-k", "vizqlserver.log.level", "-v", "debug")
    code, _, err = run("pending-changes", "apply")
    assert code == 0
    assert "(y/n)" not in err
    assert "restart" not in err


def test_nothing_to_apply(run: Run) -> None:
    assert run("pending-changes", "apply") == (0, "", "there are no pending changes\n")
    assert run("pending-changes", "discard") == (0, "", "there are no pending changes\n")


def test_discard(run: Run) -> None:
    run("configuration", "set", "-k", "gateway.timeout", "-v", "1")
    assert run("pending-changes", "discard", "--config-only")[2] == (
        "the pending changes are discarded\n"
    )
    assert "no pending" in run("pending-changes", "list")[2]


def test_discarded_while_the_prompt_stood(
    node: Node, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from strongroom.services.configuration.service import ConfigurationService

    run("configuration", "set", "-k", "gateway.timeout", "-v", "1")
    real = ConfigurationService.apply

    def apply(self: ConfigurationService, **options: object) -> object:
        node.configuration.discard()
        return real(self, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(ConfigurationService, "apply", apply)
    code, _, err = run("pending-changes", "apply", "--ignore-prompt")
    assert code == 7
    assert "discarded meanwhile" in err


def test_request_timeout(node: Node, run: Run) -> None:
    """A command that holds the configuration is named; its own exit code (6)."""
    run("configuration", "set", "-k", "gateway.timeout", "-v", "1")
    with node.coordinator.lock("configuration", wait_s=0):
        code, _, err = run(
            "pending-changes", "apply", "--ignore-prompt", "-iw", "--request-timeout", "0"
        )
    assert code == 6
    assert "configuration is locked by os:" in err
    assert run("pending-changes", "apply", "--request-timeout", "soon")[0] == 2


def test_a_damaged_transaction(node: Node, run: Run) -> None:
    node.coordinator.put({versions.PENDING: Change(b"damaged", 0)})
    for verb in ("list", "apply"):
        code, _, err = run("pending-changes", verb)
        assert code == 21
        assert "discard" in err
    assert run("pending-changes", "discard")[0] == 0


def test_a_damaged_database(node: Node, run: Run) -> None:
    node.close()
    node.paths.coordination.write_bytes(b"no database")
    code, out, err = run("configuration", "get", "-k", "gateway.timeout")
    assert (code, out) == (40, "")
    assert "coordination database" in err


def test_a_lost_keystore(node: Node, run: Run) -> None:
    """K-05: without it no secret opens; nor is any setting believed, whose MAC nobody can check (entries.md 2.1)."""
    for path in node.paths.config.rglob("tableauserver.jks"):
        path.unlink()
    assert run("configuration", "get", "-k", "redis.password")[0] == 33
    assert run("configuration", "get", "-k", "gateway.timeout")[0] == 33


@pytest.mark.parametrize(
    ("words", "known"),
    [
        (["get", "-k", "redis.password"], True),
        (["get", "--key", "redis.password"], True),
        (["get", "-k", "-h"], False),
        (["get", "-k"], False),
        (["get", "-k", "redis.password", "--reveal-key-material"], False),
        (["list"], False),
    ],
)
def test_the_command_of_every_script_needs_no_parser(words: list[str], known: bool) -> None:
    assert (configuration.quick(words) is not None) == known


def test_a_key_stands_behind_its_option_or_alone(run: Run) -> None:
    """Findings F6."""
    assert run("configuration", "get", "gateway.timeout") == (0, "7200\n", "")
    assert run("configuration", "set", "gateway.timeout", "-v", "100")[0] == 0
    assert run("configuration", "set", "gateway.timeout", "--default")[0] == 0
    assert run("configuration", "get")[0] == 2
    assert run("configuration", "get", "-k", "gateway.timeout", "redis.port")[0] == 2


def test_a_part_of_a_name_shortens_the_list(run: Run) -> None:
    """Findings F6."""
    code, out, _ = run("configuration", "list", "PGSQL", "--no-header")
    assert code == 0
    assert all("pgsql" in line.lower() for line in out.splitlines())
    rows = json.loads(run("configuration", "list", "pgsql", "--json")[1])
    assert len(rows) == len(out.splitlines()) > 1
    assert run("configuration", "list", "pgsqll")[0] == 5
