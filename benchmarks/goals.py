"""The goals, and whether a run's figures meet them."""

from dataclasses import dataclass
from enum import StrEnum

from benchmarks.report import Findings, Table, ratio


class Verdict(StrEnum):
    """What is said of a goal."""

    MET = "met"
    MISSED = "missed"
    UNKNOWN = "not measured"


@dataclass(frozen=True)
class Goal:
    """One goal.

    Attributes:
        id: Its number.
        text: What is compared.
        figure: The name of the figure that a suite gives.
        bound: The value to reach.
        at_most: The figure must not be over it; else not under it.
        unit: Put behind the figure.
    """

    id: str
    text: str
    figure: str
    bound: float
    at_most: bool = False
    unit: str = ""

    def verdict(self, figures: dict[str, float]) -> Verdict:
        """Met or missed."""
        value = figures.get(self.figure)
        if value is None:
            return Verdict.UNKNOWN
        met = value <= self.bound if self.at_most else value >= self.bound
        return Verdict.MET if met else Verdict.MISSED


_PEERS = (
    ("age (X25519)", 2.5, 3),
    ("pyrage (X25519)", 4, 4),
    ("openssl enc, CTR", 3, 3),
    ("gpg --symmetric", 6, 3),
    ("Tink Python", 5, 6),
    ("AWS Encryption SDK, 1 MiB", 5, 8),
    ("gocryptfs", 6, 4),
)

GOALS = (
    Goal("F1", "encrypt, whole process / cp", "encrypt/cp", 0.80),
    Goal("F1", "encrypt, in process / cp", "inside encrypt/cp", 0.90),
    Goal("F2", "decrypt, whole process / cp", "decrypt/cp", 0.80),
    Goal("F2", "decrypt, in process / cp", "inside decrypt/cp", 0.90),
    *(
        Goal("F3", f"{work} / {name}", f"{work}/{name}", bound)
        for name, encrypt, decrypt in _PEERS
        for work, bound in (("encrypt", encrypt), ("decrypt", decrypt))
    ),
    Goal("F4", "CPU of encrypt / its parts, in process", "cpu encrypt/parts", 1.2, at_most=True),
    Goal("F4", "CPU of decrypt / its parts, in process", "cpu decrypt/parts", 1.2, at_most=True),
    Goal("F5", "durable encrypt / dd conv=fsync", "durable encrypt/dd", 1.4),
    Goal("F6", "peak memory above the idle process", "peak above idle", 40, True, " MiB"),
    Goal("F7", "random 64 KiB, p50 / gocryptfs", "random p50/gocryptfs", 1.0, at_most=True),
    Goal("F8", "small files, batched / plain copy", "small/copy", 0.7),
    Goal("F8", "small files, group commit / durable copy", "small durable/copy", 0.7),
    Goal("F9", "re-encrypt in one pass / age -d | age", "reencrypt/age", 3.5),
    Goal("F10", "rewrap of envelopes on disk", "rewrap rate", 10_000, unit=" files/s"),
    Goal("F10", "rewrap: bytes of data read for each file", "rewrap data read", 0, True, " B"),
    Goal("F10", "rewrap: rate with 4 times the files / with few", "rewrap linear", 0.8),
    Goal("F10", "rewrap of keys in SQLite / OpenBao's batch", "table/openbao", 4),
    Goal("F11", "publish, encrypted / discarded by bare ASGI", "publish/discard", 0.85),
    Goal("F13", "configuration get / python -c pass", "get/pass", 5, at_most=True),
    Goal("F13", "configuration get / bao kv get", "get/bao", 1.0, at_most=True),
)


def judge(findings: Findings, *, whole: bool) -> Table:
    """A table of the goals; those that nobody measured are told if everything was to be measured."""
    table = Table("Goals", ("id", "what", "figure", "goal", ""))
    for goal in GOALS:
        value = findings.figures.get(goal.figure)
        if value is None and not whole:
            continue
        shown = "–" if value is None else _number(value) + goal.unit
        sign = "≤" if goal.at_most else "≥"
        table.add(
            goal.id,
            goal.text,
            shown,
            f"{sign} {goal.bound:,g}{goal.unit}",
            goal.verdict(findings.figures),
        )
    return table


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else ratio(value)
