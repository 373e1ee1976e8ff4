"""The one parser for addresses of roots: `https://host[:port]`, in one spelling; pure.

Host names are compared as the name service does: letter case, a dot at the end and the port that the scheme has anyway
make no other server.
"""

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

from strongroom.errors import UsageError
from strongroom.system import hosts

_PORTS = {"https": 443, "http": 80}
_LOCAL_NAMES = ("ip6-localhost", "ip6-loopback")


def parse(text: str, *, what: str, example: str) -> str:
    """The address in its one spelling; blanks and quotes around it are taken off.

    Args:
        text: As an operator gives it.
        what: The thing that has the address, in the words of an error: `a vault`.
        example: An address that would be accepted, for the hint of an error.

    Raises:
        UsageError: The text is not an address, or names plain http on another machine.
    """
    trimmed = text.strip().strip("\"'").strip()
    hint = f"for example {example}; plain http only to this machine itself"
    problem, parts = _split(trimmed)
    if parts is not None:
        host = canonical_host(parts.hostname or "")
        port = parts.port
        problem = problem or _problem(parts, host)
        if not problem:
            shown = f"[{host}]" if ":" in host else host
            ending = "" if port in {None, _PORTS[parts.scheme]} else f":{port}"
            return f"{parts.scheme}://{shown}{ending}"
    raise UsageError(f"not the address of {what}: {_shown(trimmed)!r} {problem}", hint=hint)


def canonical_host(text: str) -> str:
    """A host in its one spelling, without brackets; empty if it is none."""
    try:
        found = hosts.host(text.lower().removesuffix("."))
    except hosts.HostError:
        return ""
    try:
        address = ipaddress.ip_address(found)
    except ValueError:
        # some resolvers take a last label like this one for an address
        return "" if re.fullmatch(r"0x[0-9a-f]*", found.rpartition(".")[2]) else found
    return str(getattr(address, "ipv4_mapped", None) or address)


def is_loopback(host: str) -> bool:
    """Whether a canonical host is this machine itself, whatever the name service says."""
    return hosts.is_loopback(host) or host in _LOCAL_NAMES or host.endswith(".localhost")


def respelled(url: str) -> str:
    """The begin of an id that is a URL in its one spelling, for a comparison; anything else as it is."""
    scheme, mark, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    if not mark:
        return url
    try:
        return parse(f"{scheme}://{host}", what="", example="") + slash + path
    except UsageError:
        return url


def _split(text: str) -> tuple[str, SplitResult | None]:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return "has a host or a port that is none", None
    return ("", parts) if text.isprintable() else ("holds control characters", None)


def _problem(parts: SplitResult, host: str) -> str:
    port = parts.port
    is_odd = "[" in parts.netloc and ":" not in (
        parts.hostname or ""
    )  # IPvFuture, which nobody speaks
    rules = (
        (parts.scheme not in _PORTS or not parts.netloc, "does not begin with https://"),
        ("@" in parts.netloc, "names a user: credentials come by file"),
        (not host or is_odd, "has no host that could be asked"),
        (port == 0 or parts.netloc.endswith(":"), "has no port"),
        (parts.path.strip("/") or parts.query or parts.fragment, "has a path"),
        ("?" in parts.geturl() or "#" in parts.geturl(), "has a path"),
        (parts.scheme == "http" and not is_loopback(host), "is another machine, over plain http"),
    )
    return next((words for is_wrong, words in rules if is_wrong), "")


def _shown(text: str) -> str:
    """The address without the part before an @, which may be a password."""
    return re.sub(r"//[^/]*@", "//…@", text)[:200]
