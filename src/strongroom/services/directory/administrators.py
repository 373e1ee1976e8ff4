"""Signs an administrator of the server in for one call from another machine; no session is left."""

from typing import NamedTuple

from strongroom.crypto.secret import SecretBytes
from strongroom.errors import PermissionDeniedError
from strongroom.services.directory.sign_in import AuthService


class GivenName(NamedTuple):
    """The words by which a person signs in.

    Attributes:
        name: The name of the user, or of the token.
        secret: The password, or the token's secret.
        is_token: Whether the name is that of a personal access token.
        peer: The address of his machine.
    """

    name: str
    secret: SecretBytes
    is_token: bool
    peer: str


def sign_in(auth: AuthService, given: GivenName) -> str:
    """Sign in for one call; returns the administrator as the actor of events.

    Raises:
        AuthenticationError: The name, the password or the token is wrong, or sign-in is paused.
        PermissionDeniedError: The person is no administrator of the server.
    """
    if given.is_token:
        session, identity = auth.sign_in_with_token(given.name, given.secret, "")
    else:
        session, identity = auth.sign_in(given.name, given.secret, "", given.peer)
    auth.sign_out(session)
    if not identity.subject.is_server_admin:
        raise PermissionDeniedError(
            f"{identity.user.name} is no administrator of the server",
            hint="sign in as one: 'strongroom users list' shows who is",
        )
    return identity.subject.actor
