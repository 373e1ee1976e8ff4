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
    ("age (X25519)", 2.5),
    ("pyrage (X25519)", 1),
    ("openssl enc, CTR", 1),
    ("gpg --symmetric", 1),
    ("Tink Python", 1),
    ("AWS Encryption SDK, 1 MiB", 1),
    ("gocryptfs", 1),
)
_BOTH = ("encrypt", "decrypt")
_F12 = tuple(zip(("F1", "F2"), _BOTH, strict=True))

GOALS = (
    *(Goal(id_, f"{work}, in process / cp", f"inside {work}/cp", 1.1) for id_, work in _F12),
    *(
        Goal(id_, f"{work}, in process / the limit of its parts", f"inside {work}/limit", 0.85)
        for id_, work in _F12
    ),
    *(Goal(f"{id_}w", f"{work}, whole process / cp", f"{work}/cp", 0.8) for id_, work in _F12),
    *(
        Goal(f"{id_}w", f"{work}, whole process / cp, 8 times as large", f"big {work}/cp", 1.0)
        for id_, work in _F12
    ),
    *(
        Goal("F3", f"{work} / {name}", f"{work}/{name}", bound)
        for name, bound in _PEERS
        for work in _BOTH
    ),
    *(
        Goal("F4", f"CPU of {work} / its parts, in process", f"cpu {work}/parts", 1.25, True)
        for work in _BOTH
    ),
    Goal("F5", "durable encrypt / dd conv=fsync", "durable encrypt/dd", 1.4),
    Goal("F6", "peak memory above the idle process", "peak above idle", 40, True, " MiB"),
    Goal("F7", "random 64 KiB, p50 / gocryptfs", "random p50/gocryptfs", 1.0, at_most=True),
    Goal("F8", "small files, batched / plain copy", "small/copy", 0.4),
    Goal("F8", "small files, group commit / durable copy", "small durable/copy", 1),
    Goal("F9", "re-encrypt in one pass / age -d | age", "reencrypt/age", 3.5),
    Goal("F10", "rewrap of envelopes on disk", "rewrap rate", 10_000, unit=" files/s"),
    Goal("F10", "rewrap: bytes of data read for each file", "rewrap data read", 0, True, " B"),
    Goal("F10", "rewrap: rate with 4 times the files / with few", "rewrap linear", 0.8),
    Goal("F10", "rewrap of keys in SQLite / OpenBao's batch", "table/openbao", 4),
    Goal("F11", "publish, encrypted / discarded by bare ASGI", "publish/discard", 1.2),
    Goal("F11", "publish in parts of 64 MB / in one", "publish in parts/one part", 0.6),
    *(
        Goal("F12", f"data keys / OpenBao's, {count} connections", f"data keys/openbao {count}", 3)
        for count in (8, 64)
    ),
    *(
        Goal("F12", f"CPU of OpenBao's / of ours, {count}", f"data keys cpu/openbao {count}", 3)
        for count in (8, 64)
    ),
    Goal("F12", "data keys with 10,000 keys / with 10", "data keys many/few 64", 0.8),
    Goal("F13", "configuration get of a secret / python -c pass", "get/pass", 4, at_most=True),
    Goal("F13", "configuration get of a secret / bao kv get", "get/bao", 1.0, at_most=True),
    Goal("F13", "kms status / python -c pass", "status/pass", 12, at_most=True),
    Goal("F14", "download / a plain file by a bare ASGI application", "download/bare", 0.85),
    Goal("F14", "first byte of a 64 KiB range / the same", "first byte/bare", 2, at_most=True),
    Goal("F15", "page, item, job, probe, sign-in, start: most / 80 extracts", "growth", 1.2, True),
    Goal("F16", "p99 of the probe beside 64 wrong sign-ins", "pressed probe", 0.25, True, " s"),
    Goal(
        "F16", "p99 of a download's first byte beside them", "pressed first byte", 0.25, True, " s"
    ),
    Goal("b13", "publish through the object store / sent plain", "store publish/plain", 0.8),
    Goal("b13", "read through the object store / fetched plain", "store read/plain", 0.8),
    Goal("b13", "first byte of a range / plain", "store first byte/plain", 2, at_most=True),
    Goal("F17", "re-encrypt a site of small extracts, CPU of each", "job cpu ms", 5, True, " ms"),
    Goal("F17", "re-encrypt a site of big extracts / one pass in process", "job/one pass", 0.8),
)


def judge(findings: Findings, *, whole: bool) -> Table:
    """A table of the goals; those that nobody measured are told if everything was to be measured."""
    table = Table("Goals", ("id", "what", "figure", "goal", ""))
    for goal in GOALS:
        value = findings.figures.get(goal.figure)
        if value is None and not whole:
            continue
        shown = "–" if value is None else number(value) + goal.unit
        sign = "≤" if goal.at_most else "≥"
        table.add(
            goal.id,
            goal.text,
            shown,
            f"{sign} {goal.bound:,g}{goal.unit}",
            goal.verdict(findings.figures),
        )
    return table


def number(value: float) -> str:
    """A figure as people read it."""
    return f"{value:,.0f}" if value >= 100 else ratio(value)
