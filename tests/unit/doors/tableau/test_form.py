"""Which form an answer has (RFC 9110 section 12.5.1; findings T2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.doors.tableau.form import Form, answer_form


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", Form.XML),
        ("*/*", Form.XML),
        ("application/json", Form.JSON),
        ("Application/JSON; charset=utf-8", Form.JSON),
        ("application/json, text/plain, */*", Form.JSON),
        ("application/json, application/xml", Form.JSON),
        ("application/xml, application/json", Form.XML),
        ("text/*, */*", Form.XML),
        ("application/json, text/plain, */*;q=0.5", Form.JSON),
        ("application/xml;q=0.5, application/json", Form.JSON),
        ("application/xml, application/json;q=0.9", Form.XML),
        ("application/json;q=0.5, text/xml;q=0.4", Form.JSON),
        ("application/json;q=0", Form.XML),
        ("application/json;q=nonsense", Form.XML),
        ("*/*;q=0.1, application/json;q=0.2", Form.JSON),
        ("text/html", Form.XML),
        ("application/octet-stream", Form.XML),
        ("application/*", Form.XML),
        (",;,;q=,", Form.XML),
    ],
)
def test_the_form_that_a_client_likes_best(accept: str, expected: Form) -> None:
    assert answer_form(accept) is expected


@given(st.text(max_size=80))
def test_any_header_gives_a_form(accept: str) -> None:
    assert answer_form(accept) in Form
