"""A library for programs that read, write and inspect encrypted files with the keys of a node (docs/reference/client.md).

The program asks a key service for the data key of one file at a time: a node over HTTPS (`HttpKeyService`), or a node
on the same machine over its socket (`NodeKeyService`). Files are encrypted and decrypted in the program's own process,
by the code that the node itself uses, so no plaintext and no master encryption key (MEK) leaves its machine. Nothing of
the server is imported.
"""

from strongroom.client.files import (
    EnvelopeFile,
    NewEnvelope,
    create_file,
    decrypt_file,
    encrypt_file,
    inspect_file,
    open_file,
    open_source,
)
from strongroom.client.http_service import AccessToken, HttpKeyService, Password
from strongroom.client.key_service import KeyService
from strongroom.client.node_service import NodeKeyService
from strongroom.crypto.secret import SecretBytes
from strongroom.envelope.header import DEFAULT_SEGMENT_BYTES, Header
from strongroom.envelope.inspect import Inspection
from strongroom.errors import (
    AuthenticationError,
    ConflictError,
    FormatError,
    IntegrityError,
    KeyNotFoundError,
    KeyServiceError,
    NotFoundError,
    PermissionDeniedError,
    StorageError,
    StrongroomError,
    UsageError,
)
from strongroom.system.positions import Source

__all__ = [
    "DEFAULT_SEGMENT_BYTES",
    "AccessToken",
    "AuthenticationError",
    "ConflictError",
    "EnvelopeFile",
    "FormatError",
    "Header",
    "HttpKeyService",
    "Inspection",
    "IntegrityError",
    "KeyNotFoundError",
    "KeyService",
    "KeyServiceError",
    "NewEnvelope",
    "NodeKeyService",
    "NotFoundError",
    "Password",
    "PermissionDeniedError",
    "SecretBytes",
    "Source",
    "StorageError",
    "StrongroomError",
    "UsageError",
    "create_file",
    "decrypt_file",
    "encrypt_file",
    "inspect_file",
    "open_file",
    "open_source",
]
