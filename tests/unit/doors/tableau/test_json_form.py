"""Messages as JSON: the mapping that the public API documents, from the same tree as the XML (findings T2)."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.doors.tableau import form, json_form, xml
from strongroom.doors.tableau.message import Element, element, listing, text_element, word
from strongroom.errors import FormatError


def shown(*children: Element) -> object:
    return json.loads(json_form.render(*children))


def test_attributes_and_children_are_members_and_the_root_is_left_out() -> None:
    site = element("site", {"id": "s", "contentUrl": ""})
    assert shown(element("credentials", {"token": "t"}, site)) == {
        "credentials": {"site": {"id": "s", "contentUrl": ""}, "token": "t"}
    }


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_list_is_an_array_within_its_own_object_whatever_its_length(count: int) -> None:
    """Findings T2: as the public reference has it, `{"users": {"user": […]}}`, and `{"users": {}}` if there are none."""
    users = [element("user", {"name": f"u{number}"}) for number in range(count)]
    expected = {"user": [{"name": f"u{number}"} for number in range(count)]} if count else {}
    assert shown(listing("users", "user", users)) == {"users": expected}


def test_pagination_is_told_in_texts_and_truths_are_truths() -> None:
    pagination = element("pagination", {"pageNumber": 1, "totalAvailable": 7})
    item = element("datasource", {"hasExtracts": True, "encryptExtracts": word(False), "x": None})
    assert shown(pagination, item) == {
        "pagination": {"pageNumber": "1", "totalAvailable": "7"},
        "datasource": {"hasExtracts": True, "encryptExtracts": "false"},
    }


def test_text_is_a_member_and_with_attributes_a_value() -> None:
    info = element(
        "serverInfo",
        {},
        text_element("productVersion", "1.0", {"build": "b"}),
        text_element("restApiVersion", "3.26"),
    )
    assert shown(info) == {
        "serverInfo": {"productVersion": {"build": "b", "value": "1.0"}, "restApiVersion": "3.26"}
    }


def test_an_array_beside_other_members() -> None:
    """Permissions hold a thing and any number of grantees, without a list of their own."""
    made = Element(
        "permissions",
        {},
        [element("project", {"id": "p"}), element("granteeCapabilities")],
        lists=("granteeCapabilities",),
    )
    assert shown(made) == {"permissions": {"project": {"id": "p"}, "granteeCapabilities": [{}]}}


PAIRS = [
    (
        b'<tsRequest><credentials name="a" password="b"><site contentUrl="c"/></credentials></tsRequest>',
        {"credentials": {"name": "a", "password": "b", "site": {"contentUrl": "c"}}},
    ),
    (
        b'<tsRequest><users><user id="1"/><user id="2"/></users></tsRequest>',
        {"users": {"user": [{"id": "1"}, {"id": "2"}]}},
    ),
    (
        b"<tsRequest><l><connectionLUID>x</connectionLUID><connectionLUID>y</connectionLUID></l></tsRequest>",
        {"l": {"connectionLUID": ["x", "y"]}},
    ),
    (b'<tsRequest><d on="true" n="7"/></tsRequest>', {"d": {"on": True, "n": 7, "nothing": None}}),
    (b"<tsRequest/>", {}),
    (b'<tsRequest><a b="c"/></tsRequest>', {"tsRequest": {"a": {"b": "c"}}}),
]


@pytest.mark.parametrize(("as_xml", "as_json"), PAIRS)
def test_both_forms_of_a_request_are_one_tree(as_xml: bytes, as_json: object) -> None:
    assert form.parse(as_xml) == form.parse(json.dumps(as_json).encode())


NAMES = st.text("abcXYZ", min_size=1, max_size=5)
TEXTS = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cn"]), max_size=10)


@st.composite
def trees(draw: st.DrawFn, depth: int = 3) -> Element:
    names = draw(st.lists(NAMES, unique=True, max_size=4))
    cut = draw(st.integers(0, len(names)))
    children = [draw(trees(depth - 1)) for _ in names[cut:]] if depth else []
    for child, name in zip(children, names[cut:], strict=False):
        child.tag = name
    return element(draw(NAMES), {name: draw(TEXTS) for name in names[:cut]}, *children)


@given(trees())
def test_what_is_written_in_either_form_is_read_as_the_same_tree(tree: Element) -> None:
    as_xml = xml.render(tree).replace(b"tsResponse", b"tsRequest")
    found = form.parse(as_xml)
    assert found == form.parse(json_form.render(tree))
    assert found.children[0] == tree


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"[1]",
        b'{"a": NaN}',
        b'{"a": 1, "a": 2}',
        b'{"a": {"b": [null]}}',
        b'{"a": [[]]}',
        b'{"a": "\\u0000"}',
        b'{"a": "\\ud800"}',
        b'{"a\\u0000": "x"}',
        b'{"a": "\xff"}',
        b'{"a":' * 40 + b"1" + b"}" * 40,
        b'{"a":' * 60_000,
        b'{"a": [' + b"{}," * 10_001 + b"{}]}",
        b'{"a": [' + b"1," * 10_001 + b"1]}",
        b'{"a": "' + b"x" * 300_000 + b'"}',
    ],
)
def test_what_is_no_request_is_a_format_error(body: bytes) -> None:
    with pytest.raises(FormatError, match=r"JSON|character"):
        json_form.parse_request(body)


@given(st.text(max_size=8))
def test_a_member_has_a_name_that_xml_can_hold(name: str) -> None:
    """Findings T2: one tree in both forms, so no name in one that the other cannot have."""
    body = json.dumps({"site": {name: "v"}, "sites": {"site": [{name: {}}]}}).encode()
    try:
        found = json_form.parse_request(body)
    except FormatError:
        return
    as_xml = xml.render(*found.children).replace(b"tsResponse", b"tsRequest")
    assert form.parse(as_xml) == found


@given(st.binary(max_size=200))
def test_no_body_is_more_than_a_format_error(body: bytes) -> None:
    try:
        form.parse(b"{" + body)
    except FormatError:
        return


def test_long_numbers_are_texts() -> None:
    """A number of many digits would cost much to read, and is none that anybody needs."""
    digits = "9" * 5000
    assert (
        json_form.parse_request(f'{{"a": {{"n": {digits}}}}}'.encode()).children[0].get("n")
        == digits
    )
