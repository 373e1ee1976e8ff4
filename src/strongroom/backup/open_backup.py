"""A backup that is open for reading, with every check that needs no restore; never writes.

After `check`, all parts agree with their digests, which shows damage. Whether the backup is genuine, and not made by
somebody who computed new digests, is known only after `open_with`, which verifies the MAC by the RMK. Until then names,
ids and root settings in the backup are claims of a stranger.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from strongroom.backup import archive, keys, manifest, nodes, pinned
from strongroom.backup.archive import Entry, Window
from strongroom.backup.keys import NeededRoot
from strongroom.backup.manifest import Manifest, Seal
from strongroom.backup.nodes import NodesInBackup
from strongroom.backup.pinned import PinnedExtracts
from strongroom.backup.place import PINNED_VERSION, Place
from strongroom.crypto.secret import SecretBytes
from strongroom.envelope.header import Header, Placement
from strongroom.envelope.keys import EnvelopeKeys
from strongroom.envelope.reader import EnvelopeReader, read_header
from strongroom.errors import FormatError, IntegrityError, KeyNotFoundError, StrongroomError
from strongroom.kms import any_store
from strongroom.kms.closed_stores import ClosedStore
from strongroom.kms.keyring import KeyRing
from strongroom.kms.keys import Rmk
from strongroom.kms.ring_keys import RingKeys
from strongroom.kms.store_1 import KmsStore1
from strongroom.repository import portable
from strongroom.repository.portable import Row
from strongroom.secrets import asset_ring
from strongroom.secrets.asset_ring import AssetRing
from strongroom.system.positions import Progress, Source

_LAST = 2  # manifest and seal
_KEPT = ("id", "site_id", "storage_key", "file_id", "mek_id", "plaintext_bytes")
_HINT = "the file is damaged or was changed: use another backup"


@dataclass(frozen=True)
class OpenKeys:
    """The keys of a backup, opened."""

    rmk: Rmk
    ring: KeyRing
    assets: AssetRing


@dataclass(frozen=True)
class ExaminedRows:
    """The files that the rows of a backup name.

    Attributes:
        counts: Rows by table.
        extracts: By storage key, the columns of `contents` rows that are needed to open the file of that key.
        lost: The same columns for content whose file was lost before the backup was made.
        pinned: The same columns for content whose file is pinned in an object store.
    """

    counts: dict[str, int] = field(default_factory=dict)
    extracts: dict[str, Row] = field(default_factory=dict)
    lost: dict[str, Row] = field(default_factory=dict)
    pinned: dict[str, Row] = field(default_factory=dict)


class OpenBackup:
    """A backup whose digests were verified.

    Attributes:
        manifest: The manifest, whose digest was compared with the seal.
        seal: The seal: digest and MAC of the manifest.
        store: The KMS store of the backup; unauthenticated until `open_with` succeeds.
        raw_store: The store's bytes.
    """

    def __init__(
        self, file: Source, entries: tuple[Entry, ...], said: Manifest, seal: Seal
    ) -> None:
        self._file = file
        self._entries = {entry.name: entry for entry in entries}
        self.manifest, self.seal = said, seal
        self.raw_store = self._small(manifest.STORE)
        self.store = any_store.parse(self.raw_store)
        if (self.store.rmk_id, self.store.installation_id) != (said.rmk_id, said.installation):
            raise FormatError("the backup's KMS store is of another backup", hint=_HINT)
        if seal.rmk_id != said.rmk_id:  # docs/format/backup.md 5: in version 1 outside of the MAC
            raise FormatError("the backup's seal is of another backup", hint=_HINT)

    @classmethod
    def check(cls, file: Source, progress: Progress | None = None) -> "OpenBackup":
        """Verify format, digests and list of entries over every byte of the file (docs/format/backup.md 1.5).

        Raises:
            FormatError: A byte differs from the backup that was made.
            IntegrityError: The backup was given new digests, and is not signed by the identity that it names.
        """
        entries = archive.scan(file, progress)
        if [entry.name for entry in entries[-_LAST:]] != [manifest.MANIFEST, manifest.SEAL]:
            raise FormatError("the backup does not end with manifest and seal", hint=_HINT)
        inner = entries[:-_LAST]
        seal = manifest.parse_seal(archive.content(file, entries[-1], manifest.MAX_SEAL_BYTES))
        most = manifest.manifest_limit(len(inner))
        raw = archive.content(file, entries[-_LAST], most)
        if hashlib.sha256(raw).hexdigest() != seal.manifest_sha256:
            raise FormatError("the backup's manifest was changed", hint=_HINT)
        said = manifest.parse(raw, most)
        head = archive.content(file, entries[0], manifest.MAX_SEAL_BYTES)
        manifest.check(inner, head, said)
        manifest.check_signature(said, seal)
        return cls(file, inner, said, seal)

    # ---- keys ------------------------------------------------------------------------------------

    @property
    def place(self) -> Place:
        """The ids to which the subkeys of this backup are bound."""
        store, said = self.store, self.manifest
        return Place(store.installation_id, store.rmk_id, said.id, said.version)

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the identity that signed the backup; empty if nobody did."""
        signer = self.manifest.signer
        return "" if signer is None else signer.fingerprint

    @property
    def roots(self) -> tuple[NeededRoot, ...]:
        """The settings by which the backup says the roots of its store are reached."""
        return keys.parse_roots(self._small(manifest.ROOTS))

    @property
    def closed(self) -> dict[ClosedStore, bytes]:
        """The closed stores that the backup's store names, or has in itself if it is of format 1.

        Raises:
            FormatError: A closed store is missing, or is another one.
        """
        if isinstance(self.store, KmsStore1):
            return {any_store.reference(raw): raw for raw in self.store.former}
        return {one: self._closed(one) for one in self.store.former}

    def _closed(self, one: ClosedStore) -> bytes:
        name = f"{manifest.CLOSED}{one.digest}"
        try:
            raw = one.found(self._small(name) if name in self._entries else None)
            one.check(raw)
        except IntegrityError as error:
            raise FormatError(f"in the backup, {error.message}", hint=_HINT) from None
        return raw

    @property
    def by_mek(self) -> bytes:
        """The backup's RMK, wrapped by a MEK."""
        return self._small(manifest.BY_MEK)

    @property
    def sealed(self) -> bytes:
        """The backup's RMK in an age file; empty if the backup has no such file."""
        return self._small(manifest.SEALED) if manifest.SEALED in self._entries else b""

    def open_with(self, material: SecretBytes) -> OpenKeys:
        """Open the backup's keys by the material of its RMK, and authenticate the manifest by the same RMK (4.3).

        Raises:
            IntegrityError: The material is another RMK, or the backup is not genuine.
        """
        rmk = self.store.rmk(material)
        ring = self.store.open_ring(rmk)
        keys.check_mac(self.seal, rmk, self.place)
        raw = keys.open_assets(self._small(manifest.ASSETS), rmk, self.place)
        return OpenKeys(rmk, ring, asset_ring.parse(raw.reveal()))

    # ---- nodes -----------------------------------------------------------------------------------

    @property
    def nodes(self) -> NodesInBackup | None:
        """The nodes of the cluster that made the backup, and what the backup has of each; None of a single node (6).

        Raises:
            FormatError: The list is damaged, or names an entry that is not there.
        """
        if nodes.NODES not in self._entries:
            return None
        found = nodes.parse(self._small(nodes.NODES))
        for name in (name for one in found.nodes for name in one.files):
            if name not in self._entries:
                raise FormatError(f"the backup has no {name[:200]}", hint=_HINT)
        return found

    # ---- pinned extracts -------------------------------------------------------------------------

    @cached_property
    def pinned(self) -> PinnedExtracts | None:
        """Where the extracts are that the backup does not hold; None if it holds all (7).

        Raises:
            FormatError: The note is damaged, or missing in a backup of this version.
        """
        if self.manifest.version < PINNED_VERSION:
            return None
        if pinned.WHERE not in self._entries:
            raise FormatError(f"the backup has no {pinned.WHERE}", hint=_HINT)
        return pinned.parse(self._small(pinned.WHERE))

    def reference(self, storage_key: str) -> bytes:
        """The reference of a pinned extract."""
        entry = self._entries[f"{manifest.PINNED}{storage_key}"]
        return archive.content(self._file, entry, pinned.MAX_REFERENCE_BYTES)

    def pinned_size(self, storage_key: str) -> int:
        """Length of a pinned extract in bytes.

        Raises:
            FormatError: The entry is no reference.
        """
        return pinned.size_of(self.reference(storage_key))

    # ---- rows ------------------------------------------------------------------------------------

    def rows(self, table: str) -> Iterator[Row]:
        """The rows of a table.

        Raises:
            FormatError: A line is no row of this table.
        """
        entry = self._entries.get(f"{manifest.REPOSITORY}{table}.jsonl")
        if entry is None:
            if table in portable.ADDED and self.manifest.schema < portable.ADDED_BY:
                return iter(())
            raise FormatError(f"the backup has no table {table}", hint=_HINT)
        return portable.split_lines(table, archive.checked(self._file, entry))

    def examine_rows(self) -> ExaminedRows:
        """Read every row, and compare the files that the rows name with the files in the archive (3.4).

        Raises:
            FormatError: A line is no row, a file that a row names is missing, or a file belongs to no row.
        """
        found = ExaminedRows()
        for table in portable.NAMES:
            found.counts[table] = 0
            for row in self.rows(table):
                found.counts[table] += 1
                if row.get("storage_key"):
                    self._note(found, row)
        known = {f"{manifest.EXTRACTS}{key}" for key in found.extracts}
        known |= {f"{manifest.PINNED}{key}" for key in found.pinned}
        folders = (manifest.EXTRACTS, manifest.PINNED)
        strange = [name for name in self._entries if name.startswith(folders) and name not in known]
        if strange:
            raise FormatError(f"no row of the backup names {strange[0]!r}", hint=_HINT)
        return found

    def _note(self, found: ExaminedRows, row: Row) -> None:
        key = row["storage_key"]
        if f"{manifest.EXTRACTS}{key}" in self._entries:
            place = found.extracts
        elif self.pinned is not None and f"{manifest.PINNED}{key}" in self._entries:
            place = found.pinned
        elif key in self.manifest.lost:
            place = found.lost
        else:
            raise FormatError(f"the backup lacks the file {key!r} that a row names", hint=_HINT)
        if key in found.extracts or key in found.lost or key in found.pinned:
            raise FormatError(f"two rows of the backup name {key!r}", hint=_HINT)
        place[key] = {name: row[name] for name in _KEPT}

    # ---- extracts --------------------------------------------------------------------------------

    def extract(self, storage_key: str) -> Window:
        """The bytes of an extract as they were stored, encrypted or plain."""
        return Window(self._file, self._entries[f"{manifest.EXTRACTS}{storage_key}"])

    def pieces(self, storage_key: str) -> Iterator[memoryview]:
        """The bytes of an extract in pieces; after the last piece its digest is verified, as in `archive.checked`."""
        return archive.checked(self._file, self._entries[f"{manifest.EXTRACTS}{storage_key}"])

    @property
    def extract_bytes(self) -> int:
        """Bytes of all extracts together."""
        return sum(
            entry.size
            for name, entry in self._entries.items()
            if name.startswith(manifest.EXTRACTS)
        )

    def open_extract(self, row: Row, ring: KeyRing) -> EnvelopeReader:
        """An encrypted extract's plaintext, bound to its row.

        Raises:
            KeyNotFoundError: The extract's MEK is not in the ring.
            IntegrityError: The extract does not open, belongs to another row, or was cut.
            FormatError: The extract has no readable header.
        """
        return open_file(self.extract(row["storage_key"]), row, ring)

    def problem(self, row: Row, ring: KeyRing) -> StrongroomError | None:
        """The error with which an extract's data key does not open; None if the key opens, or the extract is plain."""
        if not row["file_id"]:
            return None
        try:
            open_header(self.header(row["storage_key"]), row, ring)
        except (KeyNotFoundError, IntegrityError, FormatError) as error:
            return error
        return None

    def header(self, storage_key: str) -> Header:
        """The header of an encrypted extract, held or pinned; not authenticated.

        Raises:
            FormatError: The extract has no readable header.
        """
        if f"{manifest.PINNED}{storage_key}" in self._entries:
            return read_header(archive.BytesSource(pinned.header_of(self.reference(storage_key))))
        return read_header(self.extract(storage_key))

    def _small(self, name: str) -> bytes:
        return archive.content(self._file, self._entries[name], manifest.MAX_KEY_BYTES)


def open_file(source: Source, row: Row, ring: KeyRing) -> EnvelopeReader:
    """An encrypted extract's plaintext, bound to its row, from a file of it.

    Raises:
        KeyNotFoundError: The extract's MEK is not in the ring.
        IntegrityError: The extract does not open, belongs to another row, or was cut.
        FormatError: The extract has no readable header.
    """
    header = read_header(source)
    return EnvelopeReader(source, header, open_header(header, row, ring))


def open_header(header: Header, row: Row, ring: KeyRing) -> SecretBytes:
    """The data key of an extract's header, if the header belongs to the row.

    Raises:
        KeyNotFoundError: The MEK of the header is not in the ring.
        IntegrityError: The header does not open, or belongs to another row.
    """
    if header.prelude.file_id.hex() != row["file_id"]:
        raise IntegrityError
    keys = EnvelopeKeys(RingKeys(lambda: ring))
    return keys.open_envelope(header, Placement(row["site_id"], row["id"])).dek
