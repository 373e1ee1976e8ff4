"""Every lock of the product is declared with its scope."""

import ast
from pathlib import Path

import pytest

from strongroom.coordination import locks
from strongroom.coordination.locks import Scope
from strongroom.errors import UsageError
from tests.structure.test_repository import ROOT

SOURCE = ROOT / "src" / "strongroom"


def modules() -> list[tuple[Path, ast.Module]]:
    """The modules of the source that say anything of a lock."""
    texts = [(path, path.read_text()) for path in SOURCE.rglob("*.py")]
    return [(path, ast.parse(text)) for path, text in texts if "LOCK" in text or ".lock(" in text]


def named_locks() -> set[str]:
    """The texts that the source gives to names that end with LOCK."""
    return {
        node.value.value
        for _, module in modules()
        for node in module.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        and any(isinstance(one, ast.Name) and one.id.endswith("LOCK") for one in _targets(node))
    }


def _targets(node: ast.Assign | ast.AnnAssign) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target]


def unnamed_locks() -> list[str]:
    """Calls that lock something which is no such name."""
    return [
        f"{path.relative_to(SOURCE)}:{node.lineno}"
        for path, module in modules()
        if "coordination" not in path.parts
        for node in ast.walk(module)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "lock"
        and any(one.arg == "wait_s" for one in node.keywords)
        and not ast.unparse(node.args[0]).endswith("LOCK")
    ]


def test_every_lock_is_declared() -> None:
    """A new lock gets a line in `coordination.locks`, and somebody has thought of how far it reaches."""
    assert named_locks() == set(locks.DECLARED)
    # the lock of whoever works on a node's jobs has a name that is made; a move into a cluster takes all declared ones;
    # who keeps other nodes off is given one of two
    assert sorted(one.partition(":")[0] for one in unnamed_locks()) == [
        "node/replacing.py",
        "services/jobs/sole_worker.py",
        "services/nodes/enable.py",
    ]


@pytest.mark.parametrize(
    ("name", "scope"),
    [
        ("kms", Scope.CLUSTER),
        ("restore", Scope.CLUSTER),
        ("controller", Scope.CLUSTER),
        ("backgrounder-node1", Scope.NODE),
        ("nobody-has-declared-it", Scope.CLUSTER),
    ],
)
def test_scopes(name: str, scope: Scope) -> None:
    assert locks.scope_of(name) is scope


def test_a_name_that_is_none_has_no_scope() -> None:
    with pytest.raises(UsageError, match="no name of a lock"):
        locks.scope_of("../kms")
