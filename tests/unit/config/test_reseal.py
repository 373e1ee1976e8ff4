"""All secrets under a new configuration key: C-24."""

import pytest

from strongroom.config import reseal
from strongroom.config.document import ConfigDocument
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import IntegrityError, StateError
from strongroom.secrets import enc
from strongroom.secrets.committed import ValueKey

INSTALLATION = "8ddd70df-be67-4dbf-9c35-1f0aa2421521"
IDS = [f"00000000-0000-4000-8000-00000000000{n}" for n in range(3)]
KEYS = {one: SecretBytes(bytes([n]) * 32) for n, one in enumerate(IDS)}
OLDER, OLD, NEW = IDS
DOCUMENT = ConfigDocument(
    INSTALLATION,
    OLD,
    {
        "oauth.google.client_secret": ValueKey(INSTALLATION, OLDER, KEYS[OLDER]).seal(
            "oauth.google.client_secret", b"admin's"
        ),
        "redis.password": ValueKey(INSTALLATION, OLD, KEYS[OLD]).seal(
            "redis.password", b"generated"
        ),
        "gateway.timeout": "100",
    },
)


def test_reseal_all() -> None:
    """Admin-supplied values stay what they are, generated ones are renewed, all under one key."""
    after = reseal.reseal_all(
        DOCUMENT, KEYS.__getitem__, KEYS[NEW], NEW, {"redis.password": b"renewed"}
    )
    assert after.configuration_key_id == NEW
    assert after.version == DOCUMENT.version + 1
    assert reseal.key_ids_in(after.values) == {NEW}
    assert after.values["gateway.timeout"] == "100"
    opened = {
        name: ValueKey(INSTALLATION, NEW, KEYS[NEW]).open(name, text)
        for name, text in after.values.items()
        if enc.is_enc(text)
    }
    assert opened == {"oauth.google.client_secret": b"admin's", "redis.password": b"renewed"}


def test_a_value_that_does_not_open_stops_it() -> None:
    damaged = DOCUMENT.with_values({"jdbc.password": DOCUMENT.values["redis.password"]})
    with pytest.raises(IntegrityError):
        reseal.reseal_all(damaged, KEYS.__getitem__, KEYS[NEW], NEW, {})


def test_key_ids() -> None:
    assert reseal.key_ids_in({**DOCUMENT.values, "reset": None}) == {OLDER, OLD}


@pytest.mark.parametrize(
    ("name", "text"), [("redis.password", "plain"), ("gateway.timeout", "ENC(AAAA)")]
)
def test_check_sealed(name: str, text: str) -> None:
    reseal.check_sealed(DOCUMENT)
    with pytest.raises(StateError, match=name) as caught:
        reseal.check_sealed(DOCUMENT.with_values({name: text}))
    assert text not in str(caught.value)
