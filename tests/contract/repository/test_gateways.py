"""Every table through its gateway, over every engine."""

import dataclasses
from contextlib import closing
from dataclasses import dataclass, replace

import pytest

from strongroom.errors import ConflictError, NotFoundError, UsageError
from strongroom.repository.rows import (
    CredentialRow,
    Filter,
    GroupRow,
    IntentRow,
    Query,
    SessionRow,
    SiteRow,
    TokenRow,
    UploadPartRow,
    UploadRow,
    UserRow,
)
from strongroom.repository.unit_of_work import Repository
from tests.support.rows import NOW, content, project

LATER = "2026-11-21T13:00:00Z"


@dataclass(frozen=True)
class Stored:
    storage_key: str = "extracts/new"
    file_id: str = "e" * 32
    mek_id: str = "mek2"
    plaintext_bytes: int = 7
    stored_bytes: int = 4200


def query(field: str, operator: str, *values: str) -> Query:
    return Query(filters=(Filter(field, operator, values),))


def test_rows_come_back_as_they_were_written(repository: Repository) -> None:
    row = content("c1")
    with repository.transaction() as tx:
        tx.contents.insert(row)
    with repository.reading() as tx:
        assert tx.contents.get("c1") == row


def test_sites_are_found_whatever_the_case(repository: Repository) -> None:
    """clients.md section 0 item 5: tabcmd sends the site's name in lower case."""
    site = SiteRow("s2", "Große Straße", "WestCoast", 2, NOW, attributes={"a": ["b"]})
    with repository.transaction() as tx:
        tx.sites.insert(site)
        assert tx.sites.find_by_name("GROSSE STRASSE") == site
        assert tx.sites.find_by_content_url("westcoast") == site
        assert tx.sites.find_by_content_url("") == tx.sites.get("site")
        assert tx.sites.find_by_name("other") is None
        assert [one.name for one in tx.sites.list()] == ["Default", "Große Straße"]


@pytest.mark.parametrize(
    ("name", "content_url"), [("DEFAULT", "other"), ("Other", "")], ids=["name", "content_url"]
)
def test_names_and_content_urls_of_sites_are_unique(
    repository: Repository, name: str, content_url: str
) -> None:
    with pytest.raises(ConflictError, match="exists already"), repository.transaction() as tx:
        tx.sites.insert(SiteRow("s2", name, content_url, 0, NOW))


def test_an_update_answers_with_the_row_and_checks_names(repository: Repository) -> None:
    with repository.transaction() as tx:
        tx.sites.insert(SiteRow("s2", "Two", "two", 0, NOW))
        assert tx.sites.update("s2", name="Zwei").name == "Zwei"
        assert tx.sites.update("s2").name == "Zwei"
        assert tx.sites.find_by_name("zwei") is not None
        with pytest.raises(TypeError, match="no column"):
            tx.sites.update("s2", colour="red")
    with pytest.raises(ConflictError, match="'default' exists"), repository.transaction() as tx:
        tx.sites.update("s2", name="default")


def test_what_is_not_there_is_told_by_its_id(repository: Repository) -> None:
    with repository.reading() as tx:
        with pytest.raises(NotFoundError, match="no site 'nosuch'"):
            tx.sites.get("nosuch")
        assert tx.users.find("nosuch") is None
    with repository.transaction() as tx:
        assert not tx.contents.delete("nosuch")
        with pytest.raises(NotFoundError):
            tx.users.update("nosuch", full_name="x")


def test_a_user_who_owns_something_is_not_deleted(repository: Repository) -> None:
    with pytest.raises(ConflictError, match="refer"), repository.transaction() as tx:
        tx.users.delete("user")


def test_a_row_that_refers_to_nothing_is_refused(repository: Repository) -> None:
    with pytest.raises(ConflictError, match="gone"), repository.transaction() as tx:
        tx.contents.insert(content("c1", project_id="nosuch"))


