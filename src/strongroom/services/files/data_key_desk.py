"""Data keys for programs that encrypt and decrypt by themselves: one of one file at a time, never a MEK (format/data-keys.md).

The doors that others reach have this service; each call names its subject. The node's own commands have
`StandaloneFiles`, which handles the bytes as well.
"""

from collections.abc import Callable

from strongroom.access import permissions
from strongroom.access.permissions import Action, Subject
from strongroom.crypto.secret import SecretBytes
from strongroom.envelope.header import DEFAULT_SEGMENT_BYTES, Placement
from strongroom.envelope.keys import EnvelopeKeys
from strongroom.envelope.pages import parse_alone, serialize
from strongroom.errors import PermissionDeniedError
from strongroom.eventlog.base import EventLog
from strongroom.eventlog.events import extract_events
from strongroom.services.files.sealed_outside import Changing, SealedOutside


class DataKeyDesk:
    """Generates and unwraps data keys of standalone files for a subject.

    Args:
        keys: Wraps and unwraps data keys.
        event_log: Every key that leaves has its event there first (data-keys.md 1.4).
        changing: The lock under which keys change.
        is_offered: Whether keys are given to users over the network now (data-keys.md 1.3); the owner of the data
            directory needs no such leave.
    """

    def __init__(
        self,
        keys: EnvelopeKeys,
        event_log: EventLog,
        changing: Changing,
        is_offered: Callable[[], bool],
    ) -> None:
        self._keys, self._event_log, self._is_offered = keys, event_log, is_offered
        self._outside = SealedOutside(keys, event_log, changing)

    def generate(
        self, subject: Subject, *, segment_bytes: int = DEFAULT_SEGMENT_BYTES
    ) -> tuple[bytes, SecretBytes]:
        """The header of a new file, and its data key of 32 bytes.

        Raises:
            PermissionDeniedError: The subject may not, or keys are not given out over the network.
            FormatError: The segments' size is not allowed.
            ConflictError: The MEK was retired meanwhile; another try takes the one that encrypts now.
        """
        self._check(subject)
        header, dek = self._keys.new_envelope(Placement.standalone(), segment_bytes=segment_bytes)
        mek_id, file_id = header.newest.mek_id, header.prelude.file_id.hex()
        self._outside.tell_one(
            mek_id, extract_events.data_key_generated(subject.actor, file_id, mek_id)
        )
        return serialize(header), dek

    def unwrap(self, subject: Subject, page: bytes) -> SecretBytes:
        """The data key of a header.

        Raises:
            PermissionDeniedError: The subject may not have data keys, or the node gives none out over the network.
            FormatError: The bytes are not a header.
            IntegrityError: The header does not authenticate, or belongs to an extract of a site (data-keys.md 1.2).
            KeyNotFoundError: The node has none of the MEKs that the header names.
        """
        self._check(subject)
        header = parse_alone(page)
        opened = self._keys.open_envelope(header, Placement.standalone())
        file_id, mek_id = header.prelude.file_id.hex(), opened.slot.mek_id
        told = extract_events.data_key_unwrapped(subject.actor, file_id, mek_id)
        self._event_log.append([told])
        return opened.dek

    def _check(self, subject: Subject) -> None:
        permissions.check(subject, Action.USE_DATA_KEYS)
        if subject.user_id and not self._is_offered():
            raise PermissionDeniedError(
                "this node gives no data keys over the network",
                hint="its administrator sets gateway.data_keys to true",
            )
