"""The status of the KMS store, as values, JSON and text (Q-01); pure."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

from strongroom.errors import StorageError, StrongroomError
from strongroom.kms.cache import Limits
from strongroom.kms.proofs import Proof, RootProof
from strongroom.kms.states import MekState
from strongroom.kms.store import KmsStore
from strongroom.roots import registry
from strongroom.roots.kinds import WAY

_KEY_WORDS = {
    MekState.ENCRYPT_OR_DECRYPT: "encrypt or decrypt key",
    MekState.DECRYPT_ONLY: "decrypt-only key",
    MekState.UNAVAILABLE: "unavailable key",
}

_BRIEF_WORDS = {
    MekState.ENCRYPT_OR_DECRYPT: "encrypts",
    MekState.DECRYPT_ONLY: "decrypt-only",
    MekState.UNAVAILABLE: "unavailable",
}


@dataclass(frozen=True)
class MekStatus:
    """A MEK as it is shown (K-10)."""

    id: str
    state: MekState
    created_at: str | None
    encrypting_since: str | None
    decrypt_only_since: str | None
    retire_at: str | None = None


class Shown(NamedTuple):
    """The facts that a status shows and no proof holds.

    Attributes:
        closed_meks: Ids of MEKs that only closed stores have.
        now: The present, K-12 form; what is due by then becomes a warning.
    """

    closed_meks: tuple[str, ...] = ()
    now: str = ""


@dataclass(frozen=True)
class InMemory:
    """The RMK in the memory of the process that reports the status.

    Attributes:
        age_s: Seconds since a root unwrapped the RMK; None if it is not in memory.
        limits: How long the RMK stays in memory.
    """

    age_s: float | None = None
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class KmsStatus:
    """The state of the KMS store.

    Attributes:
        problems: A sentence for each failure; empty means OK.
        mode: The KMS mode.
        rmk_id: Id of the RMK (K-09).
        rmk_created_at: When the RMK was made.
        meks: All MEKs, those of closed stores included.
        epoch: The store's epoch.
        root_key_id: The key of the mode's root, with its version.
        root: Further details of the mode's root: region, vault, identity.
        roots: The result of asking the root of each wrap.
        proved_at: When the roots were asked; UTC, K-12 form.
        is_cached: Whether this is a stored result, and no root was asked now.
        memory: The RMK in memory.
        warnings: A sentence for each thing that still works and soon will not.
        disk: The disk's error, if it is the only failure; the keys may then be in order. None otherwise.
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
    warnings: tuple[str, ...] = ()
    disk: StorageError | None = None

    @property
    def is_ok(self) -> bool:
        """Whether the keys were proved usable, at `proved_at`."""
        return not self.problems

    @property
    def word(self) -> str:
        """`OK` or `ERROR`."""
        return "OK" if self.is_ok else "ERROR"

    def check(self, refusal: Callable[[str], StrongroomError]) -> None:
        """Raise unless the keys were proved usable.

        Args:
            refusal: Makes the caller's error, given the first problem.

        Raises:
            StorageError: The disk prevented the proof; nothing is known to be wrong with the keys.
            StrongroomError: The error that `refusal` makes of the first problem.
        """
        if self.disk is not None:
            raise StorageError(
                f"the keys cannot be proved now: {self.disk.message}", hint=self.disk.hint
            )
        if self.problems:
            raise refusal(self.problems[0])


def from_proof(
    store: KmsStore,
    proof: Proof,
    memory: InMemory,
    shown: Shown,
    *,
    is_cached: bool = False,
    disk: StorageError | None = None,
) -> KmsStatus:
    """The status of a store, made from a proof.

    Args:
        store: The store.
        proof: The result of asking its roots.
        memory: The RMK in memory.
        shown: The facts that the proof does not hold.
        is_cached: Whether the proof is a stored one.
        disk: The disk's error, if it is the only failure.
    """
    own = tuple(
        MekStatus(
            mek.id,
            mek.state,
            mek.created_at,
            mek.encrypting_since,
            mek.decrypt_only_since,
            mek.retire_at,
        )
        for mek in store.meks
    )
    former = tuple(
        MekStatus(mek_id, MekState.UNAVAILABLE, None, None, None) for mek_id in shown.closed_meks
    )
    details = dict(proof.details)
    # a key that has moved since the wrap was made is reached by another id than the one in the wrap
    reached = details.pop("reached_as", "")
    if reached:
        details["wrapped_as"] = store.wraps[0].root_key_id
    return KmsStatus(
        problems=proof.problems,
        mode=store.mode,
        rmk_id=store.rmk_id,
        rmk_created_at=store.rmk_created_at,
        meks=own + former,
        epoch=store.epoch,
        root_key_id=reached or store.wraps[0].root_key_id,
        root=details,
        roots=proof.roots,
        proved_at=proof.proved_at,
        is_cached=is_cached,
        memory=memory,
        warnings=(
            *(_warning(root) for root in proof.roots if root.due_at and root.due_at <= shown.now),
            *(_overdue(mek) for mek in own if mek.retire_at and mek.retire_at <= shown.now),
        ),
        disk=disk,
    )


