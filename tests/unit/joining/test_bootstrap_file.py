"""The bootstrap file as bytes (docs/format/bootstrap-file.md §1, §2): round trip, damage, and what is never accepted."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom import ids
from strongroom.crypto.installation_identity import IdentityKey
from strongroom.crypto.secret import SecretBytes
from strongroom.crypto.statements import Origin
from strongroom.errors import FormatError, IntegrityError, StrongroomError
from strongroom.joining import bootstrap_file
from strongroom.joining.bearings import NOTHING
from strongroom.joining.bootstrap_file import BootstrapFile, Credential
from tests.unit.joining.test_bearings import FOUND

NOW = datetime(2026, 11, 22, 1, 0, 0, tzinfo=UTC)
KEY = SecretBytes(bytes(range(32)))
FILE = BootstrapFile(
    installation_id=ids.new_id(),
    node_id="node2",
    created_at=NOW,
    expires_at=NOW + timedelta(minutes=120),
    server="http://127.0.0.1:8080",
    master_key="master-key-1",
    configuration_key_id=ids.new_id(),
    keystore=b"a keystore",
    keystore_password=SecretBytes(b"the password of the keystore"),
    configuration_keys=b"the records",
    credential=Credential(ids.new_id(), SecretBytes(bytes(32))),
)
IDENTITY = IdentityKey(Origin(FILE.installation_id), SecretBytes(bytes(32)))
FILE = replace(FILE, identity=IDENTITY.identity.public)
DATA = bootstrap_file.serialize(FILE, KEY, IDENTITY).reveal()


def changed(**members: object) -> bytes:
    text = json.dumps(json.loads(DATA) | members, sort_keys=True, separators=(",", ":"))
    return text.encode() + b"\n"


@pytest.mark.parametrize(
    "file",
    [
        FILE,
        replace(FILE, credential=None, server=""),
        replace(FILE, bearings=NOTHING),
        replace(FILE, bearings=FOUND),
    ],
    ids=["before", "bare", "nothing", "full"],
)
def test_what_is_written_is_read_back(file: BootstrapFile) -> None:
    data = bootstrap_file.serialize(file, KEY, IDENTITY).reveal()
    assert bootstrap_file.parse(data).proved(KEY) == file


REFUSED = {
    "empty": (b"", "file is empty"),
    "too long": (b" " * bootstrap_file.MAX_BYTES + b"{}", "more than 8388608 bytes"),
    "cut": (DATA[:-20], "one that was cut"),
    "binary": (b"\x00\xff", "no bootstrap file"),
    "too deep": (b"[" * 100_000, "no bootstrap file"),
    "settings": (b'{"configKeys":{}}\n', "no bootstrap file"),
    "a list": (b"[]\n", "no bootstrap file"),
    "newer": (changed(format="strongroom-bootstrap-5"), "version that is not known here"),
    "another layout": (json.dumps(json.loads(DATA)).encode(), "not in canonical form"),
    "no last line break": (DATA[:-1], "not in canonical form"),
    "one member more": (changed(extra="x"), "a member is missing or not known"),
    "signed and of the first form": (
        changed(format="strongroom-bootstrap-1"),
        "a member is missing or not known",
    ),
    "a short identity": (changed(identity="AAAA"), "its identity is no public key"),
    "no id": (changed(installation_id="x"), "'installation_id' is no id"),
    "a path as a node": (changed(node_id="node2/../x"), "no id of a node"),
    "no node": (changed(node_id="nodeX"), "no id of a node"),
    "node zero": (changed(node_id="node02"), "no id of a node"),
    "no time": (changed(expires_at="tomorrow"), "'expires_at' is no time"),
    "no text": (changed(master_key=""), "no printable text"),
    "no base64": (changed(keystore="?"), "'keystore' is no canonical base64"),
    "loose base64": (changed(keystore="YR=="), "'keystore' is no canonical base64"),
    "no hex": (changed(mac="xyz"), "'mac' is no 32 bytes"),
    "upper-case hex": (changed(mac="AB" * 32), "'mac' is no 32 bytes"),
    "no credential": (changed(credential={"id": ids.new_id()}), "a member is missing or not known"),
    "short seed": (
        changed(credential={"id": ids.new_id(), "seed": "AAAA"}),
        "no 32 bytes in base64",
    ),
    "a secret of an earlier form": (
        changed(credential={"id": ids.new_id(), "secret": "AAAA"}),
        "a member is missing or not known",
    ),
    "a credential of the second form": (
        changed(format="strongroom-bootstrap-2", credential={"id": ids.new_id(), "secret": "AAAA"}),
        "made by an earlier version",
    ),
    "clear text over a network": (changed(server="http://example.test"), "reached by https"),
    "half a bracket": (changed(server="https://[::1"), "no address of a server"),
    "no address": (changed(server="https://user@example.test"), "no address of a server"),
    "a port beyond all": (changed(server="https://example.test:99999"), "no address of a server"),
    "the port 0": (changed(server="https://example.test:0"), "no address of a server"),
    "a port that is a name": (changed(server="https://example.test:x"), "no address of a server"),
}


@pytest.mark.parametrize(("data", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_everything_else_is_refused(data: bytes, words: str) -> None:
    """§1.1, §1.2; no error carries a value along (S17)."""
    with pytest.raises(FormatError, match=words) as caught:
        bootstrap_file.parse(data)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "member",
    [
        {"node_id": "node3"},
        {"expires_at": "2036-11-22T01:00:00Z"},
        {"server": "https://elsewhere.example"},
        {"keystore": "YWFhYQ=="},
        {"credential": None},
        {"mac": "00" * 32},
        {"signature": base64.b64encode(bytes(64)).decode()},
        {"identity": base64.b64encode(bytes(32)).decode()},
    ],
    ids=lambda member: next(iter(member)),
)
def test_a_changed_member_is_found(member: dict[str, object]) -> None:
    """S16, §2.2."""
    unproved = bootstrap_file.parse(changed(**member))
    with pytest.raises(IntegrityError):
        unproved.proved(KEY)


def test_a_file_that_another_identity_signed_names_that_one() -> None:
    """§2.3, X6: MAC and signature fit, since both keys are the forger's; only the fingerprint tells."""
    other = IdentityKey(Origin(FILE.installation_id), SecretBytes(b"o" * 32))
    found = bootstrap_file.parse(bootstrap_file.serialize(FILE, KEY, other).reveal()).proved(KEY)
    assert found.fingerprint == other.fingerprint != FILE.fingerprint


