"""How to reach each root: the value of the secret parameter `kms.roots`; pure.

Format: docs/format/root-settings.md. A wrap names its key; the settings say how to ask for it.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from strongroom.canonical import ASCII, Fields, Kind, to_base64
from strongroom.crypto.secret import SecretBytes
from strongroom.roots import addresses
from strongroom.roots.base import WrapRecord

VERSION = 1
MAX_ROOTS = 64
MAX_BYTES = 1 << 18
_KIND = Kind("the list of roots", ASCII, MAX_BYTES)
#: Option of roots whose key we can make: it holds for one command, and is never stored.
CREATE = "create"
CREATE_ON_TRIAL = "trial"
#: Option: ids by which wraps name the same key, from when it was reached in another way; one a line.
KNOWN_AS = "known_as"


@dataclass(frozen=True)
class RootSettings:
    """The settings of a root: its key, and how to reach it.

    Attributes:
        kind: `aws`, `azure`, `openbao` …
        root_key_id: The key without its version: ARN, key URL, path.
        options: The other settings that are needed to reach the key; nothing secret.
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
        """The settings to store: without the order to make a new key, which would later replace a lost key."""
        return self._with_create(None)

    @property
    def on_trial(self) -> "RootSettings":
        """The settings for a dry run: if the key is yet to be made, a temporary key is tried, and nothing is kept."""
        return self._with_create(CREATE_ON_TRIAL) if CREATE in self.options else self

    def _with_create(self, value: str | None) -> "RootSettings":
        options = {name: text for name, text in self.options.items() if name != CREATE}
        return replace(self, options=options | ({CREATE: value} if value else {}))

    def told(self, *names: str) -> dict[str, str]:
        """The values of the given options, without those that are not set."""
        return {name: self.options[name] for name in names if name in self.options}

    @property
    def known_as(self) -> tuple[str, ...]:
        """Other ids by which wraps name this key."""
        return tuple(filter(None, self.options.get(KNOWN_AS, "").split("\n")))

    def also_as(self, ids: Iterable[str]) -> "RootSettings":
        """The same way to the key, which wraps name by these ids as well."""
        more = sorted({*self.known_as, *ids} - {self.root_key_id})
        options = {name: text for name, text in self.options.items() if name != KNOWN_AS}
        return replace(self, options=options | ({KNOWN_AS: "\n".join(more)} if more else {}))

    def opens(self, wrap: WrapRecord) -> bool:
        """Whether a wrap was made by this root, by whatever version of its key."""
        return self.version_of(wrap) is not None

    def version_of(self, wrap: WrapRecord) -> str | None:
        """The version of this key that made a wrap; empty if the wrap names no version, None if another key made it."""
        if wrap.kind != self.kind:
            return None
        theirs = addresses.respelled(wrap.root_key_id)
        for own in map(addresses.respelled, (self.root_key_id, *self.known_as)):
            if theirs == own or theirs.startswith(f"{own}/"):
                return theirs[len(own) + 1 :]
        return None


def serialize(roots: Iterable[RootSettings]) -> bytes:
    """The canonical bytes, ordered by kind and key."""
    ordered = sorted(roots, key=lambda root: (root.kind, root.root_key_id))
    return _KIND.dumps({"v": VERSION, "roots": [_fields(root) for root in ordered]})


def parse(raw: bytes) -> tuple[RootSettings, ...]:
    """The roots of their bytes (docs/format/root-settings.md 1.1).

    Raises:
        FormatError: Damaged, or of a version not known here.
    """
    fields = _KIND.loads(raw)
    fields.check_version("v", VERSION)
    fields.check_names(("v", "roots"))
    fields.check_count("roots", "roots", MAX_ROOTS)
    roots = tuple(map(_read, fields.objects("roots")))
    if serialize(roots) != raw:
        raise fields.refused("its roots are not in order")
    return roots


def _read(item: Fields) -> RootSettings:
    item.check_names(("kind", "root_key_id", "options", "secrets"))
    held = item.inner("secrets")
    secrets = {name: SecretBytes(held.raw(name)) for name in held.names}
    return RootSettings(
        item.text("kind"), item.text("root_key_id"), item.text_map("options"), secrets
    )


def _fields(root: RootSettings) -> dict[str, object]:
    return {
        "kind": root.kind,
        "root_key_id": root.root_key_id,
        "options": dict(root.options),
        "secrets": {name: to_base64(secret.reveal()) for name, secret in root.secrets.items()},
    }
