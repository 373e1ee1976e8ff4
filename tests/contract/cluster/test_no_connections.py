"""A served node that gets no connection from PostgreSQL: it says so in bounded time, and goes on by itself (matrix 16)."""

import http.client
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from strongroom.repository.rows import SiteMode
from tests.support import web_client
from tests.support.cluster_services import ClusterServices
from tests.support.waiting import in_the_end
from tests.support.web_client import HYPER, Client, Reply

BOUND_S = 15.0
"""More than any request may take; measured, each takes some hundredths of a second."""


@contextmanager
def used_up(services: ClusterServices) -> Iterator[None]:
    """PostgreSQL has no connection left for the node, and ends those that it has."""
    services.postgres.run(
        f"ALTER ROLE {services.database} CONNECTION LIMIT 0",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        f" WHERE usename = '{services.database}'",
    )
    try:
        yield
    finally:
        services.postgres.run(f"ALTER ROLE {services.database} CONNECTION LIMIT -1")


def probe(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_requests_are_refused_in_words_and_it_goes_on_by_itself(
    cluster_home: Path, services: ClusterServices, caplog: pytest.LogCaptureFixture
) -> None:
    """The clients of this interface print any 5xx as raw bytes: so it is 423, and 503 for whoever watches."""
    with web_client.serve(cluster_home) as served:
        client = served.site("Sealed", SiteMode.ENFORCED)
        item = client.publish("one").find("datasource").get("id", "")
        requests: dict[str, Callable[[], Reply]] = {
            "publish": lambda: client.publish("two"),
            "download": lambda: client.download(item),
            "list": lambda: client.on_site("GET", "/datasources"),
            "delete": lambda: client.on_site("DELETE", f"/datasources/{item}"),
            "sign in": lambda: Client(client.port).sign_in(),
        }
        with used_up(services), caplog.at_level(logging.WARNING):
            for name, send in requests.items():
                begun = time.monotonic()
                refused = send()
                assert time.monotonic() - begun < BOUND_S, name
                assert (refused.status, refused.code) == (423, "423041"), (name, refused.body)
                assert b"the server's storage cannot be used" in refused.body
                # what the server said is for those who have its log
                assert services.database.encode() not in refused.body
            begun = time.monotonic()
            assert probe(served.port, "/readyz") == (503, b"not ready\n")
            assert probe(served.port, "/healthz") == (200, b"ok\n")
            assert time.monotonic() - begun < BOUND_S
        assert "too many connections for role" in caplog.text
        in_the_end(lambda: client.publish("two").status == 201)
        assert client.download(item).body == HYPER
        assert probe(served.port, "/readyz")[0] == 200
        assert served.nothing_is_left()
