"""The known keys: P11."""

from pathlib import Path

import pytest

import strongroom
from strongroom.config import catalog
from strongroom.consumers import registry
from strongroom.errors import NotFoundError, UsageError
from strongroom.secrets.catalog import SECRETS
from strongroom.system import values


def test_defaults_have_their_own_form() -> None:
    for key in catalog.KEYS.values():
        if key.default is not None:
            assert catalog.check_value(key.name, key.default) == key.default


def test_one_name_space() -> None:
    assert not catalog.KEYS.keys() & SECRETS.keys()
    assert catalog.names() == sorted({*catalog.KEYS, *SECRETS})
    assert catalog.is_known("redis.password")
    assert not catalog.is_known("Redis.password")


#: Names that the source puts together: how they begin, and the text that makes the rest of them.
BUILT = {
    "backgrounder.extracts.": 'f"backgrounder.extracts.{name}"',
    "backgrounder.jobs.": 'f"backgrounder.jobs.{name}"',
    "kms.rmk.": 'f"kms.rmk.{name}_seconds"',
    **{f"{service}.log.level": 'f"{service}.log.level"' for service in catalog.LOGGING_SERVICES},
}


def test_a_key_promises_an_effect_only_if_something_reads_it() -> None:
    """One that nothing reads says so; one that is read no longer says it."""
    folder = Path(strongroom.__file__).parent
    files = [path for path in folder.rglob("*.py") if path.name != "catalog.py"]
    source = "\n".join(path.read_text() for path in files)
    declared = {one.name for kind in registry.kinds() for one in kind.settings}
    for name in declared:  # by a component's module, and read by it or a part of it
        stemmed = name.replace("svcmonitor.notification.smtp", 'f"{_STEM}')
        assert source.count(f'"{name}"') + source.count(f'{stemmed}"') >= 2, name
    for key in (one for name, one in catalog.KEYS.items() if name not in declared):
        built = [text for start, text in BUILT.items() if key.name.startswith(start)]
        is_read = any(text in source for text in (f'"{key.name}"', *built))
        assert is_read == key.has_effect, key.name
        assert key.summary.endswith(catalog.NO_EFFECT) != key.has_effect, key.name


def test_every_key_says_what_it_is_for() -> None:
    assert [name for name in catalog.names() if not catalog.summary_of(name)] == []
    assert catalog.summary_of("nobody.knows") == ""
    assert not catalog.has_effect("nobody.knows")


def test_restart() -> None:
    assert not catalog.needs_restart("backgrounder.log.level")
    assert catalog.needs_restart("gateway.timeout")
    assert catalog.needs_restart("redis.password")
    assert catalog.needs_restart("nobody.knows")


@pytest.mark.parametrize(
    ("key", "given", "kept"),
    [
        ("gateway.timeout", "007", "7"),
        ("service.jmx_enabled", "TRUE", "true"),
        ("vizqlserver.log.level", "Debug", "debug"),
        ("basefilepath.log_archive", "/a b", "/a b"),
        ("nobody.knows", "x", "x"),
    ],
)
def test_values(key: str, given: str, kept: str) -> None:
    assert catalog.check_value(key, given) == kept


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("gateway.timeout", "soon"),
        ("gateway.timeout", "-1"),
        ("gateway.timeout", ""),
        ("gateway.timeout", "\u0663"),
        ("gateway.timeout", "9" * 30),
        ("service.jmx_enabled", "yes"),
        ("vizqlserver.log.level", "loud"),
        ("jdbc.username", "postgres"),
        ("pgsql.port", "0"),
        ("pgsql.port", "65536"),
        ("pgsql.port", "x"),
        ("nobody.knows", "x" * (values.MAX_TEXT_CHARACTERS + 1)),
    ],
)
def test_no_values(key: str, value: str) -> None:
    with pytest.raises(UsageError, match="cannot be") as caught:
        catalog.check_value(key, value)
    assert caught.value.hint.startswith("it should be")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("pgsql.readonly_pasword", "pgsql.readonly_password"),
        ("Gateway.Timeout", "gateway.timeout"),
        ("features.passwordlessbootstrapinit", "features.PasswordlessBootstrapInit"),
    ],
)
def test_did_you_mean(typed: str, meant: str) -> None:
    """P11; the words that scripts look for come first."""
    error = catalog.unknown_key(typed)
    assert isinstance(error, NotFoundError)
    assert error.message.startswith("Unknown key")
    assert f"did you mean '{meant}'" in error.hint


def test_nothing_near() -> None:
    assert "list" in catalog.unknown_key("zzzzzzzz").hint
