"""What a cluster has left is opened by the documented formats alone: keystore, ZooKeeper's nodes, objects (E7)."""

import hashlib
import os
from pathlib import Path

import pytest

from tests.contract.cluster.commands import Run, opened
from tests.contract.cluster.password_lab import root_of
from tests.support import backups, object_stores
from tests.support.cluster_services import ClusterServices
from tests.vectors import reader, reader_cluster, reader_node
from tests.vectors.reader import Means

ACTOR = "os:tests"
PREFIX = "of-the-foreign-reader"


def test_every_extract_is_decrypted_by_the_pages(
    cluster_home: Path,
    services: ClusterServices,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """E7: after a rotation, a rewrap and a regeneration, with a document that lies in chunks; none of our code reads."""
    published = {f"extract {size}": os.urandom(size) for size in (0, 5_000, 900_000)}
    with object_stores.running("moto", tmp_path) as server:
        object_stores.credentials(server, monkeypatch)
        address = object_stores.bucket(server.url, PREFIX).address.text
        assert run("strongroom", cluster_home, "extracts", "move", "--to", address).code == 0
        with opened(cluster_home) as node:
            rows = {name: backups.publish(node, name, data) for name, data in published.items()}
            for number in range(12):
                node.meks.rotate(ACTOR)
                rows[f"later {number}"] = backups.publish(node, f"later {number}", b"%d" % number)
                published[f"later {number}"] = b"%d" % number
            node.regenerate.run(ACTOR, lambda _: None, ["keys"])
            placed = {name: (row.storage_key, row.site_id, row.id) for name, row in rows.items()}
        store = object_stores.client(server)
        listed = store.list_objects_v2(Bucket=object_stores.BUCKET)["Contents"]
        objects = {
            one["Key"]: store.get_object(Bucket=object_stores.BUCKET, Key=one["Key"])["Body"].read()
            for one in listed
        }
    with services.ensemble.judge() as client:
        root = root_of(cluster_home)
        names = client.get_children(f"{root}/kv")

        def read(path: str) -> tuple[bytes, int]:
            data, stat = client.get(f"{root}/{path}")
            return data, stat.version

        stored = reader_cluster.entries(names, read)
        assert any(read(f"kv/{name}")[0][32:33] == b"\1" for name in names), "no chunks"
    found = reader_node.opened(cluster_home, Means(), stored)
    for name, (key, site, extract) in placed.items():
        data = reader_cluster.stored_file(key, lambda one: objects[f"{PREFIX}/{one}"])
        plain = reader.envelope(data, found.kms.meks, site=site, extract=extract)
        assert hashlib.sha256(plain).digest() == hashlib.sha256(published[name]).digest(), name
