"""Names of users of the operating system, for events, reports and hints; no permission is decided by them."""

import pwd


def user_name(uid: int) -> str:
    """The name of a user; the number if the user has no name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def as_user(uid: int) -> str:
    """The words to put before a command so that it runs as this user."""
    name = user_name(uid)
    return f"sudo -u '#{uid}'" if name == str(uid) else f"sudo -u {name}"
