"""Every command in the documents runs as written; every link leads somewhere; the reference is what the code says."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest

from scripts import client_source, links, reference
from tests.docs import transcript
from tests.support import clouds, forked_shell, vault_programs
from tests.support.cluster_services import make_cluster_services
from tests.support.components.postgres import Postgres, running_postgres
from tests.support.components.zookeeper import running_zookeeper
from tests.support.components.zookeeper_ensemble import Ensemble, running_ensemble
from tests.support.servers import BIN, ROOT, TestNode, create_node, serving
from tests.support.store_kinds import KINDS, Kind

DOCUMENTS = [path for path in links.documents() if transcript.setup_of(path)]
SITE = "Sales"
#: A program that commands of the document run, by the name in its first line.
_PROGRAM = re.compile(r"^```python\n# (\w+\.py)\n(.*?)^```", re.MULTILINE | re.DOTALL)
#: Setups that are `published` with a cloud around it.
CLOUDS: Mapping[str, Callable[[TestNode], AbstractContextManager[object]]] = {
    "aws": clouds.aws,
    "azure": clouds.azure,
}
#: Setups with an extract on the disk and an empty container, by the kind of the store.
BUCKETS: Mapping[str, Kind] = {
    "objects": KINDS["S3"],
    **{f"objects{kind.scheme}": kind for kind in KINDS.values() if kind.scheme != "s3"},
}


@pytest.mark.interop
@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_every_command_in_the_documents_runs_as_written(
    path: Path,
    tmp_path: Path,
    small_hyper: Path,
    small_parquet: Path,
    request: pytest.FixtureRequest,
) -> None:
    setup = transcript.setup_of(path)
    if setup == "empty":  # a reader stands in the project's folder
        for name in ("demo", "deploy", ".venv"):
            (tmp_path / name).symlink_to(ROOT / name)
    else:
        shutil.copy(small_hyper, tmp_path / "flights.hyper")
        shutil.copy(small_parquet, tmp_path / "flights.parquet")
    for name, program in _PROGRAM.findall(path.read_text()):
        (tmp_path / name).write_text(program)
    with _prepared(setup, tmp_path, request) as node, _programs(setup) as programs:
        shell = transcript.Shell(tmp_path, _environment(node, *programs))
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


@pytest.mark.parametrize("name", ["upgrade", "remove-a-node", "add-a-node", "backup-and-restore"])
def test_there_is_a_page_that_is_run_and_found_from_the_readme(name: str) -> None:
    """Findings F7: there were none on upgrading, going back and removing; F2: backups were in several places."""
    page = links.ROOT / "docs/howto" / f"{name}.md"
    assert page in DOCUMENTS
    assert list(transcript.steps(page))
    assert f"docs/howto/{name}.md" in (links.ROOT / "README.md").read_text()


def test_upgrading_says_how_to_go_back() -> None:
    """Findings F7."""
    text = (links.ROOT / "docs/howto/upgrade.md").read_text()
    assert "\n## Upgrade\n" in text
    assert "\n## Go back\n" in text


BEHIND = [
    pytest.param(step, id=path.stem)
    for path in DOCUMENTS
    for step in transcript.steps(path)
    if ">(" in step.command
]


def test_there_are_commands_that_write_into_another_one() -> None:
    assert BEHIND


@pytest.mark.parametrize("step", BEHIND)
def test_what_goes_on_behind_a_command_is_waited_for(step: transcript.Step) -> None:
    """Findings D4: a shell does not wait for what stands in `>( )`; the next command found half a file, or none."""
    assert step.command.endswith("; wait $!")


@pytest.mark.interop
@pytest.mark.parametrize("step", BEHIND)
def test_the_form_that_waits_does(step: transcript.Step, tmp_path: Path) -> None:
    """Findings D4: with an age that has read everything long before it writes anything."""
    node = create_node(tmp_path)
    slow, age = tmp_path / "slow" / "age", shutil.which("age")
    slow.parent.mkdir()
    slow.write_text(f'#!/bin/sh\ncat >read\nsleep 2\nexec {age} "$@" <read\n')
    slow.chmod(0o755)
    own = _environment(node)
    shell = transcript.Shell(tmp_path, {**own, "PATH": f"{slow.parent}:{own['PATH']}"})
    try:
        assert shell.run(transcript.Step("age-keygen -o node-key.txt", 0, ()))[0] == 0
        code, lines = shell.run(step)
        assert code == 0, lines
        written = (tmp_path / "piped.age").read_bytes()
    finally:
        shell.close()
    opened = [str(age), "--decrypt", "--identity", "node-key.txt"]
    subprocess.run(opened, cwd=tmp_path, input=written, capture_output=True, check=True)


def test_the_setups_are_known() -> None:
    assert {transcript.setup_of(path) for path in DOCUMENTS} <= {
        "empty",
        "cluster",
        "clustered",
        "clients",
        "components",
        *BUCKETS,
        "node",
        "served",
        "published",
        "vault",
        *CLOUDS,
    }


def test_every_link_leads_somewhere() -> None:
    assert [line for path in links.documents() for line in links.broken(path)] == []


@pytest.mark.parametrize("name", sorted(reference.pages()))
def test_the_reference_is_what_the_code_says(name: str) -> None:
    """`make docs` writes it anew."""
    assert (reference.FOLDER / name).read_text() == reference.pages()[name]


def _environment(node: TestNode, *programs: Path) -> dict[str, str]:
    path = ":".join(map(str, (*programs, BIN, node.variables()["PATH"])))
    server = {"SERVER": node.url} if node.url else {}
    return node.variables({"PATH": path, "NO_COLOR": "1", "COLUMNS": "100", **server})


@contextmanager
def _programs(setup: str) -> Iterator[Sequence[Path]]:
    """Folders with quicker commands; a reader of the README has those of the project's folder."""
    if setup == "empty":
        yield ()
        return
    with (
        tempfile.TemporaryDirectory(prefix="commands-") as folder,
        forked_shell.commands(Path(folder)) as programs,
    ):
        yield (
            programs,
            *([vault_programs.commands(programs / "others")] if setup == "vault" else []),
        )


