"""No words of another one's library reach a message, a log or a traceback but through `foreign_words` (findings K5)."""

import inspect
from pathlib import Path

import pytest

from strongroom import errors
from tests.structure.foreign_rules import violations
from tests.structure.test_repository import ROOT, relative, sources

OWN = {
    name
    for name, one in inspect.getmembers(errors, inspect.isclass)
    if issubclass(one, errors.StrongroomError)
}
#: Packages that speak with other people's libraries and servers.
PACKAGES = ("consumers", "roots")
#: It names a library that is missing, and holds nothing that anybody gave.
OWN.add("ImportError")
#: Ours, and defined where they are raised.
OWN |= {
    "HostError",
    "NotAskedError",
    "PasswordRefusedError",
    "RedisRefusedError",
    "UnprovenLoginError",
}


def modules() -> list[Path]:
    places = [ROOT / "src" / "strongroom" / package for package in PACKAGES]
    return [path for path in sources() if path.parent in places]


@pytest.mark.parametrize("path", modules(), ids=relative)
def test_a_module_shows_no_foreign_words(path: Path) -> None:
    assert violations(path.read_text(), OWN) == []


def test_modules_are_found() -> None:
    assert len(modules()) >= 10


_FRAME = """
def f():
    try:
        g()
    except {caught} as error:
        {body}

def say({parameter}):
    {inside}
"""


@pytest.mark.parametrize(
    "body",
    [
        'raise RootError(f"no: {error}")',
        'raise RootError(f"no: {error!r}")',
        'raise RootError("no: " + str(error))',
        'raise RootError("no: %s" % error)',
        'raise RootError("no: {}".format(error))',
        'log.warning("no: %s", error)',
        'log.warning("no", exc_info=error)',
        "raise RootError('no') from error",
        "raise RootError(error.args[0])",
        "raise RootError(error.message)",
        "raise RootError(*error.errors)",
        "raise RootError(error.diag.message_primary)",
        "words = error",
        "return error",
        "print(repr(error))",
        "'; '.join(map(str, error.errors))",
        "raise say(error)",
        "raise other.say(error)",
        "words = getattr(error, 'message', None)",
        "raise disk.problem('no', error)",
    ],
)
@pytest.mark.parametrize("caught", ["OSError", "sdk.Error", "(RootError, ValueError)"])
def test_words_that_get_out_are_found(body: str, caught: str) -> None:
    inside = "return RootError(f'no: {error}')"
    text = _FRAME.format(caught=caught, body=body, parameter="error", inside=inside)
    assert violations(text, OWN)


@pytest.mark.parametrize(
    "body",
    [
        'raise RootError(f"no: {foreign_words.of(error, pin)}") from foreign_words.cause(error, pin)',
        "raise RootError(foreign_words.of(error.message, pin)) from None",
        "raise RootError(foreign_words.of('; '.join(map(str, error.errors)), pin)) from None",
        "raise RootError(f'no: {type(error).__name__}') from None",
        "raise say(error) from None",
        "raise RootError('no', hint=disk.hint_for(error, HINT)) from None",
        "raise error",
        "return int(error.smtp_code) if isinstance(error, sdk.Refused) else 0",
        "if error.smtp_code < 500: raise",
        "code = getattr(error, 'status_code', None)",
    ],
)
def test_what_is_filtered_or_holds_no_words_passes(body: str) -> None:
    inside = "return RootError(f'no: {foreign_words.named(error)}')"
    text = _FRAME.format(caught="sdk.Error", body=body, parameter="error", inside=inside)
    assert violations(text, OWN) == []


def test_errors_of_ours_may_be_shown() -> None:
    text = _FRAME.format(
        caught="RootError",
        body="raise ValueError(error.message) from error",
        parameter="",
        inside="...",
    )
    assert violations(text, OWN) == []