def test_another_installation_s_key_proves_nothing() -> None:
    with pytest.raises(IntegrityError):
        bootstrap_file.parse(DATA).proved(SecretBytes(bytes(32)))


def test_it_expires() -> None:
    """§3.1"""
    FILE.check_time(NOW + timedelta(minutes=119))
    with pytest.raises(FormatError, match="of node2 expired at 2026-11-22T03:00:00Z"):
        FILE.check_time(NOW + timedelta(minutes=120))


def test_nothing_secret_is_shown() -> None:
    """S17"""
    for secret in ("the password", "a keystore", "the records", "AAAA"):
        assert secret not in repr(FILE)
        assert secret not in repr(bootstrap_file.serialize(FILE, KEY, IDENTITY))


@given(st.integers(0, len(DATA) - 1), st.integers(1, 255))
def test_every_changed_byte_is_found(position: int, change: int) -> None:
    """S16: altered anywhere, it is refused, by one of two errors."""
    data = bytearray(DATA)
    data[position] ^= change
    with pytest.raises((FormatError, IntegrityError)):
        bootstrap_file.parse(bytes(data)).proved(KEY)


@given(st.binary(max_size=300))
def test_whatever_comes_in_is_refused(data: bytes) -> None:
    """C11: no crash on anything."""
    with pytest.raises(StrongroomError):
        bootstrap_file.parse(data).proved(KEY)