@contextmanager
def _prepared(setup: str, folder: Path, request: pytest.FixtureRequest) -> Iterator[TestNode]:
    """What a document's commands find."""
    if setup == "empty":
        yield TestNode(folder)
        return
    node = _node_of_programs(folder) if setup == "clients" else create_node(folder)
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
            node.environment["ZOOKEEPER"] = stack.enter_context(running_zookeeper()).hosts
        elif setup == "cluster":
            _give_services(
                node,
                stack.enter_context(running_ensemble()),  # its passwords change
                stack.enter_context(running_postgres()),
            )
        elif setup in BUCKETS:
            _give_a_bucket(node, stack, BUCKETS[setup])
        elif setup == "clustered":
            ensemble: Ensemble = request.getfixturevalue("ensemble")
            postgres: Postgres = request.getfixturevalue("postgres")
            node.run("strongroom", "cluster", "enable", *_give_services(node, ensemble, postgres))
            stack.enter_context(serving(node))
        elif setup not in {"node", "vault", "clients"}:
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


def _node_of_programs(folder: Path) -> TestNode:
    """A node beside programs that import the distribution `strongroom-client`."""
    node = create_node(folder)
    source = client_source.lay_out(ROOT, folder / "strongroom-client") / "src"
    node.environment["PYTHONPATH"] = str(source)
    return node


def _give_a_bucket(node: TestNode, stack: ExitStack, kind: Kind) -> None:
    """An extract on the disk, no server, and an empty bucket with its credentials."""
    with serving(node):
        node.login("")
        node.tabcmd("publish", "flights.hyper", "-n", "Flights", "--overwrite")
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="store-"))
    server = stack.enter_context(kind.running(Path(folder)))
    node.environment |= {**server.environment, "STORE": kind.address(server.url, "docs")}


def _give_services(node: TestNode, ensemble: Ensemble, postgres: Postgres) -> list[str]:
    """What an operator of a cluster has at hand: certificates, files with passwords, and the addresses; as options."""
    services = make_cluster_services(ensemble, postgres, node.folder)
    (node.folder / "tls").mkdir()
    for source, target in (
        ("ca.pem", "ca.pem"),
        ("client.pem", "node1.pem"),
        ("client.pem", "node2.pem"),
    ):
        shutil.copy(services.ensemble.folder / source, node.folder / "tls" / target)
    node.environment |= {"ZOOKEEPER": services.hosts, "POSTGRES": services.dsn}
    return services.options
