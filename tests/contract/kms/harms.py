"""What may have happened to a key file: the harms of `test_key_files` (findings K7)."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from strongroom.configuration_keys import generations
from strongroom.configuration_keys import records as key_records
from strongroom.configuration_keys.record_files import FILE_NAME as RECORDS
from strongroom.configuration_keys.records import ConfigurationKeyRecord, WrapKind
from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.keystore import pkcs12
from strongroom.keystore.pkcs12 import SecretKeyEntry
from strongroom.keystore.replicas import FILE_NAME as KEYSTORE
from strongroom.node.opening import Node


@dataclass(frozen=True)
class Before:
    """A node, and its key files of before its last regeneration, and of amid it: with the old keys and the new ones."""

    root: Path
    keystore: bytes
    records: bytes
    keystore_amid: bytes
    records_amid: bytes


def contents_of(path: Path) -> bytes:
    return path.read_bytes()


def keystores(node: Node) -> list[Path]:
    return [folder / KEYSTORE for folder in node.keystore.folders]


def records_of(node: Node) -> list[Path]:
    return [folder / RECORDS for folder in node.keystore.folders]


def password_of(node: Node) -> SecretBytes:
    return node.keystore.password()


def put(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    path.chmod(0o600)


Harm = Callable[[Node, Before, Path], None]


def _older(node: Node, before: Before, path: Path) -> None:
    put(path, before.keystore)


def _changed_alias(node: Node, before: Before, path: Path) -> None:
    (entry,) = node.keystore.load().entries
    put(path, pkcs12.serialize([entry._replace(alias="another")], password_of(node)))


def _foreign(node: Node, before: Before, path: Path) -> None:
    entry = SecretKeyEntry("master-key-2", rng.new_key(), node.clock.now())
    put(path, pkcs12.serialize([entry], password_of(node)))


def _foreign_with_more_keys(node: Node, before: Before, path: Path) -> None:
    entries = [
        SecretKeyEntry(f"master-key-{n}", rng.new_key(), node.clock.now()) for n in range(1, 9)
    ]
    put(path, pkcs12.serialize(entries, password_of(node)))


def _truncated(node: Node, before: Before, path: Path) -> None:
    os.truncate(path, 100)


def _empty(node: Node, before: Before, path: Path) -> None:
    os.truncate(path, 0)


def _missing(node: Node, before: Before, path: Path) -> None:
    path.unlink()


def _missing_folder(node: Node, before: Before, path: Path) -> None:
    shutil.rmtree(path.parent)


def _other_password(node: Node, before: Before, path: Path) -> None:
    entries = node.keystore.load().entries
    put(path, pkcs12.serialize(entries, SecretBytes(b"another password")))


def _no_entry(node: Node, before: Before, path: Path) -> None:
    put(path, pkcs12.serialize([], password_of(node)))


def _garbage(node: Node, before: Before, path: Path) -> None:
    put(path, b"\x00garbage" * 50)


def _readable_for_all(node: Node, before: Before, path: Path) -> None:
    path.chmod(0o644)


def _link(node: Node, before: Before, path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def _folder(node: Node, before: Before, path: Path) -> None:
    path.unlink()
    path.mkdir()


HARMS: dict[str, Harm] = {
    "older": _older,
    "changed alias": _changed_alias,
    "foreign": _foreign,
    "foreign, more keys": _foreign_with_more_keys,
    "truncated": _truncated,
    "empty": _empty,
    "missing": _missing,
    "missing folder": _missing_folder,
    "other password": _other_password,
    "no entry": _no_entry,
    "garbage": _garbage,
    "mode 0644": _readable_for_all,
    "link": _link,
    "folder": _folder,
}


def _older_records(node: Node, before: Before, path: Path) -> None:
    put(path, before.records)


def _put_records(
    node: Node, path: Path, records: tuple[ConfigurationKeyRecord, ...], owner: str = ""
) -> None:
    """Records with a MAC that fits, as only whoever has the keystore could write them."""
    present, keystore = node.present_keys().present, node.keystore.load()
    changed = present._replace(records=records, installation_id=owner or present.installation_id)
    put(path, generations.serialize_part(changed, keystore.master_key(keystore.newest)))


def _foreign_records(node: Node, before: Before, path: Path) -> None:
    _put_records(node, path, (), "00000000-0000-4000-8000-000000000001")


def _no_records(node: Node, before: Before, path: Path) -> None:
    _put_records(node, path, ())


def _without_recipients(node: Node, before: Before, path: Path) -> None:
    records = node.present_keys().records
    bare = (one._replace(wraps=one.of_kind(WrapKind.MASTER_KEY)) for one in records)
    _put_records(node, path, tuple(bare))


def _of_format_1(node: Node, before: Before, path: Path) -> None:
    owner = node.configuration.document().installation_id
    put(path, key_records.serialize(owner, node.present_keys().records))


RECORD_HARMS: dict[str, Harm] = {
    "older": _older_records,
    "foreign": _foreign_records,
    "none": _no_records,
    "without recipients": _without_recipients,
    "of format 1": _of_format_1,
    "truncated": _truncated,
    "empty": _empty,
    "missing": _missing,
    "garbage": _garbage,
    "mode 0644": _readable_for_all,
    "link": _link,
    "folder": _folder,
}
