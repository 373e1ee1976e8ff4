"""Bootstrap files, read from docs/format/bootstrap-file.md (see `reader.py`)."""

import hashlib
from typing import Any

from tests.vectors.reader import (
    Keys,
    canonical,
    check_equal,
    check_members,
    configuration_keys,
    loaded,
    mac,
    raw,
    subkey,
    unbase64,
)
from tests.vectors.reader_format2 import check_signed
from tests.vectors.reader_pkcs12 import RefusedError, open_keystore


def bootstrap(data: bytes, keys: Keys | None = None) -> Any:
    """The members of a bootstrap file, proved by the keys in it, or by keys that are given (1, 2)."""
    members = loaded(data, escaped=True, end=b"\n")
    form = members["format"].removeprefix("strongroom-bootstrap-")
    if form not in {"1", "2", "3", "4"}:
        raise RefusedError("another format")
    signed = form != "1"
    check_members(
        members,
        "format installation_id node_id created_at expires_at server master_key configuration_key_id"
        " keystore keystore_password configuration_keys credential mac"
        + (" identity signature" if signed else "")
        + (" authorities addresses" if form == "4" else ""),
    )
    if form == "4":
        check_bearings(members)
    if members["credential"] is not None:
        check_members(members["credential"], "id seed" if form in "34" else "id secret")
    if keys is None:
        password = unbase64(members["keystore_password"])
        masters = open_keystore(unbase64(members["keystore"]), password)
        keys = configuration_keys(unbase64(members["configuration_keys"]), masters=masters)
    key = keys[members["configuration_key_id"]]
    body = {name: value for name, value in members.items() if name not in {"mac", "signature"}}
    own = subkey(key, "strongroom/v1/bootstrap", raw(members["installation_id"]))
    expected = mac(own, canonical(body, escaped=True, end=b"\n"))
    check_equal(expected, bytes.fromhex(members["mac"]), "the MAC")
    if signed:
        body = {name: value for name, value in members.items() if name != "signature"}
        _check_signature(members, canonical(body, escaped=True, end=b"\n"))
    return members


def check_bearings(members: Any) -> None:
    """Authorities that are those of their pins, and addresses (1.5)."""
    check_members(members["authorities"], "nodes postgres web zookeeper")
    check_members(members["addresses"], "nodes postgres zookeeper")
    for found in members["authorities"].values():
        for one in found:
            check_members(one, "certificate sha256")
            pin = hashlib.sha256(unbase64(one["certificate"])).digest()
            check_equal(pin, bytes.fromhex(one["sha256"]), "the pin of a certificate")


def _check_signature(members: Any, told: bytes) -> None:
    """The signature of the identity that the file names (2.2)."""
    head = b"bootstrap\0" + raw(members["installation_id"]) + bytes(16)
    message = b"strongroom/v2/signed/" + head + len(told).to_bytes(4, "big") + told
    check_signed(unbase64(members["identity"]), message, unbase64(members["signature"]))


def admission(request: Any, issued: Any) -> None:
    """Check a request against the record of its credential: signatures of the credential and of the node (4)."""
    check_members(
        request,
        "installation_id node_id credential_id signing_key sealing_key request_key signature proof"
        + (" certificate_request" if "certificate_request" in request else ""),
    )
    keys = b"".join(unbase64(request[name]) for name in ("signing_key", "sealing_key"))
    asked = request["node_id"].encode() + b"\0" + raw(request["credential_id"])
    asked += unbase64(issued["identity"]) + keys + unbase64(request["request_key"])
    if "certificate_request" in request:
        asked += hashlib.sha256(unbase64(request["certificate_request"])).digest()
    by = {
        b"admission": (issued["public"], request["signature"]),
        b"node-keys": (request["signing_key"], request["proof"]),
    }
    for purpose, (public, signature) in by.items():
        head = purpose + b"\0" + raw(request["installation_id"]) + bytes(16)
        message = b"strongroom/v2/signed/" + head + len(asked).to_bytes(4, "big") + asked
        check_signed(unbase64(public), message, unbase64(signature))
