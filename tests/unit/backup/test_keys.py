"""The ways to a backup's RMK (docs/format/backup.md 2.2 to 2.6)."""

import base64
import hmac
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from strongroom.backup import keys
from strongroom.backup.manifest import Seal
from strongroom.backup.place import Place
from strongroom.canonical import dumps
from strongroom.crypto import aead, age, rng
from strongroom.crypto.age import OpenWith, SealTo
from strongroom.crypto.kdf import hkdf
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


FIRST = replace(PLACE, version=1)
DIGEST = "ab" * 32


@pytest.mark.parametrize("place", [PLACE, FIRST], ids=["2", "1"])
def test_the_mac_is_of_this_manifest_backup_and_rmk(place: Place) -> None:
    """4.3, 5."""
    seal = Seal(DIGEST, RMK.id, keys.mac(bytes.fromhex(DIGEST), RMK, place).hex())
    keys.check_mac(seal, RMK, place)
    for wrong, rmk, where in (
        (replace(seal, manifest_sha256="cd" * 32), RMK, place),
        (replace(seal, mac="cd" * 32), RMK, place),
        (seal, replace(RMK, material=rng.new_key()), place),
        (seal, RMK, replace(place, backup_id=new_id())),
        (seal, RMK, replace(place, version=3 - place.version)),
    ):
        with pytest.raises(IntegrityError, match="not genuine"):
            keys.check_mac(wrong, rmk, where)


def test_the_mac_of_version_2_by_hand() -> None:
    """4.3, with nothing of ours; version and RMK are in it (X14)."""
    ids = b"".join(UUID(one).bytes for one in (RMK.installation_id, RMK.id, BACKUP))
    info = b"strongroom/v2/backup/mac" + ids
    key = HKDF(hashes.SHA256(), 32, salt=None, info=info).derive(RMK.material.reveal())
    told = bytes.fromhex(DIGEST) + (2).to_bytes(2, "big") + UUID(RMK.id).bytes
    expected = hmac.digest(key, told, "sha256")
    assert keys.mac(bytes.fromhex(DIGEST), RMK, PLACE) == expected


def test_the_keys_of_version_1_open_as_they_were_made() -> None:
    """5: AES-GCM seals under subkeys, made here as version 1 made them."""
    info = FIRST.info(b"strongroom/v1/backup/assets")
    sealed = aead.seal(hkdf(RMK.material, salt=b"", info=info), b"the ring", aad=info)
    assert keys.open_assets(sealed, RMK, FIRST).reveal() == b"the ring"
    mek, info = RING.active, FIRST.info(b"strongroom/v1/backup/mek")
    kek = hkdf(mek.material, salt=b"", info=info)
    wrapped = UUID(mek.id).bytes + aead.wrap(RMK.material, kek=kek, aad=info)
    assert keys.unwrap_by_mek(wrapped, RING, FIRST) == RMK.material
    for other in (replace(FIRST, backup_id=new_id()), PLACE):
        with pytest.raises((IntegrityError, FormatError)):
            keys.open_assets(sealed, RMK, other)
        with pytest.raises((IntegrityError, FormatError)):
            keys.unwrap_by_mek(wrapped, RING, other)


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
    return KmsStore(1, RMK.installation_id, roots[0].kind, RMK.id, NOW, wraps)


def test_roots_go_without_their_secrets_and_make_no_key() -> None:
    """2.4."""
    raw = keys.serialize_roots([UNUSED, TOKEN, HSM], _store(TOKEN, HSM), ())
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
