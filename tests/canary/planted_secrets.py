"""Secrets for a canary scan: those that a test plants, and those that a node made, read by its own API."""

import hashlib
import json
import re
import secrets
from contextlib import closing
from pathlib import Path

from strongroom.crypto.secret import SecretBytes
from strongroom.envelope.header import Placement
from strongroom.envelope.reader import read_header
from strongroom.errors import NotFoundError
from strongroom.joining.authorities import PARAMETER
from strongroom.node import opening
from strongroom.node.opening import Node
from strongroom.secrets import catalog

_RUN = re.compile(rb"[A-Za-z0-9+/=]{40,}")
#: How to reach the roots: of that only the credentials are secret, and `keys_of` has them.
_NO_SECRET = "kms.roots"


def canary(slot: str) -> bytes:
    """A secret that says which slot it was planted in, and is found nowhere by chance."""
    return f"Canary-{slot}-{secrets.token_hex(12)}".encode()


def telling_part(value: bytes) -> bytes:
    """Of a long text what is in no other one: something in the middle of its longest run of base64, or of itself.

    A run ends with its line, so it is the same however line breaks are written.
    """
    if len(value) <= 60:
        return value
    runs: list[bytes] = _RUN.findall(value)
    longest = max(reversed(runs), key=len, default=value)
    middle = len(longest) // 2
    return longest[middle - 20 : middle + 20]


def keys_of(home: Path) -> dict[str, bytes]:
    """Every key of the hierarchy as it is in memory now, and the credentials of roots that are stored."""
    node = opening.open_node(str(home))
    try:
        return _keys(node)
    finally:
        node.close()


def _keys(node: Node) -> dict[str, bytes]:
    opened, keystore = node.kms_cache.opened(), node.keystore.load()
    found = {f"RMK {opened.rmk.id}": opened.rmk.material}
    found |= {f"MEK {mek.id}": mek.material for mek in opened.ring}
    found |= {alias: keystore.master_key(alias) for alias in keystore.aliases}
    keys = node.open_configuration_keys(node.configuration.document().installation_id)
    found |= {f"configuration key {one.id}": keys.open(one.id) for one in keys.records}
    found |= _data_keys(node)
    found |= {f"asset key {one.id}": one.material for one in node.assets.ring().keys}
    for root in node.kms_store.root_settings():
        found |= {f"{root.kind} {name}": value for name, value in root.secrets.items()}
    return {name: telling_part(key.reveal()) for name, key in found.items()}


def _data_keys(node: Node) -> dict[str, SecretBytes]:
    """Of every encrypted extract."""
    with node.repository.reading() as tx:
        rows = [row for site in tx.sites.page().rows for row in tx.contents.list_for_site(site.id)]
    found = {}
    for row in rows:
        if row.file_id:
            with closing(node.files.open(row.storage_key)) as file:
                header = read_header(file)
            placed = Placement(row.site_id, row.id)
            found[f"data key {header.prelude.file_id.hex()}"] = node.envelope_keys.open_envelope(
                header, placed
            ).dek
    return found


def values_of(home: Path) -> dict[str, bytes]:
    """Every secret value of the configuration now: `name#digest`, so that old and new ones are told apart."""
    node = opening.open_node(str(home))
    found = {}
    try:
        for name in sorted(catalog.SECRETS.keys() - {_NO_SECRET}):
            try:
                value = node.configuration.open_secret(name).reveal()
            except NotFoundError:
                continue
            # of the authority all nodes and clients have the certificates; the longest text in the secret is one of them
            told = json.loads(value)["key"].encode() if name == PARAMETER else value
            found[f"{name}#{hashlib.sha256(value).hexdigest()[:8]}"] = telling_part(told)
    finally:
        node.close()
    return found


def keystore_password(home: Path) -> bytes:
    """What opens the node's keystore."""
    return (home / "tabsvc/keystore/password").read_bytes().strip()
