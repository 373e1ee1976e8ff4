"""Extracts as the command line names them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.errors import NotFoundError, UsageError
from strongroom.services.content.extract_list import ExtractList
from tests.support.jobs_lab import SITE, Lab, open_lab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    yield from open_lab(tmp_path)


def extracts(lab: Lab) -> ExtractList:
    return ExtractList(lab.repository, lab.files)


def rename(lab: Lab, content_id: str, name: str, **more: object) -> None:
    with lab.repository.transaction() as tx:
        tx.contents.update(content_id, name=name, **more)


def test_what_is_an_extract_is_listed_by_name(lab: Lab) -> None:
    beta, alpha = (lab.publish(b"x", encrypted=False) for _ in range(2))
    rename(lab, beta, "Beta")
    rename(lab, alpha, "alpha")
    lab.publish(b"<datasource/>", encrypted=False, has_extract=False)
    sealed = lab.publish(b"<datasource/>", encrypted=True, has_extract=False)
    rename(lab, sealed, "zulu")
    assert [row.name for row in extracts(lab).of_site(SITE)] == [
        "alpha",
        "Beta",
        "zulu",
    ]


def test_one_is_found_by_id_or_name(lab: Lab) -> None:
    one, two = (lab.publish(b"x", encrypted=False) for _ in range(2))
    rename(lab, one, "Sales")
    assert extracts(lab).find(SITE, one).id == one
    assert extracts(lab).find(SITE, "SALES").id == one
    with pytest.raises(NotFoundError):
        extracts(lab).find(SITE, "nothing")
    rename(lab, two, "sales", kind="workbook")
    with pytest.raises(UsageError, match="2 extracts") as raised:
        extracts(lab).find(SITE, "Sales")
    assert one in raised.value.hint
    assert two in raised.value.hint
