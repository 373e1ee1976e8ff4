"""Manifest and seal of a backup (docs/format/backup.md 4); pure.

The manifest lists every entry with its digest, and the seal holds the manifest's digest: anybody can find damage
without a key. An attacker can compute new digests after a change; the seal's MAC, made with the RMK, shows that, and its
signature shows whose backup it is to whoever knows the fingerprint of the installation, without any key.
"""

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from strongroom.backup.archive import MARK, Entry
from strongroom.backup.place import PINNED_VERSION, VERSION
from strongroom.canonical import UTF_8, Fields, Kind, dumps, to_base64
from strongroom.crypto import said
from strongroom.crypto.installation_identity import InstallationIdentity
from strongroom.crypto.statements import Origin, Purpose
from strongroom.errors import FormatError, IntegrityError, StateError
from strongroom.kms.closed_stores import MAX_CLOSED

MANIFEST, SEAL = "manifest.json", "seal.json"
STORE, ROOTS, ASSETS = "keys/store.json", "keys/roots.json", "keys/assets"
BY_MEK, SEALED, SETTINGS = "keys/mek", "keys/sealed.age", "settings.age"
CLOSED = "keys/former/"
REPOSITORY, EXTRACTS, PINNED = "repository/", "extracts/", "pinned/"
MOST_BEHIND_EXTRACTS = 10 + MAX_CLOSED
"""How many entries may follow the extracts and event logs: store, nodes, keys, settings, manifest and seal."""
MAX_KEY_BYTES = 4 << 20
MAX_SEAL_BYTES = 1024
MAX_DESCRIPTION = 1000
_BASE_BYTES, _EACH_BYTES = 1024 + 6 * MAX_DESCRIPTION, 512
_DIGEST_BYTES = 32
_REQUIRED = (STORE, ROOTS, ASSETS, BY_MEK)
_HINT = "the file is damaged or was changed: use another backup"
_SEAL = Kind("the backup's seal", UTF_8, MAX_SEAL_BYTES, hint=_HINT)
_MEMBERS = frozenset(
    [
        "format",
        "v",
        "id",
        "created_at",
        "description",
        "program",
        "installation",
        "schema",
        "kms",
        "sealed",
        "lost",
        "entries",
    ]
)
_KMS_MEMBERS = frozenset(["mode", "rmk", "epoch", "meks"])


@dataclass(frozen=True)
class Listed:
    """An entry of the archive as the manifest lists it."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The description of a backup, written by its maker (4.1).

    Attributes:
        id: UUID of the backup.
        created_at: The time at which the backup was made.
        description: Free text of the person who made the backup.
        program: Version of the program.
        installation: UUID of the source.
        schema: Revision of the repository's schema.
        mode: KMS mode of the source.
        rmk_id: The RMK of the store.
        epoch: The store's epoch.
        mek_ids: The MEKs in it.
        sealed: The recipients to which the RMK was sealed besides its roots.
        entries: All entries before the manifest.
        lost: Files that rows name and that were not there.
        identity: The public key of the source's identity; empty in version 1, and where the source has no identity.
        version: The version of the backup.
    """

    id: str
    created_at: str
    description: str
    program: str
    installation: str
    schema: str
    mode: str
    rmk_id: str
    epoch: int
    mek_ids: tuple[str, ...]
    sealed: tuple[str, ...]
    entries: tuple[Listed, ...]
    lost: tuple[str, ...] = ()
    identity: bytes = b""
    version: int = VERSION

    def serialize(self) -> bytes:
        """The canonical bytes."""
        fields: dict[str, object] = {
            "format": MARK,
            "v": self.version,
            "id": self.id,
            "created_at": self.created_at,
            "description": self.description,
            "program": self.program,
            "installation": self.installation,
            "schema": self.schema,
            "kms": {
                "mode": self.mode,
                "rmk": self.rmk_id,
                "epoch": self.epoch,
                "meks": list(self.mek_ids),
            },
            "sealed": list(self.sealed),
            "lost": list(self.lost),
            "entries": [
                {"name": one.name, "size": one.size, "sha256": one.sha256} for one in self.entries
            ],
        }
        if self.version > 1:
            fields["identity"] = to_base64(self.identity)
        return dumps(fields, UTF_8)

    @property
    def signer(self) -> InstallationIdentity | None:
        """The identity that the manifest names, a claim until its fingerprint was compared; None if it names none."""
        if not self.identity:
            return None
        return InstallationIdentity(Origin(self.installation), self.identity)

    @property
    def has_settings(self) -> bool:
        """Whether the configuration was sealed in."""
        return any(one.name == SETTINGS for one in self.entries)


@dataclass(frozen=True)
class Seal:
    """The last entry (4.3).

    Attributes:
        manifest_sha256: Digest of the manifest.
        rmk_id: The RMK of the store, by whose subkey the MAC is made.
        mac: The MAC.
        signature: The signature by the source's identity; empty if the manifest names none.
        version: The version of the backup.
    """

    manifest_sha256: str
    rmk_id: str
    mac: str
    signature: bytes = b""
    version: int = VERSION

    def serialize(self) -> bytes:
        """The canonical bytes."""
        fields: dict[str, object] = {
            "v": self.version,
            "manifest": self.manifest_sha256,
            "rmk": self.rmk_id,
            "mac": self.mac,
        }
        if self.version > 1:
            fields["signature"] = to_base64(self.signature)
        return dumps({**fields, "check": _digest(dumps(fields, UTF_8))}, UTF_8)


def mark(backup_id: str, version: int = VERSION) -> bytes:
    """The first entry (1.4)."""
    return dumps({"format": MARK, "id": backup_id, "v": version}, UTF_8)


