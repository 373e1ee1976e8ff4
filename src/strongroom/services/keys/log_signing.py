"""Makes the signer of a node's event log (format/events.md §5.2), and renews the key in the configuration.

A node of a cluster signs by a key that it alone has, whose changes are the business of `services/nodes/log_key.py`.
"""

from typing import TYPE_CHECKING

from strongroom.crypto import labels, rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import NotFoundError, StateError
from strongroom.eventlog.notes import LogSigner, Verifier
from strongroom.services.configuration.present import PresentConfiguration

if TYPE_CHECKING:
    from strongroom.crypto.signing import SigningKey
    from strongroom.joining.node_keys import LogKey, NodeKeys

PARAMETER = "eventlog.signing_key"
_SEED_BYTES = 32


def find_signer(configuration: PresentConfiguration, node_id: str) -> LogSigner | None:
    """The signer of a node; None while the node has no configuration, or the configuration no signing key."""
    try:
        installation_id = configuration.document().installation_id
        value = configuration.open_secret(PARAMETER).reveal()
    except (NotFoundError, StateError):
        return None
    from strongroom.crypto.signing import SigningKey

    seed, former = value[:_SEED_BYTES], value[_SEED_BYTES:]
    return LogSigner(
        origin(installation_id, node_id),
        SigningKey(SecretBytes(seed)),
        SigningKey(SecretBytes(former)) if former else None,
    )


def own_signer(configuration: PresentConfiguration, keys: "NodeKeys", log: "LogKey") -> LogSigner:
    """The signer of a node that has a key of its own; the configuration is opened only while its key is the one before.

    Raises:
        StrongroomError: The configuration's key is the one before, and cannot be opened. Without it the present
            checkpoint would look forged.
    """
    name = origin(keys.installation_id, keys.node_id)
    return LogSigner(name, log.signing, _former(configuration, log, name))


def _former(
    configuration: PresentConfiguration, log: "LogKey", name: str
) -> "SigningKey | Verifier | None":
    if log.former is None:
        return None
    from strongroom.crypto.signing import SigningKey

    kind, key = log.former
    if kind.value == "lost":
        return Verifier(name, key.reveal())
    if kind.value == "configuration":
        key = SecretBytes(configuration.open_secret(PARAMETER).reveal()[:_SEED_BYTES])
    return SigningKey(key)


def origin(installation_id: str, node_id: str) -> str:
    """The name of a node's log, and of the key that signs it."""
    return f"{labels.CHECKPOINT.decode()}{installation_id}/{node_id}"


def renewed(configuration: PresentConfiguration) -> bytes:
    """The value with a new key, and the present one behind it as the former one, if there is one."""
    return rng.new_key().reveal() + _value(configuration)[:_SEED_BYTES]


def drop_former(configuration: PresentConfiguration) -> None:
    """Remove the former key from the value, once a checkpoint that both signed is on the disk."""
    value = _value(configuration)
    if len(value) > _SEED_BYTES:
        sealed = configuration.seal_secret(PARAMETER, value[:_SEED_BYTES])
        configuration.compare_and_put(lambda document: document.with_values({PARAMETER: sealed}))


def _value(configuration: PresentConfiguration) -> bytes:
    try:
        return configuration.open_secret(PARAMETER).reveal()
    except NotFoundError:
        return b""
