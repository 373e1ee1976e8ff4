"""The anchor and its comparison: docs/format/anchor.md; issue 10, part C; review X1; findings S4, S5."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from strongroom.canonical import to_base64
from strongroom.coordination import anchor as anchors
from strongroom.coordination.anchor import Anchor, LogPoint, StorePoint
from strongroom.coordination.comparison import (
    Fault,
    Finding,
    LogState,
    Observed,
    Witness,
    compare,
    compare_entries,
    compare_logs,
)
from strongroom.coordination.entries import EntryKey
from strongroom.coordination.floors import Point
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, IntegrityError
from strongroom.ids import new_id

INSTALLATION = new_id()
KEY = EntryKey(new_id(), SecretBytes(bytes(range(32))))
D = [bytes([number]) * 32 for number in range(10)]
ANCHOR = Anchor(
    number=7,
    at="2026-01-02T03:04:05Z",
    document=Point(5, D[0]),
    entries={"config": Point(9, D[1]), "pending": Point(2, D[2])},
    kms=StorePoint(3, D[3], D[9]),
    logs={"node1": LogPoint(40, (D[4], D[5])), "node2": LogPoint(0, ())},
    records=Point(4, D[6]),
    registry=Point(2, D[7]),
    repository=6,
)


def state(size: int = 41, signed: int | None = 41, *, is_other: bool = False) -> LogState:
    def goes_on(known: LogPoint) -> bool:
        return signed is not None and known.size <= min(size, signed) and not is_other

    return LogState(size, signed, goes_on)


RIGHT = Observed(
    document=ANCHOR.document,
    entries=ANCHOR.entries,
    kms=ANCHOR.kms,
    follows=True,
    logs={"node1": state()},
    records=ANCHOR.records,
    registry=ANCHOR.registry,
    witness=Witness(document=5, changed=Point(3, D[3]), changing=3),
)


# ---- the document ------------------------------------------------------------------------------------


@pytest.mark.parametrize("registry", [ANCHOR.registry, None])
@pytest.mark.parametrize(
    "stores",
    [
        {"accepted": StorePoint(2, D[8], D[9])},
        {"accepted": None},
        {"kms": None, "accepted": None},
    ],
)
def test_an_anchor_comes_back(registry: Point | None, stores: dict[str, Any]) -> None:
    made = ANCHOR._replace(registry=registry, **stores)
    assert anchors.parse(made.serialize()) == made
    row = made.row(INSTALLATION, KEY)
    assert anchors.open_row(row, INSTALLATION, {KEY.id: KEY}) == made


def change(path: str, value: object) -> Callable[[dict[str, Any]], None]:
    def apply(document: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        for name in parents:
            document = document[name]
        document[last] = value

    return apply


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("v", 1),
        ("more", 1),
        ("n", 0),
        ("at", "now"),
        ("document", None),
        ("document.version", 0),
        ("document.digest", "00"),
        ("entries", []),
        ("kms.successor", "AA=="),
        ("kms.epoch", 0),
        ("kms.accepted", 0),
        ("kms.accepted", {"epoch": 3}),
        ("kms.more", 3),
        ("kms", 3),
        ("logs.node1.nodes", ["zz"]),
        ("logs.node1.nodes", [to_base64(D[4])]),
        ("logs.node1.nodes", [to_base64(D[4]), to_base64(b"short")]),
        ("logs.node1.size", -1),
        ("records.generation", "4"),
        ("registry", {"version": 1}),
        ("registry", 0),
        ("repository", None),
    ],
)
def test_what_is_no_anchor_is_refused(path: str, value: object) -> None:
    document = json.loads(ANCHOR.serialize())
    change(path, value)(document)
    raw = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(FormatError):
        anchors.parse(raw)


def test_a_row_whose_mac_does_not_fit_is_a_fault_and_not_no_anchor() -> None:
    """2.3"""
    row = ANCHOR.row(INSTALLATION, KEY)
    keys = {KEY.id: KEY}
    with pytest.raises(IntegrityError, match="MAC"):
        anchors.open_row(row.replace(b'"n":7', b'"n":8'), INSTALLATION, keys)
    with pytest.raises(IntegrityError, match="MAC"):
        anchors.open_row(row, new_id(), keys)
    with pytest.raises(IntegrityError, match="not in force"):
        anchors.open_row(row, INSTALLATION, {})
    with pytest.raises(FormatError, match="cut short"):
        anchors.open_row(row[:47], INSTALLATION, keys)


# ---- the comparison ----------------------------------------------------------------------------------


def found(
    observed: Observed = RIGHT, entry: Anchor | None = ANCHOR, row: Anchor | None = ANCHOR
) -> list[str]:
    return [f"{one.what}: {one.fault.name} by {one.by}" for one in compare(entry, row, observed)]


def test_the_present_is_right() -> None:
    assert found() == []
    later = ANCHOR._replace(
        at="2026-01-02T03:04:06Z", logs={"node1": LogPoint(41, (D[4], D[5], D[6]))}
    )
    assert found(row=later) == []
    assert found(row=None, entry=ANCHOR._replace(repository=0)) == []
    assert found(row=ANCHOR._replace(number=6)) == []
    assert found(RIGHT._replace(records=Point(5, D[0]))) == []
    alone = ANCHOR._replace(registry=None)
    assert found(RIGHT._replace(registry=None), alone, alone) == []


ENTRY = "the anchor"
ROW = "the anchor in the repository"
DOCUMENT = "the configuration document"
STORE = "the KMS store"
LOG, CHECKPOINT = "the event log of node1", "the checkpoint of node1"
RECORDS, REGISTRY = "the configuration-key records", "the registry of nodes"


@pytest.mark.parametrize(
    ("entry", "row", "expected"),
    [
        pytest.param(None, None, [f"{ENTRY}: MISSING by every entry"], id="no-anchor"),
        pytest.param(None, ANCHOR, [f"{ENTRY}: MISSING by every entry"], id="no-entry"),
        pytest.param(ANCHOR, None, [f"{ROW}: MISSING by the anchor"], id="no-row"),
        pytest.param(
            ANCHOR,
            ANCHOR._replace(number=5),
            [f"{ROW}: BEHIND by the anchor"],
            id="repository-put-back",
        ),
        pytest.param(
            ANCHOR,
            ANCHOR._replace(number=8),
            [f"{ENTRY}: BEHIND by the repository"],
            id="coordination-put-back",
        ),
        pytest.param(
            ANCHOR,
            ANCHOR._replace(document=Point(5, D[1])),
            [f"{ROW}: DIFFERENT by the anchor"],
            id="another-row",
        ),
    ],
)
def test_anchors(entry: Anchor | None, row: Anchor | None, expected: list[str]) -> None:
    assert found(entry=entry, row=row) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({"document": None}, [f"{DOCUMENT}: MISSING by {ENTRY}"], id="no-document"),
        pytest.param(
            {"document": Point(4, D[0])},
            [f"{DOCUMENT}: BEHIND by {ENTRY}", f"{DOCUMENT}: BEHIND by the event log"],
            id="old-document",
        ),
        pytest.param(
            {"document": Point(6, D[0])}, [f"{DOCUMENT}: AHEAD by {ENTRY}"], id="newer-document"
        ),
        pytest.param(
            {"document": Point(5, D[1])},
            [f"{DOCUMENT}: DIFFERENT by {ENTRY}"],
            id="another-document",
        ),
        pytest.param(
            {"entries": {"config": Point(9, D[1])}},
            [f"the entry 'pending': MISSING by {ENTRY}"],
            id="no-entry",
        ),
        pytest.param(
            {"entries": {**ANCHOR.entries, "journal/recover": Point(1, D[0])}},
            [f"the entry 'journal/recover': UNKNOWN by {ENTRY}"],
            id="an-entry-more",
        ),
        pytest.param(
            {"entries": {"config": Point(8, D[1]), "pending": Point(2, D[0])}},
            [
                f"the entry 'config': BEHIND by {ENTRY}",
                f"the entry 'pending': DIFFERENT by {ENTRY}",
            ],
            id="old-entries",
        ),
        pytest.param(
            {"kms": StorePoint(2, D[3], D[9])},
            [f"{STORE}: BEHIND by {ENTRY}", f"{STORE}: BEHIND by the event log"],
            id="old-store",
        ),
        pytest.param(
            {"kms": StorePoint(3, D[0], D[9])},
            [f"{STORE}: DIFFERENT by {ENTRY}", f"{STORE}: DIFFERENT by the event log"],
            id="another-store",
        ),
        pytest.param(
            {"follows": False}, [f"{STORE}: UNACCEPTED by {ENTRY}"], id="store-that-does-not-follow"
        ),
        pytest.param({"registry": None}, [f"{REGISTRY}: MISSING by {ENTRY}"], id="no-registry"),
        pytest.param(
            {"records": Point(3, D[6])},
            [f"{RECORDS}: BEHIND by {ENTRY}", f"{RECORDS}: BEHIND by the repository"],
            id="old-records",
        ),
        pytest.param(
            {"records": Point(4, D[0])},
            [f"{RECORDS}: DIFFERENT by {ENTRY}", f"{RECORDS}: DIFFERENT by the repository"],
            id="other-records",
        ),
        pytest.param(
            {"logs": {}},
            [f"{LOG}: MISSING by {ENTRY}", f"{LOG}: MISSING by the repository"],
            id="no-log",
        ),
        pytest.param(
            {"logs": {"node1": state(39, 39)}},
            [
                f"{LOG}: BEHIND by {ENTRY}",
                f"{CHECKPOINT}: BEHIND by {ENTRY}",
                f"{LOG}: BEHIND by the repository",
                f"{CHECKPOINT}: BEHIND by the repository",
            ],
            id="log-and-checkpoint-put-back",
        ),
        pytest.param(
            {"logs": {"node1": state(50, 50, is_other=True)}},
            [f"{LOG}: DIFFERENT by {ENTRY}", f"{LOG}: DIFFERENT by the repository"],
            id="a-rewritten-log",
        ),
        pytest.param(
            {"logs": {"node1": state(41, None)}},
            [f"{CHECKPOINT}: MISSING by {ENTRY}", f"{CHECKPOINT}: MISSING by the repository"],
            id="no-checkpoint",
        ),
        pytest.param(
            {"logs": {"node1": state(41, 44)}},
            [f"{LOG}: BEHIND by its checkpoint"],
            id="cut-behind-the-anchor",
        ),
    ],
)
def test_what_does_not_fit(changes: dict[str, Any], expected: list[str]) -> None:
    assert found(RIGHT._replace(**changes)) == expected


@pytest.mark.parametrize(
    ("witness", "expected"),
    [
        pytest.param(Witness(), [f"{STORE}: UNWITNESSED by the event log"], id="nothing-said"),
        pytest.param(
            Witness(changed=Point(2, D[0])),
            [f"{STORE}: UNWITNESSED by the event log"],
            id="older-change",
        ),
        pytest.param(
            Witness(changed=Point(2, D[0]), changing=2),
            [f"{STORE}: UNWITNESSED by the event log"],
            id="intent-of-another",
        ),
        pytest.param(
            Witness(changed=Point(2, D[0]), changing=3),
            [f"{STORE}: UNFINISHED by the event log"],
            id="killed-between",
        ),
        pytest.param(
            Witness(changed=Point(4, D[0]), changing=4),
            [f"{STORE}: BEHIND by the event log"],
            id="the-log-knows-a-later-one",
        ),
    ],
)
def test_the_log_speaks_of_the_store(witness: Witness, expected: list[str]) -> None:
    """3.5, in both directions; S5: without a mark the log was never read."""
    assert found(RIGHT._replace(witness=witness)) == expected


def test_a_first_store_needs_no_event() -> None:
    first = ANCHOR._replace(kms=StorePoint(1, D[3], D[9]))
    observed = RIGHT._replace(kms=first.kms, witness=Witness())
    assert found(observed, first, first) == []


def test_only_a_change_that_was_killed_is_no_fault() -> None:
    findings = {fault: Finding("it", fault).is_fault for fault in Fault}
    assert [fault for fault, is_fault in findings.items() if not is_fault] == [Fault.UNFINISHED]
    assert Finding("the KMS store", Fault.BEHIND, "the event log").text == (
        "the KMS store is older than it was (as the event log says)"
    )


def test_a_newer_row_is_compared_with_everything() -> None:
    """The coordination service was put back, or its anchor removed: the repository says how far it was."""
    row = ANCHOR._replace(
        number=9,
        document=Point(6, D[0]),
        kms=StorePoint(4, D[0], D[9]),
        registry=Point(3, D[0]),
        logs={"node1": LogPoint(44, (D[4], D[5], D[6]))},
    )
    behind = [
        f"{DOCUMENT}: BEHIND by the repository",
        f"{STORE}: BEHIND by the repository",
        f"{REGISTRY}: BEHIND by the repository",
        f"{LOG}: BEHIND by the repository",
        f"{CHECKPOINT}: BEHIND by the repository",
    ]
    assert found(row=row) == [f"{ENTRY}: BEHIND by the repository", *behind]
    assert found(entry=None, row=row) == [f"{ENTRY}: MISSING by every entry", *behind]
    assert found(entry=None, row=row._replace(registry=None)) == [
        f"{ENTRY}: MISSING by every entry",
        *behind[:2],
        *behind[3:],
    ]


def test_a_registry_that_the_anchor_does_not_know() -> None:
    alone = ANCHOR._replace(registry=None)
    assert found(entry=alone, row=alone) == [f"{REGISTRY}: UNKNOWN by {ENTRY}"]


def test_a_store_that_nobody_can_read_is_missing_and_one_that_the_anchor_does_not_know_is_told() -> (
    None
):
    """In the midst of an upgrade there is none of format 2, and the anchor says so."""
    none = ANCHOR._replace(kms=None)
    assert found(RIGHT._replace(kms=None, witness=Witness()), none, none) == []
    assert found(entry=none, row=none) == [f"{STORE}: UNKNOWN by {ENTRY}"]
    assert found(RIGHT._replace(kms=None)) == [f"{STORE}: MISSING by {ENTRY}"]
    later = none._replace(number=8)
    assert found(RIGHT._replace(kms=None), none, later) == [f"{ENTRY}: BEHIND by the repository"]


def test_the_parts_are_those_of_the_whole() -> None:
    """Before a put the entries are compared, and for the event log the logs alone."""
    entries = {"config": Point(9, D[1])}
    missing = Finding("the entry 'pending'", Fault.MISSING)
    assert compare_entries(ANCHOR, ANCHOR, ANCHOR.entries) == ()
    assert compare_entries(ANCHOR, ANCHOR, entries) == (missing,)
    assert compare_entries(None, None, entries) == (Finding(ENTRY, Fault.MISSING, "every entry"),)
    logs = {"node1": state(39, 39)}
    told = compare_logs(ANCHOR, None, logs)
    assert told == tuple(
        one for one in compare(ANCHOR, None, RIGHT._replace(logs=logs)) if one.is_of_log
    )
    assert [one.what for one in told] == [LOG, CHECKPOINT]
    assert compare_logs(None, None, logs) == ()
    assert not missing.is_of_log


def test_the_number_of_a_row_needs_no_key() -> None:
    """It decides which of two rows is the newer one; what it says is proved when it is compared."""
    assert anchors.number_of(ANCHOR.row(INSTALLATION, KEY)) == ANCHOR.number
    assert anchors.number_of(b"") == 0
