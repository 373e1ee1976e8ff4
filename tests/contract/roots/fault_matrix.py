"""The fault matrix (R10): its cells, which of them do not apply and why, and the page that shows it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from strongroom.errors import RootRefusedError, RootUnavailableError
from tests.contract.roots.harness import PASSING
from tests.contract.roots.providers import LABS
from tests.support.fault_server import Fault
from tests.support.servers import ROOT

PAGE = ROOT / "docs" / "reference" / "root-faults.md"
#: Name of the property by which a test that passed tells its cell.
PROPERTY = "root fault"


class Stage(StrEnum):
    """When it happens."""

    START = "at start"
    SERVICE = "in service"


@dataclass(frozen=True)
class Row:
    """One of the eleven faults: its name, what brings it about, and when it can happen."""

    name: str
    fault: Fault
    stages: tuple[Stage, ...] = tuple(Stage)


ROWS = (
    Row("down at start", Fault.UNREACHABLE, (Stage.START,)),
    Row("down in service", Fault.UNREACHABLE, (Stage.SERVICE,)),
    Row("5 s latency", Fault.SLOW),
    Row("HTTP 500", Fault.SERVER_ERROR),
    Row("throttling", Fault.THROTTLED),
    Row("access denied", Fault.REFUSED),
    Row("key disabled", Fault.DISABLED),
    Row("key pending deletion", Fault.PENDING_DELETION),
    Row("wrong region", Fault.WRONG_REGION),
    Row("expired credentials", Fault.EXPIRED),
    Row("TLS error", Fault.BAD_TLS),
)
#: Column of the table → lab that stands for it.
PROVIDERS: Mapping[str, str] = {
    "local": "local",
    "aws": "aws-ministack",
    "azure": "azure",
    "openbao": "openbao",
    "pkcs11": "pkcs11",
    "gcp": "gcp",
    "tpm": "tpm",
}


@dataclass(frozen=True)
class Cell:
    """One fault of one provider at one stage."""

    row: Row
    provider: str
    stage: Stage

    @property
    def fault(self) -> Fault:
        """The row's."""
        return self.row.fault

    @property
    def name(self) -> str:
        """As it is told by the run, and called on the command line."""
        return f"{self.provider}, {self.row.name}, {self.stage}"

    @property
    def reason(self) -> str:
        """Why it does not apply; empty if it does."""
        if self.stage not in self.row.stages:
            return "said by the name of the fault"
        return LABS[PROVIDERS[self.provider]].unfit.get(self.row.fault, "")

    @property
    def error(self) -> type[RootUnavailableError] | type[RootRefusedError]:
        """What whoever needs the root gets."""
        return RootUnavailableError if self.row.fault in PASSING else RootRefusedError


def every() -> Iterator[Cell]:
    """Every cell, those that do not apply too."""
    for provider in PROVIDERS:
        for row in ROWS:
            for stage in Stage:
                yield Cell(row, provider, stage)


def to_try() -> list[Cell]:
    """The cells that there is a test for."""
    return [cell for cell in every() if not cell.reason]


def write_page(passed: Iterable[str]) -> bool:
    """Write the page if every cell passed; else it stays as it is."""
    if {cell.name for cell in to_try()} - set(passed):
        return False
    PAGE.write_text(page())
    return True


def page() -> str:
    """The page of a run in which every cell passed."""
    parts = [_HEAD.format(count=len(to_try()), all=len(list(every())))]
    parts += [_table(stage) for stage in Stage]
    parts += [_reasons()]
    return "\n".join(parts)


_HEAD = """\
<!-- written by `make torture` when every test of it passed; do not edit -->

# When a root fails

Eleven faults, seven kinds of roots, two moments: {count} of the {all} cells can happen, and each has a test
of its own against the real product, an emulator or a faithful server (R10). In every one of them

- what needs no root goes on: settings and secrets are read;
- `tsm security kms status` is red at once, ends with 1, and names the key, the action and who was refused;
- keys in memory serve reads and writes until `kms.rmk.keep_seconds` have passed; while the root is only
  **out of reach** (31), for `kms.rmk.offline_seconds` more; a root that **refuses** (32) is obeyed when it is
  asked anew. Then reads and writes fail, and nothing is written;
- the root is asked at most once in five seconds by a process, with jitter, however many ask for a key;
- within ten seconds of the root's return everything works, without a restart;
- the KMS store stays as it is, byte for byte: nothing falls back to local by itself.

A latency is one beyond the client's time limit, which the tests shorten. A PIN, a password or a secret id that is
wrong is given twice by a process and then no more, so that nothing is locked; the next one is set by `set-mode`.
The tests lift that limit.

31 and 32 are the [exit codes](exit-codes.md) of whoever needs the root meanwhile. – does not apply; the reasons are below.
"""


def _table(stage: Stage) -> str:
    lines = [f"## {stage.capitalize()}\n", f"| fault | {' | '.join(PROVIDERS)} |"]
    lines += ["| --- |" + " --- |" * len(PROVIDERS)]
    for row in ROWS:
        if stage in row.stages:
            cells = [Cell(row, provider, stage) for provider in PROVIDERS]
            words = ["–" if cell.reason else f"✓ {cell.error.exit_code}" for cell in cells]
            lines.append(f"| {row.name} | {' | '.join(words)} |")
    return "\n".join(lines) + "\n"


def _reasons() -> str:
    lines = ["## What does not apply\n", "| root | fault | why |", "| --- | --- | --- |"]
    for provider, lab in PROVIDERS.items():
        unfit = LABS[lab].unfit
        told: dict[str, list[str]] = {}
        for row in ROWS:
            if row.fault in unfit:
                told.setdefault(unfit[row.fault], []).append(row.name)
        for reason, names in told.items():
            which = "all" if len(names) == len(ROWS) else ", ".join(names)
            lines.append(f"| {provider} | {which} | {reason} |")
    return "\n".join(lines) + "\n"


def read_page(path: Path = PAGE) -> str:
    """The page as it is in the repository."""
    return path.read_text()