def test_roles_on_sites(repository: Repository) -> None:
    with repository.transaction() as tx:
        tx.users.insert(UserRow("bob", "Bob", "Bob", None, False, NOW))
        tx.users.insert(UserRow("eve", "Eve", "Eve", None, False, NOW))
        tx.users.set_site_role("site", "bob", "Viewer")
        tx.users.set_site_role("site", "bob", "Creator")
        assert tx.users.site_role("site", "bob") == "Creator"
        assert tx.users.site_role("site", "eve") is None
        assert tx.users.site_roles("site", ["bob", "eve"]) == {"bob": "Creator"}
        assert tx.users.count_of_site("site") == 1
        page = tx.users.page_of_site("site", Query(sort=(("name", False),)))
        assert [user.name for user in page.rows] == ["Admin", "Bob"]
        assert tx.users.names(["bob", "user"]) == {"bob": "Bob", "user": "Admin"}
        assert tx.users.count_administrators() == 1
        assert tx.users.remove_from_site("site", "bob")
        assert not tx.users.remove_from_site("site", "bob")
        with pytest.raises(ConflictError):
            tx.users.set_site_role("nosuch", "bob", "Viewer")


def test_the_first_administrator(repository: Repository) -> None:
    with repository.transaction() as tx:
        tx.users.insert(UserRow("a", "Later", "Later", None, True, LATER))
        found = tx.users.find_administrator()
        assert found is not None
        assert found.name == "Admin"


def test_groups_and_their_members(repository: Repository) -> None:
    with repository.transaction() as tx:
        tx.groups.insert(GroupRow("g", "site", "Finance", NOW))
        tx.groups.add_user("g", "user")
        assert tx.groups.has_user("g", "user")
        assert tx.groups.find_by_name("site", "FINANCE") == tx.groups.get("g")
        assert [one.id for one in tx.groups.page("site").rows] == ["g"]
        assert [one.id for one in tx.users.page_of_group("site", "g", Query()).rows] == ["user"]
        assert tx.groups.remove_user("g", "user")
        assert not tx.groups.has_user("g", "user")
        assert not tx.groups.remove_user("g", "user")


def test_project_names_are_unique_below_one_parent_only(repository: Repository) -> None:
    with repository.transaction() as tx:
        tx.projects.insert(project("a", "A", "project"))
        tx.projects.insert(project("aa", "A", "a"))
        assert tx.projects.find_by_name("site", "DEFAULT", None) == tx.projects.get("project")
        assert tx.projects.find_by_name("site", "a", "a") == tx.projects.get("aa")
        assert [one.id for one in tx.projects.children("project")] == ["a"]
        page = tx.projects.page("site", query("parent_id", "eq", ""))
        assert [one.id for one in page.rows] == ["project"]
    for key, parent in (("x", "project"), ("y", None)):
        name = "a" if parent else "default"
        with pytest.raises(ConflictError), repository.transaction() as tx:
            tx.projects.insert(project(key, name, parent))


def test_content_is_unique_by_name_and_content_url(repository: Repository) -> None:
    with repository.transaction() as tx:
        tx.projects.insert(project("other", "Other"))
        tx.contents.insert(content("sales"))
        tx.contents.insert(content("book", kind="workbook", name="Sales", content_url="Sales"))
        assert tx.contents.find_by_name("project", "datasource", "SALES") is not None
        assert tx.contents.find_by_content_url("site", "workbook", "sales") is not None
    for changes in (
        {"name": "SALES"},
        {"name": "x", "project_id": "other", "content_url": "SALES"},
    ):
        with pytest.raises(ConflictError), repository.transaction() as tx:
            tx.contents.insert(content("again", **changes))


def test_the_highest_number_of_a_content_url_is_found(repository: Repository) -> None:
    """Findings R7: only what was given as a number counts, on this site and for this kind, whatever the case."""
    with repository.transaction() as tx:
        for url in (
            "Sales",
            "Sales_1",
            "sales_27",
            "Sales_9",
            "Sales_final",
            "Sales_2a",
            "Sales2_99",
        ):
            tx.contents.insert(content(url, content_url=url))
        tx.contents.insert(content("long", content_url="Sales_" + "9" * 30))
        tx.contents.insert(content("book", kind="workbook", content_url="Sales_400"))
        assert tx.contents.highest_url_number("site", "datasource", "SALES") == 27
        assert tx.contents.highest_url_number("site", "datasource", "Costs") == 0


