"""Whether this machine reaches a TCP port at all, and if not, why: an unknown name, a refusal and silence differ."""

import socket
from collections.abc import Iterable
from typing import Final

LIMIT_S: Final = 5.0
"""How long a server may take to accept a connection."""


def problem(address: str, limit_s: float = LIMIT_S) -> str:
    """Why nothing is reached at an address, in words; empty if a connection is accepted, which is closed at once.

    Args:
        address: `host:port`.
        limit_s: Seconds for each address to which the name leads.
    """
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), limit_s).close()
    except socket.gaierror:
        return "the name is not known here"
    except TimeoutError:
        return f"no answer within {limit_s:.0f} s"
    except UnicodeError:
        return "this is no name"
    except (OSError, OverflowError) as error:
        return getattr(error, "strerror", None) or "no connection"
    return ""


def none_reached(addresses: Iterable[str], limit_s: float = LIMIT_S) -> tuple[str, ...]:
    """Sentences on each address, if none of them is reached; empty if one is, or if there are none.

    Args:
        addresses: Addresses of which one is enough.
        limit_s: As for `problem`.
    """
    told = []
    for address in addresses:
        words = problem(address, limit_s)
        if not words:
            return ()
        told.append(f"{address}: {words}")
    return tuple(told)
