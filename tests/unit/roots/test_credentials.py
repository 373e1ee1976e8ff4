"""What cannot be a credential is refused at once, for every root that takes one (findings K5)."""

from collections.abc import Callable

import pytest

from strongroom.crypto.secret import SecretBytes
from strongroom.errors import UsageError
from strongroom.roots import openbao, pkcs11, tpm
from strongroom.roots.settings import RootSettings

URL = "http://127.0.0.1:1"
#: Every option that takes a credential of one line.
TAKERS: dict[str, Callable[[SecretBytes], RootSettings]] = {
    "openbao --token-file": lambda one: openbao.settings(URL, "k", token=one),
    "openbao --secret-id-file": lambda one: openbao.settings(URL, "k", role_id="r", secret_id=one),
    "pkcs11 --pin-file": lambda one: pkcs11.settings("/lib/x.so", "t", "k", pin=one),
    "tpm --auth-file": lambda one: tpm.settings(auth=one),
}
WRONG = {
    "line break at its end": b"tok-secret\n",
    "two of them": b"tok-secret\n\n",
    "of another system": b"tok-secret\r",
    "in the middle": b"tok-secret\nX-Other: 1",
    "NUL": b"tok-secret\x00",
    "escape": b"tok-\x1b[2Jsecret",
    "tab": b"tok\tsecret",
    "not ASCII": "tök-secret".encode(),
    "byte order mark": b"\xef\xbb\xbftok-secret",
    "UTF-16": "tok-secret".encode("utf-16"),
    "blank before": b" tok-secret",
    "blank after": b"tok-secret ",
    "nothing": b"",
    "far too long": b"tok-secret" * 1000,
}


@pytest.mark.parametrize("taker", TAKERS)
@pytest.mark.parametrize("how", WRONG)
def test_what_cannot_be_right_is_refused_and_not_shown(taker: str, how: str) -> None:
    """findings K5: two line breaks after a token were "Invalid header value b'tok-secret…'" on stderr."""
    with pytest.raises(UsageError) as caught:
        TAKERS[taker](SecretBytes(WRONG[how]))
    assert "secret" not in f"{caught.value.message}{caught.value.hint}".replace("secret id", "")


@pytest.mark.parametrize("taker", TAKERS)
def test_what_can_be_right_stays_as_it_is(taker: str) -> None:
    made = TAKERS[taker](SecretBytes(b"s.Abc-1_2/3 +4=~"))
    assert [one.reveal() for one in made.secrets.values()] == [b"s.Abc-1_2/3 +4=~"]
