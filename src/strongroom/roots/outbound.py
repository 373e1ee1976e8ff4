"""How requests of the roots' libraries leave this machine: the one door between them and the environment.

Of the environment only two things count: the proxy for a server that is not local, and the certificates to trust where
no file is set for them. Never `~/.netrc`, never a redirect to another server, never a proxy for this machine, for the
link's own addresses (the clouds' metadata services) or for a name that stands for one of them.
"""

import ipaddress
import os
import socket
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from strongroom.roots import addresses
from strongroom.system import os_users

if TYPE_CHECKING:
    import requests

#: Variables of the environment that name certificates to trust, the first that is set counts.
TRUST = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_METADATA = ("metadata", "metadata.google.internal")


def proxy_for(url: str) -> str:
    """The proxy that a request takes; empty if it goes straight, as everything local does."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    found = getproxies_environment()
    proxy = found.get(parts.scheme) or found.get("all") or ""
    if not proxy or proxy_bypass(parts.netloc):
        return ""
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    return "" if _is_local(host) else proxy


def proxies_for(url: str) -> dict[str, str]:
    """The same for libraries that take a mapping; empty is none at all."""
    proxy = proxy_for(url)
    return {"http": proxy, "https": proxy} if proxy else {}


def shown_proxy(url: str) -> Mapping[str, str]:
    """The proxy on the way to a root's server, for the status, without the proxy's credentials; empty without a proxy."""
    proxy = proxy_for(url)
    if not proxy:
        return {}
    try:
        parts = urlsplit(proxy)
    except ValueError:
        return {"proxy": "an address that cannot be read"}
    return {"proxy": f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"}


def whose() -> str:
    """This program and its user, for an error about credentials: each process has its own environment (findings D10)."""
    program, *words = sys.argv[:2]
    verb = f" {words[0]}" if words and not words[0].startswith("-") else ""
    return f"'{os.path.basename(program)}{verb}' (user {os_users.user_name(os.geteuid())})"  # noqa: PTH119


def secrets() -> tuple[str, ...]:
    """The texts of the environment that no message may show: the proxies' passwords."""
    found = (_password(proxy) for proxy in getproxies_environment().values())
    return tuple(one for one in found if one)


def _password(proxy: str) -> str:
    """The password in the address of a proxy; the whole of one that cannot be read, for it may be anywhere in it."""
    try:
        return urlsplit(f"//{proxy.rpartition('//')[2]}").password or ""
    except ValueError:
        return proxy


def trusted(ca_file: str = "", *variables: str) -> str | bool:
    """The file of certificates to trust; True for the certificates that the library brings along.

    Args:
        ca_file: The file in the settings, which has precedence over the environment.
        variables: More variables of the environment that may name one, before the common ones.
    """
    # read when it is asked, as the libraries do: a serving node's own environment
    named = (os.environ.get(name, "") for name in (*variables, *TRUST))  # noqa: TID251
    return ca_file or next(filter(None, named), True)


class _Closed:
    """Stands before a class of sessions of requests: they learn of the environment what this module lets in."""

    trust: str | bool

    def merge_environment_settings(
        self, url: str, proxies: object, stream: object, verify: object, cert: object
    ) -> dict[str, Any]:
        """The settings of a request that its caller did not give; `requests` calls this for each request."""
        del proxies
        given = self.trust if verify in {None, True} else verify
        return {"proxies": proxies_for(url), "stream": stream, "verify": given, "cert": cert}

    def get_redirect_target(self, response: "requests.Response") -> None:
        """Follow no redirect: the token and the key in a request are meant only for the server in the settings.

        Raises:
            requests.ConnectionError: The server answers with a redirect.
        """
        if response.is_redirect:
            from requests import ConnectionError as NotFollowedError

            host = urlsplit(response.headers.get("location", "")).netloc.rpartition("@")[2]
            response.close()
            raise NotFollowedError(
                f"HTTP {response.status_code}: it sends us on to {host or 'another path'},"
                " and is not followed: set the address of the server that answers itself"
            )


def session(ca_file: str = "", *variables: str) -> "requests.Session":
    """A session of requests for one root.

    Args:
        ca_file: Certificates to trust, of the settings.
        variables: See `trusted`.
    """
    import requests

    made = requests.Session()
    close(made, trusted(ca_file, *variables))
    return made


def close(made: Any, trust: str | bool) -> None:
    """Close a session to the environment: no variable but what this module lets in, no netrc, no redirect.

    Its class is replaced by one derived from it: Google's client makes a session of a class of its own, knows it by
    identity and takes no other.
    """
    made.__class__ = type("ClosedSession", (_Closed, type(made)), {})
    made.trust_env = False
    made.trust = made.verify = trust


def _is_local(host: str) -> bool:
    name = addresses.canonical_host(host)
    if not name or name in _METADATA or addresses.is_loopback(name):
        return True
    if _is_here(name):
        return True
    try:
        found = {str(one[4][0]) for one in socket.getaddrinfo(name, None)}
    except OSError:
        return False  # only the proxy may know it
    return bool(found) and all(map(_is_here, found))


def _is_here(text: str) -> bool:
    """Whether an address is of this machine or of its link: nothing that a proxy could reach better."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_loopback or mapped.is_link_local or mapped.is_unspecified)
