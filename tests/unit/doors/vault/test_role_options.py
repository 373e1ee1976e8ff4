"""The options of roles, of AppRole and of tokens: each kind is read as such, and what is not known is refused by its name."""

from typing import Any

import pytest

from strongroom.doors.vault import approle, tokens
from strongroom.doors.vault.role_options import RoleForm
from strongroom.doors.vault.wire import Fields
from strongroom.errors import UsageError

FORMS = {"approle": approle._FORM, "tokens": tokens._FORM}


def given(form: RoleForm) -> dict[str, Any]:
    """Every option of a form, as a client may send it."""
    return {
        **dict.fromkeys(form.times, "1h"),
        **dict.fromkeys(form.counts, "3"),
        **dict.fromkeys(form.truths, "true"),
        **dict.fromkeys(form.names, "One,two"),
        **{name: next(iter(allowed), "any") for name, allowed in form.texts.items()},
    }


@pytest.mark.parametrize("form", FORMS.values(), ids=list(FORMS))
def test_each_option_is_read_by_its_kind(form: RoleForm) -> None:
    read = form.read(Fields(given(form)))
    assert read.keys() == given(form).keys()
    assert {read[name] for name in form.times} == {3600}
    assert {read[name] for name in form.counts} == {3}
    assert all(read[name] is True for name in form.truths)
    assert all(read[name] == ["one", "two"] for name in form.names)


@pytest.mark.parametrize("form", FORMS.values(), ids=list(FORMS))
def test_older_names_and_what_says_nothing(form: RoleForm) -> None:
    for older, present in form.older.items():
        value = given(form)[present]
        assert form.read(Fields({older: value})) == form.read(Fields({present: value}))
    for name in form.only_empty:
        assert form.read(Fields({name: []})) == form.read(Fields({name: ""})) == {}
        with pytest.raises(UsageError, match=f"{name} is not understood"):
            form.read(Fields({name: ["10.0.0.0/8"]}))
    assert form.read(Fields({"anything": None})) == {}
    for wrong in ({"anything": 1}, {"token_type": "batch"}):
        with pytest.raises(UsageError, match="is not understood"):
            form.read(Fields(wrong))


def test_what_the_two_kinds_do_not_share() -> None:
    assert FORMS["approle"].read(Fields({"token_type": ""})) == {"token_type": "default"}
    assert FORMS["tokens"].read(Fields({"token_type": ""})) == {"token_type": ""}
    assert FORMS["tokens"].read(Fields({"role_name": "r", "path_suffix": "s"})) == {
        "path_suffix": "s"
    }
    with pytest.raises(UsageError, match="role_name is not understood"):
        FORMS["approle"].read(Fields({"role_name": "r"}))
