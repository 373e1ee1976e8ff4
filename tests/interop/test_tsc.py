"""The real tableauserverclient, 0.41 beside us and 0.42 in an environment of its own, and a real .hyper and .parquet."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.servers import ROOT, TestNode

pytestmark = pytest.mark.interop

SCENARIO = Path(__file__).with_name("tsc_scenario.py")
PYTHONS = {
    "0.41": Path(sys.executable),
    "0.42": ROOT / ".venv-tsc042" / "bin" / "python",
}
ROWS = 100_000


@pytest.fixture(scope="module")
def real_files(served_node: TestNode) -> Path:
    """A real .hyper of a hundred thousand rows and a .parquet of the same."""
    import pantab
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({"id": range(ROWS), "name": [f"name {one}" for one in range(ROWS)]})
    pantab.frame_to_hyper(table, served_node.folder / "tsc.hyper", table="t")
    parquet.write_table(table, served_node.folder / "tsc.parquet")
    return served_node.folder


@pytest.mark.parametrize("version", PYTHONS)
def test_a_script_with_tsc(served_node: TestNode, real_files: Path, version: str) -> None:
    import pantab

    done = subprocess.run(
        [PYTHONS[version], SCENARIO, served_node.url, served_node.password_file, real_files],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        cwd=real_files,
    )
    assert done.returncode == 0, done.stderr
    facts: dict[str, Any] = json.loads(done.stdout[done.stdout.index('{"version"') :])
    assert facts["version"].startswith(version)
    assert (facts["api"], facts["mode"]) == ("3.26", "enforced")
    # the file that came back is a database for the real Hyper
    assert (
        len(pantab.frame_from_hyper(real_files / "back.hyper", table="t", return_type="pyarrow"))
        == ROWS
    )
    items = facts["items"]
    assert items["encrypted"] is True
    assert items["same"] is True
    assert (items["suffix"], items["connections"], items["found"]) == (".hyper", 0, ["tsc"])
    assert int(items["as_job"]) == 0
    jobs = facts["jobs"]
    assert jobs["decrypt"].startswith("409")
    assert jobs["types"] == ["EncryptExtracts", "RefreshExtract", "RekeyExtracts"]
    assert (jobs["codes"], jobs["times"]) == ([0], True)
    modes = facts["modes"]
    assert (modes["enabled"], modes["disabled"]) == ("enabled", "disabled")
    assert (modes["False"], modes["True"]) == (False, True)
    assert (modes["left"], modes["refused"][:3]) == ([], "403")
    assert facts["rest"] == {
        "members": ["bob"],
        "users": ["admin"],
        "changed": "changed",
        "flows": 0,
        "workbooks": 0,
    }
