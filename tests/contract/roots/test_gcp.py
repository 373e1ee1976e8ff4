"""Google Cloud KMS: what a damaged answer does."""

import pytest

from strongroom.errors import RootUnavailableError
from strongroom.ids import new_id
from strongroom.roots.base import Context
from tests.contract.roots.provider_gcp import GcpLab

gcp = pytest.mark.parametrize("lab", ["gcp"], indirect=True)


@gcp
def test_an_answer_that_was_damaged_on_its_way_is_noticed(lab: GcpLab) -> None:
    root = lab.root()
    key, record = root.generate_data_key(Context(new_id(), new_id(), new_id()))
    lab.kms.damage = True
    try:
        for call in (root.check, lambda: root.unwrap(record)):
            with pytest.raises(RootUnavailableError, match="changed on its way"):
                call()
    finally:
        lab.kms.damage = False
    assert root.unwrap(record) == key
