"""Every command in the documents runs as written; every link leads somewhere; the reference is what the code says."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest

from scripts import links, reference
from tests.docs import transcript
from tests.support import clouds
from tests.support.components.postgres import running_postgres
from tests.support.components.zookeeper import running_zookeeper
from tests.support.servers import BIN, ROOT, TestNode, create_node, serving

DOCUMENTS = [path for path in links.documents() if transcript.setup_of(path)]
SITE = "Sales"
#: Setups that are `published` with a cloud around it.
CLOUDS: Mapping[str, Callable[[TestNode], AbstractContextManager[object]]] = {
    "aws": clouds.aws,
    "azure": clouds.azure,
}


@pytest.mark.interop
@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_every_command_in_the_documents_runs_as_written(
    path: Path, tmp_path: Path, small_hyper: Path, small_parquet: Path
) -> None:
    if transcript.setup_of(path) == "empty":  # a reader stands in the project's folder
        for name in ("demo", ".venv"):
            (tmp_path / name).symlink_to(ROOT / name)
    else:
        shutil.copy(small_hyper, tmp_path / "flights.hyper")
        shutil.copy(small_parquet, tmp_path / "flights.parquet")
    with _prepared(transcript.setup_of(path), tmp_path) as node:
        shell = transcript.Shell(tmp_path, _environment(node))
        try:
            for step in transcript.steps(path):
                code, lines = shell.run(step)
                said = "\n".join(lines)
                assert code == step.code, f"$ {step.command}\n{said}"
                assert transcript.agrees(step.expected, lines), f"$ {step.command}\n{said}"
        finally:
            shell.close()


def test_the_readme_and_every_howto_have_a_transcript() -> None:
    names = {path.name for path in DOCUMENTS}
    howtos = {path.name for path in (links.ROOT / "docs/howto").glob("*.md")}
    elsewhere = {name for name in howtos if name.startswith("root")}  # need somebody's cloud
    assert {"README.md", *howtos} - elsewhere - {"systemd.md"} <= names


def test_the_setups_are_known() -> None:
    assert {transcript.setup_of(path) for path in DOCUMENTS} <= {
        "empty",
        "components",
        "node",
        "served",
        "published",
        *CLOUDS,
    }


def test_every_link_leads_somewhere() -> None:
    assert [line for path in links.documents() for line in links.broken(path)] == []


@pytest.mark.parametrize("name", sorted(reference.pages()))
def test_the_reference_is_what_the_code_says(name: str) -> None:
    """`make docs` writes it anew."""
    assert (reference.FOLDER / name).read_text() == reference.pages()[name]


def _environment(node: TestNode) -> dict[str, str]:
    path = node.variables()["PATH"]
    server = {"SERVER": node.url} if node.url else {}
    return node.variables({"PATH": f"{BIN}:{path}", "NO_COLOR": "1", "COLUMNS": "100", **server})


@contextmanager
def _prepared(setup: str, folder: Path) -> Iterator[TestNode]:
    """What a document's commands find."""
    if setup == "empty":
        yield TestNode(folder)
        return
    node = create_node(folder)
    with ExitStack() as stack:
        if setup in CLOUDS:
            stack.enter_context(CLOUDS[setup](node))
        if setup == "components":
            server = stack.enter_context(running_postgres())
            where = {
                "PGHOST": str(server.sockets),
                "PGPORT": str(server.port),
                "PGUSER": "postgres",
            }
            node.environment |= where
            ensemble = stack.enter_context(running_zookeeper())
            node.environment["ZOOKEEPER"] = ensemble.hosts
        elif setup != "node":
            stack.enter_context(serving(node))
            node.run("strongroom", "sites", "create", SITE)
            node.run("strongroom", "sites", "set-mode", SITE, "enforced")
            # the change of mode has a job, which would meddle with what the document does
            for job in node.run("strongroom", "jobs", "list", "--json").json:
                node.run("strongroom", "jobs", "wait", job["id"])
        if setup in {"published", *CLOUDS}:
            node.login(SITE.lower())
            node.tabcmd("publish", "flights.hyper", "-n", "Flights", "--overwrite")
        yield node
