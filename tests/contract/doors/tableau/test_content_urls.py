"""Content URLs of equal names (findings R7)."""

import pytest

from strongroom.repository.gateways.content import ContentsTable
from strongroom.repository.rows import ContentRow
from tests.support.web_client import Served


def test_the_cost_of_a_free_content_url_does_not_grow_with_the_names(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Findings R7 and B4: one query for each name that was taken, inside the transaction that all writers wait for."""
    looked: list[str] = []
    find = ContentsTable.find_by_content_url

    def counted(self: ContentsTable, site_id: str, kind: str, url: str) -> ContentRow | None:
        looked.append(url)
        return find(self, site_id, kind, url)

    monkeypatch.setattr(ContentsTable, "find_by_content_url", counted)
    client, asked, urls = served.client(), [], []
    for number in range(12):
        body = f'<tsRequest><project name="P{number}"/></tsRequest>'
        made = client.on_site("POST", "/projects", body)
        inner = f'<project id="{made.find("project").get("id")}"/>'
        looked.clear()
        urls.append(client.publish("Sales", inner=inner).find("datasource").get("contentUrl"))
        asked.append(len(looked))
    assert urls == ["Sales", *(f"Sales_{number}" for number in range(1, 12))]
    assert set(asked[1:]) == {2}
