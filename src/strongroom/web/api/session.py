"""Signing in, out and to another site (clients.md 1.2). Credentials are taken from the request and go nowhere else."""

from strongroom.crypto.secret import SecretBytes
from strongroom.errors import AuthenticationError, PermissionDeniedError, StateError
from strongroom.services.auth import Identity
from strongroom.web.api import xml
from strongroom.web.api.errors import RefusalError
from strongroom.web.api.routing import NO_CONTENT, Answer, Call, Route


def sign_in(call: Call) -> Answer:
    """Password or personal access token; the site by content URL or name, in any case."""
    credentials = xml.required(call.request(), "credentials")
    if credentials.get("jwt") is not None or credentials.find("user") is not None:
        raise PermissionDeniedError(
            "signing in by a JWT or as somebody else is not offered",
            hint="use a password or a personal access token",
        )
    site = credentials.find("site")
    content_url = "" if site is None else site.get("contentUrl", "")
    try:
        token, identity = _enter(call, credentials, content_url)
    except AuthenticationError as error:
        raise RefusalError(401, "401001", error.message) from error
    return Answer([_credentials(token, identity)])


def sign_out(call: Call) -> Answer:
    """Ends the session; one that is gone is no error."""
    if call.token:
        call.node.auth.sign_out(call.token)
    return NO_CONTENT


def switch_site(call: Call) -> Answer:
    """A new token for another site of the same user; the old one ends."""
    site = xml.required(call.request(), "site")
    try:
        token, identity = call.node.auth.switch_site(call.token, site.get("contentUrl", ""))
    except StateError as error:
        raise RefusalError(403, "403070", error.message) from error
    return Answer([_credentials(token, identity)])


def _enter(call: Call, credentials: xml.Element, content_url: str) -> tuple[str, Identity]:
    token_name = credentials.get("personalAccessTokenName")
    if token_name is not None:
        secret = _typed(credentials, "personalAccessTokenSecret")
        return call.node.auth.sign_in_with_token(token_name, secret, content_url)
    password = _typed(credentials, "password")
    return call.node.auth.sign_in(credentials.get("name", ""), password, content_url)


def _typed(credentials: xml.Element, attribute: str) -> SecretBytes:
    # tabcmd sends the line break of its --password-file or --token-file along; no secret of ours ends with one
    text: str = credentials.get(attribute, "")
    return SecretBytes(text.removesuffix("\n").removesuffix("\r").encode())


def _credentials(token: str, identity: Identity) -> xml.Element:
    return xml.element(
        "credentials",
        {"token": token},
        xml.element("site", {"id": identity.site.id, "contentUrl": identity.site.content_url}),
        xml.element("user", {"id": identity.user.id, "name": identity.user.name}),
    )


ROUTES = (
    Route("POST", "/auth/signin", sign_in, is_open=True),
    Route("POST", "/auth/signout", sign_out, is_open=True),
    Route("POST", "/auth/switchSite", switch_site),
)
