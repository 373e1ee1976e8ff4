"""Where an address of PostgreSQL leads: several hosts, addresses beside names, IPv6 and sockets (issue 11 C; E11)."""

import pytest

from strongroom.errors import UsageError
from strongroom.repository import postgres_address

GIVEN = {
    "a name": ({"host": "db"}, ("db:5432",), ("db",), "db/x"),
    "a port": ({"host": "db", "port": "6000"}, ("db:6000",), ("db",), "db:6000/x"),
    "an address beside its name": (
        {"host": "db.internal", "hostaddr": "10.0.0.5", "port": "5433"},
        ("10.0.0.5:5433",),
        (),
        "db.internal:5433/x",
    ),
    "an address for one of two": (
        {"host": "a,b", "hostaddr": "10.0.0.5,", "port": "1,2"},
        ("10.0.0.5:1", "b:2"),
        ("b",),
        "a:1,b:2/x",
    ),
    "one port for all": (
        {"host": "a,b", "port": "6000"},
        ("a:6000", "b:6000"),
        ("a", "b"),
        "a:6000,b:6000/x",
    ),
    "a usual port between others": (
        {"host": "a,b", "port": ",2"},
        ("a:5432", "b:2"),
        ("a", "b"),
        "a,b:2/x",
    ),
    "fewer ports": (
        {"host": "a,b,c", "port": "1,2"},
        ("a:1", "b:2", "c:5432"),
        ("a", "b", "c"),
        "",
    ),
    "IPv6": (
        {"host": "::1,db", "hostaddr": ",fe80::1%eth0", "port": "1"},
        ("[::1]:1", "[fe80::1%eth0]:1"),
        ("::1",),
        "[::1]:1,db:1/x",
    ),
    "addresses alone": (
        {"hostaddr": "10.0.0.5,10.0.0.6"},
        ("10.0.0.5:5432", "10.0.0.6:5432"),
        (),
        "",
    ),
    "a socket": ({"host": "/run/postgresql", "port": "6000"}, (), (), "/run/postgresql:6000/x"),
    "an abstract socket beside a name": ({"host": "@pg,db"}, ("db:5432",), ("db",), "@pg,db/x"),
    "nothing": ({}, (), (), "/x"),
}


@pytest.mark.parametrize(("given", "places", "names", "words"), GIVEN.values(), ids=GIVEN)
def test_where_it_leads(
    given: dict[str, str], places: tuple[str, ...], names: tuple[str, ...], words: str
) -> None:
    """A connection goes to the address, where there is one; then nobody need know the name."""
    assert postgres_address.places_of(given) == places
    assert postgres_address.hosts_of(given) == names
    if words:
        assert postgres_address.words({**given, "dbname": "x"}) == words


@pytest.mark.parametrize(
    ("given", "is_local"),
    [
        ({"host": "/run/a,/run/b"}, True),
        ({"host": "/run/a", "hostaddr": ""}, True),
        ({"host": "/run/a", "hostaddr": "10.0.0.5"}, False),
        ({"host": "/run/a,/run/b", "hostaddr": ",10.0.0.5"}, False),
        ({"host": "/run/a,db"}, False),
        ({"hostaddr": "::1"}, False),
    ],
    ids=["sockets", "no address", "address", "second address", "second host", "address alone"],
)
def test_only_sockets_need_no_proof_of_the_server(given: dict[str, str], is_local: bool) -> None:
    if is_local:
        postgres_address.check_address({**given, "sslmode": "prefer"})
        return
    with pytest.raises(UsageError, match="does not prove which server answers"):
        postgres_address.check_address({**given, "sslmode": "prefer"})
