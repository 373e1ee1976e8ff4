"""`strongroom run`: a program with secrets in its environment or in memory; its signals and exit code (issue 13 D)."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.servers import BIN
from tests.support.vault_door import VaultDoor, vault_door

PASSWORD = "c0rrect-h0rse-of-the-service"
POLICY = 'path "secret/data/app/db" { capabilities = ["read"] }'
SECRET = "DB=secret/app/db#password"


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VaultDoor]:
    with vault_door(tmp_path_factory.mktemp("run")) as door:
        data = {"password": PASSWORD, "port": 5432, "nul": "a\0b", "none": None}
        assert door.call("POST", "secret/data/app/db", {"data": data}).status == 200
        assert door.call("POST", "secret/data/app/gone", {"data": data}).status == 200
        assert door.call("DELETE", "secret/data/app/gone").status == 204
        assert door.call("POST", "kv/old", {"password": "v1"}).status == 204
        door.policy("app", POLICY)
        (door.node.folder / "token").write_text(door.token("app"))
        yield door


def run(
    door: VaultDoor, *words: str, environment: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(BIN / "strongroom"), "run", *words],
        cwd=door.node.folder,
        env=door.node.variables(environment),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def elsewhere(door: VaultDoor) -> tuple[str, ...]:
    return "--url", door.url, "--token-file", "token"


@pytest.mark.parametrize("wire", [False, True], ids=["node", "wire"])
def test_a_program_has_the_secrets_and_its_words_and_code_are_its_own(
    door: VaultDoor, wire: bool
) -> None:
    options = elsewhere(door) if wire else ()
    show = 'printf "%s %s %s %s" "$DB" "$PORT" "$1" "$2"; cat "$FILE"; exit 3'
    port, file = "PORT=secret/app/db#port", "FILE=secret/app/db#password"
    done = run(
        door,
        *(*options, "--secret", SECRET, "--secret", port, "--secret-file", file),
        *("--", "sh", "-c", show, "sh", "--", "-h"),
    )
    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout == f"{PASSWORD} 5432 -- -h{PASSWORD}"
    read = [one for one in door.events() if one["id"] == "SERVICE_SECRET_READ"][-1]
    assert read["details"]["path"] == "secret/app/db"
    assert read["actor"].startswith("service:" if wire else "os:")


def test_a_file_in_memory_is_read_by_whatever_the_program_starts_and_by_nothing_written_to(
    door: VaultDoor,
) -> None:
    script = (
        "import os, subprocess; path = os.environ['F']; "
        "print(subprocess.run(['cat', path], capture_output=True, text=True).stdout)\n"
        "try: os.pwrite(int(path.rpartition('/')[2]), b'x', 0)\n"
        "except OSError as error: print(error.errno)"
    )
    done = run(door, "--secret-file", "F=secret/app/db#password", "--", "python3", "-c", script)
    assert done.stdout == f"{PASSWORD}\n1\n", done.stderr


def test_no_secret_is_in_an_argument_or_in_a_file(door: VaultDoor) -> None:
    show = 'tr "\\0" " " </proc/$$/cmdline; test -n "$DB"'
    done = run(door, "--secret", SECRET, "--", "sh", "-c", show)
    assert done.returncode == 0
    assert PASSWORD not in done.stdout
    holds = [
        path
        for path in door.node.folder.rglob("*")
        if path.is_file() and PASSWORD.encode() in path.read_bytes()
    ]
    assert holds == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_is_the_programs_own(door: VaultDoor, number: signal.Signals) -> None:
    process = subprocess.Popen(
        [str(BIN / "strongroom"), "run", "--secret", SECRET, "--", "sh", "-c", "echo $$; exec cat"],
        cwd=door.node.folder,
        env=door.node.variables(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert int(process.stdout.readline()) == process.pid, "the program took the command's place"
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == -number


def test_the_environment_is_what_it_was_and_the_end_of_a_pipe_ends_a_program(
    door: VaultDoor,
) -> None:
    """Variables of client libraries are taken out for our own work (K4); Python ignores SIGPIPE."""
    show = 'echo "$PGHOST$OWN"; yes | head -n 1'
    own = {"PGHOST": "db", "OWN": "x"}
    done = run(door, "--", "bash", "-o", "posix", "-c", show, environment=own)
    assert (done.returncode, done.stdout) == (0, "dbx\ny\n")
    status = run(door, "--", "grep", "SigIgn", "/proc/self/status").stdout.split()[1]
    assert int(status, 16) & (1 << (signal.SIGPIPE - 1)) == 0


MARK = 'touch "$OUT/started"'
REFUSED = {
    "no such path": (["--secret", "A=secret/app/nothing#x"], 5, "secret/app/nothing"),
    "no such field": (["--secret", "A=secret/app/db#nothing"], 5, "no field 'nothing'"),
    "an empty field": (["--secret", "A=secret/app/db#none"], 5, "no field 'none'"),
    "deleted": (["--secret", "A=secret/app/gone#password"], 5, "was deleted"),
    "no mount": (["--secret", "A=nowhere/app#x"], 5, "no secret at nowhere/app"),
    "no secrets there": (["--secret", "A=transit/app#x"], 5, "transit holds no secrets"),
    "no variable": (["--secret", "A-B=secret/app/db#x"], 2, "ENV=PATH#FIELD"),
    "no field": (["--secret", "A=secret/app/db"], 2, "ENV=PATH#FIELD"),
    "twice": (["--secret", SECRET, "--secret-file", SECRET], 2, "DB is given twice"),
    "a zero": (["--secret", "A=secret/app/db#nul"], 2, "does not fit into a variable"),
    "identity alone": (["--token-file", "token"], 2, "goes with --url"),
    "url alone": (["--url", "http://127.0.0.1:9"], 2, "needs --token-file"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_said_before_anything_is_started(
    door: VaultDoor, tmp_path: Path, case: str
) -> None:
    options, code, words = REFUSED[case]
    where = {"OUT": str(tmp_path)}
    done = run(door, *options, "--", "sh", "-c", MARK, environment=where)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert PASSWORD not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_a_token_may_not_read_is_said_with_the_rule_that_is_missing(door: VaultDoor) -> None:
    done = run(door, *elsewhere(door), "--secret", "A=kv/old#password", "--", "true")
    assert done.returncode == 4
    assert "the token in token may not use the secret 'kv/old'" in done.stderr
    assert 'path "kv/old" { capabilities = ["read"] }' in done.stderr


def test_a_role_signs_in(door: VaultDoor) -> None:
    made = door.node.run("strongroom", "access", "approle", "create", "runner", "--policy", "app")
    ids = dict(line.split(": ") for line in made.out.splitlines())
    (door.node.folder / "secret-id").write_text(ids["secret id"])
    role = ("--role-id", ids["role id"], "--secret-id-file", "secret-id")
    done = run(door, "--url", door.url, *role, "--secret", SECRET, "--", "printenv", "DB")
    assert done.stdout == f"{PASSWORD}\n", done.stderr
    (door.node.folder / "secret-id").write_text("wrong")
    done = run(door, "--url", door.url, *role, "--secret", SECRET, "--", "true")
    assert done.returncode == 3
    assert f"refuses the sign-in of the role {ids['role id']}" in done.stderr


def test_a_program_that_is_not_there_ends_as_in_a_shell(door: VaultDoor, tmp_path: Path) -> None:
    done = run(door, "--", "no-such-program")
    assert done.returncode == 127
    assert "there is no program 'no-such-program'" in done.stderr
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF")
    broken.chmod(0o755)
    done = run(door, "--", str(broken))
    assert done.returncode == 126
    assert "cannot be started" in done.stderr


def test_without_a_secret_a_program_is_run_all_the_same(door: VaultDoor) -> None:
    assert run(door, "--", "pwd").stdout == f"{os.path.realpath(door.node.folder)}\n"