def test_filters_as_the_clients_send_them(repository: Repository) -> None:
    with repository.transaction() as tx:
        tx.projects.insert(project("other", "Other"))
        tx.contents.insert(content("Sales 1", plaintext_bytes=10))
        tx.contents.insert(content("Sales 2", plaintext_bytes=20, project_id="other"))
        tx.contents.insert(content("100%", plaintext_bytes=30, kind="workbook"))

    def names(field: str, operator: str, *values: str) -> list[str]:
        with repository.reading() as tx:
            page = tx.contents.page("site", None, query(field, operator, *values))
            assert page.total == len(page.rows)
            return sorted(row.name for row in page.rows)

    assert names("name", "eq", "SALES 1") == ["Sales 1"]
    assert names("name", "in", "sales 1", "sales 2") == ["Sales 1", "Sales 2"]
    assert names("project_name", "eq", "other") == ["Sales 2"]
    assert names("owner_name", "cieq", "ADMIN") == ["100%", "Sales 1", "Sales 2"]
    assert names("name", "has", "0%") == ["100%"]
    assert names("size", "gt", "10") == ["100%", "Sales 2"]
    assert names("size", "gte", "20") == ["100%", "Sales 2"]
    assert names("size", "lt", "20") == ["Sales 1"]
    assert names("size", "lte", "20") == ["Sales 1", "Sales 2"]
    assert names("created_at", "gt", NOW) == []


@pytest.mark.parametrize(
    "wrong",
    [
        query("colour", "eq", "red"),
        query("name", "like", "red"),
        query("name", "eq", "a", "b"),
        query("size", "eq", "much"),
        Query(sort=(("colour", True),)),
    ],
    ids=["field", "operator", "values", "number", "sort"],
)
def test_wrong_filters_are_refused(repository: Repository, wrong: Query) -> None:
    with repository.reading() as tx, pytest.raises(UsageError):
        tx.contents.page("site", None, wrong)


def test_pages_are_windows_of_one_order(repository: Repository) -> None:
    with repository.transaction() as tx:
        for number in range(5):
            tx.contents.insert(content(f"c{number}"))
    with repository.reading() as tx:
        order = Query(sort=(("name", True),), offset=1, limit=2)
        page = tx.contents.page("site", "datasource", order)
        assert ([row.id for row in page.rows], page.total) == (["c3", "c2"], 5)
        assert tx.contents.page("site", "workbook").total == 0


def test_batches_go_through_all_content_once(repository: Repository) -> None:
    with repository.transaction() as tx:
        for number in range(5):
            tx.contents.insert(content(f"c{number}", state=number % 2))
    with repository.reading() as tx:
        first = tx.contents.list_for_site("site", limit=2)
        rest = tx.contents.list_for_site("site", after_id=first[-1].id)
        assert [row.id for row in first + rest] == [f"c{number}" for number in range(5)]
        encrypted = tx.contents.list_for_site("site", kind="datasource", states=[1])
        assert [row.id for row in encrypted] == ["c1", "c3"]
        assert len(tx.contents.list_of_project("project")) == 5
        assert tx.contents.count_of_site("site") == 5
        assert tx.contents.count_of_site("site", [0]) == 3


def test_a_file_is_switched_only_if_nobody_did_before(repository: Repository) -> None:
    """Architecture way 5: the row is switched after the new file is there, and only once."""
    with repository.transaction() as tx:
        tx.contents.insert(content("c1"))
        assert not tx.contents.switch_file("c1", "extracts/other", Stored(), 1)
        assert tx.contents.switch_file("c1", "extracts/c1", Stored(), 1)
        assert not tx.contents.switch_file("c1", "extracts/c1", Stored(), 1)
        row = tx.contents.get("c1")
        assert (row.storage_key, row.mek_id, row.plaintext_bytes) == ("extracts/new", "mek2", 7)
        assert row.updated_at == NOW
        again = replace(Stored(), mek_id="mek3")
        assert tx.contents.switch_file("c1", "extracts/new", again, 1, updated_at=LATER)
        assert tx.contents.get("c1").updated_at == LATER


def test_states_move_only_from_expected_ones(repository: Repository) -> None:
    with repository.transaction() as tx:
        tx.contents.insert(content("c1", state=0))
        assert not tx.contents.set_state("c1", [1, 5], 3)
        assert tx.contents.set_state("c1", [0], 2)
        assert tx.contents.get("c1").state == 2


