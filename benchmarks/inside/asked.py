"""What pages, look-ups and regular duties ask the repository for, of an installation that `rows` has made."""

from collections.abc import Callable, Mapping

from benchmarks.inside import rows
from strongroom.repository.rows import Query
from strongroom.repository.unit_of_work import Transaction

BY_NAME = Query(sort=(("name", False),), limit=50)
LATER = Query(sort=(("name", False),), limit=10, offset=1500)
NEWEST = Query(sort=(("created_at", True),), limit=50)
LATE = "2026-11-30T12:00:00Z"

USER, ITEM, JOB = rows.id_of(2, 7), rows.id_of(5, 7), rows.id_of(11, 7)

ASKED: Mapping[str, Callable[[Transaction, str], object]] = {
    "sites": lambda tx, _: tx.sites.page(BY_NAME),
    "users": lambda tx, _: tx.users.page(LATER),
    "projects": lambda tx, site: tx.projects.page(site, BY_NAME),
    "groups": lambda tx, site: tx.groups.page(site, BY_NAME),
    "groups of a user": lambda tx, site: tx.groups.page_of_user(site, USER, BY_NAME),
    "items": lambda tx, site: tx.contents.page(site, "datasource", BY_NAME),
    "items, a later page": lambda tx, site: tx.contents.page(site, "datasource", LATER),
    "jobs of a site": lambda tx, site: tx.jobs.page(site, NEWEST),
    "all jobs": lambda tx, _: tx.jobs.page(None, NEWEST),
    "one item": lambda tx, _: tx.contents.find(ITEM),
    "an item by name": lambda tx, site: tx.contents.list_by_name(
        site, "datasource", "datasource 000007"
    ),
    "an item by its address": lambda tx, site: tx.contents.find_by_content_url(
        site, "datasource", "x"
    ),
    "the next address": lambda tx, site: tx.contents.highest_url_number(site, "datasource", "x"),
    "a batch of a job": lambda tx, site: tx.contents.list_for_site(site, after_id=ITEM, limit=500),
    "named files": lambda tx, _: tx.named(["up/000007.sealed"]),
    "intents of files": lambda tx, _: tx.intents.named(["elsewhere/000007.sealed"]),
    "intents of this node": lambda tx, _: tx.intents.list_own(),
    "the administrator": lambda tx, _: tx.users.find_administrator(),
    "all administrators": lambda tx, _: tx.users.count_administrators(),
    "names beside one": lambda tx, _: tx.users.names_near("user 001", 50),
    "ids that begin so": lambda tx, _: tx.jobs.beginning_with(JOB[:9], 50),
    "what a user owns": lambda tx, _: tx.contents.count_owned_by(USER),
    "uploads of a user": lambda tx, site: tx.uploads.count_of_user(USER, site),
    "idle uploads": lambda tx, _: tx.uploads.list_idle("2026-01-01T00:00:00Z", 50),
    "uploads of the future": lambda tx, _: tx.uploads.is_any_later(LATE),
    "the last part": lambda tx, _: tx.uploads.last_part(rows.id_of(10, 7)),
    "queued jobs": lambda tx, _: tx.jobs.queued(50),
    "the queue's mark": lambda tx, _: tx.jobs.queue_mark(),
    "running jobs": lambda tx, _: tx.jobs.list(states=["running"]),
    "open jobs of a site": lambda tx, site: tx.jobs.open_of_site(site),
    "sessions of a user": lambda tx, _: tx.sessions.list(user_id=USER),
    "a token": lambda tx, _: tx.tokens.find_by_hash("x"),
    "a program's token": lambda tx, _: tx.service_tokens.find_by_hash("x"),
    "ended tokens": lambda tx, _: tx.service_tokens.expired("2026-01-01T00:00:00Z", 50),
    "keys to delete": lambda tx, _: tx.service_keys.due("2026-01-01T00:00:00Z"),
    "a key by name": lambda tx, _: tx.service_keys.find_by_name("transit", "key000007"),
    "keys under other MEKs": lambda tx, _: tx.service_material.keys_not_under("mek", 50),
    "asset keys in use": lambda tx, _: tx.credentials.list_for_content(ITEM),
}
