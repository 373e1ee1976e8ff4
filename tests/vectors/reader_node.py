"""Opens a whole node of the present formats, from docs/format alone (data-directory.md 3); nothing of ours is imported."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.vectors.reader import Keys, Means, Opened, stored_entries, unbase64
from tests.vectors.reader_bootstrap import bootstrap
from tests.vectors.reader_format2 import (
    Proving,
    configuration,
    entry,
    key_records,
    key_records_for,
    kms,
    secret,
)
from tests.vectors.reader_pkcs12 import open_keystore


def node(home: Path, by: Means) -> Opened:
    """A node by its keystore, or by a recovery identity from the second copy of the records."""
    return opened(home, by, stored_entries(home / "tabsvc/coordination/coordination.db"))


def opened(home: Path, by: Means, stored: Mapping[str, tuple[int, bytes]]) -> Opened:
    """The same with the versions and values of its entries from elsewhere: those of a cluster lie in ZooKeeper."""
    records, keys = _records(home / "tabsvc", by)
    proving = Proving(
        records["installation_id"],
        records["generation"],
        records["active"],
        keys,
        records["next"] or "",
    )
    found = {
        name: entry(value, name, version, proving)
        for name, (version, value) in stored.items()
        if not name.startswith("locks/")
    }
    document = configuration(found["config"], found.get("config/previous"))
    secrets = {
        name: secret(text, name, records["installation_id"], keys)
        for name, text in document["values"].items()
        if text.startswith("ENC(")
    }
    store = secrets["kms.persistent_store"]
    ring = kms(store, by if by.identity else by._replace(keys=keys))
    return Opened(dict(keys), document, secrets, ring, found)


def opened_bootstrap(data: bytes) -> Any:
    """The members of a bootstrap file, proved by the keys in it."""
    members = json.loads(data)
    masters = open_keystore(unbase64(members["keystore"]), unbase64(members["keystore_password"]))
    records = unbase64(members["configuration_keys"])
    _, keys = key_records(records, masters, _newest(masters))
    return bootstrap(data, keys)


def _records(top: Path, by: Means) -> tuple[Any, Keys]:
    if by.identity:
        data = (top / "recovery/configuration_keys.json").read_bytes()
        return key_records_for(data, by.identity)
    [place] = top.glob("config/tabadmincontroller_*/tabsvc/keystores")
    password = (top / "keystore/password").read_bytes().strip()
    masters = open_keystore((place / "tableauserver.jks").read_bytes(), password)
    data = (place / "configuration_keys.json").read_bytes()
    return key_records(data, masters, _newest(masters))


def _newest(masters: Keys) -> str:
    """The newest master key; between two regenerations there is one only."""
    return max(masters, key=lambda alias: int(alias.rpartition("-")[2]))
