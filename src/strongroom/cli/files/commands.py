"""`strongroom encrypt`, `decrypt`, `inspect`, `rewrap`, `verify`: parsers and printing."""

import argparse
import time
from typing import TYPE_CHECKING

from strongroom.cli.files import many_files
from strongroom.cli.terminal import sizes, streams
from strongroom.cli.terminal.session import Session
from strongroom.errors import StrongroomError, UsageError

if TYPE_CHECKING:
    from strongroom.envelope.inspect import Inspection
    from strongroom.services.files.one import Output
    from strongroom.services.files.rewrap import Rewrapped

_STDOUT = ("-", "/dev/stdout")


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
    _add_names(parser)
    many_files.add_options(
        parser,
        suffix="append this to the names of encrypted files, for example .sealed; they stay as they"
        " are if it is not given",
    )
    parser.add_argument(
        "--again",
        action="store_true",
        help="take what is encrypted already, and encrypt it once more",
    )
    sizes.add_option(parser)
    parser.set_defaults(run=_encrypt)


def _decrypt_parser(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "decrypt a file or a stream; standard output gets verified data only, and exit code 20"
        " says that the end is missing; or many files into a folder, each whole or not at all"
    )
    _add_names(parser)
    many_files.add_options(
        parser,
        suffix="remove this from the names of encrypted files where they end with it; '' removes"
        " nothing (default: .sealed)",
    )
    sizes.add_option(parser)
    parser.set_defaults(run=_decrypt)


def _add_names(parser: argparse.ArgumentParser) -> None:
    parser.usage = (
        f"{parser.prog} IN OUT [options]\n       {parser.prog} --into FOLDER FILE... [options]"
    )
    parser.add_argument(
        "names",
        metavar="IN OUT",
        nargs="+",
        help="a file and its OUT; - for standard input or output",
    )
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
    many_files.add_recursive(parser)
    parser.set_defaults(run=_rewrap)


def _verify_parser(parser: argparse.ArgumentParser) -> None:
    parser.description = "authenticate every byte of encrypted files"
    parser.add_argument("files", metavar="FILE", nargs="+", help="encrypted files")
    many_files.add_recursive(parser)
    sizes.add_option(parser)
    parser.set_defaults(run=_verify)


def _encrypt(arguments: argparse.Namespace, session: Session) -> int:
    if arguments.into is not None:
        return many_files.encrypt(arguments, session)
    source = _take_in_and_out(arguments)
    if arguments.target in _STDOUT and streams.is_terminal():
        raise UsageError("encrypted data is not written to a terminal", hint="name a file as OUT")
    with _bar("encrypting") as bar:
        outcome = session.node.standalone_files.encrypt(
            source,
            _output(arguments),
            actor=session.actor,
            begin=bar.begin,
            again=arguments.again,
        )
    session.note(
        f"encrypted {sizes.phrase(arguments, outcome.plaintext_bytes)} under MEK {outcome.mek_id}"
    )
    return 0


def _decrypt(arguments: argparse.Namespace, session: Session) -> int:
    if arguments.into is not None:
        return many_files.decrypt(arguments, session)
    source = _take_in_and_out(arguments)
    with _bar("decrypting") as bar:
        outcome = session.node.standalone_files.decrypt(
            source, _output(arguments), actor=session.actor, begin=bar.begin
        )
    many_files.note_placement(session, source, outcome.placement)
    session.note(f"decrypted {sizes.phrase(arguments, outcome.plaintext_bytes)}")
    return 0


def _take_in_and_out(arguments: argparse.Namespace) -> str:
    """The names of the form with one file; gives IN."""
    many_files.refuse_options(arguments)
    if len(arguments.names) != 2:
        raise UsageError("give one IN and one OUT", hint="many files go --into a folder")
    source, arguments.target = arguments.names
    _check_source(source)
    return str(source)


def _check_source(name: str) -> None:
    if name == "-":
        streams.check_input()


def _output(arguments: argparse.Namespace) -> "Output":
    from strongroom.services.files.one import Output

    target = "-" if arguments.target in _STDOUT else arguments.target
    return Output(target, overwrite=arguments.overwrite, sync=not arguments.no_sync)


def _verify(arguments: argparse.Namespace, session: Session) -> int:
    one, began = session.node.standalone_files, time.monotonic()
    names, file_report = many_files.named(arguments, session)
    done, size = 0, 0
    for name in names:
        try:
            with _bar(f"verifying {name}") as bar:
                outcome = one.verify(name, begin=bar.begin)
        except StrongroomError as error:
            file_report.fail(name, error)
        else:
            many_files.note_placement(session, name, outcome.placement)
            session.out(f"{name}: ok, {sizes.phrase(arguments, outcome.plaintext_bytes)}")
            done, size = done + 1, size + outcome.plaintext_bytes
    if len(arguments.files) > 1 or arguments.recursive:
        file_report.total(f"{done} ok", began, size=sizes.phrase(arguments, size))
    return file_report.exit_code


def _rewrap(arguments: argparse.Namespace, session: Session) -> int:
    began = time.monotonic()
    names, file_report = many_files.named(arguments, session)
    with _bar("rewrapping", unit="file") as bar:
        results = session.node.standalone_files.rewrap(
            names, actor=session.actor, progress=bar.begin(len(names))
        )
    for result in results:
        _print_rewrapped(session, result, file_report)
    changed = sum(result.changed for result in results)
    same = sum(result.error is None for result in results) - changed
    file_report.total(f"{changed} rewrapped, {same} had nothing to do", began)
    return file_report.exit_code


def _print_rewrapped(
    session: Session, result: "Rewrapped", file_report: many_files.FileReport
) -> None:
    if result.error is not None:
        file_report.fail(result.name, result.error)
    else:
        session.out(f"{result.name}: {'rewrapped' if result.changed else 'nothing to do'}")


def _inspect(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.services.files import one

    found = one.inspect_file(arguments.file)
    shown = found.to_json()
    if arguments.reveal_data_key:
        opened = session.node.standalone_files.reveal_data_key(arguments.file, actor=session.actor)
        shown |= found.proved_by(opened.slot)
        shown["data_key"] = opened.dek.reveal().hex()
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
    for number, state in enumerate(found.slot_words()):
        session.out(f"key slot {number}      {state}")
    if "data_key" in shown:
        session.out(f"opened by       MEK {shown['mek_id']}")
        session.out(f"data key        {shown['data_key']}")
    else:
        session.note("unauthenticated: no key was used to check this")


def _bar(title: str, *, unit: str = "bytes") -> "Bar":
    from strongroom.cli.terminal.bar import Bar

    return Bar(title, unit=unit)


if TYPE_CHECKING:
    from strongroom.cli.terminal.bar import Bar
