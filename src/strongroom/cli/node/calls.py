"""Calls from this node to the others, by the certificate of the one and the address that the other named."""

import base64
import hashlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from strongroom.cli.terminal.session import Session
from strongroom.errors import FormatError, IntegrityError, LinkError

if TYPE_CHECKING:
    from strongroom.doors.control.remote_client import Called
    from strongroom.joining.shown_certificates import ShownCertificates
    from strongroom.services.backups.own_part import PartSeen, Write

_FILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_MOST_FILES: Final = 5000


def called(session: Session, one: "ShownCertificates") -> "Called":
    """A node that is called.

    Raises:
        LinkError: The node has no control service.
    """
    from strongroom.doors.control import remote_tls
    from strongroom.doors.control.remote_client import Called
    from strongroom.node import certificates
    from strongroom.system import hosts

    if not one.address:
        raise _no_service(one.node_id)
    links = certificates.links(session.whole_node)
    return Called(
        one.node_id,
        hosts.endpoint(one.address),
        remote_tls.client_context(links.material()),
        lambda certificate: links.check(one.node_id, certificate),
    )


class OtherPart:
    """The part of a backup that another node alone has, asked of that node."""

    def __init__(self, session: Session, node_id: str) -> None:
        from strongroom.node import certificates

        shown = certificates.service(session.whole_node).shown_by(node_id)
        if shown is None:
            raise _no_service(node_id)
        self._node_id, self._called = node_id, called(session, shown)

    def describe(self) -> "PartSeen":
        """The files, and the keys."""
        from strongroom.joining.node_reports import KeysSeen
        from strongroom.services.backups.own_part import PartSeen

        try:
            found = self._ask("backup.part", {}, lambda _: None)
            keys = KeysSeen(str(found["keys"]["id"]), int(found["keys"]["generation"]))
            names = tuple(map(str, found["files"]))
        except (KeyError, TypeError, ValueError) as error:
            raise self._strange() from error
        # the names become entries of an archive, and paths on this machine
        if len({name.lower() for name in names}) < len(names) or len(names) > _MOST_FILES:
            raise self._strange()
        if not all(map(_FILE_NAME.fullmatch, names)):
            raise self._strange()
        return PartSeen(names, keys)

    def copy(self, name: str, write: "Write") -> None:
        """Write a file piece by piece."""
        digest = hashlib.sha256()

        def take(message: Mapping[str, str]) -> None:
            piece = base64.b64decode(message["say"], validate=True)
            digest.update(piece)
            write(piece)

        try:
            found = self._ask("backup.copy", {"name": name}, take)
            is_whole = found["sha256"] == digest.hexdigest()
        except (KeyError, TypeError, ValueError) as error:
            raise self._strange() from error
        if not is_whole:
            raise IntegrityError(f"{self._node_id} gave other bytes of {name} than it has")

    def _ask(self, verb: str, arguments: Mapping[str, str], report: Any) -> Mapping[str, Any]:
        answer = self._called.ask({"verb": verb, "arguments": dict(arguments)}, report)
        found: Mapping[str, Any] = answer["result"]
        return found

    def _strange(self) -> FormatError:
        return FormatError(
            f"{self._node_id} answers something else than its part of a backup",
            hint="compare the versions: 'strongroom cluster check'",
        )


def _no_service(node_id: str) -> LinkError:
    return LinkError(
        f"{node_id} has no control service that could be asked",
        hint="set control.port, apply it, and start that node again",
    )
