"""Sites, and what their encryption modes set going."""

import pytest

from strongroom.errors import (
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    StateError,
    UsageError,
)
from strongroom.repository.rows import ContentState, SiteMode, UploadPartRow, UploadRow
from strongroom.services.directory.sites import SiteChanges, parse_mode
from tests.contract.services.conftest import LOCAL, Platform
from tests.support.rows import NOW, content


def publish(platform: Platform, key: str, *, encrypted: bool) -> None:
    """A published item of the default site."""
    with platform.repository.transaction() as tx:
        project = tx.projects.find_by_name(platform.site.id, "Default", None)
        assert project is not None
        row = content(
            key,
            site_id=platform.site.id,
            project_id=project.id,
            owner_id=platform.admin.id,
            state=int(encrypted),
        )
        plain = {} if encrypted else {"file_id": "", "mek_id": ""}
        tx.contents.insert(row)
        tx.contents.update(key, **plain)


def states(platform: Platform) -> dict[str, ContentState]:
    with platform.repository.reading() as tx:
        rows = tx.contents.list_for_site(platform.site.id)
    return {row.id: ContentState(row.state) for row in rows}


def job_kinds(platform: Platform) -> list[tuple[str, str]]:
    return sorted((job.kind, job.state) for job in platform.jobs.list(platform.site.id))


def test_a_new_site_has_a_default_project(platform: Platform) -> None:
    site = platform.sites.create(LOCAL, " Finance ")
    assert (site.name, site.content_url, site.mode) == ("Finance", "Finance", 0)
    projects = platform.projects.page(LOCAL, site.id)
    assert [project.name for project in projects.rows] == ["Default"]
    assert projects.rows[0].owner_id == platform.admin.id
    assert platform.event_ids()[-1] == "SITE_CREATED"


def test_everything_that_a_client_sends_is_kept(platform: Platform) -> None:
    """clients.md section 0 item 7: the whole site is read, changed and written back."""
    changes = SiteChanges(
        content_url="fin-1_A",
        mode=SiteMode.ENABLED,
        state="suspended",
        admin_mode="contentonly",
        user_quota=5,
        storage_quota=1000,
        attributes={"revisionLimit": "25", "runNowEnabled": "true"},
    )
    site = platform.sites.create(LOCAL, "Finance", changes)
    assert (site.state, site.admin_mode) == ("Suspended", "ContentOnly")
    assert (site.user_quota, site.storage_quota) == (5, 1000)
    more = SiteChanges(attributes={"runNowEnabled": "false"}, user_quota=-1)
    changed = platform.sites.update(LOCAL, site.id, more).site
    assert changed.attributes == {"revisionLimit": "25", "runNowEnabled": "false"}
    assert (changed.user_quota, changed.storage_quota) == (None, 1000)
    assert changed.mode == SiteMode.ENABLED


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("", SiteChanges()),
        ("a\nb", SiteChanges()),
        ("ok", SiteChanges(content_url="a b")),
        ("ok", SiteChanges(content_url="default")),
        ("ok", SiteChanges(content_url="")),
        ("日本", SiteChanges()),
        ("ok", SiteChanges(state="Sleeping")),
        ("ok", SiteChanges(admin_mode="Other")),
        ("ok", SiteChanges(attributes={"a": "x" * 4001})),
        ("ok", SiteChanges(attributes={str(n): "x" for n in range(201)})),
    ],
    ids=["empty", "line", "url", "default", "nourl", "cjk", "state", "mode", "long", "many"],
)
def test_sites_that_are_refused(platform: Platform, name: str, changes: SiteChanges) -> None:
    with pytest.raises(UsageError):
        platform.sites.create(LOCAL, name, changes)
    assert platform.sites.page(LOCAL).total == 1


def test_names_and_content_urls_are_taken_in_any_case(platform: Platform) -> None:
    platform.sites.create(LOCAL, "Finance")
    for name, url in (("FINANCE", "x"), ("y", "finance")):
        with pytest.raises(ConflictError):
            platform.sites.create(LOCAL, name, SiteChanges(content_url=url))


def test_sites_are_found_as_people_name_them(platform: Platform) -> None:
    """clients.md section 0 item 5: `default` finds the default site."""
    site = platform.sites.create(LOCAL, "West Coast")
    for text in (site.id, "WEST COAST", "westcoast"):
        assert platform.sites.find(text) == site
    for text in ("", "default", "DEFAULT"):
        assert platform.sites.find(text).id == platform.site.id
    assert platform.sites.get(site.id) == site
    with pytest.raises(NotFoundError) as caught:
        platform.sites.find("west cost")
    assert caught.value.hint == "did you mean 'West Coast'?"


