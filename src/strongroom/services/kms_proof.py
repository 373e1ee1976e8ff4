"""Proves the keys: asks every root that can be asked, opens every MEK and a canary, and keeps what came of it.

It changes nothing but the kept proof, and never takes an old result for a new one.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Protocol

from strongroom.clock import Clock, format_utc, parse_utc
from strongroom.errors import FormatError, StrongroomError
from strongroom.kms import proofs
from strongroom.kms import store as kms_store
from strongroom.kms.opening import FindRoot
from strongroom.kms.proofs import Proof, RootProof
from strongroom.kms.store import KmsStore
from strongroom.roots.base import NEVER, RootProvider, TellsRotation, WrapRecord

Check = Callable[[], None]


class KeptProof(Protocol):
    """Where the text of the last proof lies."""

    def read(self) -> str | None:
        """The text, or None if there is none."""
        ...

    def write(self, text: str) -> None:
        """Keep it in place of the one before."""
        ...


@dataclass(frozen=True)
class Prover:
    """Asks the roots.

    Attributes:
        find_root: The provider of a wrap record.
        kept: Where the last proof lies.
        clock: For the times that are shown.
        monotonic: Seconds of a clock that never goes back, for latencies.
    """

    find_root: FindRoot
    kept: KeptProof
    clock: Clock
    monotonic: Callable[[], float]

    def prove(
        self, store: KmsStore, raw: bytes, checks: Iterable[Check], *, richly: bool = False
    ) -> Proof:
        """Ask every wrap, run the other checks, and keep the result.

        Args:
            store: The present store.
            raw: Its bytes.
            checks: What else must hold; each raises what is wrong.
            richly: Also ask for what is only good to know; needs no permission.
        """
        before = self.last()
        roots = tuple(self._ask(store, before, richly=richly))
        problems = [_sentence(store, root) for root in roots if root.problem]
        problems += [problem for check in checks if (problem := _problem_of(check))]
        digest = kms_store.digest(raw)
        told = tuple(dict.fromkeys(problems))
        details = self._details(store.wraps[0], roots[0])
        proof = Proof(self._now(), store.epoch, digest, told, details, roots)
        unkept = _problem_of(lambda: self.kept.write(proofs.serialize(proof)))
        if unkept:
            proof = replace(proof, problems=(*told, f"the proof cannot be kept: {unkept}"))
        return proof

    def last(self) -> Proof | None:
        """The last proof that was kept, whatever it was made of; None if there is none to be read."""
        try:
            return proofs.parse(self.kept.read())
        except StrongroomError:
            return None

    def judged(self, store: KmsStore, raw: bytes, limit_s: float) -> Proof:
        """The last proof, with a problem for each reason not to rely on it (kms-proof.md 3)."""
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

    def _ask(self, store: KmsStore, before: Proof | None, *, richly: bool) -> Iterator[RootProof]:
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
        store: KmsStore,
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
        return replace(
            nothing,
            latency_ms=round(took * 1000, 1),
            last_success=self._now(),
            # told after it was asked: then it knows as whom
            identity=root.describe().details.get("identity", ""),
            rotated_at=rotated,
        )

    def _details(self, wrap: WrapRecord, proof: RootProof) -> dict[str, str]:
        """What the mode's root tells of itself, after it was asked."""
        try:
            told = dict(self.find_root(wrap).describe().details)
        except StrongroomError:
            return {}  # the problem is told already
        return {**told, "rotated_at": proof.rotated_at} if proof.rotated_at else told

    def _now(self) -> str:
        return format_utc(self.clock.now())


def _sentence(store: KmsStore, root: RootProof) -> str:
    where = f"the {root.kind} root {root.root_key_id}"
    return f"{where} does not open the RMK {store.rmk_id}: {root.problem}"


def _problem_of(check: Check) -> str:
    try:
        check()
    except StrongroomError as error:
        return error.message
    return ""
