"""Paging, filters and order as tabcmd and TSC send them (clients.md 1.1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.doors.tableau.errors import RefusalError
from strongroom.doors.tableau.paging import Window, query_of, window_of
from strongroom.errors import UsageError
from strongroom.repository.rows import Filter


def filters(text: str) -> tuple[Filter, ...]:
    return query_of({"filter": text}, Window(1, 100)).filters


def test_defaults() -> None:
    assert window_of({}) == Window(1, 100)
    query = query_of({}, Window(1, 100))
    assert (query.filters, query.sort, query.offset, query.limit) == (
        (),
        (("name", False),),
        0,
        100,
    )


def test_the_second_page_begins_behind_the_first() -> None:
    assert window_of({"pageNumber": "2", "pageSize": "7"}).offset == 7


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"pageNumber": "0"}, "400006"),
        ({"pageNumber": "x"}, "400006"),
        ({"pageNumber": "9" * 50}, "400006"),
        ({"pageSize": "-1"}, "400007"),
        ({"pageSize": "1001"}, "403014"),
    ],
)
def test_bad_windows_have_the_documented_codes(query: dict[str, str], code: str) -> None:
    with pytest.raises(RefusalError) as caught:
        window_of(query)
    assert caught.value.fault.code == code


def test_two_conditions() -> None:
    assert filters("name:eq:x,projectName:eq:Default") == (
        Filter("name", "eq", ("x",)),
        Filter("project_name", "eq", ("Default",)),
    )


@given(st.text(alphabet="a,: []\"'é", max_size=20))
def test_names_with_commas_and_colons_stay_whole(name: str) -> None:
    assert filters(f"name:eq:{name}") == (Filter("name", "eq", (name,)),)


def test_in_takes_a_list() -> None:
    assert filters("status:in:[Success,Failed]") == (Filter("status", "in", ("Success", "Failed")),)


@pytest.mark.parametrize("text", ["name", "name:like:x", ",name:eq:x", ":eq:x"])
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a filter"):
        filters(text)


def test_order() -> None:
    query = query_of({"sort": "name:desc,createdAt:asc"}, Window(1, 100), {"name": "title"})
    assert query.sort == (("title", True), ("created_at", False))


def test_what_is_no_order_is_refused() -> None:
    with pytest.raises(UsageError, match="not an order"):
        query_of({"sort": "name:down"}, Window(1, 100))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"name:in:[Sales\, EMEA,Other]", [("in", ("Sales, EMEA", "Other"))]),
        (r"name:in:[a\,b\,c]", [("in", ("a,b,c",))]),
        (r"name:in:[a,name:eq:b]", [("in", ("a", "name:eq:b"))]),
        (r"name:in:[a,b],name:eq:c", [("in", ("a", "b")), ("eq", ("c",))]),
        (r"name:eq:Sales\, EMEA", [("in", ("Sales, EMEA", r"Sales\, EMEA"))]),
        (r"name:eq:a\,name:eq:b", [("in", ("a,name:eq:b", r"a\,name:eq:b"))]),
        (r"name:has:a\,b", [("has", (r"a\,b",))]),
    ],
)
def test_commas_that_are_escaped(text: str, expected: list[tuple[str, tuple[str, ...]]]) -> None:
    """Findings K17: `filter=name:in:[Sales\\, EMEA,Other]` was split at the comma within."""
    assert [(one.operator, one.values) for one in filters(text)] == expected


@pytest.mark.parametrize("name", ["hasExtracts", "has_extracts"])
def test_both_spellings_of_a_field(name: str) -> None:
    query = {"filter": f"{name}:eq:true", "sort": f"{name}:asc"}
    found = query_of(query, Window(1, 100), {"hasExtracts": "has_extract"})
    assert (found.filters[0].field, found.sort) == ("has_extract", (("has_extract", False),))
