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
    kms,
    loaded,
    mac,
    raw,
    subkey,
    unaged,
    unbase64,
    unsealed,
)
from tests.vectors.reader_pkcs12 import RefusedError


class Backup(NamedTuple):
    """A backup whose digests, list and MAC were checked."""

    manifest: Any
    kms: Kms
    assets: dict[str, bytes]
    rows: dict[str, list[Any]]
    extracts: dict[str, bytes]
    by_mek: bytes
    sealed: bytes
    settings: bytes


def backup(data: bytes, by: Means, *, passphrase: str = "") -> Backup:
    """A backup, opened by whatever opens the RMK of its store, or by the passphrase that it was sealed to."""
    files = _archive(data)
    seal = loaded(files["seal.json"], escaped=False)
    check_members(seal, "check mac manifest rmk v")
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
    mark = {"format": "strongroom-backup", "id": manifest["id"], "v": 1}
    if manifest["entries"] != listed or files["strongroom-backup"] != canonical(
        mark, escaped=False
    ):
        raise RefusedError("the archive is not what its manifest lists")
    sealed = files.get("keys/sealed.age", b"")
    if passphrase:
        told = loaded(unaged(sealed, passphrase=passphrase), escaped=False)
        check_members(told, "backup installation rmk rmk_id v")
        by = Means(rmk=unbase64(told["rmk"]))
    opened = kms(files["keys/store.json"], by)
    if seal["rmk"] != opened.rmk_id:
        raise RefusedError("the seal is of another backup")
    place = (raw(opened.installation), raw(opened.rmk_id), raw(manifest["id"]))
    own = subkey(opened.rmk, "strongroom/v1/backup/mac", *place)
    check_equal(mac(own, digest), bytes.fromhex(seal["mac"]), "the MAC")
    name = "strongroom/v1/backup/assets"
    ring = unsealed(subkey(opened.rmk, name, *place), files["keys/assets"], name, *place)
    by_mek, name = files["keys/mek"], "strongroom/v1/backup/mek"
    kek = subkey(opened.meks[id_of(by_mek[:16])], name, *place)
    check_equal(unsealed(kek, by_mek[16:], name, *place), opened.rmk, "the RMK under a MEK")
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
    )


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