def _warning(root: RootProof) -> str:
    when = f"ends on {root.ends_at}" if root.ends_at else "ends"
    return f"the credential of the {root.kind} root {root.root_key_id} {when}: {root.notice}"


def _overdue(mek: MekStatus) -> str:
    return (
        f"MEK {mek.id} was to be retired from {mek.retire_at} on: 'tsm security kms retire {mek.id}' removes it,"
        " and --take-back keeps it"
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
                "retire_at": mek.retire_at,
            }
            for mek in status.meks
        ],
        "epoch": status.epoch,
        "problems": list(status.problems),
        "warnings": list(status.warnings),
    }


def as_text(status: KmsStatus, *, verbose: bool = False) -> str:
    """The text that people and scripts read (Q-01).

    Args:
        status: The status to show.
        verbose: Also show memory, epoch, time of the proof and the answer of each root. When the status is not OK, the
            answers are shown without this option as well.
    """
    lines = [*_verdict(status), f"Mode: {_mode(status)}", *_root_lines(status)]
    lines += [f"RMK ID: {status.rmk_id}"]
    if verbose:
        lines += [
            f"RMK created at: {status.rmk_created_at}",
            f"RMK in memory: {_memory(status.memory)}",
            f"Epoch: {status.epoch}",
        ]
    if verbose or status.is_cached:
        lines += [f"Proved at: {status.proved_at or '-'}"]
    # an administrator with a failing root needs to see which one, and the hint
    if verbose or not status.is_ok:
        lines += ["Roots:", *(line for root in status.roots for line in _proof_lines(root))]
    lines += ["MEKs:"]
    for mek in status.meks:
        lines += [f"  {mek.id}", f"    Status: {_KEY_WORDS[mek.state]}"]
        lines += [f"    Created at: {mek.created_at or '-'}"]
        lines += [f"    First transition to encrypt and decrypt: {mek.encrypting_since or '-'}"]
        lines += [f"    Transition to decrypt-only: {mek.decrypt_only_since or '-'}"]
        lines += [f"    To be retired from: {mek.retire_at}"] if mek.retire_at else []
    return "\n".join(lines)


def in_brief(status: KmsStatus) -> str:
    """State, mode and keys in three lines, and a line for each problem and warning (findings F4)."""
    many = Counter(mek.state for mek in status.meks)
    meks = ", ".join(
        f"{many[state]} {words}" for state, words in _BRIEF_WORDS.items() if many[state]
    )
    key = f", {status.root_key_id}" if status.root_key_id and status.mode != registry.LOCAL else ""
    return "\n".join(
        [
            *_verdict(status),
            f"Mode: {_mode(status)}{key}",
            f"RMK ID: {status.rmk_id}; MEKs: {meks}",
        ]
    )


def _verdict(status: KmsStatus) -> list[str]:
    return [
        f"Status: {status.word}",
        *(f"Problem: {problem}" for problem in status.problems),
        *(f"Warning: {warning}" for warning in status.warnings),
    ]


def _mode(status: KmsStatus) -> str:
    kind = registry.known(status.mode)
    return kind.title if kind and kind.title else status.mode


def _memory(memory: InMemory) -> str:
    """How long the RMK has been in memory of the process that reports, and for how long it may stay, in words."""
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
        "Credential ends at": root.ends_at,
    }
    return [
        f"  {root.wrap_id}",
        *(f"    {word}: {text}" for word, text in told.items() if text),
    ]


def _root_lines(status: KmsStatus) -> list[str]:
    told = {"": status.root_key_id, **status.root}
    kind = registry.known(status.mode)
    words = kind.shown if kind else None
    if words is None:
        others = {name: WAY.get(name, name.capitalize()) for name in status.root}
        words = {"": "Root key", **others}
    return [f"{word}: {told[name]}" for name, word in words.items() if told.get(name)]
