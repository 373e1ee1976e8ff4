"""What a route does not read is refused with a sentence that names it (findings T3)."""

import pytest

from strongroom.doors.tableau.message import Element, element
from strongroom.doors.tableau.shape import (
    READ,
    Rules,
    Shape,
    as_it_is,
    check_query,
    read,
    request,
)
from strongroom.errors import UsageError

USER = request(
    user=Shape(
        {**read("name"), "authSetting": as_it_is("it has passwords only", "ServerDefault")},
        {"site": Shape(read("id"))},
    )
)


def sent(*children: Element) -> Element:
    return element("tsRequest", {}, *children)


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"name": "x"},
        {"authSetting": "ServerDefault"},
        {"authSetting": "serverdefault"},
        {"authSetting": " "},
    ],
)
def test_what_is_read_or_asks_for_nothing_passes(attributes: dict[str, str]) -> None:
    USER.check(sent(element("user", attributes, element("site", {"id": "s"}))))
    USER.check(sent())


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        (element("user", {"email": "e"}), "attribute email of <user>"),
        (element("user", {"authSetting": "SAML"}), "cannot be 'SAML'.*passwords only"),
        (element("user", {}, element("domain")), "<domain> in <user>"),
        (element("user", {}, element("site", {"name": "s"})), "attribute name of <site>"),
        (Element("user", text="words"), "<user> must not hold text"),
        (element("group"), "<group> in <tsRequest>"),
    ],
)
def test_everything_else_is_named(tree: Element, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        USER.check(sent(tree))


def test_a_shape_may_keep_the_rest() -> None:
    Shape(keeps_rest=True).check(element("site", {"anyFlag": "true"}))


def test_parameters() -> None:
    rules: Rules = {"overwrite": READ, "publishSamples": as_it_is("it has none", "false")}
    check_query(rules, {"overwrite": "anything", "publishSamples": "False"})
    with pytest.raises(UsageError, match="parameter publishSamples cannot be 'True'"):
        check_query(rules, {"publishSamples": "True"})
    with pytest.raises(UsageError, match="parameter 'nosuch'") as caught:
        check_query(rules, {"nosuch": ""})
    assert caught.value.hint == "parameters here: overwrite, publishSamples"
