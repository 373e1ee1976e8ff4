"""A kind of root, or of consumer, is its module and one line of a registry: nothing else in the source knows it (ADR 26)."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

import grimp
import pytest

from strongroom.consumers import registry as consumers
from strongroom.roots import registry
from strongroom.roots.registry import Row
from strongroom.secrets import catalog as secrets
from tests.structure.test_repository import ROOT

SOURCE = ROOT / "src" / "strongroom"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
#: The core knows these by name, from `roots.registry`: where a node's own key is, and what `recover` brings along.
OWN = {registry.LOCAL, registry.AGE, registry.SHARES}
ASKED = sorted(row.kind for row in registry.ROWS if row.kind not in OWN)
#: A kind's word where it is no root's name.
ELSEWHERE = {
    "system/redaction.py": "tokens that show by their own shape what they are",
    "roots/managed_identity.py": "the SDK that a root and an object store share",
}
#: Ports whose providers are of the same clouds as roots are, and share their extras.
SAME_CLOUDS = ("objectstore",)
#: "local" as the domain of people who sign in with a password of this installation, a word of the wire.
LOCAL_PEOPLE = (
    "config/import_rules.py",
    "repository/gateways/content.py",
    "repository/gateways/directory.py",
    "doors/tableau/people.py",
)
#: Kinds of consumers, by the stem of their modules' names.
COMPONENTS = {row.module or row.kind: row.kind for row in consumers.ROWS}
every_row = pytest.mark.parametrize("row", registry.ROWS, ids=lambda row: row.kind)


@cache
def graph() -> grimp.ImportGraph:
    """The imports of the source.

    Not made when the tests are collected: the library keeps threads, which a fork of the process that collected has not
    got and would wait for (ADR 67).
    """
    return grimp.build_graph(
        "strongroom",
        include_external_packages=True,
        exclude_type_checking_imports=True,
        cache_dir=None,
    )


def is_of(module: str, kind: str, port: str = "roots") -> bool:
    """Whether a module is a provider's: its own, or a part of it."""
    stem = f"strongroom.{port}.{kind}"
    return module == stem or module.startswith(f"{stem}_")


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """The texts in a module's code; docstrings and comments are for people."""
    tree = ast.parse(path.read_text())
    for one in ast.walk(tree):
        body = getattr(one, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            body.pop(0)
    for one in ast.walk(tree):
        if isinstance(one, ast.Constant) and isinstance(one.value, str):
            yield one.lineno, one.value


def naming(words: list[str], port: str) -> list[str]:
    """Places outside of the providers and the registry whose code has one of some words."""
    pattern = re.compile(rf"(?<![a-z0-9])({'|'.join(words)})(?![a-z0-9])", re.IGNORECASE)
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        module = f"strongroom.{name.removesuffix('.py').replace('/', '.')}"
        own = any(is_of(module, kind, of) for kind in words for of in (port, *SAME_CLOUDS))
        if own or name in {f"{of}/registry.py" for of in (port, *SAME_CLOUDS)} | {*ELSEWHERE}:
            continue
        found += [f"{name}:{line} {text!r}" for line, text in texts(path) if pattern.search(text)]
    return found


def test_no_other_module_names_a_kind() -> None:
    """Not as a key of a table, a branch, an option, an example or a word of a message."""
    assert naming(ASKED, "roots") == []
    assert naming(["kms"], "roots")  # the search finds what is there


def test_the_kinds_that_the_core_knows_are_named_by_the_registry() -> None:
    """A node's own key, and what `recover` brings along: who needs one of them imports its name."""
    found = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if OWN & {text for _, text in texts(path)}
    }
    assert found - {"roots/registry.py"} == set(LOCAL_PEOPLE)


NAMED_BY_PEOPLE = {
    "cli/node/cluster.py",
    "cli/node/cluster_passwords.py",
    "cli/node/cluster_status.py",
    "cluster/services_file.py",
    "services/nodes/standing.py",
}
REPOSITORY = {"repository/gateways/base.py", "repository/postgres.py"}


def test_no_other_module_names_a_kind_of_consumer_or_its_settings() -> None:
    """Secret parameters are not searched for: the documents of the other product list them, with and without a component."""
    own = {
        name for kind in consumers.kinds() for name in (kind.kind, *(s.name for s in kind.settings))
    }
    assert len(own) > 20
    found = {
        f"{path.relative_to(SOURCE).as_posix()}:{line} {text!r}"
        for path in SOURCE.rglob("*.py")
        if not path.is_relative_to(SOURCE / "consumers")
        # the coordination service may be of the same kind as a consumer, and needs the same extra
        and not path.is_relative_to(SOURCE / "coordination" / "zookeeper")
        # people name the services of a cluster by their products
        and path.relative_to(SOURCE).as_posix() not in NAMED_BY_PEOPLE
        for line, text in texts(path)
        if text in own
    }
    # SQLAlchemy's name of the database, which a repository may lie in
    assert {one.split(":")[0] for one in found if one.endswith(" 'postgresql'")} <= REPOSITORY
    assert {one for one in found if not one.endswith(" 'postgresql'")} == set()


