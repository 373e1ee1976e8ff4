"""No module imports itself over others, by whatever kind of import (issue: "Must show" 7)."""

import graphlib

import grimp
import pytest


def test_no_circle_of_modules_not_even_of_imports_for_types() -> None:
    """import-linter's contracts leave out what only the type checker imports."""
    graph = grimp.build_graph("strongroom", exclude_type_checking_imports=False, cache_dir=None)
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    assert len(imports) > 200
    graphlib.TopologicalSorter(imports).prepare()
    imports["strongroom.errors"] = {"strongroom.node.opening"}
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter(imports).prepare()