def test_known_files_are_those_of_content_parts_and_intents(repository: Repository) -> None:
    with repository.transaction() as tx:
        tx.contents.insert(content("c1"))
        tx.contents.insert(content("c2"))
        tx.contents.insert(content("plain", mek_id="", file_id="", state=0))
        tx.uploads.insert(UploadRow("up", "site", "user", NOW, NOW))
        tx.uploads.add_part(UploadPartRow("up", 0, "up/0", "f", "mek1", 50, 60), LATER)
        tx.intents.insert(IntentRow("extracts/next", "f", "mek2", "publish", NOW))
    with repository.reading() as tx:
        assert tx.contents.bytes_of_site("site") == 300
        content_keys = {"extracts/c1", "extracts/c2", "extracts/plain"}
        assert tx.storage_keys() == content_keys | {"up/0", "extracts/next"}
        assert tx.contents.bytes_of_site("nosuch") == 0


def test_ownership_moves_on_one_site(repository: Repository) -> None:
    with repository.transaction() as tx:
        tx.users.insert(UserRow("bob", "Bob", "Bob", None, False, NOW))
        tx.contents.insert(content("c1"))
        assert tx.contents.count_owned_by("user", "site") == 1
        assert tx.projects.count_owned_by("user", "site") == 1
        assert tx.contents.change_owner("user", "bob", "site") == 1
        assert tx.projects.change_owner("user", "bob", "site") == 1
        assert tx.contents.get("c1").owner_id == "bob"
        assert tx.projects.count_owned_by("user", "site") == 0


def test_credentials_are_resealed_only_if_unchanged(repository: Repository) -> None:
    """C-08: embedded credentials move to a new asset key."""
    with repository.transaction() as tx:
        tx.contents.insert(content("c1"))
        row = tx.credentials.insert(CredentialRow("k", "c1", "db", "sealed1", "asset1"))
        assert tx.credentials.list_for_content("c1") == [row]
        assert tx.credentials.list(limit=1) == [row]
        assert tx.credentials.list(after_id="k") == []
        assert not tx.credentials.replace_sealed("k", "other", "sealed2", "asset2")
        assert tx.credentials.replace_sealed("k", "sealed1", "sealed2", "asset2")
        assert tx.credentials.get("k").asset_key_id == "asset2"
        tx.contents.delete("c1")
        assert tx.credentials.find("k") is None


def test_uploads_count_whole_parts_in_order(repository: Repository) -> None:
    with repository.transaction() as tx:
        tx.uploads.insert(UploadRow("up", "site", "user", NOW, NOW))
        parts = [UploadPartRow("up", n, f"up/{n}", "f", "m", 50, 60) for n in (1, 0)]
        assert [tx.uploads.add_part(part, LATER) for part in parts] == [50, 100]
        assert [part.number for part in tx.uploads.parts("up")] == [0, 1]
        assert tx.uploads.get("up").last_at == LATER
        assert tx.uploads.list_idle(LATER, 1) == []
        assert [one.id for one in tx.uploads.list_idle("2026-11-22T00:00:00Z", 1)] == ["up"]
        assert tx.uploads.count_of_user("user", "site") == 1
        assert tx.uploads.count_of_user("user", "nosuch") == 0
        last = tx.uploads.last_part("up")
        assert last is not None
        assert last.number == 1
        assert tx.uploads.last_part("nosuch") is None
        assert tx.named(["up/0", "nosuch"]) == {"up/0"}
        assert tx.uploads.is_any_later(NOW)
        assert tx.uploads.bring_back(NOW, NOW) == 1
        assert not tx.uploads.is_any_later(NOW)
        assert tx.uploads.storage_keys("site") == {"up/0", "up/1"}
        assert tx.uploads.storage_keys("nosuch") == set()
    with pytest.raises(ConflictError), repository.transaction() as tx:
        tx.uploads.add_part(UploadPartRow("up", 1, "up/again", "f", "m", 50, 60), LATER)
    with pytest.raises(ConflictError), repository.transaction() as tx:
        tx.uploads.add_part(UploadPartRow("nosuch", 1, "x", "f", "m", 50, 60), LATER)
    with repository.transaction() as tx:
        tx.uploads.delete("up")
        assert tx.storage_keys() == set()


