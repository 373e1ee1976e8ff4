"""Who may ask for jobs, see and cancel them: every role, on the own site and another (house 2.6; E-14)."""

from collections.abc import Callable

import pytest

from strongroom.access.permissions import SITE_ROLES, Subject
from strongroom.errors import NotFoundError, PermissionDeniedError, StateError, StrongroomError
from strongroom.jobs.model import JobKind
from strongroom.repository.rows import JobRow, Query, SiteMode, SiteRow
from strongroom.services.directory.sites import SiteChanges
from strongroom.services.jobs.desk import JobDesk
from tests.contract.services.conftest import LOCAL, Platform

_ADMINISTRATORS = {"SiteAdministrator", "SiteAdministratorCreator", "SiteAdministratorExplorer"}
_WITHOUT_LICENCE = {"Unlicensed", "UnlicensedWithPublish", "ServerAdministrator"}
_ROLES = sorted(SITE_ROLES)
_EVERYTHING = Query(sort=(("created_at", True),))


@pytest.fixture
def desk(platform: Platform) -> JobDesk:
    return JobDesk(platform.repository, platform.jobs)


@pytest.fixture
def site(platform: Platform) -> SiteRow:
    return platform.sites.create(LOCAL, "Own", SiteChanges(mode=SiteMode.ENABLED))


@pytest.fixture
def other(platform: Platform) -> SiteRow:
    return platform.sites.create(LOCAL, "Other", SiteChanges(mode=SiteMode.ENABLED))


def someone(site: SiteRow, role: str, user_id: str = "u1") -> Subject:
    """A stored role `ServerAdministrator` counts for nothing: the flag of the user decides."""
    return Subject(f"user:{user_id}", user_id, site_id=site.id, site_role=role)


def job_of(platform: Platform, site: SiteRow, actor: str = "os:root") -> JobRow:
    return platform.jobs.enqueue(JobKind.ENCRYPT, site.id, actor)


def outcome(ask: Callable[[], object]) -> str:
    try:
        ask()
    except StrongroomError as error:
        return type(error).__name__
    return "done"


@pytest.mark.parametrize("role", _ROLES)
def test_every_role_on_its_own_site(
    platform: Platform, desk: JobDesk, site: SiteRow, role: str
) -> None:
    subject, job = someone(site, role), job_of(platform, site)
    denied = "PermissionDeniedError"
    administers = "done" if role in _ADMINISTRATORS else denied
    assert outcome(lambda: desk.page(subject, site.id, _EVERYTHING)) == administers
    assert outcome(lambda: desk.show(subject, site.id, job.id)) == administers
    assert outcome(lambda: desk.cancel(subject, site.id, job.id)) == administers
    assert platform.jobs.show(job.id).state == ("cancelled" if administers == "done" else "queued")
    for kind in (JobKind.ENCRYPT, JobKind.DECRYPT, JobKind.REENCRYPT):
        assert outcome(lambda kind=kind: desk.ask_for_site(subject, kind, site.id)) == denied  # type: ignore[misc]
    assert len(platform.jobs.list(site.id)) == 1


@pytest.mark.parametrize("role", _ROLES)
def test_whoever_asked_for_a_job_sees_and_cancels_it(
    platform: Platform, desk: JobDesk, site: SiteRow, role: str
) -> None:
    """Unless the licence is gone: then ownership does not count."""
    subject = someone(site, role)
    job = job_of(platform, site, subject.actor)
    expected = "PermissionDeniedError" if role in _WITHOUT_LICENCE else "done"
    assert outcome(lambda: desk.show(subject, site.id, job.id)) == expected
    assert outcome(lambda: desk.cancel(subject, site.id, job.id)) == expected


@pytest.mark.parametrize("role", _ROLES)
def test_a_job_of_another_site_does_not_exist(
    platform: Platform, desk: JobDesk, site: SiteRow, other: SiteRow, role: str
) -> None:
    """Also one that the same user asked for there; and naming that site does not help."""
    subject = someone(site, role)
    job = job_of(platform, other, subject.actor)
    for ask in (desk.show, desk.cancel):
        assert outcome(lambda ask=ask: ask(subject, site.id, job.id)) == "NotFoundError"  # type: ignore[misc]
        assert outcome(lambda ask=ask: ask(subject, other.id, job.id)) == "PermissionDeniedError"  # type: ignore[misc]
    assert outcome(lambda: desk.page(subject, other.id, _EVERYTHING)) == "PermissionDeniedError"
    assert platform.jobs.show(job.id).state == "queued"


def test_an_unknown_job_and_one_of_another_site_are_told_alike(
    platform: Platform, desk: JobDesk, site: SiteRow, other: SiteRow
) -> None:
    subject, job = someone(site, "SiteAdministrator"), job_of(platform, other)
    with pytest.raises(NotFoundError) as unknown:
        desk.show(subject, site.id, "0" * 36)
    with pytest.raises(NotFoundError) as hidden:
        desk.show(subject, site.id, job.id)
    assert unknown.value.about == hidden.value.about == "job"


def test_server_administrators_stand_above_sites(
    platform: Platform, desk: JobDesk, site: SiteRow, other: SiteRow
) -> None:
    job = desk.ask_for_site(LOCAL, JobKind.REENCRYPT, other.id)
    assert desk.show(LOCAL, site.id, job.id).id == job.id
    assert [one.id for one in desk.page(LOCAL, other.id, _EVERYTHING).rows] == [job.id]
    assert desk.cancel(LOCAL, site.id, job.id).state == "cancelled"
    with platform.repository.reading() as tx:
        assert tx.jobs.get(job.id).actor == LOCAL.actor


def test_a_mode_may_forbid_a_job(platform: Platform, desk: JobDesk) -> None:
    disabled = platform.sites.create(LOCAL, "Plain", SiteChanges(mode=SiteMode.DISABLED))
    enforced = platform.sites.create(LOCAL, "Sealed", SiteChanges(mode=SiteMode.ENFORCED))
    for kind in (JobKind.ENCRYPT, JobKind.REENCRYPT):
        with pytest.raises(PermissionDeniedError):
            desk.ask_for_site(LOCAL, kind, disabled.id)
    with pytest.raises(StateError):
        desk.ask_for_site(LOCAL, JobKind.DECRYPT, enforced.id)
    with pytest.raises(NotFoundError):
        desk.ask_for_site(LOCAL, JobKind.REENCRYPT, "0" * 36)


@pytest.mark.parametrize("role", _ROLES)
def test_a_site_that_somebody_may_not_know_of(
    platform: Platform, site: SiteRow, other: SiteRow, role: str
) -> None:
    """By id, name or content URL: the answer is that of a site that does not exist."""
    subject = someone(site, role)
    assert platform.sites.visible(subject, site.id, by_name=False).id == site.id
    assert platform.sites.visible(subject, "own", by_name=True).id == site.id
    for text, by_name in ((other.id, False), ("Other", True), ("Nothing", True)):
        with pytest.raises(NotFoundError) as hidden:
            platform.sites.visible(subject, text, by_name=by_name)
        assert (hidden.value.message, hidden.value.hint) == (f"there is no site {text!r}", "")
    assert platform.sites.visible(LOCAL, "Other", by_name=True).id == other.id
