"""What services rely on, whichever database stands behind the repository (house 2.6): one writer, uniqueness, order."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import UniqueConstraint

from strongroom.errors import ConflictError
from strongroom.repository import tables
from strongroom.repository.rows import (
    ContentRow,
    CredentialRow,
    Filter,
    GroupRow,
    IntentRow,
    JobRow,
    Query,
    SessionRow,
    SiteRow,
    TokenRow,
    UploadPartRow,
    UploadRow,
    UserRow,
)
from strongroom.repository.service_rows import (
    ServiceKeyRow,
    ServiceMountRow,
    ServiceRoleRow,
    ServiceSecretIdRow,
    ServiceTokenRow,
)
from strongroom.repository.unit_of_work import Repository, Transaction
from tests.support.rows import NOW, content, project

_LIMIT_S = 60


def site(key: str, name: str, url: str) -> SiteRow:
    return SiteRow(key, name, url, 0, NOW)


def user(key: str, name: str) -> UserRow:
    return UserRow(key, name, name, None, False, NOW)


def token(key: str, name: str, secret_hash: str) -> TokenRow:
    return TokenRow(key, "user", name, secret_hash, NOW)


def named(key: str, name: str, url: str) -> ContentRow:
    return content(key, name=name, content_url=url)


TWINS: dict[str, Callable[[Transaction], object]] = {
    "a site's id": lambda tx: tx.sites.insert(site("site", "X", "x")),
    "a site's name": lambda tx: tx.sites.insert(site("s2", "dEFAULT", "x")),
    "a site's content URL": lambda tx: tx.sites.insert(site("s2", "X", "")),
    "a user's id": lambda tx: tx.users.insert(user("user", "x")),
    "a user's name": lambda tx: tx.users.insert(user("u2", "ADMIN")),
    "a group's name": lambda tx: tx.groups.insert(GroupRow("g2", "site", "STAFF", NOW)),
    "a project's name": lambda tx: tx.projects.insert(project("p2", "default")),
    "an item's id": lambda tx: tx.contents.insert(named("c1", "x", "x")),
    "an item's name": lambda tx: tx.contents.insert(named("c2", "C1", "x")),
    "an item's content URL": lambda tx: tx.contents.insert(named("c2", "x", "C1")),
    "a token's name": lambda tx: tx.tokens.insert(token("t2", "MINE", "other")),
    "a token's secret": lambda tx: tx.tokens.insert(token("t2", "x", "hash")),
    "a service key's name": lambda tx: tx.service_keys.insert(service_key("k2")),
    "a mount's id": lambda tx: tx.service_mounts.insert(mount("other")),
    "a service's token": lambda tx: tx.service_tokens.insert(service_token("s2")),
    "a role's id": lambda tx: tx.service_roles.insert(ServiceRoleRow("other", "id", NOW)),
    "a secret id": lambda tx: tx.service_secret_ids.insert(secret_id("i2")),
    "a job's id": lambda tx: tx.jobs.insert(job("job")),
}


def job(key: str, created_at: str = NOW) -> JobRow:
    return JobRow(
        id=key,
        kind="encrypt_extracts",
        site_id="site",
        content_id=None,
        title=key,
        state="queued",
        actor="os:test",
        created_at=created_at,
        options={},
    )


def service_key(key: str) -> ServiceKeyRow:
    return ServiceKeyRow(key, "m", "name", "hmac", NOW, NOW)


def mount(path: str) -> ServiceMountRow:
    return ServiceMountRow(path, "m", "transit", "", NOW)


def service_token(key: str) -> ServiceTokenRow:
    return ServiceTokenRow(key, "hash", "", "name", "origin", NOW, None)


def secret_id(key: str) -> ServiceSecretIdRow:
    return ServiceSecretIdRow(key, "hash", "role", NOW, None)


def furnish(repository: Repository) -> None:
    with repository.transaction() as tx:
        tx.service_keys.insert(service_key("k1"))
        tx.service_mounts.insert(mount("path"))
        tx.service_tokens.insert(service_token("s1"))
        tx.service_roles.insert(ServiceRoleRow("role", "id", NOW))
        tx.service_secret_ids.insert(secret_id("i1"))
        tx.groups.insert(GroupRow("g1", "site", "Staff", NOW))
        tx.contents.insert(content("c1"))
        tx.tokens.insert(token("t1", "mine", "hash"))
        tx.jobs.insert(job("job"))


@pytest.mark.parametrize("twin", TWINS.values(), ids=TWINS)
def test_what_is_unique_is_refused_and_the_transaction_goes_on(
    repository: Repository, twin: Callable[[Transaction], object]
) -> None:
    """In any case of letters; nothing of the refused row stays, and what came before and after it does."""
    furnish(repository)
    with repository.transaction() as tx:
        tx.marks.set("before", "1")
        with pytest.raises(ConflictError, match="exists already"):
            twin(tx)
        tx.marks.set("after", "1")
    with repository.reading() as tx:
        assert (tx.marks.find("before"), tx.marks.find("after")) == ("1", "1")
        counts = (len(tx.sites.list()), len(tx.contents.list_for_site("site")), len(tx.jobs.list()))
    assert counts == (1, 1, 1)


def test_every_unique_rule_of_the_schema_has_a_twin() -> None:
    """A new rule is a new row of `TWINS`."""
    rules = [
        (table.name, tuple(sorted(column.name for column in rule.columns)))
        for table in tables.metadata.sorted_tables
        for rule in table.constraints
        if isinstance(rule, UniqueConstraint)
    ]
    assert sorted(rules) == [
        ("contents", ("content_url_folded", "kind", "site_id")),
        ("contents", ("kind", "name_folded", "project_id")),
        ("groups", ("name_folded", "site_id")),
        ("projects", ("name_folded", "parent_key", "site_id")),
        ("service_keys", ("mount_id", "name")),
        ("service_mounts", ("id",)),
        ("service_roles", ("role_id",)),
        ("service_secret_ids", ("secret_hash",)),
        ("service_tokens", ("secret_hash",)),
        ("sites", ("content_url_folded",)),
        ("sites", ("name_folded",)),
        ("tokens", ("name_folded", "user_id")),
        ("tokens", ("secret_hash",)),
        ("users", ("name_folded",)),
    ]


def test_what_is_referred_to_is_no_matter_of_names(repository: Repository) -> None:
    """Told apart from a name that is taken by the database's code, whatever language it speaks."""
    for refused in (
        lambda tx: tx.contents.insert(content("c9", project_id="nosuch")),
        lambda tx: tx.groups.insert(GroupRow("g9", "nosuch", "x", NOW)),
        lambda tx: tx.users.delete("user"),
    ):
        with pytest.raises(ConflictError, match="refers"), repository.transaction() as tx:
            refused(tx)  # type: ignore[no-untyped-call]


