"""Finds the servers of Redis that share a user, from the answers of one of them: replicas and cluster nodes (K15).

ACLs are not replicated, so a replica whose user keeps the old password would refuse every client after a failover. The
module sends its queries by a given session, and knows no password.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from strongroom.consumers.redis_server import Ask, Place, RedisRefusedError
from strongroom.errors import ConsumerRefusedError
from strongroom.system import hosts

_HOWTO = "docs/howto/consumers.md"
_GONE = {"noaddr", "handshake"}
"""Flags of nodes of a cluster that have no address."""


def check_asked(ask: Ask, where: str) -> None:
    """Refuse to change a server from which the other servers cannot be found.

    Raises:
        ConsumerRefusedError: The server is a Sentinel, or a replica.
    """
    answer = _hello(ask)
    if answer.get("mode") == "sentinel":
        raise ConsumerRefusedError(
            f"at {where} is a Sentinel of Redis, which has users of its own",
            hint="set redis.host and redis.port to the primary that it watches",
        )
    # in a cluster, replicas are changed in the same way as primaries
    if answer.get("role") in {"replica", "slave"} and answer.get("mode") != "cluster":
        raise ConsumerRefusedError(
            f"at {where} is a replica of Redis{_primary_of(ask)}",
            hint="set redis.host and redis.port to its primary; the replicas are found there",
        )


def beside(ask: Ask, where: str, *, is_first: bool) -> list[Place]:
    """The other servers that a server knows of.

    Args:
        ask: A session with the server.
        where: The server's address, for people.
        is_first: Whether the server is the configured one; in a cluster only this one is asked, since every node knows
            all.

    Raises:
        ConsumerRefusedError: The server has others beside it, and the user may not ask for their addresses.
    """
    if _hello(ask).get("mode") == "cluster":
        return nodes(_may(ask, where, "+cluster", "CLUSTER NODES")) if is_first else []
    attached = ask("CLIENT LIST", "TYPE", "replica")
    if not attached and not _is_known(ask):
        return []
    return replicas(_may(ask, where, "+info", "INFO", "replication"))


def check_replication(ask: Ask, where: str, user: str) -> None:
    """Refuse to change the password by which a replica gets its data.

    Raises:
        ConsumerRefusedError: A replica logs in as the user.
    """
    for one in ask("CLIENT LIST", "TYPE", "replica"):
        if one.get("user") == user:
            raise ConsumerRefusedError(
                f"the replica {one.get('addr')} gets its data from {where} as {user!r},"
                " and would lose it with the old password; nothing was changed",
                hint=f"give replication a user of its own (masteruser, masterauth): {_HOWTO}",
            )


def replicas(answer: Mapping[str, Any]) -> list[Place]:
    """The replicas of `INFO replication`, as the client library reads it."""
    count = int(answer.get("connected_slaves", 0))
    found = [answer.get(f"slave{number}") for number in range(count)]
    return [_place(str(one["ip"]), int(one["port"])) for one in found if isinstance(one, Mapping)]


def nodes(answer: Any) -> list[Place]:
    """The other nodes of `CLUSTER NODES`: `id ip:port@bus[,name] flags …`, a line each; the client library may have read it."""
    if isinstance(answer, Mapping):
        lines = [(str(address), str(one.get("flags", ""))) for address, one in answer.items()]
    else:
        text = answer.decode() if isinstance(answer, bytes) else str(answer)
        parts = [line.split() for line in text.splitlines() if line.strip()]
        lines = [(part[1], part[2]) for part in parts]
    found = []
    for address, flags in lines:
        if {"myself", *_GONE} & set(flags.split(",")):
            continue
        host, _, port = address.partition(",")[0].partition("@")[0].rpartition(":")
        found.append(_place(host, int(port)))
    return found


def _place(host: str, port: int) -> Place:
    try:
        return Place(host=hosts.host(host), port=port)
    except hosts.HostError:
        raise ConsumerRefusedError(
            f"Redis names a replica without an address: {host[:80]!r}",
            hint="say where the replicas are by redis.replicas, or set it to ignored",
        ) from None


def _may(ask: Ask, where: str, right: str, *words: str) -> Any:
    try:
        return ask(*words)
    except RedisRefusedError as error:
        raise ConsumerRefusedError(
            f"Redis at {where} has other servers beside it, and does not say where: {error.message}",
            hint=f"give the user {right}, or say where they are by redis.replicas: {_HOWTO}",
        ) from error


def _is_known(ask: Ask) -> bool:
    """Whether the user may send the query at all; without an attached replica, the user does not need the right."""
    try:
        ask("INFO", "replication")
    except RedisRefusedError:
        return False
    return True


def _primary_of(ask: Ask) -> str:
    try:
        answer = ask("INFO", "replication")
    except RedisRefusedError:
        return ""
    return f" of {answer.get('master_host')}:{answer.get('master_port')}"


def _hello(ask: Ask) -> dict[str, str]:
    """The server's role and mode, by a command that every user may send; empty if the server does not know the command."""
    try:
        answer = ask("HELLO")
    except RedisRefusedError:
        return {}
    pairs: Sequence[Any] = list(answer)
    items = (
        answer.items()
        if isinstance(answer, Mapping)
        else zip(pairs[::2], pairs[1::2], strict=False)
    )
    return {_text(name): _text(value) for name, value in items}


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
