"""Users of this machine's operating system, by name: for events, reports and hints. It decides nothing."""

import pwd


def user_name(uid: int) -> str:
    """The name of a user; the number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def as_user(uid: int) -> str:
    """What to put before a command, so that it runs as this user."""
    name = user_name(uid)
    return f"sudo -u '#{uid}'" if name == str(uid) else f"sudo -u {name}"
