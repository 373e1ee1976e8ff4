"""Checks certificate, chain and key of the HTTPS listener at apply, and again for `status`, as they expire (K18).

A bad certificate that is applied would be noticed at the next restart, when HTTPS does not come up; so it is refused
before.
"""

import ssl
from collections.abc import Callable, Collection

from strongroom.clock import Clock
from strongroom.crypto import tls_material
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, NotFoundError, StateError, StrongroomError, UsageError
from strongroom.services.configuration.present import PresentConfiguration
from strongroom.system import durable

CERTIFICATE = "ssl.cert.file_bytes"
CHAIN = "ssl.chain.file_bytes"
KEY = "ssl.key.file_bytes"
PASSPHRASE = "ssl.key.passphrase"  # noqa: S105 a parameter's name
PORT = "gateway.https.port"
_NAMES = frozenset({CERTIFICATE, CHAIN, KEY, PASSPHRASE})
_SEARCH = "indexandsearchserver.ssl."
_ROLES = ("root", "admin", "node")
_TURNS = 10
_NOTHING = SecretBytes(b"")

Find = Callable[[str], SecretBytes | None]
"""Returns a parameter's value, or None if the parameter is not set."""


def check_changes(names: Collection[str], find: Find, clock: Clock) -> None:
    """Refuse changes that would end HTTPS, or give a component a key that does not belong to its certificate.

    Args:
        names: The parameters that change.
        find: Returns the value that a parameter would have after the change.
        clock: Gives the present.

    Raises:
        UsageError: The changes may not be applied; the message says why.
    """
    try:
        if _NAMES & set(names):
            check(find, clock)
        for role in _ROLES:
            stem = f"{_SEARCH}{role}"
            pair = (f"{stem}.cert.bytes", f"{stem}.key.file_bytes")
            certificate, key = map(find, pair)
            if set(pair) & set(names) and certificate is not None and key is not None:
                _check_pair(stem, certificate, key)
    except StateError as error:
        raise UsageError(f"nothing was applied: {error.message}", hint=error.hint) from error


def check(find: Find, clock: Clock) -> None:
    """Refuse material with which HTTPS could not be served; without both certificate and key, nothing is checked.

    Raises:
        StateError: The material does not work; the message says why.
    """
    certificate, key = find(CERTIFICATE), find(KEY)
    if certificate is None or key is None:
        return
    chain, passphrase = find(CHAIN) or _NOTHING, find(PASSPHRASE) or _NOTHING
    try:
        tls_material.check(certificate.reveal(), chain.reveal(), key, passphrase, clock.now())
        _shake_hands(bundle(certificate, chain, key), passphrase)
    except FormatError as error:
        raise StateError(
            f"HTTPS cannot be served: {error.message}",
            hint=f"set {CERTIFICATE}, {CHAIN}, {KEY} and {PASSPHRASE} so that they belong together, in one transaction",
        ) from error


def problem(configuration: PresentConfiguration, clock: Clock) -> str:
    """A sentence on why HTTPS is configured and cannot be served now; empty if HTTPS works, or is not configured.

    Raises:
        StrongroomError: The configuration does not open.
    """
    port = configuration.effective(PORT)
    if not port:
        return ""

    def find(name: str) -> SecretBytes | None:
        try:
            return configuration.open_secret(name)
        except NotFoundError:
            return None

    missing = [name for name in (CERTIFICATE, KEY) if find(name) is None]
    if missing:
        return f"HTTPS on port {port} has no {' and no '.join(missing)}"
    try:
        check(find, clock)
    except StateError as error:
        return error.message
    return ""


def problem_now(configuration: PresentConfiguration, clock: Clock) -> str:
    """As `problem`; empty as well if the configuration does not open, which the status reports as a problem of keys."""
    try:
        return problem(configuration, clock)
    except StrongroomError:
        return ""


def bundle(certificate: SecretBytes, chain: SecretBytes, key: SecretBytes) -> SecretBytes:
    """Certificate, chain and key in one PEM text, as the TLS library takes them, each without a byte order mark."""
    parts = (tls_material.without_mark(one.reveal()) for one in (certificate, chain, key))
    return SecretBytes(b"\n".join((*parts, b"")))


def _check_pair(stem: str, certificate: SecretBytes, key: SecretBytes) -> None:
    try:
        tls_material.check_key(certificate.reveal(), key)
    except FormatError as error:
        raise StateError(
            f"{stem}.*: {error.message}", hint="set certificate and key in one transaction"
        ) from error


def _shake_hands(pem: SecretBytes, passphrase: SecretBytes) -> None:
    """Make a TLS handshake in memory, with a client that trusts every certificate.

    This finds what no check of ours knows: a key that the TLS library refuses, or a signature algorithm that it has
    disabled.
    """
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    try:
        with durable.in_memory(pem.reveal()) as path:
            # without a passphrase the library would ask a terminal for one
            server.load_cert_chain(path, password=passphrase.reveal)
        up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
        sides = [client.wrap_bio(down, up), server.wrap_bio(up, down, server_side=True)]
        for turn in range(_TURNS):
            for side in sides:
                try:
                    side.do_handshake()
                except ssl.SSLWantReadError:
                    if turn == _TURNS - 1:
                        raise
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", "") or "it does not take the key"
        raise FormatError(
            f"the TLS library refuses the certificate or its key ({reason})"
        ) from None
