"""Options that `tsm maintenance` and `strongroom backup` share: the file, the secrets that open it, and progress bars."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Self

from strongroom.cli.named_files import identity, sealing, small_files
from strongroom.cli.terminal.bar import Bar
from strongroom.errors import IntegrityError, NotFoundError, UsageError

if TYPE_CHECKING:
    from strongroom.backup.nodes import NodesInBackup
    from strongroom.backup.open_backup import OpenBackup
    from strongroom.backup.opening import Opened
    from strongroom.crypto.age import OpenWith
    from strongroom.crypto.secret import SecretBytes
    from strongroom.node.opening import Node

_TITLES = {
    "backup": "writing",
    "verify": "checking",
    "restore": "restoring",
    "read": "reading a sample",
}


def add_open_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for the secrets that open the keys of a backup."""
    sealing.add_open_options(parser)
    parser.add_argument(
        "--share",
        action="append",
        default=[],
        metavar="FILE",
        help="open with shares of the recovery recipient; again for each share",
    )
    parser.add_argument(
        "--root-credential-file",
        metavar="FILE",
        help="token, PIN or other credential of the source's root, which is not in a backup;"
        " - is stdin",
    )
    parser.add_argument(
        "--use-backup-roots",
        action="store_true",
        help="ask the roots that the backup names, at the addresses it names; nobody vouches for these",
    )
    identity.add_option(parser)
    parser.add_argument(
        "--manifest",
        metavar="SHA256",
        help="refuse any backup but the one with this manifest, as the backup command and verify print it",
    )


def open_with(arguments: argparse.Namespace) -> "OpenWith":
    """Identities, also of shares, or a passphrase."""
    from dataclasses import replace

    from strongroom.crypto import shares

    found = sealing.open_from(arguments)
    if not arguments.share:
        return found
    words = []
    for name in arguments.share:
        try:
            words.append(shares.words_of(small_files.read_lines(name, "the share").decode()))
        except UnicodeDecodeError as error:
            raise UsageError(f"{name} is no text: there is no share in it") from error
    return replace(found, identities=(*found.identities, shares.combine(words)))


def check_manifest(arguments: argparse.Namespace, backup: "OpenBackup") -> None:
    """Refuse a backup that is not the one that the operator named by its hash, before its keys are opened.

    Raises:
        IntegrityError: The hash is that of another backup.
    """
    wanted = arguments.manifest
    if wanted is not None and wanted.strip().lower() != backup.seal.manifest_sha256:
        raise IntegrityError(
            f"the manifest has the digest {backup.seal.manifest_sha256}, not the one of --manifest",
            hint="this is another backup than the one whose digest was noted",
        )


def check_fingerprint(arguments: argparse.Namespace, backup: "OpenBackup") -> None:
    """Refuse a backup that another identity signed than the one whose fingerprint the operator noted.

    Raises:
        IntegrityError: The backup is signed by another identity, or by none.
    """
    identity.compare(identity.given(arguments), backup.fingerprint, "the backup")


def pinned(arguments: argparse.Namespace, opened: "Opened") -> "Opened":
    """With what the operator noted as a proof of origin."""
    from dataclasses import replace

    return (
        replace(opened, origin=opened.origin or "the digest of --manifest")
        if arguments.manifest
        else opened
    )


def credential(arguments: argparse.Namespace) -> "SecretBytes | None":
    """The credential of the source's root."""
    from strongroom.crypto.secret import SecretBytes

    name = arguments.root_credential_file
    if name is None:
        return None
    return SecretBytes(small_files.read_lines(name, "the credential").strip(b"\r\n"))


def find(name: str, node: "Node | None") -> Path:
    """The file of a backup, by its path or by its name in the folder of backups.

    Raises:
        NotFoundError: No backup has that path or name.
    """
    path = Path(name)
    if "/" in name or (node is None and path.is_file()):
        places = [path]
    elif node is None:
        places = []
    else:
        from strongroom.node import backup as node_backups
        from strongroom.services.backups.make import SUFFIX

        folder = node_backups.folder(node)
        places = [folder / name, folder / f"{name}{SUFFIX}"]
    for place in places:
        if place.is_file():
            return place
    where = str(places[0].parent) if places else "this folder"
    raise NotFoundError(
        f"there is no backup {name!r} in {where}",
        hint="give a path with '/', or a name in basefilepath.backuprestore",
    )


def lost_words(nodes: "NodesInBackup | None") -> str:
    """Words for a file that a row of the backup names and that is not in the backup."""
    if nodes is not None and nodes.may_be_elsewhere:
        return "not in the backup: lost, or on the disk of another node"
    return "lost before the backup was made"


class Stages:
    """Shows a progress bar for each stage in turn, and removes the last one at the end."""

    def __init__(self) -> None:
        self._bar: Bar | None = None

    def begin(self, name: str, total: int) -> Callable[[int], None] | None:
        """The next stage begins."""
        self.end()
        self._bar = Bar(_TITLES.get(name, name))
        return self._bar.begin(total)

    def end(self) -> None:
        """The stage is over: its bar goes."""
        if self._bar is not None:
            self._bar.__exit__()
            self._bar = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
