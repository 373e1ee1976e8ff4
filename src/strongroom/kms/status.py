"""What can be said of the KMS store, as values, JSON and text (Q-01); pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from strongroom.kms.cache import Limits
from strongroom.kms.proofs import Proof, RootProof
from strongroom.kms.states import MekState
from strongroom.kms.store import KmsStore

_MODE_NAMES = {
    "local": "Local",
    "aws": "AWS",
    "azure": "Azure Key Vault",
    "openbao": "OpenBao",
    "pkcs11": "PKCS#11",
    "gcp": "Google Cloud KMS",
    "tpm": "TPM",
}
#: Mode → words for its key and for what its provider tells, in the order of the text (A-13).
_ROOT_WORDS: Mapping[str, Mapping[str, str]] = {
    "local": {},
    "aws": {"": "CMK ARN", "region": "AWS region", "identity": "Identity"},
    "azure": {"vault": "Vault", "key": "Key name", "": "Key ID", "identity": "Identity"},
}
_KEY_WORDS = {
    MekState.ENCRYPT_OR_DECRYPT: "encrypt or decrypt key",
    MekState.DECRYPT_ONLY: "decrypt-only key",
    MekState.UNAVAILABLE: "unavailable key",
}


@dataclass(frozen=True)
class MekStatus:
    """One MEK as it is shown (K-10)."""

    id: str
    state: MekState
    created_at: str | None
    encrypting_since: str | None
    decrypt_only_since: str | None


@dataclass(frozen=True)
class InMemory:
    """The RMK in the memory of the process that answers.

    Attributes:
        age_s: Seconds since a root gave it; None if it is not there.
        limits: How long it serves.
    """

    age_s: float | None = None
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class KmsStatus:
    """The state of the KMS store.

    Attributes:
        problems: What does not work, one sentence each; empty means OK.
        mode: The KMS mode.
        rmk_id: The one RMK (K-09).
        rmk_created_at: When it was made.
        meks: All MEKs.
        epoch: The store's epoch.
        root_key_id: The key of the mode's root, with its version.
        root: What else its provider tells: region, vault, identity.
        roots: What came of asking each wrap.
        proved_at: When that was; UTC, K-12 form.
        is_cached: Whether it is the last result, and nobody was asked now.
        memory: The RMK in memory.
    """

    problems: tuple[str, ...]
    mode: str
    rmk_id: str
    rmk_created_at: str
    meks: tuple[MekStatus, ...]
    epoch: int
    root_key_id: str = ""
    root: Mapping[str, str] = field(default_factory=dict)
    roots: tuple[RootProof, ...] = ()
    proved_at: str = ""
    is_cached: bool = False
    memory: InMemory = field(default_factory=InMemory)

    @property
    def is_ok(self) -> bool:
        """Whether the keys were proved usable, at `proved_at`."""
        return not self.problems

    @property
    def word(self) -> str:
        """`OK` or `ERROR`."""
        return "OK" if self.is_ok else "ERROR"


def from_proof(
    store: KmsStore, proof: Proof, memory: InMemory, *, is_cached: bool = False
) -> KmsStatus:
    """The status of a store, of what came of asking its roots."""
    own = tuple(
        MekStatus(mek.id, mek.state, mek.created_at, mek.encrypting_since, mek.decrypt_only_since)
        for mek in store.meks
    )
    former = tuple(
        MekStatus(mek_id, MekState.UNAVAILABLE, None, None, None)
        for mek_id in store.former_mek_ids()
    )
    return KmsStatus(
        problems=proof.problems,
        mode=store.mode,
        rmk_id=store.rmk_id,
        rmk_created_at=store.rmk_created_at,
        meks=own + former,
        epoch=store.epoch,
        root_key_id=store.wraps[0].root_key_id,
        root=proof.details,
        roots=proof.roots,
        proved_at=proof.proved_at,
        is_cached=is_cached,
        memory=memory,
    )


def as_json(status: KmsStatus) -> Mapping[str, object]:
    """The fields that scripts read."""
    return {
        "status": status.word,
        "mode": status.mode,
        "root": {"key_id": status.root_key_id, **status.root},
        "rmk": {
            "id": status.rmk_id,
            "created_at": status.rmk_created_at,
            "age_seconds": status.memory.age_s,
            "keep_seconds": status.memory.limits.keep_s,
            "offline_seconds": status.memory.limits.offline_s,
        },
        "roots": [asdict(root) for root in status.roots],
        "proved_at": status.proved_at,
        "cached": status.is_cached,
        "meks": [
            {
                "id": mek.id,
                "status": mek.state.value,
                "created_at": mek.created_at,
                "encrypting_since": mek.encrypting_since,
                "decrypt_only_since": mek.decrypt_only_since,
            }
            for mek in status.meks
        ],
        "epoch": status.epoch,
        "problems": list(status.problems),
    }


def as_text(status: KmsStatus) -> str:
    """The text of requirements section 10 (Q-01)."""
    lines = [f"Status: {status.word}"]
    lines += [f"Problem: {problem}" for problem in status.problems]
    lines += [f"Mode: {_MODE_NAMES.get(status.mode, status.mode)}", *_root_lines(status)]
    lines += [f"RMK ID: {status.rmk_id}"]
    lines += [
        f"RMK created at: {status.rmk_created_at}",
        f"RMK in memory: {_memory(status.memory)}",
    ]
    lines += [f"Epoch: {status.epoch}", f"Proved at: {status.proved_at or '-'}"]
    lines += ["Roots:", *(line for root in status.roots for line in _proof_lines(root))]
    lines += ["MEKs:"]
    for mek in status.meks:
        lines += [f"  {mek.id}", f"    Status: {_KEY_WORDS[mek.state]}"]
        lines += [f"    Created at: {mek.created_at or '-'}"]
        lines += [f"    First transition to encrypt and decrypt: {mek.encrypting_since or '-'}"]
        lines += [f"    Transition to decrypt-only: {mek.decrypt_only_since or '-'}"]
    return "\n".join(lines)


def _memory(memory: InMemory) -> str:
    """In words; the age is that in the process that answers."""
    keep_s, offline_s = memory.limits.keep_s, memory.limits.offline_s
    limit = f"limit {keep_s:.0f} s, and {offline_s:.0f} s more while a root is out of reach"
    return f"no ({limit})" if memory.age_s is None else f"for {memory.age_s:.0f} s ({limit})"


def _proof_lines(root: RootProof) -> list[str]:
    state = "ERROR" if root.problem else "OK" if root.online else "offline"
    told = {
        "Kind": root.kind,
        "Role": root.role,
        "State": state,
        "Hint": root.hint,
        "Latency": f"{root.latency_ms} ms" if root.latency_ms is not None else "",
        "Last success": root.last_success,
        "Identity": root.identity,
        "Key rotated at": root.rotated_at,
    }
    return [
        f"  {root.wrap_id}",
        *(f"    {word}: {text}" for word, text in told.items() if text),
    ]


def _root_lines(status: KmsStatus) -> list[str]:
    told = {"": status.root_key_id, **status.root}
    other = {"": "Root key", **{name: name.capitalize() for name in status.root}}
    words = _ROOT_WORDS.get(status.mode, other)
    return [f"{word}: {told[name]}" for name, word in words.items() if told.get(name)]