def test_the_default_site_keeps_its_content_url_and_stays(platform: Platform) -> None:
    other = platform.sites.create(LOCAL, "Other")
    for site_id, url in ((platform.site.id, "x"), (other.id, "")):
        with pytest.raises(UsageError, match="empty"):
            platform.sites.update(LOCAL, site_id, SiteChanges(content_url=url))
    same = SiteChanges(name="Default", content_url="")
    assert platform.sites.update(LOCAL, platform.site.id, same).site.content_url == ""
    moved = platform.sites.update(LOCAL, other.id, SiteChanges(name="New", content_url="new"))
    assert (moved.site.name, moved.site.content_url) == ("New", "new")
    with pytest.raises(StateError, match="default site"):
        platform.sites.delete(LOCAL, platform.site.id)


def test_enforced_asks_for_the_encryption_of_everything(platform: Platform) -> None:
    """E-02."""
    publish(platform, "plain", encrypted=False)
    publish(platform, "sealed", encrypted=True)
    change = platform.sites.set_mode(LOCAL, platform.site.id, SiteMode.ENFORCED)
    assert change.job is not None
    assert change.site.mode == SiteMode.ENFORCED
    assert states(platform)["plain"] is ContentState.PENDING_ENCRYPTION
    assert job_kinds(platform) == [("encrypt_extracts", "queued")]
    assert "SITE_MODE_CHANGED" in platform.event_ids()


def test_enabled_changes_nothing_that_is_there(platform: Platform) -> None:
    """E-03."""
    publish(platform, "plain", encrypted=False)
    publish(platform, "sealed", encrypted=True)
    change = platform.sites.set_mode(LOCAL, platform.site.id, SiteMode.ENABLED)
    assert change.job is None
    assert states(platform) == {
        "plain": ContentState.UNENCRYPTED,
        "sealed": ContentState.ENCRYPTED,
    }


def test_disabled_asks_for_the_decryption_of_everything(platform: Platform) -> None:
    """E-04, Q-06."""
    platform.sites.set_mode(LOCAL, platform.site.id, SiteMode.ENABLED)
    publish(platform, "sealed", encrypted=True)
    assert platform.sites.encrypted_count(platform.site.id) == 1
    change = platform.sites.set_mode(LOCAL, platform.site.id, SiteMode.DISABLED)
    assert change.job is not None
    assert states(platform) == {"sealed": ContentState.PENDING_DECRYPTION}
    assert job_kinds(platform) == [("decrypt_extracts", "queued")]


def test_what_is_encrypted_may_stay_so(platform: Platform) -> None:
    """Q-06: `--keep-encrypted`."""
    platform.sites.set_mode(LOCAL, platform.site.id, SiteMode.ENABLED)
    publish(platform, "sealed", encrypted=True)
    site_id = platform.site.id
    change = platform.sites.set_mode(LOCAL, site_id, SiteMode.DISABLED, keep_encrypted=True)
    assert change.job is None
    assert states(platform) == {"sealed": ContentState.ENCRYPTED}


def test_the_same_mode_again_does_nothing(platform: Platform) -> None:
    """clients.md section 0 item 7: editsite sends the old mode back."""
    platform.sites.set_mode(LOCAL, platform.site.id, SiteMode.ENFORCED)
    before = len(platform.event_ids())
    change = platform.sites.set_mode(LOCAL, platform.site.id, SiteMode.ENFORCED)
    assert change.job is None
    assert len(platform.event_ids()) == before
    assert len(job_kinds(platform)) == 1


def test_a_change_of_mind_stops_the_job_before(platform: Platform) -> None:
    publish(platform, "plain", encrypted=False)
    platform.sites.set_mode(LOCAL, platform.site.id, SiteMode.ENFORCED)
    platform.sites.set_mode(LOCAL, platform.site.id, SiteMode.DISABLED)
    assert job_kinds(platform) == [
        ("decrypt_extracts", "queued"),
        ("encrypt_extracts", "cancelled"),
    ]
    assert states(platform) == {"plain": ContentState.UNENCRYPTED}
    platform.sites.set_mode(LOCAL, platform.site.id, SiteMode.ENFORCED)
    assert ("decrypt_extracts", "cancelled") in job_kinds(platform)
    assert states(platform) == {"plain": ContentState.PENDING_ENCRYPTION}


