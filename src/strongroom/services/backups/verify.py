"""`strongroom backup verify`: checks a backup and, by a drill, proves that it could be restored; gives a receipt.

The drill opens the keys, inserts all rows into a temporary repository, opens the header of every extract and decrypts
the whole body of a sample. Nothing is restored, and no plaintext touches a disk.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from strongroom.backup import manifest, open_backup
from strongroom.backup.open_backup import OpenBackup
from strongroom.backup.opening import Opened
from strongroom.clock import Clock, format_utc
from strongroom.crypto import rng
from strongroom.crypto.stream import Layout
from strongroom.crypto.workers import default_threads
from strongroom.envelope import spans
from strongroom.envelope.header import DEFAULT_SEGMENT_BYTES
from strongroom.errors import StrongroomError
from strongroom.kms.keyring import KeyRing
from strongroom.repository.portable import Row
from strongroom.repository.scratch import scratch_repository
from strongroom.services.backups import examining
from strongroom.services.backups.checks import Stage
from strongroom.services.backups.pinned_files import PinnedFiles
from strongroom.system.positions import Source

SAMPLE = 25
_LAYOUT = Layout(DEFAULT_SEGMENT_BYTES)


@dataclass
class Receipt:
    """The result of a check; plain values, for JSON.

    Attributes:
        backup: Id of the backup.
        file: Name of the backup's file.
        created_at: When the backup was made.
        verified_at: When the backup was checked.
        manifest: SHA-256 of the manifest.
        fingerprint: Fingerprint of the identity that signed the backup; empty if nobody did.
        installation: Id of the installation that made the backup.
        mode: KMS mode of that installation.
        rmk: Id of the RMK in the backup.
        meks: Ids of the MEKs in the backup.
        entries: Number of entries in the archive.
        bytes: Size of the file in bytes.
        authenticated: Whether the maker had a secret of ours (`origin`).
        opened_by: Words that name the way by which the keys opened; empty if they were not opened.
        origin: Words that name the secret of ours that the maker had; empty if the backup was possible without one.
        drill: Whether the extracts were opened.
        rows: Number of rows by table.
        encrypted: Number of encrypted extracts.
        plain: Number of extracts that are not encrypted.
        opened: Number of encrypted extracts whose data key opened.
        by_mek: How many extracts opened by each MEK.
        unreadable: Extracts that do not open, by content id, with the reason.
        lost: Content whose file was lost before the backup was made; without a drill, the storage keys of these files.
        bodies: Number of extracts whose body was decrypted whole.
        body_bytes: Bytes of plaintext in those bodies.
        nodes: For each node of the cluster that made the backup, what the backup has of it; empty for a single node.
        missing: Sentences on what the backup lacks of the nodes.
        pinned: Number of extracts that the backup does not hold, since they are pinned.
        pinned_in: The address of the object store in which they are pinned; empty if the backup holds all.
        pinned_until: Until when they are pinned there.
        pinned_seen: Number of pinned extracts that were looked for in that store; only a drill looks.
    """

    backup: str
    file: str
    created_at: str
    verified_at: str
    manifest: str
    fingerprint: str
    installation: str
    mode: str
    rmk: str
    meks: list[str]
    entries: int
    bytes: int
    authenticated: bool = False
    opened_by: str = ""
    origin: str = ""
    drill: bool = False
    rows: dict[str, int] = field(default_factory=dict)
    encrypted: int = 0
    plain: int = 0
    opened: int = 0
    by_mek: dict[str, int] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    bodies: int = 0
    body_bytes: int = 0
    nodes: list[dict[str, object]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    pinned: int = 0
    pinned_in: str = ""
    pinned_until: str = ""
    pinned_seen: int = 0

    @property
    def is_good(self) -> bool:
        """Whether every extract that was tried opens, and no file was lost."""
        return not self.unreadable and not self.lost


def receipt_of(
    backup: OpenBackup, path: Path, size: int, opened: Opened | None, clock: Clock
) -> Receipt:
    """The receipt of a check without a drill."""
    said, nodes, pinned = backup.manifest, backup.nodes, backup.pinned
    return Receipt(
        backup=said.id,
        file=path.name,
        created_at=said.created_at,
        verified_at=format_utc(clock.now()),
        manifest=backup.seal.manifest_sha256,
        fingerprint=backup.fingerprint,
        installation=said.installation,
        mode=said.mode,
        rmk=said.rmk_id,
        meks=list(said.mek_ids),
        entries=len(said.entries),
        bytes=size,
        authenticated=opened is not None and bool(opened.origin),
        opened_by=opened.by if opened else "",
        origin=opened.origin if opened else "",
        lost=list(said.lost),
        nodes=[one._asdict() for one in nodes.nodes] if nodes else [],
        missing=list(nodes.missing) if nodes else [],
        pinned=sum(one.name.startswith(manifest.PINNED) for one in said.entries),
        pinned_in=pinned.store if pinned else "",
        pinned_until=pinned.until if pinned else "",
    )


def drill(
    backup: OpenBackup,
    opened: Opened,
    scratch: Path,
    receipt: Receipt,
    stage: Stage,
    pinned: PinnedFiles | None = None,
) -> None:
    """Try what a restore would do, and complete the receipt with the results.

    Args:
        backup: The backup.
        opened: The keys of the backup.
        scratch: A folder for a temporary repository.
        receipt: The receipt of the check.
        stage: Called at the start of a stage.
        pinned: The pinned extracts, to look for them; None if the backup holds all, or the store is not at hand.

    Raises:
        StrongroomError: A restore would refuse the rows.
    """
    examining.check_schema(backup)
    found = backup.examine_rows()
    with scratch_repository(scratch) as trial, trial.transaction() as tx:
        receipt.rows = tx.rows.replace(backup.rows)
    receipt.drill, receipt.lost = True, [row["id"] for row in found.lost.values()]
    ring = opened.keys.ring
    receipt.unreadable = examining.unreadable(backup, found, opened.keys)
    if pinned is not None:
        receipt.pinned_seen = len(found.pinned)
        for key, why in pinned.gone(found.pinned).items():
            receipt.unreadable.setdefault(found.pinned[key]["id"], why)
    rows = [*found.extracts.values(), *found.pinned.values()]
    good = [row for row in rows if row["id"] not in receipt.unreadable]
    receipt.plain = sum(not row["file_id"] for row in found.extracts.values())
    receipt.encrypted = len(rows) - receipt.plain
    for row in good:
        if row["file_id"]:
            receipt.opened += 1
            # the header's MEK is counted, not the row's: a rewrap may have run after the rows were read and before the
            # copy
            mek_id = backup.header(row["storage_key"]).newest.mek_id
            receipt.by_mek[mek_id] = receipt.by_mek.get(mek_id, 0) + 1
    here = (
        good
        if pinned is not None
        else [row for row in good if row["storage_key"] in found.extracts]
    )

    def source(row: Row) -> AbstractContextManager[Source]:
        key = row["storage_key"]
        if pinned is not None and key in found.pinned:
            return closing(pinned.open(key))
        return nullcontext(backup.extract(key))

    _read_bodies(source, _sample(here), ring, receipt, stage)


def _read_bodies(
    source: Callable[[Row], AbstractContextManager[Source]],
    rows: Sequence[Row],
    ring: KeyRing,
    receipt: Receipt,
    stage: Stage,
) -> None:
    progress = stage("read", sum(row["plaintext_bytes"] for row in rows))
    for row in rows:
        try:
            with source(row) as file:
                reader = open_backup.open_file(file, row, ring)
                size = spans.drain(reader, _LAYOUT, threads=default_threads(), progress=progress)
        except StrongroomError as error:
            receipt.unreadable[row["id"]] = error.with_hint
            continue
        if size != row["plaintext_bytes"]:
            receipt.unreadable[row["id"]] = "its size is not what its row says"
        receipt.bodies += 1
        receipt.body_bytes += size


def _sample(good: Sequence[Row]) -> list[Row]:
    """Up to `SAMPLE` encrypted extracts, chosen at random."""
    left = [row for row in good if row["file_id"]]
    chosen: list[Row] = []
    while left and len(chosen) < SAMPLE:
        number = int.from_bytes(rng.random_bytes(8), "big") % len(left)
        chosen.append(left.pop(number))
    return chosen
