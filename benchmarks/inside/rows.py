"""An installation of any size, made by rows: everything that grows with the number of extracts, and no file.

The scale test fills a small one; the suite `installation` one of 100,000 extracts. Ids are in the order of numbers, so
that a larger installation holds the smaller one.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, insert

from strongroom.node import opening
from strongroom.node.opening import Node
from strongroom.repository import tables
from strongroom.repository.unit_of_work import Transaction

Row = dict[str, Any]

_AT_ONCE = 1000
_DAY = "2026-11-{day:02}T{hour:02}:{minute:02}:{second:02}Z"


class Size(NamedTuple):
    """The size of an installation.

    Attributes:
        extracts: How many data sources, workbooks, jobs and other things there are.
        sites: How many sites there are beside the default one.
        users: How many users there are beside the administrator; each with a session, a token and an upload.
    """

    extracts: int = 0
    sites: int = 0
    users: int = 0


def usual(extracts: int) -> Size:
    """The size with the usual number of sites and users: 2,000 and 5,000 with 100,000 extracts."""
    return Size(extracts, extracts // 50, extracts // 20)


def main() -> None:
    """Make a node larger, to the usual size with `count` extracts.

    Options: `count`, and `present`: how many an earlier call has made.
    """
    options = json.loads(sys.argv[1])
    node = opening.open_node(options["home"])
    fill(node, usual(options.get("present", 0)), usual(options["count"]))
    node.close()
    sys.stdout.write(json.dumps({"count": options["count"]}))


def fill(node: Node, before: Size, size: Size) -> None:
    """Add the rows that an installation of a size has more than a smaller one, which earlier calls have made."""
    mek_id = node.envelope_keys.active_mek_id
    with node.repository.transaction() as tx:
        fill_rows(tx, mek_id, before, size)


def fill_rows(tx: Transaction, mek_id: str, before: Size, size: Size) -> None:
    """As `fill`, within a transaction."""
    main_site = tx.sites.find_by_content_url("")
    owner = tx.users.find_administrator()
    assert main_site is not None  # noqa: S101 for the type checker
    assert owner is not None  # noqa: S101
    project = tx.projects.find_by_name(main_site.id, "Default", None)
    assert project is not None  # noqa: S101
    place = _Place(main_site.id, project.id, owner.id, mek_id)
    connection = tx.sites._connection  # noqa: SLF001 no gateway inserts so many at once
    for which, table, row_of in _ROWS:
        numbers = range(getattr(before, which), getattr(size, which))
        _insert(connection, table, (row_of(number, place) for number in numbers))


class _Place:
    """What the rows refer to."""

    def __init__(self, site: str, project: str, owner: str, mek: str) -> None:
        self.site, self.project, self.owner, self.mek = site, project, owner, mek


def _insert(connection: Connection, table: Table, rows: Iterator[Mapping[str, Any]]) -> None:
    piece: list[Mapping[str, Any]] = []
    for row in rows:
        piece.append(row)
        if len(piece) == _AT_ONCE:
            connection.execute(insert(table), piece)
            piece = []
    if piece:
        connection.execute(insert(table), piece)


def id_of(kind: int, number: int) -> str:
    """The id of a thing of a kind."""
    return f"{number * 2654435761 % 2**32:08x}-{kind:04x}-4000-8000-{number:012x}"


def _at(number: int) -> str:
    second = number % 2_000_000
    return _DAY.format(
        day=1 + second // 86_400 % 28,
        hour=second // 3600 % 24,
        minute=second // 60 % 60,
        second=second % 60,
    )


def _site(number: int, _: _Place) -> Row:
    name = f"Site {number:06}"
    return {
        "id": id_of(1, number), "name": name, "name_folded": name.lower(),
        "content_url": f"site{number:06}", "content_url_folded": f"site{number:06}", "mode": 1,
        "state": "Active", "admin_mode": "ContentAndUsers", "attributes": {}, "created_at": _at(number),
    }  # fmt: skip


def _user(number: int, _: _Place) -> Row:
    name = f"user {number:06}"
    return {
        "id": id_of(2, number), "name": name, "name_folded": name, "full_name": name,
        "password_hash": None, "is_server_admin": False, "created_at": _at(number), "failed_logins": 0,
    }  # fmt: skip


def _member(number: int, place: _Place) -> Row:
    return {"site_id": place.site, "user_id": id_of(2, number), "site_role": "Creator"}


def _group(number: int, place: _Place) -> Row:
    name = f"group {number:06}"
    return {
        "id": id_of(3, number), "site_id": place.site, "name": name, "name_folded": name,
        "created_at": _at(number),
    }  # fmt: skip


def _in_group(number: int, _: _Place) -> Row:
    return {"group_id": id_of(3, 0), "user_id": id_of(2, number)}


def _project(number: int, place: _Place) -> Row:
    name = f"project {number:06}"
    return {
        "id": id_of(4, number), "site_id": place.site, "name": name, "name_folded": name,
        "parent_id": None, "parent_key": "", "description": "", "owner_id": place.owner,
        "content_permissions": "ManagedByOwner", "created_at": _at(number), "updated_at": _at(number),
    }  # fmt: skip


def _content(kind: str, code: int, number: int, place: _Place) -> Row:
    name, content_id = f"{kind} {number:06}", id_of(code, number)
    return {
        "id": content_id, "site_id": place.site, "project_id": place.project, "owner_id": place.owner,
        "kind": kind, "name": name, "name_folded": name, "content_url": name.replace(" ", ""),
        "content_url_folded": name.replace(" ", ""), "file_name": f"{name}.hyper", "file_type": "hyper",
        "storage_key": f"{place.site}/{content_id}.sealed", "file_id": content_id, "mek_id": place.mek,
        "plaintext_bytes": 1024, "stored_bytes": 9000, "state": 1, "has_extract": True, "tags": [],
        "attributes": {}, "created_at": _at(number), "updated_at": _at(number),
    }  # fmt: skip


def _datasource(number: int, place: _Place) -> Row:
    return _content("datasource", 5, number, place)


def _workbook(number: int, place: _Place) -> Row:
    return _content("workbook", 6, number, place)


def _credential(number: int, _: _Place) -> Row:
    return {
        "id": id_of(7, number), "content_id": id_of(5, number), "name": "sales", "sealed": "ENC(x)",
        "asset_key_id": "asset",
    }  # fmt: skip


def _token(number: int, _: _Place) -> Row:
    name = f"token {number:06}"
    return {
        "id": id_of(8, number), "user_id": id_of(2, number), "name": name, "name_folded": name,
        "secret_hash": id_of(8, number), "created_at": _at(number), "expires_at": "2027-06-01T00:00:00Z",
    }  # fmt: skip


def _session(number: int, place: _Place) -> Row:
    return {
        "token_hash": id_of(9, number), "user_id": id_of(2, number), "site_id": place.site,
        "token_id": None, "created_at": _at(number), "last_seen_at": "2099-01-01T00:00:00Z",
    }  # fmt: skip


def _upload(number: int, place: _Place) -> Row:
    return {
        "id": id_of(10, number), "site_id": place.site, "user_id": id_of(2, number),
        "created_at": _at(number), "last_at": "2026-11-30T00:00:00Z", "bytes": 0,
    }  # fmt: skip


def _part(number: int, _: _Place) -> Row:
    return {
        "upload_id": id_of(10, number), "number": 1, "storage_key": f"up/{number:06}.sealed",
        "file_id": id_of(10, number), "mek_id": "", "plaintext_bytes": 0, "stored_bytes": 0,
    }  # fmt: skip


def _job(number: int, place: _Place) -> Row:
    return {
        "id": id_of(11, number), "kind": "rewrap", "site_id": place.site, "content_id": id_of(5, number),
        "title": f"Rewrap Extracts: {number}", "state": "succeeded", "actor": "os:bench",
        "created_at": _at(number), "done": 1, "total": 1, "bytes_done": 0, "bytes_total": 0, "note": "",
        "cancel_requested": False, "receipt": None, "options": {}, "started_at": _at(number),
        "finished_at": _at(number),
    }  # fmt: skip


def _intent(number: int, _: _Place) -> Row:
    return {
        "storage_key": f"elsewhere/{number:06}.sealed", "file_id": "", "mek_id": "", "purpose": "publish",
        "created_at": _at(number), "node_id": "node9", "boot_id": "",
    }  # fmt: skip


def _key(number: int, _: _Place) -> Row:
    return {
        "id": id_of(12, number), "mount_id": "transit", "name": f"key{number:06}", "kind": "aes256-gcm96",
        "state": "enabled", "exportable": False, "deletion_allowed": False, "backup_allowed": False,
        "latest": 1, "available": 1, "to_decrypt": 1, "to_encrypt": 0, "delete_at": None,
        "created_at": _at(number), "updated_at": _at(number),
    }  # fmt: skip


def _key_version(number: int, place: _Place) -> Row:
    return {
        "key_id": id_of(12, number), "version": 1, "mek_id": place.mek, "sealed": "x", "public": "",
        "created_at": _at(number),
    }  # fmt: skip


def _service_token(number: int, _: _Place) -> Row:
    return {
        "id": id_of(13, number), "secret_hash": id_of(13, number), "parent_id": "", "name": "app",
        "origin": "", "policies": [], "metadata": {}, "created_at": _at(number),
        "expires_at": "2027-06-01T00:00:00Z", "ttl_s": 0, "max_ttl_s": 0, "period_s": 0, "uses_left": 0,
        "renewable": False,
    }  # fmt: skip


#: In the order in which rows may be inserted, with the number of the size that they go by.
_ROWS = (
    ("sites", tables.sites, _site),
    ("users", tables.users, _user),
    ("extracts", tables.groups, _group),
    ("extracts", tables.projects, _project),
    ("extracts", tables.contents, _datasource),
    ("extracts", tables.contents, _workbook),
    ("extracts", tables.credentials, _credential),
    ("extracts", tables.jobs, _job),
    ("extracts", tables.intents, _intent),
    ("extracts", tables.service_keys, _key),
    ("extracts", tables.service_key_versions, _key_version),
    ("extracts", tables.service_tokens, _service_token),
    ("users", tables.site_users, _member),
    ("users", tables.group_users, _in_group),
    ("users", tables.tokens, _token),
    ("users", tables.sessions, _session),
    ("users", tables.uploads, _upload),
    ("users", tables.upload_parts, _part),
)


if __name__ == "__main__":
    main()
