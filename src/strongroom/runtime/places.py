"""Finds the data directory that a user names, and refuses a name by which another folder would be made by mistake.

The environment is not read here: callers pass the name, and the option or variable that it comes from.
"""

import os
import pwd
from pathlib import Path

from strongroom.errors import UsageError
from strongroom.system import disk


def named(text: str, by: str) -> Path:
    """The data directory that an option or a variable names.

    Args:
        text: The name.
        by: The option or variable, for messages.

    Raises:
        UsageError: The name is empty, or one that only a shell would have expanded, or belongs to something else than a
            folder.
        StorageError: The path cannot be examined, or is relative to a deleted folder.
    """
    if not text:
        raise UsageError(f"{by} needs a directory")
    if text == "~" or text.startswith(("~/", "${")) or _is_variable(text):
        raise UsageError(
            f"{by} names {text!r}, which nothing here expands: ~ and $ are the shell's",
            hint="write the path out; if the folder is really called so, put ./ before it",
        )
    try:
        path = Path(text).absolute()
    except OSError as error:
        raise disk.problem(
            f"{by} names {text!r}, but the working directory is gone",
            error,
            "name an absolute path, or change to a folder that exists",
        ) from error
    return _folder(path, by)


def of_user(variables: tuple[str | None, str | None], user: int) -> Path:
    """The data directory of a user who has named none.

    Args:
        variables: The values of `XDG_DATA_HOME` and `HOME`; relative paths are ignored.
        user: The user's id.

    Raises:
        UsageError: The user has no home.
    """
    shared, home = (text if text and os.path.isabs(text) else None for text in variables)  # noqa: PTH117 texts
    if shared is None:
        shared = str(Path(home or _home_of(user)) / ".local" / "share")
    return _folder(Path(shared) / "strongroom", "the default")


def _home_of(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_dir
    except KeyError:
        raise UsageError(
            f"the user {user} has no home directory: HOME is not set, and the system does not know the user",
            hint="name a data directory with --data-dir or STRONGROOM_HOME",
        ) from None


def _is_variable(text: str) -> bool:
    return text.startswith("$") and text[1:2].isidentifier()


def _folder(path: Path, by: str) -> Path:
    try:
        there = next((one for one in (path, *path.absolute().parents) if one.exists()), None)
        if there is not None and not there.is_dir():
            what = "it" if there == path else f"{path}, which lies below it,"
            raise UsageError(
                f"{there} is not a folder: {by} names {what} as the data directory",
                hint="name a folder, or a path where there is nothing yet",
            )
    except OSError as error:
        what = f"cannot look at the data directory {path}"
        raise disk.problem(what, error, f"{by} names it") from error
    return path