def test_tokens(repository: Repository) -> None:
    token = TokenRow("t", "user", "CI", "hash", NOW)
    with repository.transaction() as tx:
        tx.tokens.insert(token)
        assert tx.tokens.find_by_hash("hash") == token
        assert tx.tokens.find_by_name("user", "ci") == token
        assert tx.tokens.list("user") == tx.tokens.list() == [token]
        assert tx.tokens.list("nosuch") == []
    with pytest.raises(ConflictError, match="token named 'ci'"), repository.transaction() as tx:
        tx.tokens.insert(dataclasses.replace(token, id="t2", name="ci", secret_hash="h2"))


def test_sessions_end_with_what_they_came_from(repository: Repository) -> None:
    with repository.transaction() as tx:
        tx.tokens.insert(TokenRow("t", "user", "CI", "hash", NOW))
        tx.sessions.insert(SessionRow("s1", "user", "site", "t", NOW, NOW))
        tx.sessions.insert(SessionRow("s2", "user", "site", None, NOW, LATER))
        tx.tokens.delete("t")
        assert tx.sessions.find("s1") is None
        assert tx.sessions.find("s2") is not None
        tx.sessions.touch("s2", "2026-11-21T14:00:00Z")
        assert tx.sessions.prune(LATER, "9") == 0
        assert tx.sessions.prune("2026-11-21T15:00:00Z", "9", but=["s2"]) == 0
        assert tx.sessions.prune("2026-11-21T15:00:00Z", "9") == 1


def test_sessions_are_listed_and_ended(repository: Repository) -> None:
    with repository.transaction() as tx:
        for number in range(5):
            seen = f"2026-11-21T12:00:0{number}Z"
            tx.sessions.insert(SessionRow(f"s{number}", "user", "site", None, NOW, seen))
        assert len(tx.sessions.list(user_id="user", site_id="site")) == 5
        assert tx.sessions.list(user_id="nosuch") == []
        assert tx.sessions.delete_all([]) == 0
        assert tx.sessions.delete_all(["s2", "nosuch"]) == 1
        # one of the future goes as well as one that was not used
        assert tx.sessions.prune("2026-11-21T12:00:01Z", "2026-11-21T12:00:03Z") == 2
        assert tx.sessions.delete_of_user("user", "nosuch") == 0
        assert tx.sessions.delete_of_user("user") == 2


def test_deleting_a_site_takes_everything_of_it_along(repository: Repository) -> None:
    with repository.transaction() as tx:
        tx.groups.insert(GroupRow("g", "site", "Finance", NOW))
        tx.groups.add_user("g", "user")
        tx.users.set_site_role("site", "user", "Creator")
        tx.projects.insert(project("below", "Below", "project"))
        tx.contents.insert(content("c1", project_id="below"))
        tx.uploads.insert(UploadRow("up", "site", "user", NOW, NOW))
        tx.sessions.insert(SessionRow("s1", "user", "site", None, NOW, NOW))
        assert tx.sites.delete("site")
        assert tx.contents.find("c1") is None
        assert tx.projects.find("below") is None
        assert tx.groups.find("g") is None
        assert tx.sessions.find("s1") is None
        assert tx.uploads.find("up") is None
        assert tx.users.find("user") is not None


def test_marks(repository: Repository) -> None:
    with repository.transaction() as tx:
        assert tx.marks.find("epoch") is None
        tx.marks.set("epoch", "1")
        tx.marks.set("epoch", "2")
        assert tx.marks.find("epoch") == "2"


def test_a_mark_is_replaced_if_that_is_wanted(repository: Repository) -> None:
    """By itself: nothing is added to that transaction."""
    added: list[str] = []
    other = Repository(repository._url, before_commit=lambda _: added.append("one"))
    with closing(other):
        assert not other.replace_mark("epoch", "1", lambda text: text is not None)
        assert other.replace_mark("epoch", "1", lambda text: text is None)
        assert other.replace_mark("epoch", "2", lambda text: text == "1")
        assert not other.replace_mark("epoch", "3", lambda text: text == "1")
        assert added == []
    with repository.reading() as tx:
        assert tx.marks.all(("epoch", "none")) == {"epoch": "2"}
