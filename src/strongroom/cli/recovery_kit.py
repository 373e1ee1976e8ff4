"""Writes a recovery kit: one printable file for each share, in a folder of its own."""

import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from strongroom import durable
from strongroom.errors import ConflictError, StorageError, StrongroomError, UsageError

if TYPE_CHECKING:
    from strongroom.cli.session import Session
    from strongroom.roots.settings import RootSettings
    from strongroom.services.recovery_kit import Kit


def parse_shares(text: str) -> tuple[int, int]:
    """`K/N` as numbers.

    Raises:
        UsageError: It is not of that form.
    """
    match = re.fullmatch(r"([0-9]{1,2})/([0-9]{1,2})", text)
    if match is None:
        raise UsageError(f"not a number of shares: {text!r}", hint="K/N, for example 3/5")
    return int(match[1]), int(match[2])


def check_kit(threshold: int, count: int, folder: Path, home: Path) -> None:
    """Refuse a kit that cannot be made, before anything else is.

    Args:
        threshold: How many shares open.
        count: How many are made.
        folder: For their files.
        home: The data directory that they open: they are not put into it.

    Raises:
        UsageError: Such shares cannot be made, or the folder cannot be used.
        ConflictError: Something is in the folder.
    """
    from strongroom.crypto import shares

    shares.check_numbers(threshold, count)
    if folder.resolve().is_relative_to(home.resolve()):
        raise UsageError(
            f"{folder} is in the data directory: its backups and copies would hold what opens them",
            hint="name a folder elsewhere",
        )
    check_folder(folder)


def check_folder(folder: Path) -> None:
    """A folder for a kit is new, or empty and no link: other people's files are not mixed with shares.

    Raises:
        UsageError: It is a link or no folder.
        ConflictError: Something is in it.
        StorageError: It cannot be looked into.
    """
    if folder.is_symlink():
        raise UsageError(f"{folder} is a link: shares are written to a real folder only")
    try:
        strange = next(folder.iterdir(), None)
    except FileNotFoundError:
        return
    except NotADirectoryError as error:
        raise UsageError(f"{folder} is not a folder") from error
    except OSError as error:
        raise StorageError(f"cannot look into {folder}: {error.strerror}") from error
    if strange is not None:
        raise ConflictError(
            f"{folder} is not empty: {strange.name!r} is in it",
            hint="name a new or an empty folder",
        )


def add_kit(session: "Session", threshold: int, count: int, folder: Path, label: str = "") -> None:
    """Make a kit, write and prove it, and wrap the keys by its recipient.

    Raises:
        UsageError: Such shares cannot be made, or the folder cannot be used.
        StrongroomError: The keys cannot be wrapped; the files are then removed, they open nothing.
    """
    from strongroom.control.verbs import settings_to_plain
    from strongroom.services import recovery_kit

    check_kit(threshold, count, folder, session.node.paths.root)
    installation_id = session.node.configuration.document().installation_id
    kit = recovery_kit.make_kit(threshold, count, installation_id, session.node.clock.now())
    written = [folder / name for name in kit.texts]
    _write(folder, kit)
    try:
        settings = settings_to_plain(_settings(kit, label))
        wrap_id = session.perform("kms.roots.add", {"settings": settings}, session.note)
    except StrongroomError:
        _remove_if_useless(session, kit, written)
        raise
    for path in written:
        session.out(str(path))
    session.out(f"The RMK is wrapped by one root more: {wrap_id}")
    session.out(
        f"Any {threshold} of the {count} shares of set {kit.set_id} open it: {kit.recipient}"
    )
    session.note(
        "print each share, give it to another person, and delete the files;"
        " then prove it: strongroom recover --drill --share FILE …"
    )


def _remove_if_useless(session: "Session", kit: "Kit", written: list[Path]) -> None:
    """Shares by which nothing is wrapped open nothing; if that cannot be told, they stay."""
    with suppress(StrongroomError):
        if kit.recipient not in session.node.keeper.current()[0].recipients:
            for path in written:
                path.unlink(missing_ok=True)


def _settings(kit: "Kit", label: str) -> "RootSettings":
    from strongroom import bootstrap_roots

    numbers = (kit.set_id, kit.threshold, kit.count)
    made: RootSettings = bootstrap_roots.root_module("shares").settings(
        kit.recipient, label=label, kit=numbers
    )
    return made


def _write(folder: Path, kit: "Kit") -> None:
    from strongroom.services import recovery_kit

    durable.make_folder(folder, durable.PRIVATE)
    for name, text in kit.texts.items():
        durable.write_file(folder / name, text.encode())
    recovery_kit.prove(kit, [(folder / name).read_text() for name in kit.texts])
