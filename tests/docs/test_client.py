"""The programs of docs/reference/client.md run as they stand with the distribution, and say what the page says."""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts import client_source
from strongroom import client
from tests.support import fault_server, servers
from tests.support.servers import TestNode
from tests.support.tls import Authority

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference/client.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", PAGE, re.DOTALL)


@dataclass
class Place:
    """A folder with what the programs expect, and what stands for their node."""

    folder: Path
    node: TestNode
    url: str
    source: Path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("client")
    node = servers.create_node(folder)
    commands = re.search(r"```\n(\$ .*?)```", PAGE, re.DOTALL)
    assert commands is not None
    said = [node.run(*line.split()[1:]) for line in commands.group(1).splitlines()]
    (folder / "token").write_text(said[-1].last_word + "\n")
    source = client_source.lay_out(ROOT, folder / "distribution") / "src"
    authority = Authority(folder / "authority")
    (folder / "ca.pem").write_bytes(authority.ca_file.read_bytes())
    with (
        servers.serving(node),
        fault_server.running(fault_server.forward_to(node.url), authority) as front,
    ):
        yield Place(folder, node, front.url, source)


def test_every_program_says_what_it_prints() -> None:
    assert len(PROGRAMS) == PAGE.count("```python") >= 4


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_a_program_of_the_page(place: Place, number: int) -> None:
    program, expected = PROGRAMS[number]
    program = program.replace("https://node.example:8443", place.url)
    program = program.replace("/var/opt/strongroom", str(place.node.home))
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=place.folder,
        env=place.node.variables({"PYTHONPATH": str(place.source)}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, expected), done.stderr


def test_every_public_name_is_on_the_page() -> None:
    shown = set(re.findall(r"\w+", PAGE))
    left_out = {"Header", "DEFAULT_SEGMENT_BYTES"}  # they are told by the signatures
    errors = {name for name in client.__all__ if name.endswith("Error")}
    assert set(client.__all__) - shown - left_out - errors == set()
