"""`strongroom cluster status`: how ZooKeeper, PostgreSQL and the object store stand, as this node sees them now."""

from typing import TYPE_CHECKING, Any

from strongroom.cli.terminal.session import Session

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from strongroom.services.nodes.standing import Standing

_UNKNOWN = "not known now"
_SERVED = {True: "is served", False: "is not served", None: "is not known here"}


def add_verb(verbs: Any) -> None:
    """Add the command to the parser of `cluster`."""
    parser = verbs.add_parser(
        "status",
        help="tell how ZooKeeper, PostgreSQL and the object store stand now, and what this node reads there",
    )
    parser.add_argument("--json", action="store_true", help="print the status as JSON")
    parser.set_defaults(run=_run)


def _run(arguments: "argparse.Namespace", session: Session) -> int:
    from strongroom.node import cluster_status

    node_id = session.node.paths.node_id
    found = cluster_status.look(session.whole_node)
    if arguments.json:
        session.out_json(_as_json(found, node_id))
        return found.exit_code
    for line in _lines(found, node_id):
        session.out(line)
    for one in found.problems:
        session.note(f"{one.where}: {one.words}")
    return found.exit_code


def _as_json(found: "Standing", node_id: str) -> dict[str, object]:
    database, own = found.database, found.own
    return {
        "ok": found.exit_code == 0,
        "zookeeper": {
            "connected": found.is_connected,
            "quorum": found.has_quorum,
            "session": found.session.id,
            "servers": [
                {
                    "server": one.server,
                    "reachable": one.is_reachable,
                    "tls": one.is_reachable,
                    "role": one.role,
                    "version": one.version,
                    "problem": one.problem or None,
                }
                for one in found.servers
            ],
        },
        "postgres": {
            "reachable": database.version is not None,
            "version": database.version,
            "writable": database.is_writable if database.version is not None else None,
            "schema": database.schema,
            "connections": {"used": database.used, "limit": database.limit},
            "clock_skew_s": database.skew_s,
        },
        "object_stores": None
        if found.stores is None
        else [
            {"address": one.address, "reachable": not one.problem, "problem": one.problem or None}
            for one in found.stores
        ],
        "node": {
            "id": node_id,
            "configuration": own.configuration,
            "anchor": found.anchor,
            "incarnation": database.incarnation,
        },
        "nodes": None
        if own.nodes is None
        else [{"id": one.id, "serving": one.is_serving} for one in own.nodes],
        "problems": [{"where": one.where, "problem": one.words} for one in found.problems],
    }


def _lines(found: "Standing", node_id: str) -> "Iterator[str]":
    serving = sum(one.role is not None for one in found.servers)
    state = f"session {found.session.id}" if found.is_connected else "no session"
    quorum = "a quorum" if found.has_quorum else "no quorum"
    yield f"ZooKeeper: {state}, {quorum}, {serving} of {len(found.servers)} servers serve"
    for one in found.servers:
        tls = "TLS" if one.is_reachable else "-"
        yield f"  {one.server}: {one.role or '-'}, {one.version or '-'}, {tls}"
    yield f"PostgreSQL: {_database(found)}"
    yield from _stores(found)
    own = found.own
    version = _UNKNOWN if own.configuration is None else own.configuration
    none = "none yet" if found.is_stored else _UNKNOWN
    anchor = none if found.anchor is None else found.anchor
    yield f"Node {node_id}: configuration {version}, anchor {anchor}"
    if found.database.incarnation is not None:
        yield f"Incarnation: {found.database.incarnation}"
    if own.nodes is None:
        yield f"Nodes: {_UNKNOWN}"
        return
    words = (f"{one.id} {_SERVED[one.is_serving]}" for one in own.nodes)
    yield f"Nodes: {', '.join(words)}"


def _stores(found: "Standing") -> "Iterator[str]":
    if found.stores is None:
        yield f"Extracts: {_UNKNOWN}"
    elif not found.stores:
        yield "Extracts: on the disk of each node"
    for one in found.stores or ():
        yield f"Extracts: {one.address}, {'does not serve' if one.problem else 'can be read'}"


def _database(found: "Standing") -> str:
    one = found.database
    if one.version is None:
        return "no connection"
    return (
        f"{one.version}, {'writable' if one.is_writable else 'read-only'}, schema {one.schema or '-'},"
        f" {one.used} of {one.limit} connections, clock {one.skew_s or 0.0:+.1f} s"
    )
