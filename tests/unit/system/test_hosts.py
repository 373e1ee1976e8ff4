"""Hosts as people write them: one spelling for what is one, a reason for what is none (findings K11)."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.system import hosts

HOSTS = {
    "localhost": "localhost",
    "Redis.Example.ORG": "redis.example.org",
    "my_redis": "my_redis",
    "127.0.0.1": "127.0.0.1",
    "::1": "::1",
    "[::1]": "::1",
    "2001:DB8:0:0::1": "2001:db8::1",
    "fe80::1%eth0": "fe80::1%eth0",
    "xn--bcher-kva.example": "xn--bcher-kva.example",
    "a" * 63 + ".example": "a" * 63 + ".example",
}
NO_HOSTS = {
    "": "reset the key",
    " ": "without blanks",
    "a b": "without blanks",
    " localhost": "without blanks",
    "a\nb": "without blanks",
    "a\x00b": "without blanks",
    "a..b": "a name of letters",
    ".a": "a name of letters",
    "a.": "without the dot",
    ".": "without the dot",
    "-a": "a name of letters",
    "a-": "a name of letters",
    "a" * 64: "a name of letters",
    ".".join(["a" * 60] * 5): "a name of letters",
    "127.0.0.1:2525": "without a port",
    "localhost:1": "without a port",
    "[::1]:80": "without a port",
    ":80": "without a port",
    "::1:99999": "IPv6",
    "[127.0.0.1]": "without brackets",
    "[localhost]": "without brackets",
    "fe80::1%": "zone",
    "fe80::1%a b": "without blanks",
    "fe80::1%a;b": "zone",
    "127.0.0.999": "four numbers",
    "1.2.3": "four numbers",
    "127.1": "four numbers",
    "0127.0.0.1": "four numbers",
    "http://localhost": "without a scheme",
    "localhost/app": "without a path",
    "user@localhost": "without a user",
    "a,b": "not several",
    "bücher.example": "xn--",
    "٣.example": "xn--",
    "$HOST": "a name of letters",
    "*": "a name of letters",
}
ENDPOINTS = {
    "127.0.0.1:2181": ("127.0.0.1", 2181),
    "[::1]:2181": ("::1", 2181),
    "H:1": ("h", 1),
    "h:065535": None,
    "h:65535": ("h", 65535),
}
NO_ENDPOINTS = {
    "::1:2181": r"\[::1\]:2181",
    "127.0.0.1:99999": "from 1 to 65535",
    "127.0.0.1:0": "from 1 to 65535",
    "h:": "from 1 to 65535",
    "h:+1": "from 1 to 65535",
    "h:٣": "ASCII",
    "h": "with its port",
    "[::1]": "with its port",
    ":2181": "reset the key",
    "h:2181/app": "without a path",
    "h: 2181": "without blanks",
    "http://h:2181": "without a scheme",
    "a..b:1": "a name of letters",
    "[h]:1": "without brackets",
    "[::1:1": "brackets",
}


@pytest.mark.parametrize("text", HOSTS)
def test_a_host_has_one_spelling(text: str) -> None:
    assert hosts.host(text) == HOSTS[text]
    assert hosts.host(HOSTS[text]) == HOSTS[text]


@pytest.mark.parametrize("text", NO_HOSTS)
def test_what_is_no_host_is_told_what_it_should_be(text: str) -> None:
    with pytest.raises(hosts.HostError, match=NO_HOSTS[text]):
        hosts.host(text)


@pytest.mark.parametrize("text", ENDPOINTS)
def test_a_host_with_its_port(text: str) -> None:
    wanted = ENDPOINTS[text]
    if wanted is None:
        with pytest.raises(hosts.HostError):
            hosts.endpoint(text)
        return
    found = hosts.endpoint(text)
    assert found == wanted
    assert hosts.endpoint(found.text) == found


@pytest.mark.parametrize("text", NO_ENDPOINTS)
def test_what_is_no_host_with_a_port_is_told_what_it_should_be(text: str) -> None:
    with pytest.raises(hosts.HostError, match=NO_ENDPOINTS[text]):
        hosts.endpoint(text)


def test_a_list_and_its_one_spelling() -> None:
    assert hosts.joined(hosts.endpoints("A:1 , [0::1]:2")) == "a:1,[::1]:2"
    for text in ("", ",", "a:1,", ",a:1", "a:1,,b:1", "a:1;b:1", "a:1 b:1"):
        with pytest.raises(hosts.HostError):
            hosts.endpoints(text)


@pytest.mark.parametrize("text", ["::", "0.0.0.0", "127.0.0.1"])
def test_an_address_to_listen_on(text: str) -> None:
    assert hosts.address(text) == text
    with pytest.raises(hosts.HostError, match="an IP address"):
        hosts.address("localhost")


def test_what_stays_in_this_machine() -> None:
    assert all(map(hosts.is_loopback, ("localhost", "127.0.0.2", "::1")))
    assert not any(map(hosts.is_loopback, ("localhost.example", "10.0.0.1", "::2", "0.0.0.0", "")))


@given(st.text(max_size=30) | st.from_regex(r"[\[\]:%.0-9a-z-]{0,20}", fullmatch=True))
def test_any_text_is_a_host_or_is_refused(text: str) -> None:
    """Nothing else is raised, and what is taken is taken again as it is given back."""
    for parse in (hosts.host, hosts.address, lambda one: hosts.endpoint(one).text):
        with suppress(hosts.HostError):
            found = parse(text)
            assert parse(found) == found