def test_the_mode_is_for_server_administrators(platform: Platform) -> None:
    """E-01; a site administrator may change settings, but not what limits or names the site."""
    platform.user("sally", "SiteAdministratorCreator")
    sally = platform.subject("sally")
    site_id = platform.site.id
    changes = SiteChanges(mode=SiteMode.DISABLED, attributes={"commentingEnabled": "false"})
    changed = platform.sites.update(sally, site_id, changes).site
    assert changed.attributes == {"commentingEnabled": "false"}
    with pytest.raises(PermissionDeniedError):
        platform.sites.update(sally, site_id, SiteChanges(name="Renamed"))
    with pytest.raises(PermissionDeniedError):
        platform.sites.set_mode(sally, site_id, SiteMode.ENFORCED)
    with pytest.raises(PermissionDeniedError):
        platform.sites.create(sally, "New")
    with pytest.raises(PermissionDeniedError):
        platform.sites.set_default_mode(sally, SiteMode.ENFORCED)
    other = platform.sites.create(LOCAL, "Other")
    with pytest.raises(PermissionDeniedError):
        platform.sites.update(sally, other.id, SiteChanges(name="Mine"))
    with pytest.raises(PermissionDeniedError):
        platform.sites.delete(sally, other.id)
    assert [site.id for site in platform.sites.page(sally).rows] == [site_id]
    assert platform.sites.page(platform.subject("admin")).total == 2


def test_new_sites_may_have_another_mode_by_default(platform: Platform) -> None:
    """tabcmd drops the mode that it is given: clients.md section 0 item 3."""
    platform.sites.set_default_mode(LOCAL, SiteMode.ENFORCED)
    platform.sites.set_default_mode(LOCAL, SiteMode.ENFORCED)
    assert platform.sites.default_mode() is SiteMode.ENFORCED
    assert platform.event_ids().count("SITE_MODE_CHANGED") == 1
    assert platform.sites.create(LOCAL, "A").mode == SiteMode.ENFORCED
    plain = SiteChanges(mode=SiteMode.DISABLED)
    assert platform.sites.create(LOCAL, "B", plain).mode == SiteMode.DISABLED


def test_deleting_a_site_names_its_files_and_stops_its_jobs(platform: Platform) -> None:
    site = platform.sites.create(LOCAL, "Other", SiteChanges(mode=SiteMode.ENABLED))
    with platform.repository.transaction() as tx:
        project = tx.projects.find_by_name(site.id, "Default", None)
        assert project is not None
        place = {"site_id": site.id, "project_id": project.id, "owner_id": platform.admin.id}
        tx.contents.insert(content("c1", **place))
        tx.contents.insert(content("none", **place, storage_key=""))
        tx.uploads.insert(UploadRow("up", site.id, platform.admin.id, NOW, NOW))
        tx.uploads.add_part(UploadPartRow("up", 0, "up/0", "f", "m", 1, 2), NOW)
    job = platform.sites.set_mode(LOCAL, site.id, SiteMode.ENFORCED).job
    assert job is not None
    assert platform.sites.delete(LOCAL, site.id) == ["extracts/c1", "up/0"]
    assert platform.jobs.show(job.id).state == "cancelled"
    with pytest.raises(NotFoundError):
        platform.sites.get(site.id)
    assert platform.event_ids()[-3:] == ["EXTRACT_DELETED", "EXTRACT_DELETED", "SITE_DELETED"]
    with platform.repository.reading() as tx:
        assert tx.storage_keys() == {"extracts/c1", "up/0"}  # until their files are gone


def test_a_site_needs_somebody_to_own_its_project(platform: Platform) -> None:
    with platform.repository.transaction() as tx:
        tx.users.update(platform.admin.id, is_server_admin=False)
    with pytest.raises(StateError, match="no server administrator"):
        platform.sites.create(LOCAL, "Other")


def test_modes_have_words() -> None:
    assert [parse_mode(word) for word in ("disabled", " Enabled", "ENFORCED")] == list(SiteMode)
    with pytest.raises(UsageError) as caught:
        parse_mode("on")
    assert "disabled, enabled, enforced" in caught.value.hint
