"""What people who publish and refresh touch besides, by the real tableauserverclient (findings T3, T4, T5)."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.interop.test_tsc import PYTHONS
from tests.support.servers import TestNode

pytestmark = pytest.mark.interop

SCENARIO = Path(__file__).with_name("tsc_more.py")


def test_a_script_beyond_publishing(served_node: TestNode) -> None:
    done = subprocess.run(
        [PYTHONS["0.42"], SCENARIO, served_node.url, served_node.password_file, served_node.folder],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        cwd=served_node.folder,
    )
    assert done.returncode == 0, done.stderr
    facts: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    assert facts["tags"] == ["three", "two words"]
    assert facts["connection"] == ["db.example", "5432", "writer", True]
    assert facts["permissions"][1] == "user"
    assert facts["members"] == [2, ["more"], ["more2"]]
    assert facts["project"] is True
    assert (facts["with"], facts["by_tag"]) == (["more"], ["more"])
    assert set(facts["empty"]) == {0}
    assert facts["refused"] == {"schedule": "405000", "permission": "405000", "certified": "400003"}
