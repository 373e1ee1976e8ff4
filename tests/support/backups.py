"""Nodes with content, backups of them, and what must hold after a restore."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from strongroom.backup.manifest import Manifest, Seal
from strongroom.backup.open_backup import OpenBackup
from strongroom.clock import format_utc
from strongroom.crypto import said as statements
from strongroom.crypto.age import OpenWith, SealTo
from strongroom.crypto.installation_identity import IdentityKey
from strongroom.crypto.secret import SecretBytes
from strongroom.crypto.statements import Origin, Purpose
from strongroom.envelope.header import Placement
from strongroom.filestore.blockfile import OpenedFile
from strongroom.ids import new_id
from strongroom.node import backup
from strongroom.node.opening import Node
from strongroom.repository.rows import ContentRow, CredentialRow
from strongroom.services.backups.keys import BackupKeys
from strongroom.services.backups.make import BackupMade, BackupRequest
from strongroom.services.backups.restore import Restored, RestoreRequest

ACTOR = "os:tester"
NOBODY = SealTo()
NOTHING = OpenWith()


def silent(name: str, total: int) -> Callable[[int], None] | None:
    """No progress."""
    del name, total
    return None


def publish(node: Node, name: str, content: bytes, *, encrypted: bool = True) -> ContentRow:
    """A data source of the default site."""
    content_id, now = new_id(), format_utc(node.clock.now())
    with node.repository.reading() as tx:
        site = tx.sites.find_by_content_url("")
        assert site is not None
        project = tx.projects.page(site.id).rows[0]
        owner = tx.users.find_by_name("admin")
        assert owner is not None
    with node.stored_files.create(Placement(site.id, content_id), encrypted=encrypted) as writer:
        writer.write(content)
        stored = writer.commit()
    row = ContentRow(
        id=content_id,
        site_id=site.id,
        project_id=project.id,
        owner_id=owner.id,
        kind="datasource",
        name=name,
        content_url=name,
        file_name=f"{name}.hyper",
        file_type="hyper",
        storage_key=stored.storage_key,
        file_id=stored.file_id,
        mek_id=stored.mek_id,
        plaintext_bytes=stored.plaintext_bytes,
        stored_bytes=stored.stored_bytes,
        state=int(encrypted),
        has_extract=True,
        created_at=now,
        updated_at=now,
    )
    with node.repository.transaction() as tx:
        tx.contents.insert(row)
        tx.intents.delete(stored.storage_key)
    return row


def embed(node: Node, row: ContentRow, secret: bytes) -> None:
    """A credential embedded in content."""
    key_id, sealed = node.assets.seal(secret, content_id=row.id)
    with node.repository.transaction() as tx:
        tx.credentials.insert(CredentialRow(new_id(), row.id, "password", sealed, key_id))


def contents(node: Node) -> dict[str, bytes]:
    """Everything that is published, read."""
    with node.repository.reading() as tx:
        rows = [row for site in tx.sites.page().rows for row in tx.contents.list_for_site(site.id)]
    found = {}
    for row in rows:
        with node.stored_files.open(row, Placement(row.site_id, row.id)) as reader:
            found[row.name] = b"".join(reader.iterate())
    return found


def credentials(node: Node) -> set[bytes]:
    """Every embedded credential, opened."""
    with node.repository.reading() as tx:
        rows = tx.credentials.list()
    return {
        node.assets.open_(row.asset_key_id, row.sealed, content_id=row.content_id).reveal()
        for row in rows
    }


def files(node: Node) -> set[str]:
    """Every file of the store, hidden ones too."""
    root = node.paths.extracts
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def forged(said: Manifest, seal: Seal) -> tuple[bytes, bytes]:
    """Manifest and seal with right digests, signed by an identity of the forger's: anybody can make them without a key."""
    key = IdentityKey(Origin(said.installation), SecretBytes(bytes(32)))
    raw = replace(said, identity=key.identity.public).serialize()
    payload = statements.of_manifest(raw)
    signature = key.sign(Purpose.MANIFEST, payload)
    return raw, replace(seal, manifest_sha256=payload.hex(), signature=signature).serialize()


def make(
    node: Node, path: Path, to: SealTo = NOBODY, *, settings: bytes = b"", verify: bool = True
) -> BackupMade:
    """A backup, with the keys of this process."""
    request = BackupRequest(path, ACTOR, seal_to=to, settings=settings, verify=verify)
    keys = BackupKeys(node.kms_store, node.assets, node.identity)
    return backup.backups(node, keys).make(request, silent)


def restore(
    node: Node,
    path: Path,
    given: OpenWith = NOTHING,
    *,
    without_keys: bool = False,
    credential: SecretBytes | None = None,
    use_backup_roots: bool = False,
) -> Restored:
    """A restore, as the command does it."""
    with backup.alone(node), OpenedFile(path) as file:
        return backup.restores(node).restore(
            OpenBackup.check(file),
            backup.means(node, given, credential, use_backup_roots=use_backup_roots),
            RestoreRequest(ACTOR, path.name, without_keys=without_keys),
            silent,
        )


@dataclass
class State:
    """Everything that a refused restore must leave alone."""

    rows: dict[str, list[bytes]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    configuration: bytes = b""
    events: int = 0

    @classmethod
    def of(cls, node: Node) -> "State":
        """The state of a node."""
        from strongroom.repository import portable

        with node.repository.reading() as tx:
            rows = {name: list(tx.rows.lines(name)) for name in portable.NAMES}
            rows["intents"] = [repr(one).encode() for one in tx.intents.list()]
        root = node.paths.extracts
        found = {name: (root / name).read_bytes() for name in files(node)}
        document = node.configuration.document().serialize()
        return cls(rows, found, document, sum(1 for _ in node.events.read()))
