"""Public clients that speak JSON and the documented multipart form, in an environment of their own (issue 8, must show 7)."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.servers import ROOT, TestNode

pytestmark = pytest.mark.interop

SCENARIO = Path(__file__).with_name("clients_scenario.py")
PYTHON = ROOT / ".venv-clients" / "bin" / "python"
MEBIBYTE = 1024 * 1024


@pytest.fixture(scope="module")
def files(served_node: TestNode) -> Path:
    """A real .hyper, one that tableau-api-lib sends in parts of five MiB, and a workbook."""
    import pantab
    import pyarrow as pa

    folder = served_node.folder
    table = pa.table({"id": range(50_000), "name": [f"name {one}" for one in range(50_000)]})
    pantab.frame_to_hyper(table, folder / "clients.hyper", table="t")
    small = (folder / "clients.hyper").read_bytes()
    with (folder / "large.hyper").open("wb") as file:
        for _ in range(-(-61 * MEBIBYTE // len(small))):
            file.write(small)
    (folder / "clients.twb").write_bytes(b"<workbook><datasources/></workbook>")
    return folder


def ran(node: TestNode, folder: Path, name: str) -> dict[str, Any]:
    done = subprocess.run(
        [PYTHON, SCENARIO, name, node.url, node.password_file, folder],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    facts: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return facts


def test_tableau_api_lib(served_node: TestNode, files: Path) -> None:
    """Findings T2, K17: it sends and reads nothing but JSON, in one part and in many."""
    facts = ran(served_node, files, "api_lib")
    assert (facts["signed_in"], facts["published"], facts["signed_out"]) == (
        200,
        [201, 201, 201],
        204,
    )
    assert facts["extract"] == [True, "Default"]
    assert {"by api-lib", "in parts"} <= set(facts["listed"])
    assert all(isinstance(value, str) for value in facts["pagination"].values())
    assert (facts["members"], facts["tags"], facts["missing"]) == (
        ["admin"],
        ["one", "two"],
        "404004",
    )
    assert facts["same"] == [True, True]
    assert facts["connections"] == {"connections": {}}


@pytest.mark.parametrize("name", ["api_client", "documented"])
def test_the_documented_multipart_form(served_node: TestNode, files: Path, name: str) -> None:
    """Findings T1: multipart/form-data of an HTTP library, and the lines of the public reference."""
    assert ran(served_node, files, name)["same"] is True
