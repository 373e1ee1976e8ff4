"""Content URLs of equal names (findings R7)."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, event

from tests.support.web_client import Served


@pytest.fixture
def looked() -> Iterator[list[str]]:
    """Every statement that looks for a content URL, by whatever function."""
    found: list[str] = []

    def noted(_: Any, __: Any, statement: str, *___: Any) -> None:
        if "content_url_folded" in statement.partition("WHERE")[2]:
            found.append(statement)

    event.listen(Engine, "before_cursor_execute", noted)
    yield found
    event.remove(Engine, "before_cursor_execute", noted)


def test_the_cost_of_a_free_content_url_does_not_grow_with_the_names(
    served: Served, looked: list[str]
) -> None:
    """Findings R7 and B4: one query for each name that was taken, inside the transaction that all writers wait for."""
    client, asked, urls = served.client(), [], []
    for number in range(12):
        body = f'<tsRequest><project name="P{number}"/></tsRequest>'
        made = client.on_site("POST", "/projects", body)
        inner = f'<project id="{made.find("project").get("id")}"/>'
        looked.clear()
        urls.append(client.publish("Sales", inner=inner).find("datasource").get("contentUrl"))
        asked.append(len(looked))
    assert urls == ["Sales", *(f"Sales_{number}" for number in range(1, 12))]
    assert set(asked[1:]) == {3}, asked
