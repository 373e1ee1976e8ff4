"""Proves the keys: asks every root that is online, opens every MEK, makes and opens a data key, and stores the result.

Nothing is changed but the stored proof. A stored proof is never shown as a new one: `judged` adds a problem for each
reason not to rely on it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import NamedTuple, Protocol

from strongroom.clock import Clock, format_utc, parse_utc
from strongroom.errors import FormatError, StorageError, StrongroomError
from strongroom.kms import proofs
from strongroom.kms import store as kms_store
from strongroom.kms.opening import FindRoot, Openable
from strongroom.kms.proofs import Proof, RootProof
from strongroom.roots.base import NEVER, RootProvider, TellsEnd, TellsRotation, WrapRecord
from strongroom.roots.registry import LOCAL

Check = Callable[[], None]


class KeptProof(Protocol):
    """Stores the text of the last proof."""

    def read(self) -> str | None:
        """The stored text; None if no proof was stored yet."""
        ...

    def write(self, text: str) -> None:
        """Store a text in the place of the present one."""
        ...


class Proved(NamedTuple):
    """The result of a proof that was made now.

    Attributes:
        proof: The proof, stored unless the disk refused.
        disk: The disk's error, if it is the only failure; the keys may then be in order. None otherwise.
    """

    proof: Proof
    disk: StorageError | None


@dataclass(frozen=True)
class Prover:
    """Proves the keys by asking their roots.

    Attributes:
        find_root: Finds the provider of a wrap record.
        kept: Stores the last proof.
        clock: Gives the times that are shown.
        monotonic: Seconds of a clock that never goes back, for latencies.
    """

    find_root: FindRoot
    kept: KeptProof
    clock: Clock
    monotonic: Callable[[], float]

    def prove(
        self, store: Openable, raw: bytes, checks: Iterable[Check], *, richly: bool = False
    ) -> "Proved":
        """Ask the root of every wrap, run the other checks, and store the result.

        Args:
            store: The present store.
            raw: The bytes of that store.
            checks: Further checks, each of which raises an error if it fails.
            richly: Also ask for details that are shown but not needed, such as when a root's key was rotated.
        """
        before = self.last()
        roots = tuple(self._ask(store, before, richly=richly))
        failures = [failure for check in checks if (failure := _failure_of(check))]
        problems = [_sentence(store, root) for root in roots if root.problem]
        problems += [failure.message for failure in failures]
        digest = kms_store.digest(raw)
        distinct = tuple(dict.fromkeys(problems))
        details = self._details(store.wraps[0], roots[0])
        proof = Proof(self._now(), store.epoch, digest, distinct, details, roots)
        unkept = _failure_of(lambda: self.kept.write(proofs.serialize(proof)))
        if unkept:
            failures.append(unkept)
            unkept_words = f"the proof cannot be kept: {unkept.message}"
            proof = replace(proof, problems=(*distinct, unkept_words))
        return Proved(proof, _only_the_disk(failures, roots))

    def last(self) -> Proof | None:
        """The stored proof, of whichever store; None if no proof is stored, or it cannot be read."""
        try:
            return proofs.parse(self.kept.read())
        except StrongroomError:
            return None

    def judged(self, store: Openable, raw: bytes, limit_s: float) -> Proof:
        """The stored proof, with a further problem for each reason not to rely on it now (kms-proof.md 3)."""
        found, digest = self.last(), kms_store.digest(raw)
        if found is None:
            return Proof("", store.epoch, digest, ("the keys were not proved yet",))
        problems = list(found.problems)
        if (found.epoch, found.digest) != (store.epoch, digest):
            problems.append("the KMS store was changed since the last proof")
        problems += self._too_old(found, limit_s)
        return replace(found, problems=tuple(problems))

    def _too_old(self, found: Proof, limit_s: float) -> list[str]:
        try:
            age = self.clock.now() - parse_utc(found.proved_at)
        except FormatError as error:
            return [error.message]
        if timedelta(0) <= age <= timedelta(seconds=limit_s):
            return []
        where = f"is {age.total_seconds():.0f} s old" if age >= timedelta(0) else "is of the future"
        return [f"the last proof {where}, and counts for {limit_s:.0f} s: it says nothing of now"]

    def _ask(self, store: Openable, before: Proof | None, *, richly: bool) -> Iterator[RootProof]:
        for number, wrap in enumerate(store.wraps):
            role = "recovery" if number else "mode"
            known = before.last_success(wrap.id) if before else ""
            last = max(known, "" if wrap.last_verified == NEVER else wrap.last_verified)
            nothing = RootProof(wrap.id, wrap.kind, wrap.root_key_id, role, True, "", None, last)
            try:
                root = self.find_root(wrap)
                if root.describe().online:
                    yield self._opened(store, wrap, root, nothing, richly=richly)
                else:
                    yield replace(nothing, online=False)
            except StrongroomError as error:
                yield replace(nothing, problem=error.message, hint=error.hint)

    def _opened(
        self,
        store: Openable,
        wrap: WrapRecord,
        root: RootProvider,
        nothing: RootProof,
        *,
        richly: bool,
    ) -> RootProof:
        began = self.monotonic()
        material = root.unwrap(wrap)
        took = self.monotonic() - began
        store.open_ring(store.rmk(material))
        rotated = root.rotated_at() if richly and isinstance(root, TellsRotation) else ""
        end = root.credential_end() if isinstance(root, TellsEnd) else None
        if end is not None:
            nothing = replace(nothing, ends_at=end.ends_at, due_at=end.due_at, notice=end.notice)
        return replace(
            nothing,
            latency_ms=round(took * 1000, 1),
            last_success=self._now(),
            # described after the unwrap: only then does the provider know the identity under which it was let in
            identity=root.describe().details.get("identity", ""),
            rotated_at=rotated,
        )

    def _details(self, wrap: WrapRecord, proof: RootProof) -> dict[str, str]:
        """The details that the mode's root gives about itself, after it was asked."""
        try:
            described = self.find_root(wrap).describe()
        except StrongroomError:
            return {}  # `_ask` has reported this error already
        details = dict(described.details)
        # A key may have been moved since it made the wrap, and is reached by another id then. The local root cannot
        # move: its key lies in the keystore.
        if wrap.kind != LOCAL and not wrap.root_key_id.startswith(described.root_key_id):
            details["reached_as"] = described.root_key_id
        return {**details, "rotated_at": proof.rotated_at} if proof.rotated_at else details

    def _now(self) -> str:
        return format_utc(self.clock.now())


def _sentence(store: Openable, root: RootProof) -> str:
    where = f"the {root.kind} root {root.root_key_id}"
    return f"{where} does not open the RMK {store.rmk_id}: {root.problem}"


def _failure_of(check: Check) -> StrongroomError | None:
    try:
        check()
    except StrongroomError as error:
        return error
    return None


def _only_the_disk(
    failures: Sequence[StrongroomError], roots: Iterable[RootProof]
) -> StorageError | None:
    """The disk's error if no key, root or store failed beside it; None otherwise."""
    of_the_disk = [failure for failure in failures if isinstance(failure, StorageError)]
    if not of_the_disk or len(of_the_disk) < len(failures) or any(root.problem for root in roots):
        return None
    return of_the_disk[0]
