"""The search itself: it finds a planted secret in each form, wherever it stands."""

import base64
import json
import urllib.parse
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.canary import forms

SECRET = b"canary/4711+caf\xc3\xa9 ~ end"
ENCODERS: list[Callable[[bytes], bytes]] = [
    lambda data: data,
    lambda data: data.hex().encode(),
    lambda data: data.hex().upper().encode(),
    base64.b64encode,
    base64.urlsafe_b64encode,
    lambda data: urllib.parse.quote_from_bytes(data, safe="").encode(),
    lambda data: b"".join(b"%%%02X" % byte for byte in data),
]


@pytest.mark.parametrize("encode", ENCODERS, ids=range(len(ENCODERS)))
@given(before=st.binary(max_size=8), after=st.binary(max_size=8))
def test_a_planted_secret_is_found_in_every_form_and_phase(
    encode: Callable[[bytes], bytes], before: bytes, after: bytes
) -> None:
    data = encode(before + SECRET + after)
    assert list(forms.search(data, {"planted": SECRET}, "here"))


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_wide_text_is_found(codec: str) -> None:
    assert list(
        forms.search("x canary-4711-canary".encode(codec), {"a": b"canary-4711-canary"}, "")
    )


def test_json_holds_it_raw() -> None:
    text = json.dumps({"a": "canary-4711-canary"}).encode()
    assert list(forms.search(text, {"a": b"canary-4711-canary"}, ""))


@given(st.binary(max_size=300))
def test_other_bytes_are_not_taken_for_it(data: bytes) -> None:
    assert list(forms.search(data, {"a": b"canary-4711-canary"}, "")) == []


@given(
    st.binary(min_size=forms.SHORTEST, max_size=40), st.binary(max_size=20), st.binary(max_size=20)
)
def test_a_secret_of_any_length_is_found_wherever_it_stands(
    secret: bytes, before: bytes, after: bytes
) -> None:
    """The search goes by words of eight bytes; neither length nor place may escape it."""
    data = before + secret + after
    found = list(forms.Search({"a": secret, "b": b"another one that is long"}).run(data, ""))
    assert {find.secret for find in found} == {"a"}


def test_files_and_names_are_searched(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "log").write_bytes(b"..." + SECRET)
    (tmp_path / "canary-4711-canary.txt").touch()
    found = forms.search_files(tmp_path, {"a": SECRET, "b": b"canary-4711-canary"})
    assert {find.place for find in found} == {"deep/log", "name canary-4711-canary.txt"}
    assert "canary-4711" not in forms.describe([find for find in found if find.secret == "a"])
