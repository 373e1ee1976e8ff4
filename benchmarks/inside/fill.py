"""Fills a site with small encrypted extracts, without HTTP: what the growth suite starts from."""

import json
import sys

from strongroom.clock import format_utc
from strongroom.envelope.header import Placement
from strongroom.ids import new_id
from strongroom.node import opening
from strongroom.repository.rows import ContentRow, SiteMode

_BYTES = 1024
_PIECE_BYTES = 1 << 20
_ROWS_AT_ONCE = 200


def main() -> None:
    """Add extracts to a site until it has `count`; prints how many it has.

    Options: `site` (the default one if not said), `count`, `bytes` of each.
    """
    options = json.loads(sys.argv[1])
    node = opening.open_node(options["home"])
    with node.repository.transaction() as tx:
        site = tx.sites.find_by_content_url(options.get("site", "").lower())
        owner = tx.users.find_by_name("admin")
        assert site is not None  # noqa: S101 for the type checker: the node was just made
        assert owner is not None  # noqa: S101
        tx.sites.update(site.id, mode=int(SiteMode.ENABLED))
        project, present = tx.projects.page(site.id).rows[0], tx.contents.count_of_site(site.id)
    rows: list[ContentRow] = []
    for number in range(present, options["count"]):
        content_id, name = new_id(), f"extract {number:06}"
        writer = node.vault.create(Placement(site.id, content_id), encrypted=True)
        writer.write(b"HyPe")
        size = options.get("bytes", _BYTES)
        for start in range(0, size, _PIECE_BYTES):
            writer.write(bytes(min(_PIECE_BYTES, size - start)))
        stored = writer.commit()
        now = format_utc(node.clock.now())
        rows.append(
            ContentRow(
                id=content_id,
                site_id=site.id,
                project_id=project.id,
                owner_id=owner.id,
                kind="datasource",
                name=name,
                content_url=name,
                file_name=f"{name}.hyper",
                file_type="hyper",
                storage_key=stored.storage_key,
                file_id=stored.file_id,
                mek_id=stored.mek_id,
                plaintext_bytes=stored.plaintext_bytes,
                stored_bytes=stored.stored_bytes,
                state=1,
                has_extract=True,
                created_at=now,
                updated_at=now,
            )
        )
        if len(rows) == _ROWS_AT_ONCE or number == options["count"] - 1:
            with node.repository.transaction() as tx:
                for row in rows:
                    tx.contents.insert(row)
            rows = []
    node.close()
    sys.stdout.write(json.dumps({"count": options["count"]}))


if __name__ == "__main__":
    main()
