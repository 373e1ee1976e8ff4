"""A plugin for pyarrow's own tests of encryption: their two KMS classes are replaced by ours, on a served node.

The tests bring master keys of their own, as texts in the configuration, where a node has service keys that nobody sees. So a
key of theirs becomes the service key of its name and text, and what ours raises gets the class and words that the tests'
own class gives it. Nothing else of the tests is changed.
"""

import hashlib
import os
from typing import Any

from pyarrow.parquet import encryption as pe
from pyarrow.tests.parquet import encryption as theirs
from strongroom_client import IntegrityError
from strongroom_client.parquet import StrongroomKmsClient
from strongroom_client.vault_service import Token, VaultService

URL, TOKEN = os.environ["SUITE_URL"], os.environ["SUITE_TOKEN_FILE"]
ADMIN = VaultService(URL, Token(TOKEN))


class OnANode(StrongroomKmsClient):  # type: ignore[misc]  # laid out when the tests run
    """Ours, whatever URL and token the tests configure: theirs lead nowhere."""

    def __init__(self, config: Any) -> None:
        self.custom, self.config = config.custom_kms_conf, config
        super().__init__(pe.KmsConnectionConfig(custom_kms_conf={"url": URL, "token_file": TOKEN}))


class InMemory(OnANode):
    """In the place of `InMemoryKmsClient`."""

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> str:
        return str(super().wrap_key(key_bytes, self._named(master_key_identifier)))

    def unwrap_key(self, wrapped_key: str, master_key_identifier: str) -> bytes:
        try:
            return bytes(super().unwrap_key(wrapped_key, self._named(master_key_identifier)))
        except IntegrityError as error:
            raise ValueError("Incorrect master key used") from error

    def _named(self, key: str) -> str:
        digest = hashlib.sha256(self.custom[key].encode()).hexdigest()[:8]
        ADMIN.ask("POST", f"transit/keys/{key}-{digest}", {})
        return f"{key}-{digest}"


class Versioning(OnANode):
    """In the place of `MockVersioningKmsClient`, whose token is the version of its master keys."""

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> str:
        wanted, at = int(self.config.key_access_token), f"transit/keys/{master_key_identifier}"
        ADMIN.ask("POST", at, {})
        if self._latest(master_key_identifier) > wanted:  # an earlier test's: each begins anew
            ADMIN.ask("POST", f"{at}/config", {"deletion_allowed": True})
            ADMIN.ask("DELETE", at)
            ADMIN.ask("POST", at, {})
        while self._latest(master_key_identifier) < wanted:
            ADMIN.ask("POST", f"transit/keys/{master_key_identifier}/rotate", {})
        return str(super().wrap_key(key_bytes, master_key_identifier))

    def _latest(self, key: str) -> int:
        _, found = ADMIN.ask("GET", f"transit/keys/{key}")
        return int((found or {})["data"]["latest_version"])


theirs.InMemoryKmsClient = InMemory
theirs.MockVersioningKmsClient = Versioning
