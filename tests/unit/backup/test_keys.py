"""The ways to a backup's RMK (docs/format/backup.md 2.2 to 2.6)."""

import base64
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from strongroom.backup import keys
from strongroom.backup.keys import Place
from strongroom.canonical import dumps
from strongroom.crypto import age, rng
from strongroom.crypto.age import OpenWith, SealTo
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, IntegrityError, KeyNotFoundError
from strongroom.ids import InstallationId, MekId, RmkId, new_id
from strongroom.kms.keyring import KeyRing
from strongroom.kms.keys import Rmk
from strongroom.kms.store import KmsStore
from strongroom.roots.base import WrapRecord
from strongroom.roots.settings import RootSettings

RMK = Rmk(RmkId(new_id()), InstallationId(new_id()), rng.new_key())
BACKUP = "435c1e3d-bf99-430c-8815-bd105c342eb7"
PLACE = Place(RMK.installation_id, RMK.id, BACKUP)
RING = KeyRing.with_first(MekId(new_id()), rng.new_key(), datetime(2026, 1, 1, tzinfo=UTC))
IDENTITY = age.new_identity()
OTHERS = [
    replace(PLACE, installation_id=new_id()),
    replace(PLACE, rmk_id=new_id()),
    replace(PLACE, backup_id=new_id()),
]


def test_the_mac_is_of_this_manifest_backup_and_rmk() -> None:
    """4.3."""
    seal = keys.authenticated("ab" * 32, RMK, BACKUP)
    keys.check_mac(seal, RMK, BACKUP)
    for wrong, rmk, backup_id in (
        (replace(seal, manifest_sha256="cd" * 32), RMK, BACKUP),
        (replace(seal, mac="cd" * 32), RMK, BACKUP),
        (seal, replace(RMK, material=rng.new_key()), BACKUP),
        (seal, RMK, new_id()),
    ):
        with pytest.raises(IntegrityError, match="not genuine"):
            keys.check_mac(wrong, rmk, backup_id)


def test_asset_keys_open_in_their_backup_only() -> None:
    sealed = keys.seal_assets(b"the ring", RMK, PLACE)
    assert keys.open_assets(sealed, RMK, PLACE).reveal() == b"the ring"
    for other in OTHERS:
        with pytest.raises(IntegrityError):
            keys.open_assets(sealed, RMK, other)


def test_a_mek_opens_the_rmk() -> None:
    """2.5."""
    wrapped = keys.wrap_by_mek(RMK, RING.active, PLACE)
    assert RMK.material.reveal() not in wrapped
    assert keys.unwrap_by_mek(wrapped, RING, PLACE) == RMK.material
    for other in OTHERS:
        with pytest.raises(IntegrityError):
            keys.unwrap_by_mek(wrapped, RING, other)
    strange = KeyRing.with_first(MekId(new_id()), rng.new_key(), datetime(2026, 1, 1, tzinfo=UTC))
    with pytest.raises(KeyNotFoundError):
        keys.unwrap_by_mek(wrapped, strange, PLACE)
    with pytest.raises(FormatError, match="cut"):
        keys.unwrap_by_mek(wrapped[:15], RING, PLACE)


def test_a_sealed_rmk_opens_in_its_backup_only() -> None:
    """2.6."""
    sealed = keys.seal_rmk(RMK, PLACE, SealTo((IDENTITY.recipient,)))
    by = OpenWith((IDENTITY,))
    assert keys.open_rmk(sealed, PLACE, by) == RMK.material
    for other in OTHERS:
        with pytest.raises(FormatError, match="another one"):
            keys.open_rmk(sealed, other, by)
    with pytest.raises(IntegrityError):
        keys.open_rmk(sealed, PLACE, OpenWith((age.new_identity(),)))


@pytest.mark.parametrize(
    "inside",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        dumps(
            {
                "v": 1,
                "backup": BACKUP,
                "installation": PLACE.installation_id,
                "rmk_id": PLACE.rmk_id,
                "rmk": "?",
            }
        ),
    ],
)
def test_what_is_sealed_and_no_rmk_is_refused_without_its_text(inside: bytes) -> None:
    sealed = age.seal(inside, SealTo((IDENTITY.recipient,)))
    with pytest.raises(
        FormatError, match=r"sealed into the backup (is damaged|has a version)"
    ) as caught:
        keys.open_rmk(sealed, PLACE, OpenWith((IDENTITY,)))
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_another_version_of_a_sealed_rmk_is_refused() -> None:
    fields = {
        "v": 2,
        "backup": BACKUP,
        "installation": PLACE.installation_id,
        "rmk_id": PLACE.rmk_id,
        "rmk": base64.b64encode(bytes(32)).decode(),
    }
    sealed = age.seal(dumps(fields), SealTo((IDENTITY.recipient,)))
    with pytest.raises(FormatError, match="known here is 1"):
        keys.open_rmk(sealed, PLACE, OpenWith((IDENTITY,)))


NOW = "2026-11-21T12:00:00Z"
TOKEN = RootSettings(
    "openbao",
    "https://bao/transit/keys/k",
    {"address": "https://bao"},
    {"token": SecretBytes(b"t")},
)
HSM = RootSettings("pkcs11", "pkcs11:object=k", {"create": "yes", "key": "k"})
UNUSED = RootSettings("aws", "arn:unused")


def _store(*roots: RootSettings) -> KmsStore:
    wraps = tuple(
        WrapRecord(new_id(), root.kind, "direct", root.root_key_id, "", b"", b"", {}, NOW, NOW)
        for root in roots
    )
    return KmsStore(1, RMK.installation_id, roots[0].kind, RMK.id, NOW, wraps, ())


def test_roots_go_without_their_secrets_and_make_no_key() -> None:
    """2.4."""
    raw = keys.serialize_roots([UNUSED, TOKEN, HSM], _store(TOKEN, HSM))
    assert b'"t"' not in raw
    assert b"create" not in raw
    bao, hsm = keys.parse_roots(raw)
    assert bao.settings == replace(TOKEN, secrets={})
    assert bao.secrets == ("token",)
    assert bao.with_credential(SecretBytes(b"t")) == TOKEN
    assert hsm.settings.options == {"key": "k"}
    assert hsm.secrets == ()


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"roots":[1],"v":1}', b"[" * 100_000, b'{"roots":[],"v":1} ']
)
def test_root_settings_that_are_none_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        keys.parse_roots(data)


def test_root_settings_of_another_version_are_refused() -> None:
    with pytest.raises(FormatError, match="not known here"):
        keys.parse_roots(b'{"roots":[],"v":2}')
