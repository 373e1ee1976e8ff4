"""Who signs the checkpoints of a node's event log (format/events.md §5.2)."""

from strongroom.errors import NotFoundError, StateError
from strongroom.eventlog.notes import LogSigner
from strongroom.services.configuration import ConfigurationService

PARAMETER = "eventlog.signing_key"


def find_signer(configuration: ConfigurationService, node_id: str) -> LogSigner | None:
    """The signer of a node; None while there is no configuration, or no key in it."""
    try:
        installation_id = configuration.document().installation_id
        seed = configuration.open_secret(PARAMETER)
    except (NotFoundError, StateError):
        return None
    from strongroom.crypto.signing import SigningKey

    return LogSigner(f"strongroom/{installation_id}/{node_id}", SigningKey(seed))
