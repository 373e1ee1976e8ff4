"""Names: one canonical form, one folded form, no way for a control character."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.access import names
from strongroom.errors import UsageError
from strongroom.repository.folding import fold


@given(st.text())
def test_folding_twice_is_folding_once(name: str) -> None:
    assert fold(fold(name)) == fold(name)


@given(st.text())
def test_composition_makes_no_difference(name: str) -> None:
    for form in ("NFC", "NFD"):
        assert fold(unicodedata.normalize(form, name)) == fold(name)


@given(st.text(alphabet=st.characters(max_codepoint=0x24F)))
def test_case_makes_no_difference(name: str) -> None:
    assert fold(name.lower()) == fold(name) or "İ" in name  # its lower case has a dot of its own
    assert fold(name.casefold()) == fold(name)


@given(st.text(max_size=300))
def test_a_canonical_name_is_its_own_canonical_name(name: str) -> None:
    try:
        form = names.canonical(name, "user")
    except UsageError:
        return
    assert names.canonical(form, "user") == form
    assert form == form.strip()
    assert 0 < len(form) <= names.MAX_CHARACTERS
    assert not any(unicodedata.category(one) in {"Cc", "Cs", "Zl", "Zp"} for one in form)


@given(st.text(min_size=1), st.sampled_from("\0\n\r\t\x7f\u202e\u2066\u2028\ud800"), st.text())
def test_no_name_has_a_refused_character(before: str, wrong: str, after: str) -> None:
    name = f"a{before}{wrong}{after}a"
    with pytest.raises(UsageError) as caught:
        names.canonical(name, "site")
    assert wrong not in caught.value.message


@given(st.text())
def test_a_content_url_made_of_a_name_is_allowed(name: str) -> None:
    assert names.content_url(names.content_url_of(name)) in {"", names.content_url_of(name)}
