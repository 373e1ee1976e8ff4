"""Lays out the source of the distribution `strongroom-client`: `strongroom.client` and every module of ours that it imports.

The modules are those of the server, so each is written once (docs/adr/0027-one-tree-two-distributions.md). They come under a
root of their own, `strongroom_client`, with their imports changed accordingly, so that both distributions may lie in one
environment, in different versions: `strongroom.client.files` becomes `strongroom_client.files`, and
`strongroom.crypto.aead` becomes `strongroom_client._core.crypto.aead`.
"""

import ast
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "strongroom_client"
_FIRST = "strongroom.client"
_CORE = f"{PACKAGE}._core"
_CORE_SAYS = '"""Modules of strongroom as the server has them; not an interface."""\n'
_IMPORT = re.compile(r"^(\s*from )(strongroom(?:\.\w+)*)( import )", re.MULTILINE)


def lay_out(root: Path, target: Path) -> Path:
    """Write the source of the distribution into a new folder.

    Args:
        root: A tree of strongroom.
        target: The new folder; it is returned.
    """
    target.mkdir(parents=True)
    for path in (*(root / "clients").iterdir(), root / "LICENSE"):
        shutil.copyfile(path, target / path.name)
    package = target / "src" / PACKAGE
    for name, path in sorted(needed(root / "src").items()):
        place = target / "src" / (renamed(name).replace(".", "/") + ".py")
        if path.name == "__init__.py":
            place = place.with_suffix("") / "__init__.py"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(_IMPORT.sub(_with_new_name, path.read_text()))
    (package / "_core" / "__init__.py").write_text(_CORE_SAYS)
    (package / "py.typed").touch()
    return target


def renamed(name: str) -> str:
    """A module's name in the distribution."""
    if name == _FIRST or name.startswith(f"{_FIRST}."):
        return PACKAGE + name.removeprefix(_FIRST)
    return _CORE + name.removeprefix("strongroom")


def needed(source: Path) -> dict[str, Path]:
    """Every module that the client imports, directly or through others, and the packages that they lie in, by name."""
    found: dict[str, Path] = {}
    waiting = [
        _FIRST,
        *(f"{_FIRST}.{path.stem}" for path in _modules(source / "strongroom/client")),
    ]
    while waiting:
        name = waiting.pop()
        if name in found or name == "strongroom":
            continue
        found[name] = path = _path(source, name)
        waiting += [name.rpartition(".")[0], *_imported(source, path)]
    return found


def _modules(folder: Path) -> Iterator[Path]:
    return (path for path in folder.glob("*.py") if path.stem != "__init__")


def _path(source: Path, name: str) -> Path:
    place = source / name.replace(".", "/")
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


def _imported(source: Path, path: Path) -> Iterator[str]:
    """The modules of ours that a file imports at any place of it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import) and any(
            one.name.startswith("strongroom") for one in node.names
        ):
            raise SystemExit(
                f"{path} imports a module of ours by its whole name: use from … import"
            )
        if (
            isinstance(node, ast.ImportFrom)
            and (node.module or "").partition(".")[0] == "strongroom"
        ):
            yield str(node.module)
            for one in node.names:  # a module of a package, or a name of a module
                if _path(source, f"{node.module}.{one.name}").is_file():
                    yield f"{node.module}.{one.name}"


def _with_new_name(match: "re.Match[str]") -> str:
    words, name, rest = match.groups()
    return f"{words}{_CORE if name == 'strongroom' else renamed(name)}{rest}"


if __name__ == "__main__":
    print(lay_out(ROOT, Path(sys.argv[1])))
