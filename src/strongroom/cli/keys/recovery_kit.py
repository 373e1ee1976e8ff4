"""Writes a recovery kit: one printable file for each share, in a folder of its own."""

import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from strongroom.cli.named_files import small_files
from strongroom.errors import ConflictError, StrongroomError, UsageError
from strongroom.system import disk, durable

if TYPE_CHECKING:
    from strongroom.cli.terminal.session import Session
    from strongroom.roots.settings import RootSettings
    from strongroom.services.recovery.kit import Kit


def parse_shares(text: str) -> tuple[int, int]:
    """`K/N` as numbers.

    Raises:
        UsageError: The text does not have that form.
    """
    match = re.fullmatch(r"([0-9]{1,2})/([0-9]{1,2})", text)
    if match is None:
        raise UsageError(f"not a number of shares: {text!r}", hint="K/N, for example 3/5")
    return int(match[1]), int(match[2])


def check_kit(threshold: int, count: int, folder: Path, home: Path) -> None:
    """Refuse a kit that cannot be made, before anything is written.

    Args:
        threshold: The number of shares that are needed to recover the identity.
        count: The number of shares to make.
        folder: The folder for the files of the shares.
        home: The data directory that the shares open, in which they must not lie.

    Raises:
        UsageError: The numbers of shares are not possible, or the folder cannot be used.
        ConflictError: The folder is not empty.
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
    """Refuse a folder for a kit unless it is new or empty, and not a link, so that shares are not mixed with other files.

    Raises:
        UsageError: The path is a link, or not a folder.
        ConflictError: The folder is not empty.
        StorageError: The folder cannot be read.
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
        raise disk.problem(f"cannot look into {folder}", error) from error
    if strange is not None:
        raise ConflictError(
            f"{folder} is not empty: {strange.name!r} is in it",
            hint="name a new or an empty folder",
        )


def add_kit(session: "Session", threshold: int, count: int, folder: Path, label: str = "") -> None:
    """Make a kit, write and prove it, and wrap the keys by its recipient.

    Raises:
        UsageError: The numbers of shares are not possible, or the folder cannot be used.
        StrongroomError: The keys cannot be wrapped; the files are then removed, they open nothing.
    """
    from strongroom.doors.control.verbs import settings_to_plain
    from strongroom.services.recovery import kit as recovery_kit

    check_kit(threshold, count, folder, session.node.paths.root)
    identity = session.node.identity.key().identity
    owner = recovery_kit.Owner(identity.origin.installation_id, identity.fingerprint)
    kit = recovery_kit.make_kit(threshold, count, owner, session.node.clock.now())
    written = [folder / name for name in kit.texts]
    is_new = not folder.exists()
    try:
        _write(folder, kit)
    except BaseException:
        # also when the person gives up: half a kit looks like one
        _remove(written, folder, is_new=is_new)
        raise
    try:
        settings = settings_to_plain(_settings(kit, label))
        wrap_id = session.perform("kms.roots.add", {"settings": settings}, session.note)
    except (StrongroomError, OSError, KeyboardInterrupt):
        _remove_if_useless(session, kit, written, is_new=is_new)
        raise
    for path in written:
        session.out(str(path))
    session.out(f"The RMK is wrapped by one root more: {wrap_id}")
    session.out(
        f"Any {threshold} of the {count} shares of set {kit.set_id} open it: {kit.recipient}"
    )
    session.out(f"Fingerprint of the installation: {identity.fingerprint}")
    session.note(
        "print each share, give it to another person, and delete the files;"
        " then prove it: strongroom recover --drill --share FILE …"
    )


def _remove_if_useless(
    session: "Session", kit: "Kit", written: list[Path], *, is_new: bool
) -> None:
    """Shares by which nothing is wrapped open nothing; if that cannot be told, they stay."""
    with suppress(StrongroomError):
        if kit.recipient not in session.node.kms_store.current()[0].recipients:
            _remove(written, written[0].parent, is_new=is_new)


def _remove(written: list[Path], folder: Path, *, is_new: bool) -> None:
    """Take the files of a kit away, and its folder if that was made for it."""
    with suppress(OSError):
        for path in written:
            path.unlink(missing_ok=True)
        if is_new:
            folder.rmdir()


def _settings(kit: "Kit", label: str) -> "RootSettings":
    from strongroom.node import roots

    numbers = (kit.set_id, kit.threshold, kit.count)
    return roots.kit_settings(kit.recipient, numbers, label=label)


def _write(folder: Path, kit: "Kit") -> None:
    from strongroom.services.recovery import kit as recovery_kit

    durable.make_folder(folder, durable.PRIVATE)
    for name, text in kit.texts.items():
        durable.write_file(folder / name, text.encode())
    written = (small_files.read_lines(str(folder / name), "the share") for name in kit.texts)
    recovery_kit.prove(kit, [text.decode() for text in written])
