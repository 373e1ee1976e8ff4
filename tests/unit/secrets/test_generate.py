"""Generated secrets: C-01."""

from datetime import UTC, datetime

from strongroom.secrets import generate
from strongroom.secrets.catalog import SECRETS

NOW = datetime(2026, 11, 21, 22, 0, tzinfo=UTC)


def test_every_generated_secret_and_no_other() -> None:
    values = generate.generated_values(NOW)
    assert values.keys() == generate.generated_names()
    assert len(values) == 17
    assert not any(SECRETS[name].key_hierarchy for name in values)


def test_all_are_distinct_and_new() -> None:
    """C-01: a separate one for each service and user."""
    first, second = generate.generated_values(NOW), generate.generated_values(NOW)
    assert len({*first.values(), *second.values()}) == 34


def test_passwords_are_long_printable_ascii() -> None:
    password = generate.generated_values(NOW)["pgsql.readonly_password"].decode("ascii")
    assert len(password) == 43
    assert password.isprintable()
    assert " " not in password
