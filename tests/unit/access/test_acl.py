"""Policies of services: which rule decides, and what a text may say (docs/format/service-keys.md 4.3)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.access import acl, acl_text
from strongroom.access.acl import Acl, Capability
from strongroom.errors import UsageError

READ, DENY = frozenset({Capability.READ}), frozenset({Capability.DENY})


@pytest.mark.parametrize(
    ("rules", "path", "allowed"),
    [
        ({"a/b": READ}, "a/b", True),
        ({"a/b": READ}, "a/b/c", False),
        ({"a/*": READ}, "a/b/c", True),
        ({"a/*": READ}, "a", False),
        ({"a/b*": READ}, "a/bc/d", True),
        ({"a/+/c": READ}, "a/b/c", True),
        ({"a/+/c": READ}, "a/b/x/c", False),
        ({"a/+/c*": READ}, "a/b/cd/e", True),
        ({"+/b": READ}, "a/b", True),
        ({"a/*": READ, "a/b": DENY}, "a/b", False),
        ({"a/*": DENY, "a/b": READ}, "a/b", True),
        ({"a/*": DENY, "a/b/*": READ}, "a/b/c", True),
        ({"a/+/c": READ, "a/b*": DENY}, "a/b/c", False),
        ({"a/+/*": DENY, "a/+/c": READ}, "a/b/c", True),
        ({"a/+/+": DENY, "a/+/c": READ}, "a/b/c", True),
        ({"*": READ}, "anything/at/all", True),
        ({}, "a", False),
    ],
)
def test_one_rule_decides_as_in_vault(
    rules: dict[str, frozenset[Capability]], path: str, allowed: bool
) -> None:
    assert Acl(rules).allows(path, Capability.READ) is allowed


def test_rules_of_several_policies_are_joined_and_deny_wins() -> None:
    update = frozenset({Capability.UPDATE})
    assert Acl.of([{"a": READ}, {"a": update}]).capabilities("a") == READ | update
    assert Acl.of([{"a": READ}, {"a": DENY}]).capabilities("a") == DENY


def test_hcl_and_json_say_the_same() -> None:
    hcl = """
    # a comment
    path "secret/data/*" { capabilities = ["read", "list",] } // another
    path "transit/encrypt/+" { /* and one more */ policy = "write" }
    """
    json = (
        '{"path": {"secret/data/*": {"capabilities": ["list", "read"]},'
        ' "transit/encrypt/+": {"policy": "write"}}}'
    )
    assert acl_text.parse(hcl) == acl_text.parse(json)
    assert acl_text.parse(hcl)["secret/data/*"] == {Capability.READ, Capability.LIST}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('path "a" { allowed_parameters = { "b" = [] } }', "allowed_parameters"),
        ('path "a" { min_wrapping_ttl = "1h" }', "min_wrapping_ttl"),
        ('{"path": {"a": {"required_parameters": ["b"]}}}', "required_parameters"),
        ('{"rules": {}}', "rules"),
        ('name = "dev"', "name"),
        ('path "a" { capabilities = ["root"] }', "root"),
        ('path "a/*/b" { capabilities = ["read"] }', "elsewhere"),
        ('path "a/b+" { capabilities = ["read"] }', "whole segment"),
        ('path "a/{{identity.entity.id}}" { capabilities = ["read"] }', "template"),
        ('path "a" { capabilities = "read" }', "capabilities"),
        ('path "a" { policy = "all" }', "policy"),
        ('path "a" {', "ends"),
        ("path a { }", "quotes"),
        ('path "a" { capabilities = [read] }', "quotes"),
        ('path "a" { } }', "name"),
        ('path "a\n" { }', "line 1"),
        ('path "" { }', "no path"),
        ("{", "JSON"),
        # a reader of JSON drops the first of two members, and with it the `deny`
        ('{"path": {"a": {"capabilities": ["deny"]}, "a": {"policy": "read"}}}', "twice"),
        ('{"path": {"a": {"capabilities": ["deny"], "capabilities": ["read"]}}}', "twice"),
        ('{"path": {"a": {"policy": "deny"}}, "path": {"a": {"policy": "read"}}}', "twice"),
        ('{"path": {"a": {"policy": "deny"}, "\\u0061": {"policy": "read"}}}', "twice"),
        ("#" * (acl_text.MAX_BYTES + 1), "bytes"),
    ],
)
def test_what_is_not_kept_is_refused_by_its_name(text: str, word: str) -> None:
    with pytest.raises(UsageError) as refused:
        acl_text.parse(text)
    assert word in f"{refused.value.message} {refused.value.hint}"


@given(st.text(alphabet='path"{}[]=,#/* \n\\capbilteswrd+', max_size=80))
def test_no_text_breaks_the_reader(text: str) -> None:
    try:
        acl_text.parse(text)
    except UsageError:
        return


def test_the_default_policy_can_be_kept() -> None:
    assert acl_text.parse(acl.DEFAULT_TEXT)["auth/token/renew-self"] == {Capability.UPDATE}