@pytest.mark.parametrize(
    ("port", "stem"),
    [*(("roots", kind) for kind in ASKED), *(("consumers", stem) for stem in COMPONENTS)],
)
def test_nobody_imports_a_provider(port: str, stem: str) -> None:
    """It is imported when somebody asks for its kind; an import by name would bring it to everybody."""
    modules = [one for one in graph().modules if is_of(one, stem, port)]
    assert modules
    importers = {by for one in modules for by in graph().find_modules_that_directly_import(one)}
    assert {by for by in importers if not is_of(by, stem, port)} == set()


def test_a_kind_of_consumer_is_what_its_line_says() -> None:
    kinds = list(consumers.kinds())
    assert [one.kind for one in kinds] == [row.kind for row in consumers.ROWS]
    settings = [one.name for kind in kinds for one in kind.settings]
    assert len(set(settings)) == len(settings)
    passwords = [one.name for kind in kinds for one in kind.passwords]
    # what is asked of such a name is answered by its ending: no component's module is imported for it
    assert [name for name in passwords if not secrets.is_secret(name)] == []
    nothing = [kind.build(lambda _: None, lambda _: ()) for kind in kinds]
    assert nothing == [()] * len(kinds)


_S3 = "strongroom.objectstore.s3"


def test_each_library_of_a_provider_has_one_door() -> None:
    """What is not a dependency of everybody's is imported by one provider, whose extra brings it."""
    names = {re.split(r"[^A-Za-z0-9_.-]", one)[0].lower() for one in PROJECT["dependencies"]}
    by_module = metadata.packages_distributions()
    doors: dict[str, set[str]] = {}
    for module in graph().modules:
        if module.startswith("strongroom") or module in sys.stdlib_module_names:
            continue
        if names & {one.lower() for one in by_module.get(module, ())}:
            continue
        for by in graph().find_modules_that_directly_import(module):
            doors.setdefault(module, set()).add(re.sub(r"_\w+$", "", by))
    # the HTTP library of two SDKs, and of the one door through which roots ask: a contract of its own; so has the library
    # of a consumer and of the repository
    doors.pop("requests")
    # the coordination service beside the consumer of its users, and the walk of both: a contract of its own, too
    assert doors.pop("kazoo") == {
        "strongroom.consumers.zookeeper",
        "strongroom.coordination.zookeeper.session",
        "strongroom.service_users.zookeeper",
    }
    # the object store beside the root, both by one way to credentials
    assert doors.pop("boto3") == {"strongroom.roots.aws", "strongroom.roots.boto", _S3}
    assert doors.pop("botocore") == {
        "strongroom.roots.aws",
        "strongroom.roots.boto",
        _S3,
    }
    assert doors.pop("azure") == {
        "strongroom.roots.azure",
        "strongroom.roots.managed",
        "strongroom.objectstore.azure",
    }
    assert doors.pop("google") == {"strongroom.roots.gcp", "strongroom.objectstore.gcp"}
    doors.pop("psycopg")
    # of the client's distribution, each with an extra of its own
    assert doors.pop("pyarrow") == {"strongroom.client.parquet"}
    assert doors.pop("keyring") == {"strongroom.client.keyring"}
    providers = {f"strongroom.roots.{kind}" for kind in ASKED}
    providers |= {f"strongroom.consumers.{stem}" for stem in COMPONENTS}
    assert len(doors) >= 4
    assert {module: by for module, by in doors.items() if len(by) > 1 or not by <= providers} == {}


@every_row
def test_a_kind_is_what_its_line_says(row: Row) -> None:
    kind = registry.find(row.kind)
    assert kind.kind == row.kind
    assert row.kind not in {"", *(other.kind for other in registry.ROWS if other is not row)}
    assert (kind.of_wrap is not None) is row.only_wraps
    assert (kind.build is None) is (row.kind == registry.LOCAL)
    names = [option.name for option in kind.options]
    assert len(set(names)) == len(names)
    if kind.version:
        assert "key" in re.compile(kind.version).groupindex


def test_each_extra_is_the_one_that_a_module_asks_for() -> None:
    """`needed(…)` tells what to install: a name that is no extra would lead nowhere."""
    named = {
        text
        for path in sorted(SOURCE.rglob("*.py"))
        for text in re.findall(r'(?<![.\w])needed\(\s*"[^"]*",\s*"([^"]*)"', path.read_text())
    }
    assert named == set(PROJECT["optional-dependencies"])


PROVIDERS = ("strongroom.roots.", "strongroom.consumers.", "boto3", "azure", "google", "hvac")
SCRIPT = """
import sys
from strongroom.cli import dispatch
try:
    dispatch.main(sys.argv[1], sys.argv[2:])
finally:
    sys.stderr.write("\\nimported: " + " ".join(sorted(sys.modules)))
"""


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("strongroom --help", set[str]()),
        ("tsm security --help", set[str]()),
        ("tsm security kms set-mode --help", set[str]()),
        ("tsm security kms roots add --help", set[str]()),
        ("tsm security kms status --help", set[str]()),
        ("tsm security kms set-mode tpm --help", {"tpm"}),
        ("tsm security kms roots add aws --help", {"aws"}),
    ],
)
def test_a_provider_is_imported_when_its_kind_is_asked_for(line: str, asked: set[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *line.split()], capture_output=True, text=True, check=True
    )
    imported = done.stderr.partition("imported: ")[2].split()
    assert "strongroom.cli.dispatch" in imported
    found = {kind for kind in ASKED for one in imported if is_of(one, kind)}
    assert found == asked
    assert {one for one in imported if one.startswith(PROVIDERS[2:])} == set()
