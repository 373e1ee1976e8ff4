"""A dataset whose keys are wrapped anew: files by pyarrow, and every way in which one is left (issue 13 C)."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from strongroom.errors import ConflictError, NotFoundError, StateError, UsageError
from strongroom.node.opening import Node
from strongroom.service_keys.model import KeyKind
from strongroom.services.service_keys import parquet
from strongroom.services.service_keys.by import By
from strongroom.services.service_keys.keys import Settings, own
from strongroom.services.service_keys.parquet import ParquetKeysService, Receipt
from strongroom.services.service_keys.use import KeyUse, Outcome, ToEncrypt
from strongroom.system.compat import override
from tests.support import parquet_files
from tests.support.parquet_files import COLUMN, FOOTER, TABLE, beside, digests, write

BY = By("os:tester")


@pytest.fixture
def dataset(node: Node, tmp_path: Path) -> Path:
    """Three files, of both ways to wrap and both kinds of footer, under the first versions of two keys that have a second."""
    folder = tmp_path / "dataset"
    parquet_files.make_keys(node)
    write(node, folder / "a.parquet")
    write(node, folder / "day=1" / "b.parquet", double=False)
    write(node, folder / "day=2" / "c.parquet", plain_footer=True)
    parquet_files.rotate_keys(node)
    return folder


def rotate(
    node: Node, dataset: Path, moves: Mapping[str, str] | None = None, *, dry_run: bool = False
) -> Receipt:
    by = By.local("os:tester", node.events)
    return node.parquet_keys.rotate(by, str(dataset), moves or {}, dry_run=dry_run)


def receipts(node: Node) -> list[dict[str, object]]:
    lines = (node.paths.root / "tabsvc" / "events").glob("*.jsonl")
    records = [json.loads(line) for path in lines for line in path.read_text().splitlines()]
    return [one["details"] for one in records if one["id"] == "PARQUET_KEYS_ROTATED"]


def counts(receipt: Receipt) -> Sequence[int]:
    after = receipt.after
    return receipt.rotated, len(after.current), len(after.inside), len(after.failed), after.left


def materials(dataset: Path) -> list[str]:
    return [path.read_text() for path in sorted(dataset.rglob("_KEY*"))]


def test_keys_are_wrapped_by_the_latest_versions_and_no_byte_of_data_changes(
    node: Node, dataset: Path
) -> None:
    before = digests(dataset)
    beside(dataset / "a.parquet").chmod(0o640)
    assert counts(rotate(node, dataset)) == (3, 3, 0, 0, 0)
    assert digests(dataset) == before
    assert all("vault:v1:" not in one and "vault:v2:" in one for one in materials(dataset))
    assert all(parquet_files.read(node, dataset / name).equals(TABLE) for name in before)
    assert beside(dataset / "a.parquet").stat().st_mode & 0o777 == 0o640
    assert counts(rotate(node, dataset)) == (0, 3, 0, 0, 0)
    told = {"dataset": str(dataset), "current": 3, "inside": 0, "left": 0}
    assert receipts(node) == [{**told, "rotated": 3}, {**told, "rotated": 0}]


def test_old_versions_can_go_afterwards(node: Node, dataset: Path) -> None:
    rotate(node, dataset)
    for name in (FOOTER, COLUMN):
        node.service_keys.configure(BY, own(name), Settings(to_decrypt=2, to_encrypt=2))
        node.service_keys.trim(BY, own(name), 2)
    assert parquet_files.read(node, dataset / "a.parquet").equals(TABLE)


def test_a_key_is_moved_to_another_one(node: Node, dataset: Path) -> None:
    parquet_files.make_keys(node, "payroll")
    receipt = rotate(node, dataset, {COLUMN: "payroll"})
    assert counts(receipt) == (3, 3, 0, 0, 0)
    node.service_keys.set_enabled(BY, own(COLUMN), enabled=False)
    assert parquet_files.read(node, dataset / "a.parquet").equals(TABLE)
    assert not any(COLUMN in one for one in materials(dataset))


def test_moves_that_cannot_be_are_refused_before_anything_is_done(
    node: Node, dataset: Path
) -> None:
    before = materials(dataset)
    with pytest.raises(UsageError, match="is moved, and moved to"):
        rotate(node, dataset, {FOOTER: COLUMN, COLUMN: FOOTER})
    with pytest.raises(NotFoundError, match="'nowhere'"):
        rotate(node, dataset, {FOOTER: "nowhere"})
    parquet_files.make_keys(node, "off")
    node.service_keys.set_enabled(BY, own("off"), enabled=False)
    with pytest.raises(StateError, match="'off' is disabled"):
        rotate(node, dataset, {FOOTER: "off"})
    assert materials(dataset) == before


def test_a_dry_run_uses_no_key(node: Node, dataset: Path) -> None:
    before = materials(dataset), receipts(node)
    assert counts(rotate(node, dataset, dry_run=True)) == (3, 0, 0, 0, 3)
    assert (materials(dataset), receipts(node)) == before


def test_one_file_is_a_dataset(node: Node, dataset: Path) -> None:
    assert counts(rotate(node, dataset / "a.parquet")) == (1, 1, 0, 0, 0)
    assert counts(rotate(node, dataset)) == (2, 3, 0, 0, 0)


def test_files_that_keep_their_keys_inside_are_left_and_counted(node: Node, dataset: Path) -> None:
    for number, plain_footer in enumerate((False, True)):
        write(node, dataset / f"in{number}.parquet", beside=False, plain_footer=plain_footer)
    pq.write_table(TABLE, dataset / "plain.parquet")
    (dataset / "notes.txt").write_text("PAR1")
    receipt = rotate(node, dataset)
    assert counts(receipt) == (3, 3, 2, 0, 2)
    assert receipt.after.plain == 1


def test_what_cannot_be_wrapped_anew_is_told_by_its_file_and_the_others_go_on(
    node: Node, dataset: Path
) -> None:
    harm = {name: write(node, dataset / f"{name}.parquet") for name in "defgh"}
    parquet_files.rotate_keys(node)
    beside(harm["d"]).unlink()
    beside(harm["e"]).write_text("{")
    text = beside(harm["f"]).read_text()
    beside(harm["f"]).write_text(text.replace(FOOTER, "foreign"))
    beside(harm["g"]).write_text(text.replace("vault:v2:", "vault:v2:AAAA"))
    beside(harm["h"]).write_text(text.replace("vault:v2:", "aws:"))
    harm["a"] = dataset / "cut.parquet"
    harm["a"].write_bytes(b"\xff\xff\xff\x7fPARE")
    before = {path: path.read_text() for path in dataset.rglob("_KEY*")}
    receipt = rotate(node, dataset)
    assert counts(receipt) == (3, 3, 0, 6, 6)
    assert all(before[beside(harm[name])] == beside(harm[name]).read_text() for name in "efgh")
    words = {Path(name).name.split(".")[0]: str(error) for name, error in receipt.after.failed}
    assert "no file with its key material" in words["d"]
    assert "no JSON" in words["_KEY_MATERIAL_FOR_e"]
    assert "'foreign'" in words["_KEY_MATERIAL_FOR_f"]
    assert "authentication failed" in words["_KEY_MATERIAL_FOR_g"]
    assert "no prefix" in words["_KEY_MATERIAL_FOR_h"]
    assert "footer" in words["cut"]
    assert receipts(node)[-1]["left"] == 6


def test_a_key_that_does_not_encrypt_is_no_aim(node: Node, dataset: Path) -> None:
    node.service_keys.create(BY, own("signer"), KeyKind.ED25519)
    with pytest.raises(UsageError, match="does not support encryption"):
        rotate(node, dataset, {FOOTER: "signer"})


def test_two_runs_at_once_do_not_meet(node: Node, dataset: Path) -> None:
    def begin(_: int | None) -> None:
        with pytest.raises(StateError, match="another run works on"):
            rotate(node, dataset)

    receipt = node.parquet_keys.rotate(BY, str(dataset), {}, begin=begin)
    assert counts(receipt) == (3, 3, 0, 0, 0)


def test_a_file_that_somebody_else_changed_meanwhile_is_left(node: Node, dataset: Path) -> None:
    place = beside(dataset / "a.parquet")
    theirs = place.read_text() + "\n"

    class Beside(KeyUse):
        @override
        def encrypt(self, *given: object) -> list[Outcome]:
            place.write_text(theirs)
            return node.service_key_use.encrypt(*given)  # type: ignore[arg-type]

        @override
        def decrypt(self, *given: object) -> list[Outcome]:
            return node.service_key_use.decrypt(*given)  # type: ignore[arg-type]

    service = ParquetKeysService(node.service_keys, Beside.__new__(Beside))
    receipt = service.rotate(BY, str(dataset), {})
    assert counts(receipt) == (2, 2, 0, 1, 1)
    assert isinstance(receipt.after.failed[0][1], ConflictError)
    assert place.read_text() == theirs


def test_a_new_text_that_does_not_open_replaces_nothing(node: Node, dataset: Path) -> None:
    before = materials(dataset)

    class Wrong(KeyUse):
        @override
        def encrypt(self, by: By, at: object, items: Sequence[ToEncrypt]) -> list[Outcome]:
            return node.service_key_use.encrypt(by, at, [items[0]] * len(items))  # type: ignore[arg-type]

        @override
        def decrypt(self, *given: object) -> list[Outcome]:
            return node.service_key_use.decrypt(*given)  # type: ignore[arg-type]

    service = ParquetKeysService(node.service_keys, Wrong.__new__(Wrong))
    receipt = service.rotate(BY, str(dataset), {})
    assert receipt.after.left == 3 - receipt.rotated
    assert receipt.after.failed
    assert sum(one in materials(dataset) for one in before) == len(receipt.after.failed)


@pytest.mark.parametrize("name", ["nothing", "empty"])
def test_what_is_no_dataset_is_refused(node: Node, tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFoundError):
        rotate(node, tmp_path / name)


def test_files_of_a_run_are_wrapped_in_batches(
    node: Node, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "_FILES_AT_ONCE", 2)
    done: list[int] = []
    receipt = node.parquet_keys.rotate(BY, str(dataset), {}, begin=lambda _: done.append)
    assert (done, receipt.after.left) == ([2, 1], 0)
