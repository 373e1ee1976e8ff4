"""Redis: the ACL user whose password is a secret parameter."""

from typing import TYPE_CHECKING

from strongroom.consumers.kinds import ConsumerKind, Effective, Setting, authority
from strongroom.system import values

if TYPE_CHECKING:
    from strongroom.consumers.base import Candidates, Consumer


def build(effective: Effective, candidates: "Candidates") -> "tuple[Consumer, ...]":
    """The user, if a host or a socket is set."""
    host, socket = effective("redis.host") or "", effective("redis.socket") or ""
    if not (host or socket):
        return ()
    from strongroom.consumers.redis_server import RedisSettings
    from strongroom.consumers.redis_user import RedisConsumer

    settings = RedisSettings(
        user=effective("redis.user") or "",
        socket=socket,
        host=host,
        port=int(effective("redis.port") or 0),
        ca_file=effective("redis.ca_file") or "",
        acl_file=effective("redis.acl_file") or "",
        replicas=effective("redis.replicas") or "",
    )
    return (RedisConsumer(settings, candidates),)


def _settings() -> tuple[Setting, ...]:
    host = "host of Redis; with none and no socket, Redis is not used"
    user = "ACL user of Redis whose password is redis.password"
    ca_file = authority("Redis", without="loopback only")
    acl_file = "ACL file of Redis on this machine, for the inventory"
    beside = "replicas and cluster nodes that learn the password too: found, ignored, or host:port,host:port"
    return (
        Setting("redis.host", None, values.host, host),
        Setting("redis.port", "6379", values.port, "port of Redis"),
        Setting("redis.socket", None, values.path, "Unix socket of Redis, before its host"),
        Setting("redis.user", "strongroom", values.name, user),
        Setting("redis.ca_file", None, values.path, ca_file),
        Setting("redis.acl_file", None, values.path, acl_file),
        Setting("redis.replicas", "found", values.replicas, beside),
    )


CONSUMER = ConsumerKind("redis", _settings(), build)
