"""Keeps this process's memory to itself: no core dump of it, and no look into it by other programs of its user."""

import resource

_SET_DUMPABLE = 4
"""`PR_SET_DUMPABLE` of prctl(2)."""


def keep_private() -> None:
    """Forbid core dumps and, where Linux can, reading this process's memory and environment; once, at its start.

    The limit alone is not enough: where the kernel hands core dumps to a program, as under systemd, it does not count.
    Children that are started by exec inherit the limit, and ask for the rest themselves. Root may look all the same.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    import ctypes  # some 4 ms of every start; Python has no other way to prctl

    call = getattr(ctypes.CDLL(None), "prctl", None)
    if call is not None:
        call(_SET_DUMPABLE, 0, 0, 0, 0)
