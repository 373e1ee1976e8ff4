"""F13: `tsm configuration get` of a secret pays for nothing that it does not use."""

import subprocess
import sys
from pathlib import Path

from tests.support import unmeasured
from tests.support.small_node import create_small_node

BANNED = {
    "alembic",
    "argparse",
    "argon2",
    "asyncio",
    "concurrent.futures",
    "cryptography.x509",
    "dbos",
    "difflib",
    "email",
    "getpass",
    "http",
    "httptools",
    "importlib.metadata",
    "logging",
    "multipart",
    "pyrage",
    "rich",
    "shamir_mnemonic",
    "shutil",
    "socket",
    "sqlalchemy",
    "ssl",
    "starlette",
    "strongroom.config.pending",
    "strongroom.config.yaml_files",
    "strongroom.consumers",
    "strongroom.kms",
    "strongroom.repository.engine",
    "strongroom.repository.unit_of_work",
    "strongroom.doors.http",
    "strongroom.doors.tableau",
    "subprocess",
    "tempfile",
    "uuid",
    "uvicorn",
    "yaml",
    "_strptime",
}

SCRIPT = """
import sys
before = set(sys.modules)
from strongroom.cli import dispatch
code = dispatch.main("tsm", ["configuration", "get", "-k", sys.argv[1]])
sys.stderr.write("\\n".join(sorted(set(sys.modules) - before)))
sys.exit(code)
"""


def imported_by(key: str, home: Path, printed: str) -> set[str]:
    """The modules that a reading of this parameter loads; it prints this value."""
    # whoever measures coverage imports what they like
    environment = unmeasured.environment() | {"STRONGROOM_HOME": str(home)}
    line = [sys.executable, "-c", SCRIPT, key]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"{printed}\n"
    return set(done.stderr.split())


def test_get_of_a_secret_imports_little(tmp_path: Path) -> None:
    node = create_small_node(tmp_path)
    secret = node.configuration.open_secret("redis.password").reveal().decode()
    node.close()
    imported = imported_by("redis.password", tmp_path, secret)
    assert "strongroom.secrets.enc" in imported
    assert imported & BANNED == set()
    assert len(imported) < 210


def test_get_of_a_plain_value_opens_no_event_log(tmp_path: Path) -> None:
    """Only what leaves an event pays for the log, its tree and its signatures (issue 10: cost of format 2)."""
    create_small_node(tmp_path).close()
    imported = imported_by("gateway.timeout", tmp_path, "7200")
    assert not imported & (
        BANNED | {"strongroom.eventlog.jsonl", "strongroom.eventlog.checkpoints"}
    )
