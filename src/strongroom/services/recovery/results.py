"""The results of a drill and of a recovery: ids, never keys."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Drilled:
    """The result of a drill; ids only, no keys.

    Attributes:
        kind: Kind of the recovery root.
        recipient: The recipient whose identity opened the node.
        wrap_id: The wrap of the RMK that opened.
        rmk_id: The RMK.
        meks: How many MEKs opened.
        configuration_keys: Ids of the configuration keys that opened.
        not_opened: Ids of the configuration keys that did not.
        not_noted: Why the time of the drill could not be stored; empty if it was, or was not wanted.
        fingerprint: Fingerprint of the identity in the data directory; empty without one.
    """

    kind: str
    recipient: str
    wrap_id: str
    rmk_id: str
    meks: int
    configuration_keys: tuple[str, ...]
    not_noted: str = ""
    not_opened: tuple[str, ...] = ()
    fingerprint: str = ""


@dataclass(frozen=True)
class Recovered:
    """The result of a recovery.

    Attributes:
        done: Whether anything had to be recovered.
        keystore_renewed: Whether a new keystore was made.
        rmk_id: The RMK from now on.
        mek_id: The MEK that encrypts from now on.
        adopted: MEKs of closed stores that the identity opened, available again.
        left: Configuration keys that no identity and no keystore opened; their records are kept in `*.lost-<time>`.
        configuration_key_id: The configuration key from now on.
        fingerprint: Fingerprint of the identity in the data directory; empty without one.
        node_keys_renewed: Whether the node had lost the keys that it alone has, and has new ones.
    """

    done: bool
    keystore_renewed: bool
    rmk_id: str
    mek_id: str
    adopted: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    configuration_key_id: str = ""
    fingerprint: str = ""
    node_keys_renewed: bool = False