def manifest_limit(entries: int) -> int:
    """The bound of a manifest's length in bytes, by its number of entries (4.4); a reader refuses a longer one unread."""
    return _BASE_BYTES + _EACH_BYTES * (entries + 4096)


def bounded(new: Manifest) -> bytes:
    """The canonical bytes of a new manifest, if they are within the reader's bound (4.4).

    Raises:
        StateError: The manifest names so many lost files that no reader would take it.
    """
    # lost files are named in the manifest and are no entries, so their number alone can break the bound
    data, limit = new.serialize(), manifest_limit(len(new.entries))
    if len(data) > limit:
        raise StateError(
            f"the backup's manifest would have {len(data)} bytes with its {len(new.lost)} lost files,"
            f" more than {limit}",
            hint="look whether the folder of the extracts is there as a whole",
        )
    return data


def listed(entries: Iterable[Entry]) -> tuple[Listed, ...]:
    """Entries as the manifest has them."""
    return tuple(Listed(one.name, one.size, one.sha256) for one in entries)


def parse(data: bytes, most: int) -> Manifest:
    """Parse the bytes of a manifest, of which there may be `most`.

    Raises:
        FormatError: The manifest is damaged, or of a version not known here.
    """
    kind = Kind("the backup's manifest", UTF_8, most, hint=_HINT)
    fields = kind.loads(data)
    fields.check_version("format", MARK)
    version = _version(fields)
    fields.check_names(_MEMBERS if version == 1 else {*_MEMBERS, "identity"})
    kms = fields.inner("kms")
    kms.check_names(_KMS_MEMBERS)
    if len(fields.text("description")) > MAX_DESCRIPTION:
        raise fields.refused(f"its description has more than {MAX_DESCRIPTION} characters")
    return Manifest(
        id=fields.id("id"),
        created_at=fields.time("created_at"),
        description=fields.text("description"),
        program=fields.text("program"),
        installation=fields.id("installation"),
        schema=fields.text("schema"),
        mode=kms.text("mode"),
        rmk_id=kms.id("rmk"),
        epoch=kms.number("epoch", least=1),
        mek_ids=kms.ids("meks"),
        sealed=fields.texts("sealed"),
        lost=fields.texts("lost"),
        entries=tuple(map(_read_entry, fields.objects("entries"))),
        identity=fields.raw("identity") if version > 1 else b"",
        version=version,
    )


def _version(fields: Fields) -> int:
    for version in (1, VERSION):
        with suppress(FormatError):
            fields.check_version("v", version)
            return version
    fields.check_version("v", PINNED_VERSION)
    return PINNED_VERSION


def _read_entry(fields: Fields) -> Listed:
    fields.check_names(Listed.__annotations__)
    size, digest = fields.number("size"), fields.hexadecimal("sha256", _DIGEST_BYTES)
    return Listed(fields.text("name"), size, digest)


def parse_seal(data: bytes) -> Seal:
    """Parse the bytes of a seal.

    Raises:
        FormatError: The seal is damaged.
    """
    fields = _SEAL.loads(data)
    version = _version(fields)
    manifest, mac = (fields.hexadecimal(name, _DIGEST_BYTES) for name in ("manifest", "mac"))
    signature = fields.raw("signature") if version > 1 else b""
    found = Seal(manifest, fields.id("rmk"), mac, signature, version)
    # the bytes include a digest of the members, so damage within a member shows as well
    if found.serialize() != data:
        raise FormatError("the backup's seal is damaged", hint=_HINT)
    return found


def check(found: Sequence[Entry], head: bytes, manifest: Manifest) -> None:
    """Compare the entries of the archive with the manifest (4.2), and with the entries that every backup has (1.4).

    Args:
        found: The entries before the manifest.
        head: Data of the first entry, which names the backup.
        manifest: The manifest that lists the entries as they must be.

    Raises:
        FormatError: Something is missing, added, doubled, moved, shortened or changed.
    """
    for there, wanted in zip(listed(found), manifest.entries, strict=False):
        if there != wanted:
            raise FormatError(
                f"the backup's entry {there.name!r} is not what its manifest says of {wanted.name!r}",
                hint=_HINT,
            )
    if len(found) != len(manifest.entries):
        raise FormatError(
            f"the backup has {len(found)} entries, its manifest {len(manifest.entries)}", hint=_HINT
        )
    if head != mark(manifest.id, manifest.version):
        raise FormatError("the backup begins as another one than it ends", hint=_HINT)
    names = [one.name for one in found]
    missing = [name for name in _REQUIRED if name not in names]
    if missing:
        raise FormatError(f"the backup has no {missing[0]}", hint=_HINT)


def check_signature(manifest: Manifest, seal: Seal) -> None:
    """Verify that the identity which the manifest names has signed it (4.3); whose identity that is, is not said by it.

    Raises:
        FormatError: Manifest and seal are of different versions, or the identity is no public key, or nobody is named.
        IntegrityError: The identity has not signed this manifest.
    """
    if seal.version != manifest.version:
        raise FormatError("the backup's seal is of another version than its manifest", hint=_HINT)
    signer = manifest.signer
    if signer is None:
        if seal.signature:
            raise FormatError("the backup is signed by somebody whom it does not name", hint=_HINT)
        return
    payload = said.of_manifest_digest(bytes.fromhex(seal.manifest_sha256))
    try:
        signer.check(Purpose.MANIFEST, payload, seal.signature)
    except IntegrityError as error:
        raise IntegrityError(
            "the backup was changed and given new digests: the identity that it names has not signed it",
            hint=_HINT,
        ) from error


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
