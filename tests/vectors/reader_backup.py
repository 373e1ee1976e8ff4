"""Backups, read from docs/format/backup.md (see `reader.py`)."""

import hashlib
import io
import tarfile
from typing import Any, NamedTuple

from tests.vectors.reader import (
    Kms,
    Means,
    asset_keys,
    canonical,
    check_equal,
    check_members,
    id_of,
    loaded,
    mac,
    raw,
    subkey,
    unaged,
    unbase64,
    unsealed,
)
from tests.vectors.reader_format2 import check_signed, fingerprint, kms
from tests.vectors.reader_format2 import unsealed as unsealed_2
from tests.vectors.reader_pkcs12 import RefusedError

Place = tuple[bytes, bytes, bytes]


class Backup(NamedTuple):
    """A backup whose digests, list, MAC and, in version 2, signature were checked."""

    manifest: Any
    kms: Kms
    assets: dict[str, bytes]
    rows: dict[str, list[Any]]
    extracts: dict[str, bytes]
    by_mek: bytes
    sealed: bytes
    settings: bytes
    fingerprint: str


def backup(data: bytes, by: Means, *, passphrase: str = "") -> Backup:
    """A backup, opened by whatever opens the RMK of its store, or by the passphrase that it was sealed to."""
    files = _archive(data)
    seal = loaded(files["seal.json"], escaped=False)
    version = seal["v"]
    check_members(seal, f"check mac manifest rmk {'signature ' if version == 2 else ''}v")
    inner = {name: value for name, value in seal.items() if name != "check"}
    check = hashlib.sha256(canonical(inner, escaped=False)).hexdigest()
    check_equal(check.encode(), seal["check"].encode(), "the seal's check")
    digest = hashlib.sha256(files["manifest.json"]).digest()
    check_equal(digest, bytes.fromhex(seal["manifest"]), "the manifest's digest")
    manifest = loaded(files["manifest.json"], escaped=False)
    listed = [
        {"name": name, "sha256": hashlib.sha256(one).hexdigest(), "size": len(one)}
        for name, one in files.items()
        if name not in {"manifest.json", "seal.json"}
    ]
    mark = {"format": "strongroom-backup", "id": manifest["id"], "v": version}
    if (manifest["v"], manifest["entries"]) != (version, listed) or files[
        "strongroom-backup"
    ] != canonical(mark, escaped=False):
        raise RefusedError("the archive is not what its manifest lists")
    sealed = files.get("keys/sealed.age", b"")
    if passphrase:
        told = loaded(unaged(sealed, passphrase=passphrase), escaped=False)
        check_members(told, "backup installation rmk rmk_id v")
        by = Means(rmk=unbase64(told["rmk"]))
    opened = kms(files["keys/store.json"], by)
    if opened.store["v"] == 2:
        for one in opened.store["former"]:
            closed = files[f"keys/former/{one['digest']}"]
            check_equal(
                hashlib.sha256(closed).digest(), bytes.fromhex(one["digest"]), "a closed store"
            )
    if seal["rmk"] != opened.rmk_id:
        raise RefusedError("the seal is of another backup")
    place = (raw(opened.installation), raw(opened.rmk_id), raw(manifest["id"]))
    check_equal(_mac(version, digest, opened, place), bytes.fromhex(seal["mac"]), "the MAC")
    by_mek = files["keys/mek"]
    ring, rmk = (_keys_2 if version == 2 else _keys_1)(files, opened, place)
    check_equal(rmk, opened.rmk, "the RMK under a MEK")
    return Backup(
        manifest,
        opened,
        asset_keys(ring),
        {
            name[len("repository/") : -len(".jsonl")]: [
                loaded(line, escaped=False) for line in one.splitlines()
            ]
            for name, one in files.items()
            if name.startswith("repository/")
        },
        {name[9:]: one for name, one in files.items() if name.startswith("extracts/")},
        by_mek,
        sealed,
        files.get("settings.age", b""),
        _signer(manifest, seal) if version == 2 and manifest["identity"] else "",
    )


def _mac(version: int, digest: bytes, opened: Kms, place: Place) -> bytes:
    """Over the digest, in version 2 with the version and the RMK's id (4.3, 5)."""
    own = subkey(opened.rmk, f"strongroom/v{version}/backup/mac", *place)
    return mac(own, digest if version == 1 else digest + b"\0\2" + place[1])


def _keys_1(files: dict[str, bytes], opened: Kms, place: Place) -> tuple[bytes, bytes]:
    """The ring of asset keys, and the RMK that lies under a MEK (5)."""
    name = "strongroom/v1/backup/assets"
    ring = unsealed(subkey(opened.rmk, name, *place), files["keys/assets"], name, *place)
    by_mek, name = files["keys/mek"], "strongroom/v1/backup/mek"
    kek = subkey(opened.meks[id_of(by_mek[:16])], name, *place)
    return ring, unsealed(kek, by_mek[16:], name, *place)


def _keys_2(files: dict[str, bytes], opened: Kms, place: Place) -> tuple[bytes, bytes]:
    """The same of version 2 (2.3, 2.5)."""
    label, by_mek = "strongroom/v2/seal/backup-", files["keys/mek"]
    ring = unsealed_2(opened.rmk, files["keys/assets"], f"{label}assets", place)
    mek = opened.meks[id_of(by_mek[:16])]
    fields = (*place, by_mek[:16])
    return ring, unsealed_2(mek, by_mek[16:], f"{label}rmk", fields)


def _signer(manifest: Any, seal: Any) -> str:
    """The fingerprint of the identity that has signed the manifest (4.3)."""
    public, payload = unbase64(manifest["identity"]), bytes.fromhex(seal["manifest"])
    told = b"manifest\0" + raw(manifest["installation"]) + bytes(16) + b"\0\0\0\x20" + payload
    message = b"strongroom/v2/signed/" + told
    check_signed(public, message, unbase64(seal["signature"]))
    return fingerprint(public)


def _archive(data: bytes) -> dict[str, bytes]:
    """The entries of the container in their order (1)."""
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        found = {}
        for entry in archive:
            file = archive.extractfile(entry)
            if not entry.isreg() or file is None or entry.name in found:
                raise RefusedError("an entry that is no file, or stands twice")
            found[entry.name] = file.read()
    return found
