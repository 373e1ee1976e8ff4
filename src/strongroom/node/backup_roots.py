"""Checks the settings of roots in a backup before any of the roots is asked; a part of `node.backup`.

An attacker may have written the backup, and a TCTI or a PKCS#11 module of the attacker's choice would run the
attacker's code. So no option is taken that the root's own `settings` did not check. The check itself sends no request.
"""

from strongroom.errors import FormatError, StateError, StrongroomError
from strongroom.roots import addresses, registry
from strongroom.roots.settings import RootSettings


def checked(root: RootSettings) -> RootSettings:
    """The settings, made anew by the module of their kind.

    Raises:
        StrongroomError: The settings are malformed, or may not be taken from a backup.
    """
    make = registry.find(root.kind).of_backup
    try:
        made = make(root) if make else None
    except (TypeError, AttributeError, ValueError, LookupError) as error:
        raise FormatError(f"the {root.kind} root of the backup has no proper settings") from error
    if made is None:
        raise _refused(root)
    if addresses.respelled(made.root_key_id) != addresses.respelled(root.root_key_id):
        raise FormatError(f"the {root.kind} root of the backup has settings of another key")
    # the other names of the key are only compared with those in wraps, so no request goes where they point
    return made.also_as((root.root_key_id, *root.known_as))


def _refused(root: RootSettings) -> StrongroomError:
    return StateError(
        f"how to reach the {root.kind} root is not taken from a backup: it would choose what runs here",
        hint="set the root up here: 'tsm security kms roots add', then restore again",
    )
