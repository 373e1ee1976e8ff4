"""Sites as the clients see them, and the three calls that encrypt, decrypt and re-encrypt all extracts of one.

Clients read, modify and write the whole site, and send back as `false` what was not shown to them (clients.md 0 item
7): so every attribute that was ever sent is shown again.
"""

import re
from collections.abc import Mapping

from strongroom.doors.tableau.errors import Noun
from strongroom.doors.tableau.jobs import job_element
from strongroom.doors.tableau.message import Element, Value, element, required, text_of
from strongroom.doors.tableau.paging import LISTING, page_of, query_of, window_of
from strongroom.doors.tableau.routing import NO_CONTENT, Answer, Call, Route
from strongroom.doors.tableau.shape import Shape, as_it_is, read, request
from strongroom.errors import UsageError
from strongroom.jobs.model import JobKind
from strongroom.repository.rows import SiteMode, SiteRow
from strongroom.services.directory.sites import SiteChanges, parse_mode, shown_attributes

_OWN = {
    "id",
    "name",
    "contentUrl",
    "extractEncryptionMode",
    "state",
    "adminMode",
    "userQuota",
    "storageQuota",
    "usage",
    "numUsers",
    "storage",
    "createdAt",
}
# listsites asks once and without a page size: it must see all sites
_LIST_SIZE = 1000
# shown as on, since a client that reads a site, changes it and writes it back would otherwise turn them off (clients.md
# 0 item 7)
_DEFAULTS: Mapping[str, Value] = {
    "runNowEnabled": True,
    "revisionHistoryEnabled": True,
    "revisionLimit": 25,
    "disableSubscriptions": False,
    "subscribeOthersEnabled": True,
    "commentingEnabled": True,
    "cacheWarmupEnabled": True,
    "editingFlowsEnabled": True,
    "schedulingFlowsEnabled": True,
    "allowSubscriptionAttachments": True,
    "catalogObfuscationEnabled": False,
    "flowAutoSaveEnabled": True,
    "webExtractionEnabled": True,
    "metricsContentTypeEnabled": True,
    "notifySiteAdminsOnThrottle": False,
    "authoringEnabled": True,
    "derivedPermissionsEnabled": False,
    "userVisibilityMode": "FULL",
    "useDefaultTimeZone": True,
    "explainDataEnabled": True,
    "dataAlertsEnabled": True,
    "requestAccessEnabled": True,
}

_NUMBER = re.compile(r"-?[0-9]{1,15}")


def list_sites(call: Call) -> Answer:
    """All sites for server administrators, the own one for others."""
    window = window_of(call.query, _LIST_SIZE)
    page = call.services.sites.page(call.identity.subject, query_of(call.query, window))
    rows = [site_element(site) for site in page.rows]
    return Answer(page_of(call.query, window, page.total, ("sites", "site"), rows))


def get_site(call: Call) -> Answer:
    """By id, or with `?key=name` or `?key=contentUrl` by that."""
    return Answer([site_element(_visible(call))])


def create_site(call: Call) -> Answer:
    """A new site."""
    sent = required(call.request(), "site")
    changes = _changes(sent)
    site = call.services.sites.create(call.identity.subject, text_of(sent, "name"), changes)
    return Answer([site_element(site)], 201)


def update_site(call: Call) -> Answer:
    """The whole site comes back from clients that changed one thing of it; the same mode is no change."""
    sent = required(call.request(), "site")
    site = _visible(call)
    changed = call.services.sites.update(call.identity.subject, site.id, _changes(sent, site))
    return Answer([site_element(changed.site)])


def delete_site(call: Call) -> Answer:
    """The site with all that is on it; the keys of its extracts are gone with their files."""
    site = _visible(call)
    files = call.services.sites.delete(call.identity.subject, site.id)
    call.services.content.delete_files(files)
    return NO_CONTENT


def encrypt_extracts(call: Call) -> Answer:
    """Every extract ends up encrypted under the active MEK; also what `tabcmd reencryptextracts` asks for."""
    return _enqueue(call, JobKind.ENCRYPT)


