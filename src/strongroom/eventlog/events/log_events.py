"""Events about the event log itself, and about the state that its anchors are compared with (C-23)."""

from collections.abc import Iterable, Sequence

from strongroom.eventlog.base import SYSTEM, Detail, Event
from strongroom.eventlog.events.making import event, events

EVENT_LOG_TORN = "EVENT_LOG_TORN"
EVENT_LOG_SIGNED = "EVENT_LOG_SIGNED"
EVENT_LOG_UNSIGNED = "EVENT_LOG_UNSIGNED"
EVENT_LOG_REKEYED = "EVENT_LOG_REKEYED"
EVENT_LOG_KEY_REGISTERED = "EVENT_LOG_KEY_REGISTERED"
EVENT_LOG_KEY_RECOVERED = "EVENT_LOG_KEY_RECOVERED"
EVENT_LOG_ACKNOWLEDGED = "EVENT_LOG_ACKNOWLEDGED"
EVENT_LOG_ARCHIVED = "EVENT_LOG_ARCHIVED"
LOG_HEAD_WITNESSED = "LOG_HEAD_WITNESSED"
LOG_HEAD_REFUSED = "LOG_HEAD_REFUSED"
LOG_HEAD_ACCEPTED = "LOG_HEAD_ACCEPTED"
STATE_ACCEPTED = "STATE_ACCEPTED"


def event_log_torn(*, offset: int, size: int, sha256: str, file: str) -> Event:
    """Bytes at the end of the event log were no valid line; they were moved to `file`, as after a power cut."""
    return event(EVENT_LOG_TORN, SYSTEM, offset=offset, bytes=size, sha256=sha256, file=file)


def event_log_signed(key: str, lines: int) -> Event:
    """Signing of the log began, or began again, when the log had `lines` lines (format/events.md 5.4)."""
    return event(EVENT_LOG_SIGNED, SYSTEM, key=key, lines=lines)


def event_log_unsigned(*, first: int, last: int) -> Event:
    """Lines `first` to `last` had no checkpoint when they were found: their writer died, or was no strongroom process."""
    return event(EVENT_LOG_UNSIGNED, SYSTEM, first=first, last=last)


def event_log_rekeyed(key: str, former: str, lines: int) -> Event:
    """Another key signs the log from now on; the checkpoint of this line is signed by the former one, too, unless lost."""
    return event(EVENT_LOG_REKEYED, SYSTEM, key=key, former=former, lines=lines)


def event_log_key_registered(actor: str, node_id: str, *, key: str) -> Event:
    """A node of a cluster signs its event log by a key that it alone has, and says so in the registry."""
    return event(EVENT_LOG_KEY_REGISTERED, actor, node_id=node_id, key=key)


def event_log_key_recovered(
    actor: str, *, key: str, former: str, lines: int, signature: str
) -> Event:
    """A node lost the keys that it alone had, and has new ones; `signature` is the identity's statement `log-key`."""
    return event(
        EVENT_LOG_KEY_RECOVERED,
        actor,
        key=key,
        former=former,
        lines=lines,
        signature=signature,
    )


def event_log_acknowledged(
    actor: str, *, acknowledged: Iterable[str], reason: str
) -> tuple[Event, ...]:
    """An administrator has read what the event log could not prove by itself, and says why it is right.

    `acknowledged` names it, with blanks between: `35-37` for lines that were signed later than they were written, the
    file of an archived log that is not there, or is not whole. Where that does not fit into one event there are several,
    and each says which `part` it is.
    """
    return events(EVENT_LOG_ACKNOWLEDGED, actor, {"reason": reason}, "acknowledged", acknowledged)


def event_log_archived(  # noqa: PLR0913 each is a field of the event
    actor: str,
    *,
    file: str,
    seq: int,
    sha256: str,
    size: int,
    root: str,
    whole: bool,
    reason: str,
) -> Event:
    """The log before this one was moved to `file`; `last` and `sha256` are number and digest of its last valid line.

    `size` and `root` are the number of all its lines and the root of the tree over them; `whole` is whether those that
    were signed were as they were signed.
    """
    details: dict[str, Detail] = {"file": file, "last": seq, "sha256": sha256, "size": size}
    return event(EVENT_LOG_ARCHIVED, actor, **details, root=root, whole=whole, reason=reason)


def log_head_witnessed(node: str, *, lines: int, root: str) -> Event:
    """The node cosigned a head of another node's event log for the first time; from there on that log must go on."""
    return event(LOG_HEAD_WITNESSED, SYSTEM, node=node, lines=lines, root=root)


def log_head_refused(node: str, *, known: int, cause: str) -> Event:
    """A head of another node's event log does not go on from the `known` lines that were witnessed, and is not cosigned."""
    return event(LOG_HEAD_REFUSED, SYSTEM, node=node, known=known, cause=cause)


def log_head_accepted(actor: str, node: str, *, known: int, reason: str) -> Event:
    """An administrator had the node forget the `known` lines of another node's event log that it had witnessed."""
    return event(LOG_HEAD_ACCEPTED, actor, node=node, known=known, reason=reason)


def state_accepted(
    actor: str, *, reason: str, findings: Sequence[str], version: int, epoch: int, digest: str
) -> Event:
    """The state of the node counts from now on as it is, though it contradicted its anchors as `findings` says.

    `version` is that of the configuration, `epoch` and `sha256` are those of its KMS store; 0 and empty if nothing can be
    read.
    """
    told = "; ".join(findings)
    return event(
        STATE_ACCEPTED,
        actor,
        reason=reason,
        findings=told,
        version=version,
        epoch=epoch,
        sha256=digest,
    )
