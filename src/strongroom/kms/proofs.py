"""The proof of the keys as a value: the result of asking every root, stored for `kms status --cached`; pure.

Format: docs/format/kms-proof.md. A stored proof records what was true at one moment. It opens nothing, is not
authenticated, and is shown only as the state of the store for which it was made.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from strongroom.canonical import ASCII, Fields, Kind
from strongroom.errors import FormatError

VERSION = 1
MAX_BYTES = 1 << 18
_KIND = Kind("the kept proof", ASCII, MAX_BYTES)
_LATER = frozenset({"ends_at", "due_at", "notice"})
_MEMBERS = frozenset(["v", "proved_at", "epoch", "digest", "problems", "details", "roots"])


@dataclass(frozen=True)
class RootProof:
    """The result of asking the root of one wrap.

    Attributes:
        wrap_id: UUID of the wrap.
        kind: Kind of root.
        root_key_id: The root's key.
        role: `mode` or `recovery`.
        online: Whether the node can ask the root; false for a recipient, whose identity is kept offline.
        problem: Why the root did not open the RMK; empty if it did, or was not asked.
        hint: Advice on the problem.
        latency_ms: How long the unwrap took; None if it failed.
        last_success: When the wrap last opened the RMK; UTC, K-12 form.
        identity: The identity of the node at the root, if the root knows identities.
        rotated_at: When the root's key was last rotated, if the node may ask for that.
        ends_at: When the node's credential at the root expires, if known (1.4).
        due_at: From when on the status warns of that.
        notice: A sentence on the end of the credential, and what to do.
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
    ends_at: str = ""
    due_at: str = ""
    notice: str = ""


@dataclass(frozen=True)
class Proof:
    """The result of a proof of the keys.

    Attributes:
        proved_at: When the proof was made; UTC, K-12 form.
        epoch: Epoch of the store that was proved.
        digest: Digest of that store's bytes.
        problems: A sentence for each failure; empty means OK.
        details: Details that the provider of the mode's root gave about itself.
        roots: The result for each wrap.
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
    roots = [_fields(root) for root in proof.roots]
    return _KIND.dumps({"v": VERSION, **asdict(proof), "roots": roots}).decode("ascii")


def _fields(root: RootProof) -> dict[str, object]:
    """The members as they are stored; members of a later version are left out if empty, so that older readers work (1.4)."""
    return {name: value for name, value in asdict(root).items() if value or name not in _LATER}


def parse(text: str | None) -> Proof | None:
    """Parse a stored proof; None if no proof is stored, or its text is damaged or of another version (kms-proof.md 2)."""
    if text is None:
        return None
    try:
        # a lone surrogate cannot be encoded strictly and would raise; encoded this way, the reader refuses it as no
        # UTF-8
        return _read(_KIND.loads(text.encode("utf-8", "surrogatepass")))
    except FormatError:
        return None


def _read(fields: Fields) -> Proof:
    fields.check_version("v", VERSION)
    fields.check_names(_MEMBERS)
    return Proof(
        proved_at=fields.text("proved_at"),
        epoch=fields.number("epoch"),
        digest=fields.text("digest"),
        problems=fields.texts("problems"),
        details=fields.text_map("details"),
        roots=tuple(map(_read_root, fields.objects("roots"))),
    )


def _read_root(fields: Fields) -> RootProof:
    fields.check_names(RootProof.__annotations__.keys() - _LATER, optional=_LATER)
    texts = fields.names - {"online", "latency_ms"}
    later = {name: fields.text(name) for name in texts & _LATER}
    if not all(later.values()):
        raise fields.refused("an empty member is left out")
    return RootProof(
        **{name: fields.text(name) for name in texts},
        online=fields.flag("online"),
        latency_ms=fields.optional("latency_ms", Fields.measure),
    )
