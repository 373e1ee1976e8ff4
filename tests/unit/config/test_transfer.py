"""The text of settings (docs/format/settings.md §1): what is written is read back, and everything else has its own refusal."""

import json

import pytest

from strongroom.config import transfer
from strongroom.config.transfer import Settings
from strongroom.errors import FormatError

SETTINGS = Settings(
    {"gateway.timeout": "900", "redis.password": "p\u00e4ss \u2028 \U0001f512"},
    {"identityStore": {"_type": "identityStoreType", "type": "local"}},
    transfer.topology_of({"node1": ["vizportal", "backgrounder"]}),
)
PUBLISHED = b"""{
  "configEntities": {"identityStore": {"_type": "identityStoreType", "type": "local"}},
  "configKeys": {"gateway.timeout": "900"}
}"""
"""The shape of the product's documentation."""


def test_what_is_written_is_read_back() -> None:
    """§1.3"""
    data = transfer.serialize(SETTINGS)
    assert transfer.parse(data) == SETTINGS
    assert data.endswith(b"}\n")
    assert json.loads(data).keys() == {"configEntities", "configKeys", "topologyVersion"}


def test_the_documented_shape_is_read() -> None:
    """C-12: parts may be missing."""
    found = transfer.parse(PUBLISHED)
    assert found.keys == {"gateway.timeout": "900"}
    assert found.topology == {}


def test_an_empty_part_is_settings() -> None:
    assert transfer.parse(b'{"configKeys": {}}') == Settings()


def test_a_topology_has_the_documented_shape() -> None:
    services = {"services": {"backgrounder": {"instances": [{"instanceId": "0"}]}}}
    assert transfer.topology_of({"node1": ["backgrounder"]}) == {"nodes": {"node1": services}}


def nested(levels: int) -> bytes:
    return b'{"configKeys":' + b'{"a":' * levels + b"1" + b"}" * levels + b"}"


REFUSED = {
    "empty": (b"", "they are empty"),
    "blank": (b" \n", "they are empty"),
    "too long": (b" " * transfer.MAX_BYTES + b"{", "longer than 16777216 bytes"),
    "armored PGP": (b"-----BEGIN PGP MESSAGE-----\n\n", "OpenPGP message"),
    "binary PGP": (b"\x8c\x0d\x04\x09\x03\x0a", "OpenPGP message"),
    "keystore": (b"0\x82\x05\xf1\x02\x01\x03", "no text in UTF-8"),
    "UTF-16": ('{"configKeys": {}}'.encode("utf-16"), "no text in UTF-8"),
    "byte order mark": (b'\xef\xbb\xbf{"configKeys": {}}', "byte order mark"),
    "cut in a name": (PUBLISHED[:20], "end too early"),
    "cut in a value": (PUBLISHED[:-8], "end too early"),
    "cut before the last bracket": (PUBLISHED.rstrip(b"}"), "end too early"),
    "no JSON": (b"gateway.timeout: 900\n", "no JSON: .* at line 1, column 1"),
    "twice": (b'{"configKeys": {"a": "1", "a": "2"}}', "'a' stands twice"),
    "a part twice": (b'{"configKeys": {}, "configKeys": {}}', "'configKeys' stands twice"),
    "two texts": (PUBLISHED + b"\n" + PUBLISHED, "something follows them in line 5"),
    "too deep": (nested(12), "more than 12 levels"),
    "deep in lists": (b'{"configKeys":' + b"[" * 12 + b"]" * 12 + b"}", "more than 12 levels"),
    "much too deep": (b"[" * 100_000, "more than 12 levels"),
    "not a number": (b'{"configKeys": {"a": NaN}}', "NaN"),
    "a huge number": (b'{"configKeys": {"a": ' + b"9" * 5000 + b"}}", "number that is none"),
    "a list": (b"[]", "no object"),
    "no part": (b"{}", "no settings: they have no parts"),
    "foreign": (b'{"apiVersion": "v1", "kind": "Secret"}', "no settings: 'apiVersion'"),
    "bootstrap file": (b'{"format": "strongroom-bootstrap-1"}', "bootstrap file"),
    "keys as a list": (b'{"configKeys": ["a"]}', "'configKeys' is no object"),
}


@pytest.mark.parametrize(("data", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_settings_is_refused_by_its_own_words(data: bytes, words: str) -> None:
    """§1.1, §1.2"""
    with pytest.raises(FormatError, match=words) as caught:
        transfer.parse(data)
    assert caught.value.__cause__ is None


def test_levels_up_to_the_bound_are_read() -> None:
    """§1.1"""
    assert transfer.parse(nested(11)).keys.keys() == {"a"}


def test_too_many_keys() -> None:
    """§1.1"""
    keys = {f"k{number}": "" for number in range(transfer.MAX_KEYS + 1)}
    with pytest.raises(FormatError, match="more than 10000 keys"):
        transfer.parse(transfer.serialize(Settings(keys)))


def test_no_value_is_shown_by_accident() -> None:
    """S17: neither by repr nor in what an error carries along."""
    assert "pass" not in repr(Settings({"redis.password": "the password"}))
    with pytest.raises(FormatError) as caught:
        transfer.parse(b'{"configKeys": {"redis.password": "the password",}}')
    assert "the password" not in repr(caught.value)
    assert caught.value.__cause__ is None
