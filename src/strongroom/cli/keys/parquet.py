"""`strongroom parquet`: the keys of Parquet files that programs encrypt by service keys."""

import argparse
from typing import TYPE_CHECKING

from strongroom.cli.terminal.session import Session
from strongroom.errors import StateError, UsageError
from strongroom.system.plural import counted

if TYPE_CHECKING:
    from strongroom.services.service_keys.parquet import Receipt

_MOST_NAMED = 10
_REWRITE = "keys inside a file cannot be rotated: read it and write it anew, with internal_key_material=False"


def build_parser(prog: str, verb: str) -> argparse.ArgumentParser:
    """The parser of `parquet`."""
    parser = argparse.ArgumentParser(prog=prog, description=f"{verb}: the keys of encrypted files")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    rotate = commands.add_parser(
        "rotate",
        help="wrap the keys of a dataset by the latest versions of its master keys; no data is touched",
    )
    rotate.add_argument("dataset", metavar="DATASET", help="a folder of Parquet files, or one file")
    rotate.add_argument(
        "--move",
        action="append",
        default=[],
        metavar="OLD=NEW",
        help="what the key OLD wrapped is wrapped by the key NEW; may be repeated",
    )
    rotate.add_argument(
        "--dry-run", action="store_true", help="say what would be done, and use no key"
    )
    rotate.add_argument("--json", action="store_true", help="print the receipt as a JSON object")
    rotate.set_defaults(run=_rotate)
    return parser


def _rotate(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.cli.terminal.bar import Bar
    from strongroom.services.service_keys.by import By

    with Bar("wrapping keys anew", unit="file") as bar:
        receipt = session.node.parquet_keys.rotate(
            By.local(session.actor, session.node.events),
            arguments.dataset,
            _moves(arguments.move),
            begin=bar.begin,
            dry_run=arguments.dry_run,
        )
    _tell_failures(receipt, session)
    if arguments.json:
        session.out_json(_json(receipt))
    else:
        _tell(receipt, session)
    return 0 if arguments.dry_run or not receipt.after.left else StateError.exit_code


def _moves(given: list[str]) -> dict[str, str]:
    moves: dict[str, str] = {}
    for text in given:
        old, _, new = text.partition("=")
        if not (old and new):
            raise UsageError(f"--move takes OLD=NEW, not {text[:80]!r}")
        if old in moves:
            raise UsageError(f"the key {old[:80]!r} is moved twice", hint="give it once")
        moves[old] = new
    return moves


def _tell_failures(receipt: "Receipt", session: Session) -> None:
    after = receipt.after
    for name, error in after.failed[:_MOST_NAMED]:
        session.note(f"{name}: {error.with_hint}")
    for path in after.inside[:_MOST_NAMED]:
        session.note(f"{path}: keeps its keys inside")
    unnamed = sum(max(len(one) - _MOST_NAMED, 0) for one in (after.failed, after.inside))
    if unnamed:
        session.note(f"and {counted(unnamed, 'further file')}")
    if after.inside:
        session.note(_REWRITE)


def _tell(receipt: "Receipt", session: Session) -> None:
    after = receipt.after
    for old, aim in sorted(after.aims.items()):
        moved = "" if old == aim.key else f", in the place of {old!r}"
        session.out(f"key {aim.key!r}: version {aim.version}{moved}")
    did = "would be wrapped anew" if receipt.dry_run else "wrapped anew"
    session.out(
        f"keys of {counted(receipt.rotated, 'file')} {did}, {len(after.current)} are current,"
        f" {len(after.inside)} keep their keys inside, {after.plain} are not encrypted,"
        f" {len(after.failed)} failed"
    )
    session.out(f"{after.left} left")


def _json(receipt: "Receipt") -> dict[str, object]:
    after = receipt.after
    return {
        "dataset": receipt.dataset,
        "dry_run": receipt.dry_run,
        "rotated": receipt.rotated,
        "current": len(after.current),
        "inside": len(after.inside),
        "plain": after.plain,
        "failed": [{"path": name, "why": error.message} for name, error in after.failed],
        "left": after.left,
        "keys": [
            {"wrapped_by": old, "key": aim.key, "version": aim.version}
            for old, aim in sorted(after.aims.items())
        ],
    }
