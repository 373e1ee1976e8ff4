"""Signing in, out and to another site (clients.md 1.2). Credentials are taken from the request and go nowhere else."""

from strongroom.crypto.secret import SecretBytes
from strongroom.doors.tableau.errors import RefusalError
from strongroom.doors.tableau.message import Element, element, required
from strongroom.doors.tableau.routing import NO_CONTENT, Answer, Call, Route
from strongroom.doors.tableau.shape import Shape, as_it_is, read, request
from strongroom.errors import AuthenticationError, PermissionDeniedError, StateError
from strongroom.services.directory.sign_in import Identity


def sign_in(call: Call) -> Answer:
    """Password or personal access token; the site by content URL or name, in any case."""
    credentials = required(call.request(), "credentials")
    user = credentials.find("user")
    # a client of many users sends `"user": {"id": null}` with every access token: that asks for nobody else
    if credentials.get("jwt") is not None or (user is not None and user.get("id")):
        raise PermissionDeniedError(
            "signing in by a JWT or as somebody else is not offered",
            hint="use a password or a personal access token",
        )
    site = credentials.find("site")
    content_url = "" if site is None else site.get("contentUrl") or ""
    try:
        token, identity = _enter(call, credentials, content_url)
    except AuthenticationError as error:
        raise RefusalError(401, "401001", error.message) from error
    return Answer([_credentials(token, identity)])


def sign_out(call: Call) -> Answer:
    """Ends the session; one that is gone is no error."""
    if call.token:
        call.services.auth.sign_out(call.token)
    return NO_CONTENT


def switch_site(call: Call) -> Answer:
    """A new token for another site of the same user; the old one ends."""
    site = required(call.request(), "site")
    try:
        token, identity = call.services.auth.switch_site(call.token, site.get("contentUrl") or "")
    except StateError as error:
        raise RefusalError(403, "403070", error.message) from error
    return Answer([_credentials(token, identity)])


def _enter(call: Call, credentials: Element, content_url: str) -> tuple[str, Identity]:
    token_name = credentials.get("personalAccessTokenName")
    if token_name is not None:
        secret = _typed(credentials, "personalAccessTokenSecret")
        return call.services.auth.sign_in_with_token(token_name, secret, content_url)
    password = _typed(credentials, "password")
    name = credentials.get("name") or ""
    return call.services.auth.sign_in(name, password, content_url, call.peer)


def _typed(credentials: Element, attribute: str) -> SecretBytes:
    # tabcmd sends the line break of its --password-file or --token-file along; no secret of ours ends with one
    text = credentials.get(attribute) or ""
    return SecretBytes(text.removesuffix("\n").removesuffix("\r").encode())


def _credentials(token: str, identity: Identity) -> Element:
    return element(
        "credentials",
        {"token": token},
        element("site", {"id": identity.site.id, "contentUrl": identity.site.content_url}),
        element("user", {"id": identity.user.id, "name": identity.user.name}),
    )


_SITE = Shape(read("contentUrl"))
_CREDENTIALS = Shape(
    {
        **read("name", "password", "personalAccessTokenName", "personalAccessTokenSecret", "jwt"),
        "isUat": as_it_is("access tokens of connected applications are not offered", "false"),
    },
    {"site": _SITE, "user": Shape(read("id"))},
)

ROUTES = (
    Route(
        "POST",
        "/auth/signin",
        sign_in,
        is_open=True,
        hashes=True,
        takes=request(credentials=_CREDENTIALS),
    ),
    Route("POST", "/auth/signout", sign_out, is_open=True),
    Route("POST", "/auth/switchSite", switch_site, takes=request(site=_SITE)),
)
