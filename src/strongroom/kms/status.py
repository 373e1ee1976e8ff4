"""What can be said of the key store, as values, JSON and text (Q-01); pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

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
class KmsStatus:
    """The state of the key store.

    Attributes:
        problems: What does not work, one sentence each; empty means OK.
        mode: The KMS mode.
        rmk_id: The one RMK (K-09).
        rmk_created_at: When it was made.
        meks: All MEKs.
        epoch: The store's epoch.
        root_key_id: The key of the mode's root, with its version.
        root: What else its provider tells: region, vault, identity.
    """

    problems: tuple[str, ...]
    mode: str
    rmk_id: str
    rmk_created_at: str
    meks: tuple[MekStatus, ...]
    epoch: int
    root_key_id: str = ""
    root: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_ok(self) -> bool:
        """Whether the keys were proved usable just now."""
        return not self.problems

    @property
    def word(self) -> str:
        """`OK` or `ERROR`."""
        return "OK" if self.is_ok else "ERROR"


def from_store(
    store: KmsStore, problems: tuple[str, ...], root: Mapping[str, str] | None = None
) -> KmsStatus:
    """The status of a store, with what was found wrong and what is known of the mode's root."""
    own = tuple(
        MekStatus(mek.id, mek.state, mek.created_at, mek.encrypting_since, mek.decrypt_only_since)
        for mek in store.meks
    )
    former = tuple(
        MekStatus(mek_id, MekState.UNAVAILABLE, None, None, None)
        for mek_id in store.former_mek_ids()
    )
    return KmsStatus(
        problems=problems,
        mode=store.mode,
        rmk_id=store.rmk_id,
        rmk_created_at=store.rmk_created_at,
        meks=own + former,
        epoch=store.epoch,
        root_key_id=store.wraps[0].root_key_id,
        root=root or {},
    )


def as_json(status: KmsStatus) -> Mapping[str, object]:
    """The fields that scripts read."""
    return {
        "status": status.word,
        "mode": status.mode,
        "root": {"key_id": status.root_key_id, **status.root},
        "rmk": {"id": status.rmk_id, "created_at": status.rmk_created_at},
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
    lines += [f"RMK created at: {status.rmk_created_at}", f"Epoch: {status.epoch}", "MEKs:"]
    for mek in status.meks:
        lines += [f"  {mek.id}", f"    Status: {_KEY_WORDS[mek.state]}"]
        lines += [f"    Created at: {mek.created_at or '-'}"]
        lines += [f"    First transition to encrypt and decrypt: {mek.encrypting_since or '-'}"]
        lines += [f"    Transition to decrypt-only: {mek.decrypt_only_since or '-'}"]
    return "\n".join(lines)


def _root_lines(status: KmsStatus) -> list[str]:
    told = {"": status.root_key_id, **status.root}
    other = {"": "Root key", **{name: name.capitalize() for name in status.root}}
    words = _ROOT_WORDS.get(status.mode, other)
    return [f"{word}: {told[name]}" for name, word in words.items() if told.get(name)]
