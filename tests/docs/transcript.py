"""Runs the ```console blocks of a document in one shell, and compares what it shows with what the commands say.

In a block, `$ ` begins a command; a trailing backslash continues it on the next line, which begins with `> `. The lines
below it are its expected output, standard error included. `…` stands for any text in a line, and alone for any lines. A
comment `# exit N` behind a command is its expected exit code, 0 without one. A document begins with
`<!-- transcript: NAME -->`: what is there before it starts. A command that ends with ` &` is a server: it is awaited until
it says that it is ready.
"""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.emulators import free_port

_MARK = "\x1eexit "
_BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SETUP = re.compile(r"<!-- transcript: (\w+) -->")
_EXIT = re.compile(r"\s+# exit (\d+)$")
_DOCUMENTED_PORTS = ("8080", "18200", "18201")
"""Ports of servers in documents; a free one is taken for each."""


@dataclass(frozen=True)
class Step:
    """One command of a document and what should come of it."""

    command: str
    code: int
    expected: tuple[str, ...]


def setup_of(path: Path) -> str:
    """What a document's commands find, such as `empty` or `served`; nothing without a transcript."""
    found = _SETUP.search(path.read_text())
    return found.group(1) if found else ""


def steps(path: Path) -> Iterator[Step]:
    """The commands of a document in order."""
    for block in _BLOCK.findall(path.read_text()):
        command, expected = "", list[str]()
        for line in [*block.splitlines(), "$ "]:
            if line.startswith("$ "):
                if command:
                    yield _step(command, expected)
                command, expected = line[2:], []
            elif line.startswith("> ") and command.endswith("\\"):
                command += "\n" + line[2:]
            else:
                expected.append(line)


def _step(command: str, expected: list[str]) -> Step:
    found = _EXIT.search(command)
    return Step(_EXIT.sub("", command), int(found.group(1)) if found else 0, tuple(expected))


class Shell:
    """One bash for a whole document."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._ports = {port: str(free_port()) for port in _DOCUMENTED_PORTS}
        self._folder = folder
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, step: Step) -> tuple[int, list[str]]:
        """Run one command; returns its exit code and its lines."""
        command = step.command
        for documented, port in self._ports.items():
            command = command.replace(documented, port)
        if command.endswith(" &"):
            command = self._awaited(command)
        code, lines = self._tell(f"{{ {command}\n}} </dev/null")
        for documented, port in self._ports.items():
            lines = [line.replace(port, documented) for line in lines]
        return code, lines

    def close(self) -> None:
        """End the servers that the document started, and the shell."""
        self._tell('for job in $(jobs -p); do kill -TERM "$job"; done; wait')
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _tell(self, command: str) -> tuple[int, list[str]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{command}\nprintf '\\n{_MARK}%d\\n' $?\n")
        self._process.stdin.flush()
        lines: list[str] = []
        for line in self._process.stdout:
            if line.startswith(_MARK):
                return int(line.removeprefix(_MARK)), _stripped(lines)
            lines.append(line.rstrip("\n"))
        raise AssertionError(f"the shell ended in {command!r}: {lines}")

    def _awaited(self, command: str) -> str:
        log = self._folder / "server.log"
        wait = (
            f'for _ in $(seq 300); do grep -sq "^ready" {log} && break; sleep 0.1; done; cat {log}'
        )
        return f"{command.removesuffix(' &')} >{log} 2>&1 & {wait}"


def agrees(expected: tuple[str, ...], lines: list[str]) -> bool:
    """Whether what a command said fits what a document shows."""
    pattern = ""
    for line in expected:
        if line.strip() == "…":
            pattern += r"(?:[^\n]*\n)*"
        else:
            pattern += re.escape(line.rstrip()).replace("…", r"[^\n]*") + r"\s*\n"
    return re.fullmatch(pattern, "".join(line + "\n" for line in lines)) is not None


def _stripped(lines: list[str]) -> list[str]:
    while lines and not lines[-1].strip():
        lines.pop()
    return lines
