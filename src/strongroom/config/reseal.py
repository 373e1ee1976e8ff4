"""Encrypts all secrets of a configuration under a new configuration key (C-24); pure."""

from collections.abc import Callable, Mapping

from strongroom.config.document import ConfigDocument
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import StateError
from strongroom.secrets import catalog as secrets
from strongroom.secrets import committed, enc
from strongroom.secrets.committed import ValueKey


def reseal_all(
    document: ConfigDocument,
    open_key: Callable[[str], SecretBytes],
    new_key: SecretBytes,
    new_key_id: str,
    regenerated: Mapping[str, bytes],
) -> ConfigDocument:
    """The next version, with every secret sealed under the new key and that key named as active.

    Args:
        document: The present configuration; its values may be sealed under several older keys.
        open_key: Returns the configuration key of an id.
        new_key: The new configuration key.
        new_key_id: Id of the new configuration key.
        regenerated: New values by name; every other secret keeps its value.

    Raises:
        IntegrityError: A present value does not open.
    """
    opened = {
        name: committed.open_text(document.installation_id, open_key, name, text)
        for name, text in document.values.items()
        if secrets.is_secret(name) and name not in regenerated
    }
    key = ValueKey(document.installation_id, new_key_id, new_key)
    sealed = {name: key.seal(name, value) for name, value in {**opened, **regenerated}.items()}
    return document.with_values(sealed, configuration_key_id=new_key_id)


def key_ids_in(values: Mapping[str, str | None]) -> frozenset[str]:
    """The ids of the configuration keys that the encrypted values among these texts need."""
    return frozenset(
        committed.key_id_of(text)
        for text in values.values()
        if text is not None and enc.is_enc(text)
    )


def check_sealed(document: ConfigDocument) -> None:
    """Refuse a document in which a secret is not encrypted, or an ordinary value poses as one.

    Raises:
        StateError: The document has such a value; the message names its parameter, and does not quote it.
    """
    for name, text in document.values.items():
        if secrets.is_secret(name) != enc.is_enc(text):
            raise StateError(
                f"the value of {name!r} must {'' if secrets.is_secret(name) else 'not '}be encrypted",
                hint="this is an error in the program; nothing was changed",
            )
