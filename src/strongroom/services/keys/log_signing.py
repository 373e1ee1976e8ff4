"""Makes the signer of a node's event log from the signing key in the configuration (format/events.md §5.2)."""

from strongroom.crypto import labels
from strongroom.errors import NotFoundError, StateError
from strongroom.eventlog.notes import LogSigner
from strongroom.services.configuration.service import ConfigurationService

PARAMETER = "eventlog.signing_key"


def find_signer(configuration: ConfigurationService, node_id: str) -> LogSigner | None:
    """The signer of a node; None while the node has no configuration, or the configuration no signing key."""
    try:
        installation_id = configuration.document().installation_id
        seed = configuration.open_secret(PARAMETER)
    except (NotFoundError, StateError):
        return None
    from strongroom.crypto.signing import SigningKey

    return LogSigner(f"{labels.CHECKPOINT.decode()}{installation_id}/{node_id}", SigningKey(seed))
