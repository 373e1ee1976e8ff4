"""Rules for the age of secrets (P15)."""

import pytest

from strongroom.secrets import policy


def test_the_first_rule_that_fits_counts() -> None:
    rules = policy.parse(" redis.password=30  pgsql.*=90 *=365 ")
    assert policy.max_age_days(rules, "redis.password") == 30
    assert policy.max_age_days(rules, "pgsql.adminpassword") == 90
    assert policy.max_age_days(rules, "jdbc.password") == 365
    assert policy.max_age_days(policy.parse("pgsql.*=90"), "jdbc.password") is None


def test_rules_have_one_spelling() -> None:
    assert policy.check("  a.b=007\t*=1 ") == "a.b=7 *=1"
    assert policy.check("") == ""


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "=5",
        "a=",
        "a=0",
        "a=-1",
        "a=1.5",
        "a=99999",
        "a[b]=3",
        "a?=3",
        "a=٣",
        "a=0000019999999999",
    ],
)
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="PATTERN=DAYS"):
        policy.parse(text)


def test_rules_without_end_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 256"):
        policy.parse("a=1 " * 257)
