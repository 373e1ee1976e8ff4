"""The answers of `docs/first-hour.md`, as patches that can be applied and taken out again."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.structure.test_repository import ROOT

PAGE = ROOT / "docs" / "first-hour.md"
#: What a new thing may be, and a word that only its patch brings.
ANSWERS = {
    "A new setting": "pager.patience",
    "A new command": "patience",
    "A new root": "keyfile",
    "A new object store": "shelf",
    "A new consumer": "pager",
    "A new door": "doorbell",
}
_SECTION = re.compile(r"^## (.+?)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"^```(python|diff)\n# (\S+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SECTIONS = dict(_SECTION.findall(PAGE.read_text()))


@dataclass(frozen=True)
class Change:
    """One file that an answer adds, or a place in a file that it changes."""

    path: str
    old: str | None
    new: str

    def apply(self, tree: Path) -> None:
        path = tree / self.path
        if self.old is None:
            assert not path.exists(), f"{self.path} is there already"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.new)
            return
        text = path.read_text()
        assert text.count(self.old) == 1, (
            f"{self.path} has {text.count(self.old)} times:\n{self.old}"
        )
        path.write_text(text.replace(self.old, self.new))

    def take_out(self, tree: Path) -> None:
        path = tree / self.path
        if self.old is None:
            path.unlink()
            if not list(path.parent.glob("*.py")):
                shutil.rmtree(path.parent)
        else:
            path.write_text(path.read_text().replace(self.new, self.old))


def changes(section: str) -> list[Change]:
    """The patch of an answer."""
    found = []
    for kind, path, body in _BLOCK.findall(SECTIONS[section]):
        if kind == "python":
            found.append(Change(path, None, body))
            continue
        lines = body.splitlines(keepends=True)
        old = "".join(line[1:] or "\n" for line in lines if not line.startswith("+"))
        new = "".join(line[1:] or "\n" for line in lines if not line.startswith("-"))
        found.append(Change(path, old, new))
    return found
