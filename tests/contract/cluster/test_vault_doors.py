"""The Vault door on two nodes of a cluster: what one makes or ends is so on the other at its next call (ADR 51).

No time is waited for anywhere: every call asks the database that both share whether its rows are the present ones.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from strongroom.node import opening
from tests.contract.cluster.commands import Run, joined
from tests.support import web_client
from tests.support.components.postgres import Postgres
from tests.support.vault_door import b64
from tests.support.vault_edges import Edge, Line, at_once, edge, new_token, request

VALUE = {"plaintext": b64(b"a value")}
WRAPPED = "X-Vault-Wrap-TTL: 60\r\n"


class Both(NamedTuple):
    """Two doors, each with a connection that stays."""

    one: Edge
    two: Edge
    lines: tuple[Line, Line]

    def call(self, number: int, path: str, body: object = None, token: str = "") -> object:
        """Status, and what was answered, of a call on the one or the other."""
        said = self.lines[number].call(request(path, body or {}, token or self.one.root))
        return said.status, said.json.get("data")

    def status(self, number: int, path: str, body: object = None, token: str = "") -> int:
        return self.lines[number].call(request(path, body or {}, token or self.one.root)).status


@contextmanager
def both_doors(home: Path, run: Run, folder: Path) -> Iterator[Both]:
    second = folder / "two"
    with web_client.serve(home) as first:
        joined(first, run, second)
        with (
            closing(opening.open_node(str(second))) as node,
            edge(first.node) as one,
            edge(node) as two,
            one.line() as line,
            two.line() as other,
        ):
            yield Both(one, two, (line, other))


def test_what_one_node_makes_or_ends_is_so_on_the_other_at_its_next_call(
    cluster_home: Path, run: Run, tmp_path: Path, postgres: Postgres
) -> None:
    with both_doors(cluster_home, run, tmp_path) as both:
        _keys(both)
        _tokens(both)
        _races(both)
        _restart(both, postgres)
        for door in (both.one, both.two):
            assert door.node.event_log_faults() == ()


def _keys(both: Both) -> None:
    both.status(0, "transit/keys/k")
    made = both.one.call("transit/encrypt/k", VALUE).json["data"]["ciphertext"]
    for number in (0, 1, 0, 1):
        assert both.call(number, "transit/decrypt/k", {"ciphertext": made}) == (200, VALUE)
    for turn in range(6):
        maker, other = turn % 2, 1 - turn % 2
        both.status(maker, "transit/keys/k/rotate")
        later = both.call(other, "transit/encrypt/k", VALUE)
        assert isinstance(later, tuple)
        assert later[1]["key_version"] == turn + 2, later
        keys = (both.one, both.two)[maker].node.service_keys
        from strongroom.services.service_keys.keys import own
        from tests.support.vault_edges import BY

        keys.set_enabled(BY, own("k"), enabled=False)
        assert both.status(other, "transit/decrypt/k", {"ciphertext": made}) == 400
        keys.set_enabled(BY, own("k"), enabled=True)
        assert both.status(other, "transit/decrypt/k", {"ciphertext": made}) == 200
    both.status(0, "transit/keys/k/config", {"deletion_allowed": True})
    assert both.two.call("transit/keys/k", method="DELETE").status == 204
    assert both.status(0, "transit/decrypt/k", {"ciphertext": made}) == 404


def _tokens(both: Both) -> None:
    both.status(0, "transit/keys/t")
    rule = 'path "transit/encrypt/t" { capabilities = ["%s"] }'
    for turn in range(4):
        maker, other = turn % 2, 1 - turn % 2
        both.status(maker, "sys/policies/acl/app", {"policy": rule % "update"})
        token = new_token((both.one, both.two)[maker].node, policies=["app"])
        assert both.status(other, "transit/encrypt/t", VALUE, token) == 200
        both.status(maker, "sys/policies/acl/app", {"policy": rule % "read"})
        assert both.status(other, "transit/encrypt/t", VALUE, token) == 403
        both.status(maker, "sys/policies/acl/app", {"policy": rule % "update"})
        assert both.status(other, "transit/encrypt/t", VALUE, token) == 200
        assert both.status(maker, "auth/token/revoke", {"token": token}) == 204
        assert both.status(other, "transit/encrypt/t", VALUE, token) == 403


def _races(both: Both) -> None:
    """A token of three uses, and one of a wrapped answer, are asked for on both nodes at once."""
    doors = (both.one, both.two)
    token = new_token(both.one.node, uses=3)

    def use(number: int) -> int:
        return doors[number % 2].call("transit/encrypt/t", VALUE, token=token).status

    assert Counter(at_once(8, use)) == {200: 3, 403: 5}
    made = both.lines[0].call(request("transit/encrypt/t", VALUE, both.one.root, more=WRAPPED))
    once = made.json["wrap_info"]["token"]

    def unwrap(number: int) -> int:
        return doors[number % 2].call("sys/wrapping/unwrap", token=once).status

    assert Counter(at_once(8, unwrap)) == {200: 1, 400: 7}


def _restart(both: Both, postgres: Postgres) -> None:
    """The connection that asks is cut; the next call opens another."""
    name = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    postgres.run(name)
    assert {both.status(number, "transit/encrypt/t", VALUE) for number in (0, 1)} == {200}
