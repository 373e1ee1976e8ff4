"""The options of each kind of root: the same for `kms set-mode` and for `kms roots add`.

Credentials come by file, never as the value of an option: an option is seen by everybody on the machine.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from strongroom.errors import StorageError, UsageError

if TYPE_CHECKING:
    from strongroom.crypto.secret import SecretBytes
    from strongroom.roots.settings import RootSettings

_LONGEST_CREDENTIAL = 4096
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


def _settings(
    kind: str, *words: str, **options: "str | bool | SecretBytes | None"
) -> "RootSettings":
    from strongroom import bootstrap_roots

    made: RootSettings = bootstrap_roots.root_module(kind).settings(*words, **options)
    return made


def _credential(file: str | None, option: str, what: str) -> "SecretBytes":
    """A credential of a file, of stdin (`-`) or asked for; one line break at its end is cut off.

    Raises:
        UsageError: It is empty, too long or no text, or nobody is there to be asked.
        StorageError: The file cannot be read.
    """
    from strongroom.crypto.secret import SecretBytes

    raw = _read_credential(file, option, what)
    trimmed = raw.removesuffix(b"\n").removesuffix(b"\r")
    if not 0 < len(trimmed) <= _LONGEST_CREDENTIAL or not trimmed.isascii():
        raise UsageError(f"{what} has 1 to {_LONGEST_CREDENTIAL} characters of ASCII")
    return SecretBytes(trimmed)


def _read_credential(file: str | None, option: str, what: str) -> bytes:
    if file is None:
        if not sys.stdin.isatty():
            raise UsageError(f"{what} is needed", hint=f"give it with {option}")
        import getpass

        return getpass.getpass(f"{what}: ").encode()
    if file == "-":
        return sys.stdin.buffer.read(_LONGEST_CREDENTIAL + 2)
    try:
        with open(file, "rb") as source:  # noqa: PTH123 also a pipe
            return source.read(_LONGEST_CREDENTIAL + 2)
    except OSError as error:
        raise StorageError(f"cannot read {what} from {file}: {error.strerror}") from error


def _file(name: str) -> str:
    """The full path of a file: the process that reads it has another working directory."""
    path = Path(name).absolute()
    if name and not path.is_file():
        raise UsageError(f"there is no file {name}")
    return str(path) if name else ""


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
        ca_file=_file(arguments.ca_file),
    )


# ---- openbao ---------------------------------------------------------------------------------------


def _openbao_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--address", required=True, metavar="URL", help="https://<host>:8200")
    parser.add_argument("--key", required=True, metavar="NAME", help="a key of transit")
    parser.add_argument(
        "--mount", default="transit", metavar="PATH", help="of transit; default: transit"
    )
    parser.add_argument("--namespace", default="", metavar="PATH", help="of the mount")
    parser.add_argument("--token-file", metavar="FILE", help="file with a token; - is stdin")
    parser.add_argument("--role-id", default="", metavar="ID", help="of an AppRole")
    parser.add_argument(
        "--secret-id-file", metavar="FILE", help="file with the AppRole's secret id; - is stdin"
    )
    parser.add_argument(
        "--ca-file", default="", metavar="FILE", help="certificates to trust, of your own authority"
    )


def _openbao(arguments: argparse.Namespace) -> "RootSettings":
    by_role = arguments.role_id or arguments.secret_id_file is not None
    if by_role and arguments.token_file is not None:
        raise UsageError("--token-file and --role-id exclude each other")
    if by_role:
        secret_id = _credential(arguments.secret_id_file, "--secret-id-file", "the secret id")
        credential = {"secret_id": secret_id}
    else:
        credential = {"token": _credential(arguments.token_file, "--token-file", "the token")}
    return _settings(
        "openbao",
        arguments.address,
        arguments.key,
        mount=arguments.mount,
        namespace=arguments.namespace,
        role_id=arguments.role_id,
        ca_file=_file(arguments.ca_file),
        **credential,
    )


# ---- pkcs11 ----------------------------------------------------------------------------------------


def _pkcs11_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--module", required=True, metavar="SO", help="the vendor's library")
    parser.add_argument("--token-label", required=True, metavar="LABEL", help="of the token")
    parser.add_argument("--key-label", required=True, metavar="LABEL", help="of an AES-256 key")
    parser.add_argument("--pin-file", metavar="FILE", help="file with the user's PIN; - is stdin")
    parser.add_argument(
        "--create-key", action="store_true", help="make the key in the token if there is none"
    )


def _pkcs11(arguments: argparse.Namespace) -> "RootSettings":
    return _settings(
        "pkcs11",
        _file(arguments.module),
        arguments.token_label,
        arguments.key_label,
        pin=_credential(arguments.pin_file, "--pin-file", "the PIN"),
        create=arguments.create_key,
    )


# ---- gcp -------------------------------------------------------------------------------------------


def _gcp_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--key-name", required=True, metavar="NAME", help="projects/…/cryptoKeys/K")
    parser.add_argument(
        "--credentials-file",
        metavar="FILE",
        help="JSON of a service account's key, - is stdin; else the machine's default credentials",
    )
    parser.add_argument("--endpoint", default="", metavar="URL", help="a private endpoint")


def _gcp(arguments: argparse.Namespace) -> "RootSettings":
    file, credentials = arguments.credentials_file, None
    if file is not None:
        credentials = _credential(file, "--credentials-file", "the service account's key")
    return _settings(
        "gcp", arguments.key_name, credentials=credentials, endpoint=arguments.endpoint
    )


# ---- tpm -------------------------------------------------------------------------------------------


def _tpm_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tcti", default="", metavar="TCTI", help="how to reach it; default: device:/dev/tpmrm0"
    )
    parser.add_argument(
        "--auth-file",
        metavar="FILE",
        help="file with a password that is needed as well; - is stdin",
    )


def _tpm(arguments: argparse.Namespace) -> "RootSettings":
    file, auth = arguments.auth_file, None
    if file is not None:
        auth = _credential(file, "--auth-file", "the password")
    return _settings("tpm", arguments.tcti, auth=auth)


#: Roots of a KMS that can be asked, one line each; they serve as the mode and beside it.
EXTERNAL = (
    KmsMode("aws", "a symmetric key (CMK) of AWS KMS", _aws_options, _aws),
    KmsMode("azure", "an RSA key of Azure Key Vault", _azure_options, _azure),
    KmsMode("openbao", "a transit key of OpenBao or Vault", _openbao_options, _openbao),
    KmsMode("pkcs11", "an AES key in a PKCS#11 token (HSM)", _pkcs11_options, _pkcs11),
    KmsMode("gcp", "a symmetric key of Google Cloud KMS", _gcp_options, _gcp),
    KmsMode("tpm", "the TPM 2.0 of this machine", _tpm_options, _tpm),
)
LOCAL = KmsMode("local", "the keystore of this installation", _local_options, _local)
#: What `set-mode` takes.
MODES = (LOCAL, *EXTERNAL)