def decrypt_extracts(call: Call) -> Answer:
    """Every extract ends up plain; refused where encryption is enforced."""
    return _enqueue(call, JobKind.DECRYPT)


def reencrypt_extracts(call: Call) -> Answer:
    """Every encrypted extract gets a new data key; plain ones stay (E-13)."""
    return _enqueue(call, JobKind.REENCRYPT)


def site_element(site: SiteRow) -> Element:
    """A site with every attribute that clients may send back."""
    other = {**_DEFAULTS, **shown_attributes(site)}
    return element(
        "site",
        {
            **other,
            "id": site.id,
            "name": site.name,
            "contentUrl": site.content_url,
            "adminMode": site.admin_mode,
            "state": site.state,
            "extractEncryptionMode": SiteMode(site.mode).word,
            "userQuota": site.user_quota,
            "storageQuota": site.storage_quota,
            "createdAt": site.created_at,
        },
    )


def _enqueue(call: Call, kind: JobKind) -> Answer:
    site = _visible(call)
    job = call.services.job_desk.ask_for_site(call.identity.subject, kind, site.id)
    return Answer([job_element(job)], 202)


def _visible(call: Call) -> SiteRow:
    """The site of the path, if the user may know of it: others than the own are for server administrators."""
    text, key = call.path["site"], call.query.get("key", "")
    if key not in {"", "name", "contentUrl"}:
        raise UsageError(f"a site is found by name or contentUrl, not by {key[:20]!r}")
    return call.services.sites.visible(call.identity.subject, text, by_name=bool(key))


def _changes(sent: Element, present: SiteRow | None = None) -> SiteChanges:
    mode = sent.get("extractEncryptionMode")
    state = sent.get("state")
    return SiteChanges(
        name=_changed(sent.get("name"), present.name if present else None),
        content_url=_changed(sent.get("contentUrl"), present.content_url if present else None),
        mode=parse_mode(mode) if mode else None,
        state=state or None,
        admin_mode=sent.get("adminMode") or None,
        user_quota=_number(sent, "userQuota"),
        storage_quota=_number(sent, "storageQuota"),
        attributes={key: value for key, value in sent.attrib.items() if key not in _OWN},
    )


def _changed(sent: str | None, present: str | None) -> str | None:
    return None if sent is None or sent == present else sent


def _number(sent: Element, name: str) -> int | None:
    text = sent.get(name)
    if not text:
        return None
    if not _NUMBER.fullmatch(text):
        raise UsageError(f"attribute {name} of <site> is no whole number of up to 15 digits")
    return int(text)


_SITE = Shape(
    {
        **read("name", "contentUrl", "extractEncryptionMode", "state", "adminMode"),
        **read("userQuota", "storageQuota"),
    },
    keeps_rest=True,
)
_KEY = read("key")
_USAGE = as_it_is("the use of a site is not counted", "false")

ROUTES = (
    Route("GET", "/sites", list_sites, Noun.SITE, query=LISTING),
    Route("POST", "/sites", create_site, Noun.SITE, takes=request(site=_SITE)),
    Route(
        "GET",
        "/sites/{site}",
        get_site,
        Noun.SITE,
        query={**_KEY, "includeUsage": _USAGE, "includeUsageStatistics": _USAGE},
    ),
    Route("PUT", "/sites/{site}", update_site, Noun.SITE, takes=request(site=_SITE), query=_KEY),
    Route("DELETE", "/sites/{site}", delete_site, Noun.SITE, query=_KEY),
    Route("POST", "/sites/{site}/encrypt-extracts", encrypt_extracts, Noun.SITE, query=_KEY),
    Route("POST", "/sites/{site}/decrypt-extracts", decrypt_extracts, Noun.SITE, query=_KEY),
    Route("POST", "/sites/{site}/reencrypt-extracts", reencrypt_extracts, Noun.SITE, query=_KEY),
)
