"""`strongroom encrypt`, `decrypt`, `inspect`, `rewrap`, `verify`: parsers and printing."""

import argparse
import os
import sys
from typing import TYPE_CHECKING

from strongroom.cli.session import Session
from strongroom.errors import StrongroomError, UsageError

if TYPE_CHECKING:
    from strongroom.envelope.inspect import Inspection
    from strongroom.services.files import Outcome, Output
    from strongroom.services.rewraps import Rewrapped


def build_parser(prog: str, verb: str) -> argparse.ArgumentParser:
    """The parser of one verb."""
    parser = argparse.ArgumentParser(prog=prog)
    {
        "encrypt": _encrypt_parser,
        "decrypt": _decrypt_parser,
        "inspect": _inspect_parser,
        "rewrap": _rewrap_parser,
        "verify": _verify_parser,
    }[verb](parser)
    return parser


def _encrypt_parser(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "encrypt a file or a stream under the active master extract key; or many files into a folder,"
        " in batches that share their syncs"
    )
    parser.usage = (
        f"{parser.prog} IN OUT [options]\n       {parser.prog} --into FOLDER FILE... [options]"
    )
    parser.add_argument(
        "names",
        metavar="IN OUT",
        nargs="+",
        help="a file and its OUT; - for standard input or output",
    )
    parser.add_argument(
        "--into", metavar="FOLDER", help="encrypt each FILE into one of its name there"
    )
    _add_output_options(parser)
    parser.set_defaults(run=_encrypt)


def _decrypt_parser(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "decrypt a file or a stream; standard output gets verified data only, and exit code 20"
        " says that the end is missing"
    )
    _add_in_and_out(parser)
    parser.set_defaults(run=_decrypt)


def _add_in_and_out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="IN", help="a file, or - for standard input")
    parser.add_argument("target", metavar="OUT", help="a file, or - for standard output")
    _add_output_options(parser)


def _add_output_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action="store_true", help="replace an existing OUT")
    parser.add_argument(
        "--no-sync", action="store_true", help="do not wait until OUT is safely on the disk"
    )


def _inspect_parser(parser: argparse.ArgumentParser) -> None:
    parser.description = "show what the header of an encrypted file says; needs no key"
    parser.add_argument("file", metavar="FILE", help="an encrypted file")
    parser.add_argument("--json", action="store_true", help="print the header as JSON")
    parser.add_argument(
        "--reveal-data-key",
        action="store_true",
        help="show the data key too, so that any Tink opens the body; leaves an event",
    )
    parser.set_defaults(run=_inspect)


def _rewrap_parser(parser: argparse.ArgumentParser) -> None:
    parser.description = "bring data keys under the active master extract key; data is not read"
    parser.add_argument("files", metavar="FILE", nargs="+", help="encrypted files")
    parser.set_defaults(run=_rewrap)


def _verify_parser(parser: argparse.ArgumentParser) -> None:
    parser.description = "authenticate every byte of encrypted files"
    parser.add_argument("files", metavar="FILE", nargs="+", help="encrypted files")
    parser.set_defaults(run=_verify)


def _encrypt(arguments: argparse.Namespace, session: Session) -> int:
    if arguments.into is not None:
        return _encrypt_many(arguments, session)
    if len(arguments.names) != 2:
        raise UsageError("give one IN and one OUT", hint="many files go --into a folder")
    arguments.source, arguments.target = arguments.names
    if arguments.target == "-" and sys.stdout.isatty():
        raise UsageError("encrypted data is not written to a terminal", hint="name a file as OUT")
    with _bar("encrypting") as bar:
        outcome = session.node.standalone_files.encrypt(
            arguments.source, _output(arguments), actor=session.actor, begin=bar.begin
        )
    session.note(f"encrypted {outcome.plaintext_bytes} bytes under MEK {outcome.mek_id}")
    return 0


def _encrypt_many(arguments: argparse.Namespace, session: Session) -> int:
    if arguments.overwrite:
        raise UsageError("--overwrite goes with one file", hint="name another folder --into")
    pairs = _pairs(arguments.names, arguments.into)
    with _bar("encrypting", unit="files") as bar:
        results = session.node.standalone_files.encrypt_many(
            pairs,
            actor=session.actor,
            sync=not arguments.no_sync,
            progress=bar.begin(len(pairs)),
        )
    failed = [result.error for result in results if result.error is not None]
    for result in results:
        if result.error is not None:
            session.note(f"{result.source}: {result.error.message}")
    session.note(f"{len(results) - len(failed)} encrypted, {len(failed)} failed")
    return failed[0].exit_code if failed else 0


