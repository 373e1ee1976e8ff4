"""`tsm security kms accept` and `kms former`: a KMS store that does not follow from the last one seen, and closed stores."""

import argparse
import re

from strongroom.cli.keys import other_nodes
from strongroom.cli.terminal import asking, columns, parsing
from strongroom.cli.terminal.session import Session
from strongroom.errors import UsageError

_DIGEST = re.compile(r"[0-9a-f]{64}")
_SHOWN = 16
_FIELDS = ("digest", "epoch", "meks", "rmk_id", "roots")


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The commands below `kms` that this module has."""
    accept = commands.add_parser(
        "accept",
        help="let the present KMS store count, though it does not follow from the last one seen",
    )
    accept.add_argument(
        "--epoch",
        type=parsing.number(1, parsing.LARGEST),
        required=True,
        metavar="N",
        help="the epoch of the present store, as the refusal names it",
    )
    accept.add_argument(
        "--digest",
        required=True,
        metavar="SHA256",
        help="the SHA-256 of the present store, as the refusal names it",
    )
    asking.add_option(accept)
    accept.set_defaults(run=_accept)
    former = commands.add_parser("former", help="closed KMS stores, which nothing opened")
    verbs = former.add_subparsers(required=True, metavar="COMMAND")
    shown = verbs.add_parser("list", help="all closed stores, and what would open them")
    shown.add_argument("--json", action="store_true", help="print the result as JSON")
    columns.add_options(shown)
    shown.set_defaults(run=_list)
    forget = verbs.add_parser("forget", help="give a closed store up for good, with its MEKs")
    forget.add_argument(
        "digest", metavar="DIGEST", help="its digest, or the first digits, from 'former list'"
    )
    other_nodes.add_options(forget)
    asking.add_option(forget)
    forget.set_defaults(run=_forget)


def _accept(arguments: argparse.Namespace, session: Session) -> int:
    if not _DIGEST.fullmatch(arguments.digest):
        raise UsageError(
            "--digest takes a digest, of 64 hexadecimal digits in lower case",
            hint="the refusal of the present store names it",
        )
    asking.require_of_person(
        arguments,
        session,
        "if somebody else made this store, he reads what is encrypted from now on; go on?",
    )
    session.node.kms_store.accept_epoch(arguments.epoch, arguments.digest, session.actor)
    session.out(f"The KMS store of epoch {arguments.epoch} counts from now on.")
    return 0


def _list(arguments: argparse.Namespace, session: Session) -> int:
    found = session.perform("kms.former.list", {}, session.note)
    if arguments.json:
        session.out_json(found)
        return 0
    rows = [
        (
            one["digest"][:_SHOWN],
            str(one["epoch"]),
            str(len(one["meks"])),
            one["rmk_id"],
            ", ".join(one["roots"]),
        )
        for one in found
    ]
    heads = [field.replace("_", " ").upper() for field in _FIELDS]
    columns.show(session, arguments, heads, rows)
    return 0


def _forget(arguments: argparse.Namespace, session: Session) -> int:
    # the references alone are looked at: the bytes of the store to forget may be lost
    present = [one.digest for one in session.node.kms_store.current()[0].former]
    fit = [digest for digest in present if digest.startswith(arguments.digest)]
    if len(fit) > 1:
        raise UsageError(f"{arguments.digest} is the beginning of {len(fit)} digests")
    digest = fit[0] if fit else arguments.digest
    asking.require(
        arguments,
        session,
        f"the closed KMS store {digest} will never be opened again, nor what only its MEKs open; go on?",
    )
    asked = {"digest": digest, **other_nodes.asked(arguments)}
    session.perform("kms.former.forget", asked, session.note)
    session.out(f"The closed KMS store {digest} was given up.")
    return 0
