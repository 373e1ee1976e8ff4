"""TLS of the control service: version 1.3 only, no tickets, and a sentence for each way in which it fails (certificates.md 5)."""

import socket
import ssl
from typing import Final

from strongroom.errors import LinkError, PermissionDeniedError, StateError, StrongroomError
from strongroom.services.nodes.links import Material
from strongroom.system import disk, durable

_CLOCKS: Final = (
    "compare the clocks of both machines ('strongroom cluster check'),"
    " then look at the certificate: 'strongroom cluster list-certificates'"
)
_RENEW: Final = (
    "start that node with its services, which renews it;"
    " without them: 'strongroom cluster renew --offline' there"
)
_OTHER: Final = (
    "it may be another installation's, or the authority was renewed: compare the fingerprints"
)
_EXPIRED, _NOT_YET = 10, 9
"""X509_V_ERR_CERT_HAS_EXPIRED and X509_V_ERR_CERT_NOT_YET_VALID of the TLS library."""
_ALERTS: Final = {
    "CERTIFICATE_EXPIRED": (
        "has ended, or is not valid as yet, by the clock of that machine",
        _CLOCKS,
    ),
    "UNKNOWN_CA": ("is of an authority that it does not believe", _OTHER),
    "BAD_CERTIFICATE": ("is not valid as yet, or damaged, by its words", _CLOCKS),
    "CERTIFICATE_UNKNOWN": ("is not accepted", _OTHER),
    "CERTIFICATE_REVOKED": ("is not accepted", _OTHER),
}


def server_context(material: Material) -> ssl.SSLContext:
    """The context of the service: it shows this node's certificate, and checks one that a caller shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_OPTIONAL
    # a resumed session would bring its certificate along without a look at its end
    context.num_tickets = 0
    return _filled(context, material)


def client_context(material: Material) -> ssl.SSLContext:
    """The context of a node that calls another one; whose certificate that is, the caller compares itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # the name is an id of a node, in an address of the certificate that the TLS library does not compare
    context.check_hostname = False
    return _filled(context, material)


def trusting_context(authorities: str | None) -> ssl.SSLContext:
    """The context of a person who shows no certificate; without authorities it believes whoever answers, for one look."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if authorities is None:
        context.verify_mode = ssl.CERT_NONE
        return context
    _believe(context, authorities)
    return context


def _filled(context: ssl.SSLContext, material: Material) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    _believe(context, material.believed)
    with durable.in_memory(material.shown.reveal()) as path:
        context.load_cert_chain(path)
    return context


def _believe(context: ssl.SSLContext, authorities: str) -> None:
    try:
        context.load_verify_locations(cadata=authorities)
    except (ssl.SSLError, ValueError) as error:
        raise StateError(
            "the certificate of the authority cannot be used",
            hint="it must be a certificate in PEM",
        ) from error


def refused_caller(error: Exception) -> str:
    """Why the service refused a handshake, in words for its log."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "it did not finish the handshake in time"
    reason = getattr(error, "reason", None) or ""
    if "VERSION" in reason or "PROTOCOL" in reason:
        return "it does not speak TLS 1.3"
    if not reason and isinstance(error, OSError):
        reason = disk.reason(error)
    return f"the handshake failed: {reason or error}"


def problem(error: OSError, who: str, address: str) -> StrongroomError:
    """The failure of a call, in a sentence that names the node and the cause.

    Args:
        error: The error of the socket or of the TLS library.
        who: The node, or `the node`.
        address: The place that was called.
    """
    place = f"{who} at {address}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return _unbelieved(error, place)
    reason = (getattr(error, "reason", None) or "") if isinstance(error, ssl.SSLError) else ""
    for alert, (words, hint) in _ALERTS.items():
        if alert in reason:
            return PermissionDeniedError(
                f"{place} refuses the certificate of this machine: it {words}", hint=hint
            )
    if "VERSION" in reason or "PROTOCOL" in reason or "RECORD" in reason or "HTTP" in reason:
        return LinkError(
            f"{place} does not speak TLS 1.3", hint="name the port of its control service"
        )
    if isinstance(error, TimeoutError):
        return LinkError(
            f"{place} did not answer in time", hint="look whether it runs, and what is between"
        )
    if isinstance(error, socket.gaierror):
        return LinkError(f"{place} is not found: the name has no address", hint="compare the name")
    return LinkError(
        f"{place} cannot be reached: {reason or disk.reason(error)}",
        hint="look whether 'strongroom serve --control-port' runs there, and what is between",
    )


def _unbelieved(error: ssl.SSLCertVerificationError, place: str) -> StrongroomError:
    if error.verify_code == _EXPIRED:
        return PermissionDeniedError(
            f"{place} shows a certificate that has ended, by the clock of this machine",
            hint=f"{_RENEW}; or {_CLOCKS}",
        )
    if error.verify_code == _NOT_YET:
        return PermissionDeniedError(
            f"{place} shows a certificate that is not valid as yet, by the clock of this machine",
            hint=_CLOCKS,
        )
    return PermissionDeniedError(
        f"{place} shows a certificate of another authority: {error.verify_message}", hint=_OTHER
    )
