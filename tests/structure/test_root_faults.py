"""docs/reference/root-faults.md is what a whole run of the fault matrix writes: every cell proved, or a reason (R10)."""

from tests.contract.roots import cells


def test_the_page_has_every_cell() -> None:
    assert cells.read_page() == cells.page(), "run the fault matrix: make torture"


def test_a_run_that_did_not_pass_every_cell_writes_nothing() -> None:
    names = [cell.name for cell in cells.to_try()]
    before = cells.read_page()
    assert not cells.write_page(names[1:])
    assert cells.read_page() == before
