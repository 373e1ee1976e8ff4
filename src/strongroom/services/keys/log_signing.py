"""Makes the signer of a node's event log from the signing key in the configuration (format/events.md §5.2), and renews it."""

from strongroom.crypto import labels, rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import NotFoundError, StateError
from strongroom.eventlog.notes import LogSigner
from strongroom.services.configuration.service import ConfigurationService

PARAMETER = "eventlog.signing_key"
_SEED_BYTES = 32


def find_signer(configuration: ConfigurationService, node_id: str) -> LogSigner | None:
    """The signer of a node; None while the node has no configuration, or the configuration no signing key."""
    try:
        installation_id = configuration.document().installation_id
        value = configuration.open_secret(PARAMETER).reveal()
    except (NotFoundError, StateError):
        return None
    from strongroom.crypto.signing import SigningKey

    seed, former = value[:_SEED_BYTES], value[_SEED_BYTES:]
    return LogSigner(
        f"{labels.CHECKPOINT.decode()}{installation_id}/{node_id}",
        SigningKey(SecretBytes(seed)),
        SigningKey(SecretBytes(former)) if former else None,
    )


def renewed(configuration: ConfigurationService) -> bytes:
    """The value with a new key, and the present one behind it as the former one, if there is one."""
    return rng.new_key().reveal() + _value(configuration)[:_SEED_BYTES]


def drop_former(configuration: ConfigurationService) -> None:
    """Remove the former key from the value, once a checkpoint that both signed is on the disk."""
    value = _value(configuration)
    if len(value) > _SEED_BYTES:
        sealed = configuration.seal_secret(PARAMETER, value[:_SEED_BYTES])
        configuration.compare_and_put(lambda document: document.with_values({PARAMETER: sealed}))


def _value(configuration: ConfigurationService) -> bytes:
    try:
        return configuration.open_secret(PARAMETER).reveal()
    except NotFoundError:
        return b""
