"""docs/reference/root-faults.md is what a whole run of the fault matrix writes: every cell proved, or a reason (R10)."""

from tests.contract.roots import fault_matrix


def test_the_page_has_every_cell() -> None:
    assert fault_matrix.read_page() == fault_matrix.page(), "run the fault matrix: make torture"


def test_a_run_that_did_not_pass_every_cell_writes_nothing() -> None:
    names = [cell.name for cell in fault_matrix.to_try()]
    before = fault_matrix.read_page()
    assert not fault_matrix.write_page(names[1:])
    assert fault_matrix.read_page() == before
