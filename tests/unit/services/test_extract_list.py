"""Extracts as the command line names them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.errors import NotFoundError, UsageError
from strongroom.services import extract_list
from tests.jobs_bench import SITE, Bench, open_bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    yield from open_bench(tmp_path)


def rename(bench: Bench, content_id: str, name: str, **more: object) -> None:
    with bench.repository.transaction() as tx:
        tx.contents.update(content_id, name=name, **more)


def test_what_is_an_extract_is_listed_by_name(bench: Bench) -> None:
    beta, alpha = (bench.publish(b"x", encrypted=False) for _ in range(2))
    rename(bench, beta, "Beta")
    rename(bench, alpha, "alpha")
    bench.publish(b"<datasource/>", encrypted=False, has_extract=False)
    sealed = bench.publish(b"<datasource/>", encrypted=True, has_extract=False)
    rename(bench, sealed, "zulu")
    assert [row.name for row in extract_list.of_site(bench.repository, SITE)] == [
        "alpha",
        "Beta",
        "zulu",
    ]


def test_one_is_found_by_id_or_name(bench: Bench) -> None:
    one, two = (bench.publish(b"x", encrypted=False) for _ in range(2))
    rename(bench, one, "Sales")
    assert extract_list.find(bench.repository, SITE, one).id == one
    assert extract_list.find(bench.repository, SITE, "SALES").id == one
    with pytest.raises(NotFoundError):
        extract_list.find(bench.repository, SITE, "nothing")
    rename(bench, two, "sales", kind="workbook")
    with pytest.raises(UsageError, match="2 extracts") as raised:
        extract_list.find(bench.repository, SITE, "Sales")
    assert one in raised.value.hint
    assert two in raised.value.hint
