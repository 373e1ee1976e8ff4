"""How to reach each root: the value of the secret parameter `kms.roots`; pure.

Format: docs/format/root-settings.md. A wrap names its key; the settings say how to ask for it.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError
from strongroom.roots.base import WrapRecord

VERSION = 1
MAX_ROOTS = 64
MAX_BYTES = 1 << 18
#: Option of roots whose key we can make: it holds for one command, and is never stored.
CREATE = "create"
CREATE_ON_TRIAL = "trial"


@dataclass(frozen=True)
class RootSettings:
    """One root.

    Attributes:
        kind: `aws`, `azure`, `openbao` …
        root_key_id: The key without its version: ARN, key URL, path.
        options: What else must be known to ask for it; nothing secret.
        secrets: Tokens, PINs and the like.
    """

    kind: str
    root_key_id: str
    options: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, SecretBytes] = field(default_factory=dict)

    @property
    def digest(self) -> bytes:
        """Names the settings without holding a token or a PIN a second time."""
        return hashlib.sha256(serialize([self])).digest()

    @property
    def lasting(self) -> "RootSettings":
        """What is stored: without the wish for a new key, which would replace a lost one."""
        return self._with_create(None)

    @property
    def on_trial(self) -> "RootSettings":
        """For a dry run: a key that is not there yet is tried out, and nothing is kept of it."""
        return self._with_create(CREATE_ON_TRIAL) if CREATE in self.options else self

    def _with_create(self, value: str | None) -> "RootSettings":
        options = {name: text for name, text in self.options.items() if name != CREATE}
        return replace(self, options=options | ({CREATE: value} if value else {}))

    def opens(self, wrap: WrapRecord) -> bool:
        """Whether a wrap was made by this root, by whatever version of its key."""
        own = self.root_key_id
        return wrap.kind == self.kind and (
            wrap.root_key_id == own or wrap.root_key_id.startswith(f"{own}/")
        )


def serialize(roots: Iterable[RootSettings]) -> bytes:
    """The canonical bytes, ordered by kind and key."""
    ordered = sorted(roots, key=lambda root: (root.kind, root.root_key_id))
    return _canonical({"v": VERSION, "roots": [_fields(root) for root in ordered]})


def parse(raw: bytes) -> tuple[RootSettings, ...]:
    """The roots of their bytes (docs/format/root-settings.md 1.1).

    Raises:
        FormatError: Damaged, or of a version not known here; without the cause, which could hold
            a secret.
    """
    if len(raw) > MAX_BYTES:
        raise FormatError(f"the root settings have {len(raw)} bytes, more than {MAX_BYTES}")
    try:
        document = json.loads(raw)
        if document["v"] != VERSION:
            raise FormatError("the root settings have a version that is not known here")
        roots = tuple(_read(item) for item in document["roots"])
        same = serialize(roots) == raw and len(roots) <= MAX_ROOTS
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise FormatError("the root settings are damaged: they cannot be read") from None
    if not same:
        raise FormatError("the root settings are damaged: they are not in canonical form")
    return roots


def _read(item: Any) -> RootSettings:
    secrets = {name: SecretBytes(_bytes(text)) for name, text in item["secrets"].items()}
    return RootSettings(item["kind"], item["root_key_id"], dict(item["options"]), secrets)


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError from None


def _fields(root: RootSettings) -> dict[str, object]:
    return {
        "kind": root.kind,
        "root_key_id": root.root_key_id,
        "options": dict(root.options),
        "secrets": {
            name: base64.b64encode(secret.reveal()).decode("ascii")
            for name, secret in root.secrets.items()
        },
    }


def _canonical(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")
