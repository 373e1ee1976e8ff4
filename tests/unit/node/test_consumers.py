"""Which consumers there are follows from ordinary settings."""

import pytest

from strongroom.config import catalog
from strongroom.errors import StateError
from strongroom.node import consumers
from strongroom.secrets.catalog import SECRETS
from tests.support.memory_consumer import MemoryComponent, MemoryConsumer


def described(**settings: str) -> dict[str, tuple[str, ...]]:
    given = {name.replace("_", ".", 1): value for name, value in settings.items()}
    found = consumers.configured(
        lambda name: given.get(name, catalog.default_of(name)), lambda _: ()
    )
    return {one.describe().id: one.describe().parameters for one in found}


def test_with_nothing_configured_redis_is_not_used() -> None:
    assert not [name for name in described() if name.startswith("redis")]


@pytest.mark.parametrize(
    "where", [{"redis_socket": "/run/redis.sock"}, {"redis_host": "127.0.0.1"}]
)
def test_redis_by_socket_or_host(where: dict[str, str]) -> None:
    assert described(**where)["redis/strongroom"] == ("redis.password",)
    assert "redis/cache" in described(**where, redis_user="cache")


def test_every_parameter_that_rotates_is_a_secret() -> None:
    found = described(redis_host="127.0.0.1", pgsql_host="127.0.0.1", zookeeper_hosts="127.0.0.1:1")
    names = [name for parameters in found.values() for name in parameters]
    assert len(names) == len(set(names)) >= 8
    assert set(names) <= SECRETS.keys()


def test_two_consumers_of_one_parameter_are_refused() -> None:
    """Each would undo what the other did."""
    both = [
        MemoryConsumer(MemoryComponent(), "redis.password", name=name) for name in ("one", "two")
    ]
    with pytest.raises(StateError, match="two and one both rotate"):
        consumers.check_owners(both)
    consumers.check_owners(both[:1])
