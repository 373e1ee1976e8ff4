"""The bytes of a request to be let in (docs/format/bootstrap-file.md §4)."""

import json

import pytest

from strongroom import ids
from strongroom.crypto import rng
from strongroom.errors import UsageError
from strongroom.joining import admission_request
from strongroom.joining.admission_request import AdmissionRequest
from strongroom.joining.bootstrap_file import Credential

REQUEST = AdmissionRequest(
    ids.new_id(), "node2", Credential(ids.new_id(), rng.new_key()), rng.new_key()
)


def altered(**members: object) -> bytes:
    return json.dumps(json.loads(admission_request.serialize(REQUEST).reveal()) | members).encode()


def test_it_is_read_back() -> None:
    data = admission_request.serialize(REQUEST).reveal()
    assert admission_request.parse(data) == REQUEST
    assert len(data) <= admission_request.MAX_BYTES
    assert "request_key" not in repr(REQUEST)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b"[" * 4000,
        altered(more=1),
        altered(installation_id="x"),
        altered(installation_id=1),
        altered(node_id="node02"),
        altered(node_id=None),
        altered(credential_id="x"),
        altered(secret="AAAA"),
        altered(secret=1),
        altered(request_key="AAAA"),
        altered(request_key="?"),
        altered(request_key=None),
    ],
)
def test_everything_else_is_none(data: bytes) -> None:
    """§4.1: in the same words, whatever it is."""
    with pytest.raises(UsageError, match="this is no request of a node") as refused:
        admission_request.parse(data)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__
