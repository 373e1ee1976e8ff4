"""Sites as the clients see them, and the three calls that encrypt, decrypt and re-encrypt all extracts of one.

Clients read, modify and write the whole site, and send back as `false` what was not shown to them (clients.md 0 item 7): so
every attribute that was ever sent is shown again.
"""

import re
from collections.abc import Mapping

from strongroom.access import permissions
from strongroom.access.permissions import Action, Resource
from strongroom.errors import NotFoundError, UsageError
from strongroom.extracts import policy
from strongroom.jobs.model import JobKind
from strongroom.repository.rows import SiteMode, SiteRow
from strongroom.services.sites import SiteChanges, parse_mode
from strongroom.web.api import xml
from strongroom.web.api.errors import Noun
from strongroom.web.api.jobs import job_element
from strongroom.web.api.paging import query_of, window_of
from strongroom.web.api.routing import NO_CONTENT, Answer, Call, Route

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
# what a client that reads, modifies and writes would otherwise turn off (clients.md 0 item 7)
_DEFAULTS: Mapping[str, xml.Value] = {
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
    page = call.node.sites.page(call.identity.subject, query_of(call.query, window))
    sites = xml.element("sites", {}, *map(site_element, page.rows))
    return Answer([window.element(page.total), sites])


def get_site(call: Call) -> Answer:
    """By id, or with `?key=name` or `?key=contentUrl` by that."""
    return Answer([site_element(_visible(call))])


def create_site(call: Call) -> Answer:
    """A new site."""
    sent = xml.required(call.request(), "site")
    changes = _changes(sent)
    site = call.node.sites.create(call.identity.subject, xml.text_of(sent, "name"), changes)
    return Answer([site_element(site)], 201)


def update_site(call: Call) -> Answer:
    """The whole site comes back from clients that changed one thing of it; the same mode is no change."""
    sent = xml.required(call.request(), "site")
    site = _visible(call)
    changed = call.node.sites.update(call.identity.subject, site.id, _changes(sent, site))
    return Answer([site_element(changed.site)])


def delete_site(call: Call) -> Answer:
    """The site with all that is on it; the keys of its extracts are gone with their files."""
    site = _visible(call)
    files = call.node.sites.delete(call.identity.subject, site.id)
    call.node.content.delete_files(files)
    return NO_CONTENT


def encrypt_extracts(call: Call) -> Answer:
    """Every extract ends up encrypted under the active MEK; also what `tabcmd reencryptextracts` asks for."""
    return _enqueue(call, JobKind.ENCRYPT)


def decrypt_extracts(call: Call) -> Answer:
    """Every extract ends up plain; refused where encryption is enforced."""
    return _enqueue(call, JobKind.DECRYPT)


def reencrypt_extracts(call: Call) -> Answer:
    """Every encrypted extract gets a new data key; plain ones stay (E-13)."""
    return _enqueue(call, JobKind.REKEY)


def site_element(site: SiteRow) -> xml.Element:
    """A site with every attribute that clients may send back."""
    other = {**_DEFAULTS, **{key: str(value) for key, value in site.attributes.items()}}
    return xml.element(
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
    subject = call.identity.subject
    permissions.check(subject, Action.ENCRYPT_SITE, Resource(site.id))
    if kind is JobKind.REKEY:
        policy.check_change(SiteMode(site.mode), encrypt=True)
    job = call.node.jobs.enqueue(kind, site.id, subject.actor)
    return Answer([job_element(job)], 202)


def _visible(call: Call) -> SiteRow:
    """The site of the path, if the user may know of it: others than the own are for server administrators."""
    text, key = call.path["site"], call.query.get("key", "")
    if key not in {"", "name", "contentUrl"}:
        raise UsageError(f"a site is found by name or contentUrl, not by {key[:20]!r}")
    find = call.node.sites.find if key else call.node.sites.get
    if permissions.is_allowed(call.identity.subject, Action.LIST_ALL_SITES):
        return find(text)
    own = call.identity.site
    unknown = NotFoundError(f"there is no site {text[:64]!r}")
    try:
        site = find(text)
    except NotFoundError:
        raise unknown from None  # its hint would name a site that is none of theirs
    if site.id != own.id:
        raise unknown
    return own


def _changes(sent: xml.Element, present: SiteRow | None = None) -> SiteChanges:
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
        attributes={key: value for key, value in sent.attrib.items() if _is_kept(key)},
    )


def _is_kept(attribute: str) -> bool:
    """Whether it is kept and shown again; one with a namespace (`{…}…`) is no setting of a site."""
    return attribute not in _OWN and not attribute.startswith("{")


def _changed(sent: str | None, present: str | None) -> str | None:
    return None if sent is None or sent == present else sent


def _number(sent: xml.Element, name: str) -> int | None:
    text = sent.get(name)
    if not text:
        return None
    if not _NUMBER.fullmatch(text):
        raise UsageError(f"attribute {name} of <site> is no whole number of up to 15 digits")
    return int(text)


ROUTES = (
    Route("GET", "/sites", list_sites, Noun.SITE),
    Route("POST", "/sites", create_site, Noun.SITE),
    Route("GET", "/sites/{site}", get_site, Noun.SITE),
    Route("PUT", "/sites/{site}", update_site, Noun.SITE),
    Route("DELETE", "/sites/{site}", delete_site, Noun.SITE),
    Route("POST", "/sites/{site}/encrypt-extracts", encrypt_extracts, Noun.SITE),
    Route("POST", "/sites/{site}/decrypt-extracts", decrypt_extracts, Noun.SITE),
    Route("POST", "/sites/{site}/reencrypt-extracts", reencrypt_extracts, Noun.SITE),
)
