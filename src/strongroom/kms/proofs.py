"""What came of asking every wrap of the RMK, and how that is kept for `kms status --cached`; pure.

Format: docs/format/kms-proof.md. A kept proof says of a moment what was true then, and it is never
trusted for more: it opens nothing, and it is shown only for the store that it was made of.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

VERSION = 1
MAX_BYTES = 1 << 18


@dataclass(frozen=True)
class RootProof:
    """What came of asking one wrap.

    Attributes:
        wrap_id: UUID of the wrap.
        kind: Kind of root.
        root_key_id: The root's key.
        role: `mode` or `recovery`.
        online: Whether it can be asked; a key that is kept apart cannot.
        problem: Why it did not open the RMK; empty if it did, or was not asked.
        hint: What to do about it.
        latency_ms: How long the unwrap took; None if it did not succeed.
        last_success: When it last opened the RMK; UTC, K-12 form.
        identity: As whom it was asked, if the root knows identities.
        rotated_at: When the root's key was last renewed, where it is permitted to know.
    """

    wrap_id: str
    kind: str
    root_key_id: str
    role: str
    online: bool
    problem: str
    latency_ms: float | None
    last_success: str
    identity: str = ""
    rotated_at: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Proof:
    """What came of a proof of the keys.

    Attributes:
        proved_at: When; UTC, K-12 form.
        epoch: Of the store that was proved.
        digest: Of that store's bytes.
        problems: What did not work, one sentence each; empty means OK.
        details: What the provider of the mode's root told of itself.
        roots: What came of each wrap.
    """

    proved_at: str
    epoch: int
    digest: str
    problems: tuple[str, ...]
    details: Mapping[str, str] = field(default_factory=dict)
    roots: tuple[RootProof, ...] = ()

    def last_success(self, wrap_id: str) -> str:
        """When a wrap last opened the RMK, as far as this proof knows; else empty."""
        return next((root.last_success for root in self.roots if root.wrap_id == wrap_id), "")


def serialize(proof: Proof) -> str:
    """The canonical text (kms-proof.md 1)."""
    fields = {"v": VERSION, **asdict(proof)}
    return json.dumps(fields, sort_keys=True, separators=(",", ":"))


def parse(text: str | None) -> Proof | None:
    """The proof of its text; None if there is none, or none that is known here (kms-proof.md 2)."""
    if text is None or len(text) > MAX_BYTES:
        return None
    try:
        found = json.loads(text)
        if found.pop("v") != VERSION:
            return None
        proof = _read(found)
        return proof if serialize(proof) == text else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _read(found: dict[str, Any]) -> Proof:
    roots = tuple(RootProof(**root) for root in found.pop("roots"))
    return Proof(**{**found, "problems": tuple(found["problems"])}, roots=roots)