def test_a_writer_begins_when_the_one_before_has_ended(repository: Repository) -> None:
    """Read first, then write: what was read is true at the commit, whoever else began meanwhile."""
    inside, seen = threading.Event(), []

    def second() -> None:
        inside.wait(_LIMIT_S)
        with repository.transaction() as tx:
            seen.append(tx.marks.find("count"))

    thread = threading.Thread(target=second)
    thread.start()
    with repository.transaction() as tx:
        assert tx.marks.find("count") is None
        inside.set()
        thread.join(0.3)  # it waits for us, however long
        assert seen == []
        tx.marks.set("count", "1")
    thread.join(_LIMIT_S)
    assert seen == ["1"]


def test_parts_of_an_upload_are_numbered_by_what_is_there(repository: Repository) -> None:
    """`UploadsService.count_part` numbers by the parts that it read; two at once must not get one number."""
    with repository.transaction() as tx:
        tx.uploads.insert(UploadRow("up", "site", "user", NOW, NOW))

    def add(number: int) -> None:
        with repository.transaction() as tx:
            index = len(tx.uploads.parts("up")) + 1
            part = UploadPartRow("up", index, f"uploads/{number}", "f" * 32, "mek", 10, 20)
            tx.uploads.add_part(part, NOW)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(24)))
    with repository.reading() as tx:
        parts = tx.uploads.parts("up")
    assert [part.number for part in parts] == list(range(1, 25))
    assert len({part.storage_key for part in parts}) == 24


def test_a_free_name_is_given_once(repository: Repository) -> None:
    """Names that are looked for and then taken, by many at once."""

    def take(number: int) -> str:
        with repository.transaction() as tx:
            free = next(
                name
                for name in (f"Sales_{n}" for n in range(100))
                if tx.contents.find_by_name("project", "datasource", name) is None
            )
            tx.contents.insert(named(f"c{number}", free, free))
            return free

    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(take, range(16)))
    assert sorted(taken) == sorted(f"Sales_{n}" for n in range(16))


def test_one_of_many_claims_a_job(repository: Repository) -> None:
    with repository.transaction() as tx:
        tx.jobs.insert(job("job"))

    def claim(_: int) -> bool:
        with repository.transaction() as tx:
            return tx.jobs.claim("job", NOW)

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(claim, range(8))) == [False] * 7 + [True]


def test_lists_are_ordered_by_code_points(repository: Repository) -> None:
    """Of the folded name, where a mark stands behind its letter; a database's own collation would put `_` elsewhere."""
    names = ["Zoo", "apple", "_x", "Äther", "10", "9", "a b", "ab"]
    with repository.transaction() as tx:
        for number, name in enumerate(names):
            tx.sites.insert(site(f"s{number}", name, name))
    query = Query(sort=(("name", False),), filters=(Filter("name", "in", tuple(names)),))
    with repository.reading() as tx:
        found = [row.name for row in tx.sites.page(query).rows]
    assert found == ["10", "9", "_x", "a b", "ab", "apple", "Äther", "Zoo"]


def test_what_is_alike_is_ordered_by_id(repository: Repository) -> None:
    with repository.transaction() as tx:
        for key in ("j3", "j1", "j2"):
            tx.jobs.insert(job(key))
    with repository.reading() as tx:
        assert [one.id for one in tx.jobs.queued()] == ["j1", "j2", "j3"]
        newest = Query(sort=(("created_at", True),))
        assert [one.id for one in tx.jobs.page("site", newest).rows] == ["j3", "j2", "j1"]


def test_rows_of_the_other_gateways_are_kept(repository: Repository) -> None:
    with repository.transaction() as tx:
        tx.contents.insert(content("c1"))
        tx.credentials.insert(CredentialRow("k1", "c1", "ann", "sealed", "a1"))
        tx.sessions.insert(SessionRow("h", "user", "site", None, NOW, NOW))
        tx.intents.insert(IntentRow("files/x", "f" * 32, "mek", "publish", NOW))
    with repository.reading() as tx:
        assert [one.id for one in tx.credentials.list_for_content("c1")] == ["k1"]
        assert tx.intents.storage_keys() == {"files/x"}
