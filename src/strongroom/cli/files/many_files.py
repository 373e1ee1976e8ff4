"""`--into FOLDER FILE…` and `-r`: commands that work on many files, tell each failure, and go on."""

import argparse
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from strongroom.cli.terminal import sizes
from strongroom.cli.terminal.session import Session
from strongroom.errors import StrongroomError, UsageError
from strongroom.system.plural import counted

if TYPE_CHECKING:
    from strongroom.envelope.header import Placement
    from strongroom.filestore.trees import FoundFiles
    from strongroom.services.files.many import Converted, Outputs
    from strongroom.services.files.pairs import Pair

_INTO_ONLY = {"--recursive": "recursive", "--suffix": "suffix", "--resume": "resume"}


def add_options(parser: argparse.ArgumentParser, *, suffix: str) -> None:
    """The options of encrypt and decrypt that go with `--into`."""
    parser.add_argument(
        "--into",
        metavar="FOLDER",
        help="work on each FILE, and write one of its name there; FOLDER is made if it is missing",
    )
    add_recursive(parser)
    parser.add_argument("--suffix", metavar="TEXT", help=f"with --into: {suffix}")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="with --into: leave an output that is there, as long as its input makes it, and not older",
    )


def add_recursive(parser: argparse.ArgumentParser) -> None:
    """`-r`, for each command that takes many files."""
    parser.add_argument(
        "-r",
        "--recursive",
        action="store_true",
        help="of a folder take all files in it, at any depth; links in it are not followed",
    )


def refuse_options(arguments: argparse.Namespace) -> None:
    """Refuse options of the form `--into FOLDER` in the form with IN and OUT, where they have no meaning.

    Raises:
        UsageError: An option of the form `--into FOLDER` is given.
    """
    for option, name in _INTO_ONLY.items():
        if getattr(arguments, name) not in {None, False}:
            raise UsageError(f"{option} goes with --into FOLDER", hint="give FOLDER, and no OUT")


def encrypt(arguments: argparse.Namespace, session: Session) -> int:
    """`encrypt --into`; gives the exit code."""
    from strongroom.services.files import pairs as file_pairs

    def work(
        pairs: "Sequence[Pair]", file_report: "FileReport", outputs: "Outputs"
    ) -> "list[Converted]":
        return session.node.standalone_files.encrypt_many(
            pairs,
            actor=session.actor,
            outputs=outputs,
            progress=file_report.progress,
            again=arguments.again,
        )

    rename = file_pairs.append_suffix(arguments.suffix or "")
    return _Conversion(arguments, session, "encrypt", rename).run(work)


def decrypt(arguments: argparse.Namespace, session: Session) -> int:
    """`decrypt --into`; gives the exit code."""
    from strongroom.services.files import pairs as file_pairs

    def work(
        pairs: "Sequence[Pair]", file_report: "FileReport", outputs: "Outputs"
    ) -> "list[Converted]":
        return session.node.standalone_files.decrypt_many(
            pairs, actor=session.actor, outputs=outputs, progress=file_report.progress
        )

    suffix = file_pairs.SEALED if arguments.suffix is None else arguments.suffix
    return _Conversion(arguments, session, "decrypt", file_pairs.remove_suffix(suffix)).run(work)


def named(arguments: argparse.Namespace, session: Session) -> "tuple[list[str], FileReport]":
    """The files of a command that changes or reads them in place."""
    file_report = FileReport(session)
    if not arguments.recursive:
        return arguments.files, file_report
    from strongroom.filestore import trees

    found = trees.find(arguments.files, recursive=True)
    file_report.take(found)
    return [file.path for file in found.files], file_report


def note_placement(session: Session, name: str, placement: "Placement") -> None:
    """Say where a file belongs, if that is not here: its header alone says so."""
    if not placement.is_standalone:
        place = placement.describe()
        session.note(f"{name} belongs to {place}, as its header says: nothing else was asked")


class FileReport:
    """Messages about a run over many files: each failure at once, and the total at the end.

    Attributes:
        exit_code: The exit code of the first failure, or 0.
        progress: Called with the number of bytes done, if it is set.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._failed = 0
        self._left_out = 0
        self._hints: dict[str, None] = {}
        self.exit_code = 0
        self.progress: Callable[[int], None] | None = None

    def take(self, found: "FoundFiles") -> None:
        """Report the files that a search could not look at, and those that it left out."""
        for name, error in found.failed:
            self.fail(name, error)
        for name, why in found.left_out:
            self._session.note(f"{name}: left out, {why}")
        self._left_out += len(found.left_out)

    def fail(self, name: str, error: StrongroomError) -> None:
        """Report that a file failed; the others go on."""
        self._session.note(f"{name}: {error.message}")
        self._failed += 1
        self.exit_code = self.exit_code or error.exit_code
        if error.hint:
            self._hints[error.hint] = None

    def total(self, done: str, began: float, *, size: str = "") -> None:
        """Print the last line, and before it the hints about failures, each hint once."""
        for hint in self._hints:
            self._session.note(f"hint: {hint}")
        left_out = f", {self._left_out} left out" if self._left_out else ""
        amount = f"{size} " if size else ""
        self._session.note(
            f"{done}{left_out}, {self._failed} failed: {amount}in {time.monotonic() - began:.1f} s"
        )


class _Conversion:
    """A run of `encrypt --into` or `decrypt --into`."""

    def __init__(
        self,
        arguments: argparse.Namespace,
        session: Session,
        verb: str,
        rename: Callable[[str], str],
    ) -> None:
        self._arguments, self._session = arguments, session
        self._verb, self._rename = verb, rename
        self._told = FileReport(session)
        self._began = time.monotonic()

    def run(self, work: "Callable[[Sequence[Pair], FileReport, Outputs], list[Converted]]") -> int:
        """Find the files, name their outputs, and work; gives the exit code."""
        from strongroom.cli.terminal.bar import Bar
        from strongroom.filestore import trees
        from strongroom.services.files import pairs as file_pairs
        from strongroom.services.files.many import Outputs

        given = self._arguments
        self._check_names()
        folders = file_pairs.Folders(given.into)
        folders.check()
        found = trees.find(given.names, recursive=given.recursive, apart=given.into)
        pairs = file_pairs.pair(found.files, given.into, self._rename)
        outputs = Outputs(given.into, not given.no_sync, given.overwrite, given.resume)
        with Bar(f"{self._verb}ing {counted(len(pairs), 'file')}") as bar:
            self._told.progress = bar.begin(sum(pair.size for pair in pairs))
            results = work(pairs, self._told, outputs)
        found.failed += folders.provide_all(found.folders)
        self._tell(found, results)
        return self._told.exit_code

    def _check_names(self) -> None:
        if not self._arguments.into:
            raise UsageError("--into needs the name of a folder")
        if "-" in self._arguments.names:
            raise UsageError(
                "standard input has no name that its output could have",
                hint=f"strongroom {self._verb} - OUT",
            )

    def _tell(self, found: "FoundFiles", results: "Sequence[Converted]") -> None:
        self._told.take(found)
        done = [result for result in results if result.error is None and not result.skipped]
        for result in done:
            note_placement(self._session, result.source, result.placement)
        for result in results:
            if result.error is not None:
                self._told.fail(result.source, result.error)
        there = sum(result.skipped for result in results)
        skipped = f", {there} there already" if there else ""
        size = sum(result.plaintext_bytes for result in done)
        shown = sizes.phrase(self._arguments, size)
        self._told.total(f"{len(done)} {self._verb}ed{skipped}", self._began, size=shown)
