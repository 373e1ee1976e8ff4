"""Seals the material of service keys, and secrets of services, under the active MEK (docs/format/service-keys.md 3)."""

import base64
from typing import Protocol

from strongroom.crypto import labels
from strongroom.crypto.secret import SecretBytes
from strongroom.ids import id_bytes
from strongroom.kms.data_keys import ContextInKey, DataKeys
from strongroom.repository.service_rows import ServiceKeyVersionRow, ServiceValueRow


class MeksNow(DataKeys, Protocol):
    """The MEKs, and which of them open anything now."""

    def check_opens(self, key_id: str) -> None:
        """Refuse a MEK by which nothing is opened now.

        Raises:
            KeyNotFoundError: No MEK has this id, or no longer.
        """
        ...


class Material:
    """The one place where rows of services become plain, and the plain rows.

    Args:
        data_keys: The MEKs. Nothing is kept here, and whoever keeps what was opened calls `check_opens`: what the KMS
            store no longer opens, a service key does not open either.
    """

    def __init__(self, data_keys: MeksNow) -> None:
        self._data_keys = data_keys

    @property
    def active_mek(self) -> str:
        """The MEK that seals now."""
        return self._data_keys.active_id

    def check_opens(self, mek_id: str) -> None:
        """Refuse what was opened under a MEK that opens nothing now.

        Raises:
            KeyNotFoundError: The MEK is gone.
            StrongroomError: No root opens the KMS store any longer.
        """
        self._data_keys.check_opens(mek_id)

    def seal_key(self, key: SecretBytes, key_id: str, version: int, kind: str) -> tuple[str, str]:
        """The material of a version, sealed: the MEK, and the text of the row."""
        return self._seal(key, _of_key(key_id, version, kind))

    def open_key(self, row: ServiceKeyVersionRow, kind: str) -> SecretBytes:
        """The material of a version.

        Raises:
            IntegrityError: The row was sealed for another key, version or kind, or was changed.
            KeyNotFoundError: The MEK is gone.
        """
        context = _of_key(row.key_id, row.version, kind)
        return self._data_keys.unwrap(row.mek_id, base64.b64decode(row.sealed), context)

    def seal_value(
        self, value: SecretBytes, mount_id: str, path: str, version: int
    ) -> tuple[str, str]:
        """A version of a secret, sealed: the MEK, and the text of the row."""
        return self._seal(value, _of_value(mount_id, path, version))

    def open_value(self, row: ServiceValueRow) -> SecretBytes:
        """A version of a secret.

        Raises:
            IntegrityError: The row was sealed for another path or version, or was changed.
            KeyNotFoundError: The MEK is gone.
        """
        context = _of_value(row.mount_id, row.path, row.version)
        return self._data_keys.unwrap(row.mek_id, base64.b64decode(row.sealed), context)

    def _seal(self, plain: SecretBytes, context: ContextInKey) -> tuple[str, str]:
        made = self._data_keys.wrap(plain, context)
        return made.key_id, base64.b64encode(made.blob).decode()


def _of_key(key_id: str, version: int, kind: str) -> ContextInKey:
    fields = (id_bytes(key_id), version.to_bytes(4, "big"), kind.encode())
    return ContextInKey(labels.SERVICE_KEY, (), fields)


def _of_value(mount_id: str, path: str, version: int) -> ContextInKey:
    fields = (id_bytes(mount_id), version.to_bytes(4, "big"), path.encode())
    return ContextInKey(labels.SERVICE_VALUE, (), fields)
