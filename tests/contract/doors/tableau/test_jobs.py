"""Jobs over HTTP: polled, listed, filtered, cancelled (clients.md 1.5)."""

import re

import pytest

from strongroom.repository.rows import SiteMode
from tests.support.web_client import Client, Served

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def job_of(client: Client, call: str = "encrypt-extracts") -> str:
    return client.on_site("POST", f"/{call}").find("job").get("id", "")


def finish(served: Served, job: str, state: str, note: str = "") -> None:
    receipt = {
        "scanned": 3,
        "changed": 2,
        "verified": 2,
        "remaining": 1,
        "bytes": 5,
        "mek_id": "m",
        "started_at": "2026-11-21T20:00:00Z",
        "finished_at": "2026-11-21T20:00:01Z",
    }
    with served.node.repository.transaction() as tx:
        tx.jobs.claim(job, "2026-11-21T20:00:00Z")
        tx.jobs.progress(job, done=2, total=3, bytes_done=5)
        tx.jobs.finish(job, state, finished_at="2026-11-21T20:00:01Z", receipt=receipt, note=note)


def test_a_running_job_shows_its_progress(served: Served) -> None:
    client = served.site("Site", SiteMode.ENABLED)
    job = job_of(client)
    with served.node.repository.transaction() as tx:
        tx.jobs.claim(job, "2026-11-21T20:00:00Z")
        tx.jobs.progress(job, done=1, total=3, bytes_done=5)
    shown = client.on_site("GET", f"/jobs/{job}").find("job")
    assert (shown.get("progress"), shown.get("type")) == ("33", "EncryptExtracts")
    assert "completedAt" not in shown.attrib
    assert "finishCode" not in shown.attrib


@pytest.mark.parametrize(
    ("state", "code", "status"),
    [("succeeded", "0", "Success"), ("failed", "1", "Failed"), ("cancelled", "2", "Cancelled")],
)
def test_a_finished_job(served: Served, state: str, code: str, status: str) -> None:
    client = served.site("Site", SiteMode.ENABLED)
    job = job_of(client)
    finish(served, job, state, "1 extract is left: x under MEK m")
    reply = client.on_site("GET", f"/jobs/{job}")
    shown = reply.find("job")
    assert shown.get("finishCode") == code
    for name in ("createdAt", "startedAt", "completedAt"):
        assert TIME.fullmatch(shown.get(name, "")), (
            name
        )  # other forms are read as none, and waited for for ever
    assert reply.find("notes").text == "1 extract is left: x under MEK m"
    counters = {one.get("type"): one.get("value") for one in reply.all("statusNote")}
    assert counters["remaining"] == "1"
    assert client.on_site("GET", "/jobs").find("backgroundJob").get("status") == status


def test_filters_are_in_the_clients_words(served: Served) -> None:
    client = served.site("Site", SiteMode.ENABLED)
    done, waiting = job_of(client), job_of(client, "reencrypt-extracts")
    finish(served, done, "succeeded")

    def found(text: str) -> list[str | None]:
        reply = client.on_site("GET", "/jobs", query={"filter": text, "sort": "createdAt:desc"})
        return [one.get("id") for one in reply.all("backgroundJob")]

    assert found("status:eq:Pending") == [waiting]
    assert found("jobType:in:[EncryptExtracts,DecryptExtracts]") == [done]
    assert found("progress:lte:0") == [waiting]
    assert set(found("createdAt:gt:2020-01-01T00:00:00Z")) == {done, waiting}
    for spelling in ("jobType:eq:encrypt_extracts", "job_type:eq:EncryptExtracts"):
        assert found(spelling) == [done]  # findings T4: both spellings
    assert set(found("priority:eq:50")) == {done, waiting}
    assert found("name:eq:Encrypt Extracts: Site") == [done]
    assert found("status:eq:Nosuch") == []  # equal to nothing, as documented
    assert found("jobType:eq:refresh_flow") == []


def test_cancelling(served: Served) -> None:
    client = served.site("Site", SiteMode.ENABLED)
    job = job_of(client)
    assert client.on_site("PUT", f"/jobs/{job}").status == 204
    assert client.on_site("GET", f"/jobs/{job}").find("job").get("finishCode") == "2"


def test_jobs_are_the_administrators_business(served: Served) -> None:
    job = job_of(served.site("Site", SiteMode.ENABLED))
    other = served.user("eve", "Site", "Creator")
    assert other.on_site("GET", "/jobs").status == 403
    assert other.on_site("GET", f"/jobs/{job}").status == 403
    assert other.on_site("PUT", f"/jobs/{job}").status == 403
    outsider = served.user("otto", "Default", "SiteAdministratorCreator")
    assert outsider.on_site("GET", f"/jobs/{job}").code == "404009"


def test_who_asked_for_a_job_may_see_it(served: Served) -> None:
    served.site("Site", SiteMode.ENABLED)
    owner = served.user("owner", "Site", "Creator")
    item = owner.publish("data").find("datasource").get("id")
    job = (
        owner.on_site("POST", f"/datasources/{item}/createExtract", "", {"encrypt": "true"})
        .find("job")
        .get("id")
    )
    assert owner.on_site("GET", f"/jobs/{job}").status == 200


def test_an_unknown_job(served: Served) -> None:
    assert served.client().on_site("GET", "/jobs/nosuch").code == "404009"
