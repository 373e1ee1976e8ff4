"""Where everything of a node lies (C-09)."""

import inspect
from pathlib import Path

import pytest

from strongroom.runtime.paths import DataPaths
from strongroom.runtime.processes import SERVICES
from strongroom.system import version


def places() -> dict[str, Path]:
    """Every place of a node, by the member that gives it."""
    paths = DataPaths(Path("/node"))
    found: dict[str, Path] = {}
    for name, member in inspect.getmembers(DataPaths):
        if isinstance(member, property):
            found[name] = getattr(paths, name)
        elif inspect.isfunction(member) and "service" in inspect.signature(member).parameters:
            found |= {f"{name} {service}": getattr(paths, name)(service) for service in SERVICES}
    return found


def test_a_release_changes_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Issue 9, E: the keystores lay in folders named after the product's version, so 0.2.0 opened no node of 0.1.0."""
    before = places()
    assert len(before) > 20
    monkeypatch.setattr(version, "VERSION", "9.9.9")
    assert places() == before


def test_services_have_the_folders_that_the_first_version_gave_them() -> None:
    folders = {path.name for name, path in places().items() if name.startswith("service_config")}
    assert folders == {f"{service}_0.0.1.0" for service in SERVICES}
