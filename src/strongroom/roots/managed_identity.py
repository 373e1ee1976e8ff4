"""The identity that Azure gives to a machine, as the root and the object store there take it."""

import logging
from typing import Any, Final

from strongroom.roots import outbound

CONNECT_S: Final = 3
READ_S: Final = 5
#: The SDK's sessions sleep for as long as a Retry-After header asks; who asks repeats by its own rules.
NO_RETRIES: Final[dict[str, Any]] = {"retry_total": 0}


def credential(client_id: str = "") -> Any:
    """The SDK's credential; asks nobody until a token is needed.

    Args:
        client_id: The client id of a user-assigned identity; empty for the machine's own.

    Raises:
        ImportError: The SDK is missing.
    """
    from azure.identity import ManagedIdentityCredential

    # requests at this level would fill the log
    logging.getLogger("azure").setLevel(logging.WARNING)
    named: dict[str, Any] = {"client_id": client_id} if client_id else {}
    return ManagedIdentityCredential(**NO_RETRIES, **transport(outbound.session()), **named)


def transport(session: Any) -> dict[str, Any]:
    """The options that make a client of the SDK use a session that ignores the environment and follows no redirect."""
    from azure.core.pipeline.transport import RequestsTransport

    made = RequestsTransport(
        session=session,
        session_owner=False,
        use_env_settings=False,
        connection_timeout=CONNECT_S,
        read_timeout=READ_S,
    )
    return {"transport": made, "permit_redirects": False}
