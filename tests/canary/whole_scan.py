"""A scan of everything that can be seen of a scenario, but for places that are listed with a reason each.

What was seen is kept by place: files of folders, what commands said, answers of servers, arguments and environments. It
decides nothing about which secret may be where: that is the list of who uses it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.canary import forms
from tests.canary.forms import Find
from tests.support.servers import Answer, TestNode


class Allowed(NamedTuple):
    """Secrets that may be in a place; both are regular expressions for the whole name."""

    secret: str
    place: str
    reason: str

    def permits(self, find: Find) -> bool:
        """Whether a find is one of these."""
        secret, place = re.fullmatch(self.secret, find.secret), re.fullmatch(self.place, find.place)
        return secret is not None and place is not None


@dataclass
class WholeScan:
    """What was planted, and all that could be seen.

    Attributes:
        node: Whose commands are run.
        planted: Every secret by its name.
        seen: What was said, answered and shown, by its place.
        leftovers: Names of temporary files that a command left.
    """

    node: TestNode
    planted: dict[str, bytes] = field(default_factory=dict)
    seen: list[tuple[str, bytes]] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)

    @property
    def temporary(self) -> Path:
        """Where all commands, and what they start, put temporary files."""
        return self.node.folder / "tmp"

    def see(self, place: str, data: bytes) -> None:
        """Keep something for the search."""
        self.seen.append((place, data))

    def run(
        self, *words: str | Path, stdin: str | None = None, code: int | None = 0, limit: float = 120
    ) -> Answer:
        """Run a command, and keep what it says; `code` is what it has to end with, None is anything."""
        answer = self.node.run(*words, stdin=stdin, check=False, limit=limit)
        name = " ".join(Path(word).name for word in words[:4])
        self.see(f"output of {name}", answer.out.encode() + b"\n" + answer.err.encode())
        assert code in {None, answer.code}, f"{name} ended with {answer.code}: {answer.err}"
        # a server that runs has a folder there, for its socket
        left = [path for path in self.temporary.rglob("*") if path.is_file()]
        self.leftovers += [f"{path.name} of {name}" for path in left]
        return answer

    def finds(self, folders: Mapping[str, Path]) -> list[Find]:
        """Search everything that was seen, and the folders, whose names stand before those of their files."""
        search = forms.Search(self.planted)
        found = [find for place, data in self.seen for find in search.run(data, place)]
        for name, folder in folders.items():
            found += [
                Find(find.secret, find.form, f"{name}/{find.place}")
                for find in search.files(folder)
            ]
        return found


def leaks(finds: Sequence[Find], allowed: Sequence[Allowed]) -> list[Find]:
    """Those that no line of the list permits."""
    return [find for find in finds if not any(one.permits(find) for one in allowed)]


def unused(finds: Sequence[Find], allowed: Sequence[Allowed]) -> list[Allowed]:
    """Lines of the list by which nothing was found: they hide the next leak, or the search is blind."""
    return [one for one in allowed if not any(one.permits(find) for find in finds)]
