"""`strongroom recover`: say which state counts after something was lost or put back."""

import argparse

from strongroom.cli.session import Session


def build_parser(prog: str, verb: str) -> argparse.ArgumentParser:
    """The parser of `recover`."""
    parser = argparse.ArgumentParser(
        prog=prog, description=f"{verb}: say which key store counts after it was put back"
    )
    parser.add_argument(
        "--accept-epoch",
        type=int,
        required=True,
        metavar="N",
        help="take the present KMS store, of epoch N, though a newer one was seen",
    )
    parser.set_defaults(run=_run)
    return parser


def _run(arguments: argparse.Namespace, session: Session) -> int:
    session.node.kms.accept_epoch(arguments.accept_epoch, session.actor)
    session.out(f"The KMS store of epoch {arguments.accept_epoch} counts from now on.")
    return 0
