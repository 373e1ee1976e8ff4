"""The bytes of a request to be let in, and its two signatures (docs/format/bootstrap-file.md §4)."""

import base64
import json
from dataclasses import replace

import pytest

from strongroom import ids
from strongroom.crypto import rng
from strongroom.errors import IntegrityError, UsageError
from strongroom.joining import admission_request, node_keys
from strongroom.joining.bootstrap_file import Credential
from strongroom.joining.node_keys import NodePublic

INSTALLATION = ids.new_id()
CREDENTIAL = Credential(ids.new_id(), rng.new_key())
KEYS = node_keys.make(INSTALLATION, "node2")
IDENTITY = b"i" * 32
REQUEST = admission_request.make(KEYS, CREDENTIAL, IDENTITY)
SIGNATURE = base64.b64encode(bytes(64)).decode()


def altered(**members: object) -> bytes:
    return json.dumps(json.loads(admission_request.serialize(REQUEST)) | members).encode()


def without(name: str) -> bytes:
    members = json.loads(admission_request.serialize(REQUEST))
    del members[name]
    return json.dumps(members).encode()


def test_it_is_read_back() -> None:
    data = admission_request.serialize(REQUEST)
    assert admission_request.parse(data) == REQUEST
    assert len(data) <= admission_request.MAX_BYTES
    REQUEST.check_signature(CREDENTIAL.key.public, IDENTITY)
    REQUEST.check_proof(IDENTITY)


def test_it_holds_nothing_secret() -> None:
    """X16: what is sent lets nobody ask for anything else."""
    data = admission_request.serialize(REQUEST)
    kept = json.loads(KEYS.serialize().reveal())
    for secret in (
        CREDENTIAL.seed.reveal(),
        *map(base64.b64decode, (kept["signing_seed"], kept["sealing_key"])),
    ):
        assert secret not in data
        assert base64.b64encode(secret) not in data


@pytest.mark.parametrize(
    "other",
    [
        replace(REQUEST, installation_id=ids.new_id()),
        replace(REQUEST, node_id="node3"),
        replace(REQUEST, credential_id=ids.new_id()),
        replace(REQUEST, keys=NodePublic(bytes(32), KEYS.public.sealing)),
        replace(REQUEST, keys=NodePublic(KEYS.public.signing, bytes(32))),
        replace(REQUEST, request_key=bytes(32)),
    ],
    ids=["installation", "node", "credential", "signing key", "sealing key", "request key"],
)
def test_the_signatures_cover_all_of_it(other: admission_request.AdmissionRequest) -> None:
    """X16: each member is bound by both signatures."""
    with pytest.raises(IntegrityError):
        other.check_signature(CREDENTIAL.key.public, IDENTITY)
    with pytest.raises(IntegrityError):
        other.check_proof(IDENTITY)


def test_they_cover_the_identity_and_are_no_signature_of_each_other() -> None:
    with pytest.raises(IntegrityError):
        REQUEST.check_signature(CREDENTIAL.key.public, b"j" * 32)
    with pytest.raises(IntegrityError):
        REQUEST.check_proof(b"j" * 32)
    swapped = replace(REQUEST, signature=REQUEST.proof, proof=REQUEST.signature)
    with pytest.raises(IntegrityError):
        swapped.check_signature(KEYS.public.signing, IDENTITY)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b"[" * 4000,
        altered(more=1),
        without("proof"),
        altered(installation_id="x"),
        altered(installation_id=1),
        altered(node_id="node02"),
        altered(node_id=None),
        altered(credential_id="x"),
        altered(signing_key="AAAA"),
        altered(sealing_key=1),
        altered(request_key="AAAA"),
        altered(request_key="?"),
        altered(request_key=None),
        altered(signature="AAAA"),
        altered(proof=base64.b64encode(bytes(32)).decode()),
    ],
)
def test_everything_else_is_none(data: bytes) -> None:
    """§4.1: in the same words, whatever it is."""
    with pytest.raises(UsageError, match="this is no request of a node") as refused:
        admission_request.parse(data)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


def test_one_of_an_earlier_version_is_told_so() -> None:
    """§7.2"""
    members = {"installation_id": "x", "node_id": "x", "credential_id": "x"}
    data = json.dumps(members | {"secret": "x", "request_key": "x"}).encode()
    with pytest.raises(UsageError, match="of an earlier version"):
        admission_request.parse(data)
