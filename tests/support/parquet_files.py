"""Parquet files that pyarrow encrypts by the service keys of a node in this process."""

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.parquet import encryption as pe

from strongroom.crypto.secret import SecretBytes
from strongroom.node.opening import Node
from strongroom.service_keys.model import KeyKind
from strongroom.services.service_keys.by import By
from strongroom.services.service_keys.keys import own
from strongroom.services.service_keys.use import ToDecrypt, ToEncrypt

TABLE = pa.table({"name": ["ann", "bob"], "salary": [10, 20]})
FOOTER, COLUMN = "footer", "salaries"
_BY = By("os:tester")


class _InProcess(pe.KmsClient):  # type: ignore[misc]  # pyarrow has no types
    def __init__(self, node: Node) -> None:
        super().__init__()
        self._use = node.service_key_use

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> str:
        item = ToEncrypt(SecretBytes(key_bytes))
        return self._use.encrypt(_BY, own(master_key_identifier), [item])[0].text

    def unwrap_key(self, wrapped_key: str, master_key_identifier: str) -> bytes:
        (found,) = self._use.decrypt(_BY, own(master_key_identifier), [ToDecrypt(wrapped_key)])
        assert found.plain is not None
        return found.plain.reveal()


def make_keys(node: Node, *names: str) -> None:
    """Service keys, with a first version."""
    for name in names or (FOOTER, COLUMN):
        node.service_keys.create(_BY, own(name), KeyKind.AES256_GCM)


def rotate_keys(node: Node, *names: str) -> None:
    """A further version of each."""
    for name in names or (FOOTER, COLUMN):
        node.service_keys.rotate(_BY, own(name))


def write(
    node: Node, path: Path, *, beside: bool = True, double: bool = True, plain_footer: bool = False
) -> Path:
    """A file whose column of salaries has a key of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    told = pe.EncryptionConfiguration(
        footer_key=FOOTER,
        column_keys={COLUMN: ["salary"]},
        internal_key_material=not beside,
        double_wrapping=double,
        plaintext_footer=plain_footer,
    )
    crypto = pe.CryptoFactory(lambda _: _InProcess(node))
    at = str(path) if beside else None
    properties = crypto.file_encryption_properties(pe.KmsConnectionConfig(), told, at)
    with pq.ParquetWriter(path, TABLE.schema, encryption_properties=properties) as writer:
        writer.write_table(TABLE)
    return path


def read(node: Node, path: Path) -> pa.Table:
    """The table of a file with its keys beside it."""
    crypto = pe.CryptoFactory(lambda _: _InProcess(node))
    properties = crypto.file_decryption_properties(pe.KmsConnectionConfig(), None, str(path))
    return pq.read_table(path, decryption_properties=properties)


def digests(dataset: Path) -> dict[str, str]:
    """SHA-256 of each data file."""
    return {
        path.relative_to(dataset).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(dataset.rglob("*.parquet"))
    }


def beside(path: Path) -> Path:
    """The file with the key material of a data file."""
    return path.with_name(f"_KEY_MATERIAL_FOR_{path.name}.json")
