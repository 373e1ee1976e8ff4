"""The XML of requests and answers (clients.md 1.1), and the refusal of bombs."""

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.doors.tableau import form, message, xml
from strongroom.errors import FormatError, UsageError

BOMB = b"""<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;&lol;">]>
<tsRequest>&lol2;</tsRequest>"""
EXTERNAL = b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><tsRequest>&x;</tsRequest>'
DTD_ONLY = b'<!DOCTYPE tsRequest SYSTEM "http://127.0.0.1/x.dtd"><tsRequest/>'


@pytest.mark.parametrize("body", [BOMB, EXTERNAL, DTD_ONLY], ids=["bomb", "external", "dtd"])
def test_document_types_and_entities_are_refused(body: bytes) -> None:
    with pytest.raises(FormatError, match="document type or an entity"):
        xml.parse_request(body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<tsRequest>",
        b"no xml",
        b"\xff\xfe\x00",
        b'<?xml version="1.0" encoding="nosuch"?><tsRequest/>',
        b"<tsResponse/>",
    ],
    ids=["empty", "open", "text", "bytes", "encoding", "root"],
)
def test_what_is_no_request_is_a_format_error(body: bytes) -> None:
    with pytest.raises(FormatError):
        xml.parse_request(body)


def test_size_is_bounded() -> None:
    with pytest.raises(FormatError, match="larger than"):
        xml.parse_request(b"<tsRequest>" + b" " * message.MAX_REQUEST_BYTES + b"</tsRequest>")


def test_number_of_elements_is_bounded() -> None:
    inner = b"<a/>" * (message.MAX_ELEMENTS + 1)
    with pytest.raises(FormatError, match="more than"):
        xml.parse_request(b"<tsRequest>" + inner + b"</tsRequest>")


@pytest.mark.parametrize(
    "body",
    [
        b'<tsRequest xmlns="http://example.com/api"><site/></tsRequest>',
        b'<t:tsRequest xmlns:t="urn:x"><site/></t:tsRequest>',
        b'<tsRequest xmlns:x="urn:x"><x:site name="a"/></tsRequest>',
        b'<tsRequest xmlns:i="http://www.w3.org/2001/XInclude"><i:include href="/etc/passwd"/></tsRequest>',
    ],
    ids=["default", "prefixed", "child", "xinclude"],
)
def test_elements_of_another_namespace_are_none_of_ours(body: bytes) -> None:
    """security test S10."""
    with pytest.raises(FormatError, match="namespace"):
        xml.parse_request(body)


def test_deep_nesting_is_harmless() -> None:
    depth = 9000
    body = b"<tsRequest>" + b"<a>" * depth + b"</a>" * depth + b"</tsRequest>"
    assert xml.parse_request(body).tag == "tsRequest"


def test_requests_may_have_a_namespace_or_none() -> None:
    plain = xml.parse_request(b'<tsRequest><site name="A" /></tsRequest>')
    spaced = xml.parse_request(
        b'<tsRequest xmlns="http://tableau.com/api"><site name="A"/></tsRequest>'
    )
    assert message.text_of(message.required(plain, "site"), "name") == "A"
    assert message.text_of(message.required(spaced, "site"), "name") == "A"


def test_an_empty_body_is_an_empty_request() -> None:
    assert form.parse(b" \n").children == []


def test_missing_elements_and_attributes_are_named() -> None:
    request = xml.parse_request(b'<tsRequest><site name=" "/></tsRequest>')
    with pytest.raises(UsageError, match="<user> is missing"):
        message.required(request, "user")
    with pytest.raises(UsageError, match="attribute name of <site>"):
        message.text_of(message.required(request, "site"), "name")


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("true", True),
        ("True", True),
        ("1", True),
        ("FALSE", False),
        ("0", False),
        ("", None),
        (None, None),
    ],
)
def test_what_clients_write_for_truth(text: str | None, meaning: bool | None) -> None:
    assert message.bool_of(text) is meaning


def test_another_word_is_neither_true_nor_false() -> None:
    with pytest.raises(UsageError, match="neither"):
        message.bool_of("perhaps")


def test_answers_have_declaration_namespace_and_plain_children() -> None:
    """Both clients look for `<?xml` first and find elements by namespace."""
    body = xml.render(message.element("site", {"name": 'a"<&é', "quota": None, "on": True, "n": 7}))
    assert body.startswith(b"<?xml")
    root = ET.fromstring(body)
    site = root.find("{http://tableau.com/api}site")
    assert site is not None
    assert site.attrib == {"name": 'a"<&é', "on": "true", "n": "7"}


@given(st.text(max_size=10) | st.sampled_from(["{x", "{u}a", 'a b"/><evil', "xmlns", "a:b"]))
def test_no_name_of_an_attribute_breaks_an_answer(name: str) -> None:
    """ElementTree does not escape names: the last door, whatever stood open before it (findings T2)."""
    root = ET.fromstring(xml.render(message.element("site", {"id": "s", name: "v"})))
    (site,) = root
    assert (root.tag, site.tag) == (
        "{http://tableau.com/api}tsResponse",
        f"{{{xml.NAMESPACE}}}site",
    )
    assert site.attrib in ({"id": "s"}, {"id": "s", name: "v"}, {"id": "v"})


def test_an_element_whose_name_is_none_is_not_written() -> None:
    with pytest.raises(ValueError, match="name that is none"):
        xml.render(message.element("site", {}, message.element("a/><b")))


def test_characters_that_no_xml_may_hold_are_replaced() -> None:
    body = xml.render(message.text_element("detail", "a\x00b\ud800c"))
    detail = ET.fromstring(body)[0]
    assert detail.text == "a�b�c"