def _pairs(names: list[str], folder: str) -> list[tuple[str, str]]:
    pairs = [(name, os.path.join(folder, os.path.basename(name))) for name in names]  # noqa: PTH118, PTH119 names stay as given
    if len({target for _, target in pairs}) < len(pairs):
        raise UsageError("two files have the same name", hint="encrypt them into two folders")
    return pairs


def _decrypt(arguments: argparse.Namespace, session: Session) -> int:
    with _bar("decrypting") as bar:
        outcome = session.node.standalone_files.decrypt(
            arguments.source, _output(arguments), actor=session.actor, begin=bar.begin
        )
    _note_placement(session, arguments.source, outcome)
    session.note(f"decrypted {outcome.plaintext_bytes} bytes")
    return 0


def _output(arguments: argparse.Namespace) -> "Output":
    from strongroom.services.files import Output

    return Output(arguments.target, overwrite=arguments.overwrite, sync=not arguments.no_sync)


def _verify(arguments: argparse.Namespace, session: Session) -> int:
    code = 0
    for name in arguments.files:
        try:
            with _bar(f"verifying {name}") as bar:
                outcome = session.node.standalone_files.verify(name, begin=bar.begin)
        except StrongroomError as error:
            code = code or error.exit_code
            session.note(f"{name}: {error.message}")
        else:
            _note_placement(session, name, outcome)
            session.out(f"{name}: ok, {outcome.plaintext_bytes} bytes")
    return code


def _note_placement(session: Session, name: str, outcome: "Outcome") -> None:
    if not outcome.placement.is_standalone:
        place = outcome.placement.describe()
        session.note(f"{name} belongs to {place}, as its header says: nothing else was asked")


def _rewrap(arguments: argparse.Namespace, session: Session) -> int:
    with _bar("rewrapping", unit="files") as bar:
        results = session.node.standalone_files.rewrap(
            arguments.files, actor=session.actor, progress=bar.begin(len(arguments.files))
        )
    for result in results:
        _print_rewrapped(session, result)
    failed = [result.error for result in results if result.error is not None]
    changed = sum(result.changed for result in results)
    same = len(results) - changed - len(failed)
    session.note(f"{changed} rewrapped, {same} had nothing to do, {len(failed)} failed")
    return failed[0].exit_code if failed else 0


def _print_rewrapped(session: Session, result: "Rewrapped") -> None:
    if result.error is not None:
        session.note(f"{result.name}: {result.error.message}")
    else:
        session.out(f"{result.name}: {'rewrapped' if result.changed else 'nothing to do'}")


def _inspect(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.services import files

    found = files.inspect_file(arguments.file)
    shown = found.to_json()
    if arguments.reveal_data_key:
        dek = session.node.standalone_files.reveal_data_key(arguments.file, actor=session.actor)
        shown["authenticated"] = True  # the key opened a slot that binds prelude and placement
        shown["data_key"] = dek.reveal().hex()
    if arguments.json:
        session.out_json(shown)
    else:
        _print_inspection(session, found, shown)
    return 0


def _print_inspection(session: Session, found: "Inspection", shown: dict[str, object]) -> None:
    size = "none: the file was cut" if found.plaintext_bytes is None else found.plaintext_bytes
    session.out(f"file id         {shown['file_id']}")
    session.out(f"format, suite   {shown['format']}, {shown['suite']}")
    session.out(f"segment bytes   {shown['segment_bytes']}")
    session.out(f"plaintext bytes {size}")
    session.out(f"body offset     {shown['body_offset']}")
    session.out(f"context         {shown['context']}")
    for number, slot in enumerate(found.header.slots):
        if slot is None:
            state = "damaged" if number in found.header.damaged else "empty"
            session.out(f"key slot {number}      {state}")
        else:
            place = slot.placement.describe()
            session.out(
                f"key slot {number}      MEK {slot.mek_id}, number {slot.sequence}, {place}"
            )
    if "data_key" in shown:
        session.out(f"data key        {shown['data_key']}")
    else:
        session.note("unauthenticated: no key was used to check this")


def _bar(title: str, *, unit: str = "bytes") -> "Bar":
    from strongroom.cli.bar import Bar

    return Bar(title, unit=unit)


if TYPE_CHECKING:
    from strongroom.cli.bar import Bar
