"""Reads a process's environment: the data directory of its node, its user, and the group that may read its files."""

import grp
import os
from pathlib import Path

from strongroom.runtime import places
from strongroom.system import durable, os_users

HOME_VARIABLE = "STRONGROOM_HOME"
_ROOT_HOME = Path("/var/opt/strongroom")
_GROUP = "strongroom"


def data_dir(option: str | None) -> Path:
    """The data directory: `--data-dir`, else `STRONGROOM_HOME`, else root's place or the user's own.

    Raises:
        UsageError: The path in the option or variable cannot be a data directory.
        StorageError: The path cannot be examined.
    """
    if option is not None:
        return places.named(option, "--data-dir")
    variable = os.environ.get(HOME_VARIABLE)
    if variable:
        return places.named(variable, HOME_VARIABLE)
    if os.geteuid() == 0:
        return _ROOT_HOME
    homes = (os.environ.get("XDG_DATA_HOME"), os.environ.get("HOME"))
    return places.of_user(homes, os.getuid())


def inherited() -> dict[str, str]:
    """All variables of this process, for a program that takes its place."""
    return dict(os.environ)


def local_actor() -> str:
    """The operating-system user who runs this process, as the actor of events."""
    return f"os:{os_users.user_name(os.getuid())}"


def installation_file_modes() -> durable.FileModes:
    """Modes and group of new folders and files (C-10): root shares with the group `strongroom`."""
    if os.geteuid() != 0:
        return durable.PRIVATE
    try:
        return durable.shared_with(grp.getgrnam(_GROUP).gr_gid)
    except KeyError:
        return durable.PRIVATE
