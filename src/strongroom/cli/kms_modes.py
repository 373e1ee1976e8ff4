"""The options of each kind of root: the same for `kms set-mode` and for `kms roots add`.

Credentials come by file, never as the value of an option: an option is seen by everybody on the machine.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from strongroom.roots.settings import RootSettings

Finish = Callable[[argparse.ArgumentParser], None]


@dataclass(frozen=True)
class KmsMode:
    """One kind of root on the command line.

    Attributes:
        kind: The word after `set-mode`.
        help: What it is, in a few words.
        add_options: Adds its options to a parser.
        to_settings: Its settings of parsed options, checked; asks nobody. None is the local root.
    """

    kind: str
    help: str
    add_options: Callable[[argparse.ArgumentParser], None]
    to_settings: "Callable[[argparse.Namespace], RootSettings | None]"


def add_modes(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    modes: tuple[KmsMode, ...],
    finish: Finish,
) -> None:
    """A subcommand for each kind; `finish` adds what they share, and `run`."""
    for mode in modes:
        parser = commands.add_parser(mode.kind, help=mode.help)
        mode.add_options(parser)
        parser.set_defaults(kind=mode.kind, to_settings=mode.to_settings)
        finish(parser)


def _settings(kind: str, *words: str, **options: str) -> "RootSettings":
    from strongroom import bootstrap

    made: RootSettings = bootstrap.root_module(kind).settings(*words, **options)
    return made


# ---- local -----------------------------------------------------------------------------------------


def _local_options(parser: argparse.ArgumentParser) -> None:
    del parser


def _local(arguments: argparse.Namespace) -> None:
    del arguments


# ---- aws -------------------------------------------------------------------------------------------


def _aws_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--key-arn", required=True, metavar="ARN", help="the CMK's full ARN")
    parser.add_argument("--aws-region", required=True, metavar="REGION", help="the CMK's region")


def _aws(arguments: argparse.Namespace) -> "RootSettings":
    return _settings("aws", arguments.key_arn, arguments.aws_region)


# ---- azure -----------------------------------------------------------------------------------------


def _azure_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--key-name", required=True, metavar="NAME", help="an RSA key of the vault")
    parser.add_argument(
        "--vault-baseurl", required=True, metavar="URL", help="https://<vault>.vault.azure.net"
    )
    parser.add_argument(
        "--client-id", default="", metavar="ID", help="of a user-assigned managed identity"
    )
    parser.add_argument(
        "--ca-file", default="", metavar="FILE", help="certificates to trust, of a private cloud"
    )


def _azure(arguments: argparse.Namespace) -> "RootSettings":
    return _settings(
        "azure",
        arguments.key_name,
        arguments.vault_baseurl,
        client_id=arguments.client_id,
        ca_file=arguments.ca_file,
    )


#: Roots of a KMS that can be asked, one line each; they serve as the mode and beside it.
EXTERNAL = (
    KmsMode("aws", "a symmetric key (CMK) of AWS KMS", _aws_options, _aws),
    KmsMode("azure", "an RSA key of Azure Key Vault", _azure_options, _azure),
)
LOCAL = KmsMode("local", "the keystore of this installation", _local_options, _local)
#: What `set-mode` takes.
MODES = (LOCAL, *EXTERNAL)
