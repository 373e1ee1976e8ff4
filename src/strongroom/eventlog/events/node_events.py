"""Events about nodes: how a node came, what it proved, what the nodes share (C-23)."""

from strongroom.eventlog import fitting
from strongroom.eventlog.base import SYSTEM, Detail, Event
from strongroom.eventlog.events.making import CLAIMED_BYTES, event

NODE_INITIALISED = "NODE_INITIALISED"
NODE_PREPARED = "NODE_PREPARED"
NODE_ADMITTED = "NODE_ADMITTED"
NODE_REFUSED = "NODE_REFUSED"
NODE_CREDENTIAL_WITHDRAWN = "NODE_CREDENTIAL_WITHDRAWN"
NODE_JOINED = "NODE_JOINED"
NODE_LEFT_OUT = "NODE_LEFT_OUT"
NODE_REMOVED = "NODE_REMOVED"
NODE_ROLE_SET = "NODE_ROLE_SET"
NODE_PROCESSES_SET = "NODE_PROCESSES_SET"
CONTROLLER_TAKEN = "CONTROLLER_TAKEN"
MAINTENANCE_ENTERED = "MAINTENANCE_ENTERED"
MAINTENANCE_LEFT = "MAINTENANCE_LEFT"
NODE_DRAINED = "NODE_DRAINED"
NODE_DRAINING = "NODE_DRAINING"
NODE_UNDRAINED = "NODE_UNDRAINED"
FORMATS_RAISED = "FORMATS_RAISED"
NODE_STALE = "NODE_STALE"
AUTHORITY_RENEWED = "AUTHORITY_RENEWED"
NODE_CERTIFIED = "NODE_CERTIFIED"
KMS_CHANGE_STAGED = "KMS_CHANGE_STAGED"
KMS_CHANGE_TRIED = "KMS_CHANGE_TRIED"
KMS_CHANGE_WITHDRAWN = "KMS_CHANGE_WITHDRAWN"
FORMAT_UPGRADED = "FORMAT_UPGRADED"
CLUSTER_ENABLED = "CLUSTER_ENABLED"
SERVICE_PASSWORD_CHANGING = "SERVICE_PASSWORD_CHANGING"  # noqa: S105 the name of an event
SERVICE_PASSWORD_CHANGED = "SERVICE_PASSWORD_CHANGED"  # noqa: S105
SERVICE_PASSWORD_WITHDRAWN = "SERVICE_PASSWORD_WITHDRAWN"  # noqa: S105
BOOTSTRAP_FILE_MADE = "BOOTSTRAP_FILE_MADE"


def node_initialised(actor: str, installation_id: str, node_id: str) -> Event:
    """A node was created."""
    return event(NODE_INITIALISED, actor, installation_id=installation_id, node_id=node_id)


def format_upgraded(actor: str, run: str, backup: str) -> Event:
    """The node was brought to the formats of this release; `backup` is the file made before it, or empty."""
    return event(FORMAT_UPGRADED, actor, run=run, backup=backup)


def cluster_enabled(actor: str, *, run: str, zookeeper: str, postgres: str) -> Event:
    """A single node has its entries in ZooKeeper and its rows in PostgreSQL from now on."""
    return event(CLUSTER_ENABLED, actor, run=run, zookeeper=zookeeper, postgres=postgres)


def service_password_changing(actor: str, service: str, user: str) -> Event:
    """A new password for a service of the cluster is sealed on the node, and the service hears of it next."""
    return event(SERVICE_PASSWORD_CHANGING, actor, service=service, user=user)


def service_password_changed(actor: str, service: str, user: str, *, made_by: str) -> Event:
    """A login proved the new password, which the node uses from now on; `made_by` is `strongroom` or `administrator`."""
    return event(SERVICE_PASSWORD_CHANGED, actor, service=service, user=user, made_by=made_by)


def service_password_withdrawn(actor: str, service: str, user: str) -> Event:
    """The service refuses the former password from now on, which a login proved."""
    return event(SERVICE_PASSWORD_WITHDRAWN, actor, service=service, user=user)


def bootstrap_file_made(
    actor: str,
    *,
    node_id: str,
    target: str,
    credential_id: str,
    expires_at: str,
    sealed: bool,
) -> Event:
    """A copy of the keystore was given out for a new node; `credential_id` is empty if the file holds no credential."""
    details: dict[str, Detail] = {"node_id": node_id, "target": target, "sealed": sealed}
    return event(
        BOOTSTRAP_FILE_MADE, actor, **details, credential_id=credential_id, expires_at=expires_at
    )


def node_prepared(
    actor: str, installation_id: str, node_id: str, *, server: str, fingerprint: str
) -> Event:
    """A node's directory was made from a bootstrap file that the identity with this fingerprint signed.

    `server` is the server that admitted the node, or empty so far; `fingerprint` is empty if nobody signed the file.
    """
    details: dict[str, Detail] = {"installation_id": installation_id, "node_id": node_id}
    return event(NODE_PREPARED, actor, **details, server=server, fingerprint=fingerprint)


def node_admitted(
    node_id: str, credential_id: str, *, fingerprint: str, again: bool, held_back: int
) -> Event:
    """A new node was admitted by its one-time credential, which is used up thereby; `fingerprint` is that of its keys.

    `again`: the node had been admitted before and repeated its request. At most ten repetitions a minute leave an
    event; `held_back` counts the repetitions since the last event that left none.
    """
    details: dict[str, Detail] = {"node_id": node_id, "credential_id": credential_id}
    details["fingerprint"] = fingerprint
    return event(NODE_ADMITTED, SYSTEM, **details, again=again, held_back=held_back)


def node_refused(node_id: str, credential_id: str, *, reason: str, held_back: int) -> Event:
    """A request for admission as a new node was refused; both ids are those that the request claimed.

    Strangers cause this event, so under an unknown or exhausted credential at most one a minute is written; `held_back`
    counts the refusals since the last event that left none.
    """
    claimed = {"node_id": node_id, "credential_id": credential_id}
    details = {name: fitting.text(value, CLAIMED_BYTES) for name, value in claimed.items()}
    return event(NODE_REFUSED, SYSTEM, **details, reason=reason, held_back=held_back)


def node_credential_withdrawn(actor: str, node_id: str, credential_id: str) -> Event:
    """The one-time credential of a new node was withdrawn: its bootstrap file could not be handed over."""
    return event(NODE_CREDENTIAL_WITHDRAWN, actor, node_id=node_id, credential_id=credential_id)


def node_joined(actor: str, node_id: str, *, fingerprint: str) -> Event:
    """A node has found its services and keys in order, and is active; `fingerprint` is that of its keys."""
    return event(NODE_JOINED, actor, node_id=node_id, fingerprint=fingerprint)


def node_left_out(actor: str, node_id: str) -> Event:
    """Keys are about to be changed without a node, which opens nothing any more by those that it has."""
    return event(NODE_LEFT_OUT, actor, node_id=node_id)


def node_removed(actor: str, node_id: str) -> Event:
    """An administrator takes a node out: the passwords of the services are changed without it."""
    return event(NODE_REMOVED, actor, node_id=node_id)


def node_role_set(actor: str, node_id: str, role: str) -> Event:
    """A node is about to get another role, by which its backgrounder works on jobs or leaves them to other nodes."""
    return event(NODE_ROLE_SET, actor, node_id=node_id, role=role)


def authority_renewed(actor: str, *, old: str, new: str) -> Event:
    """The internal authority is about to be another one; the fingerprints are those of both certificates."""
    return event(AUTHORITY_RENEWED, actor, old=old, new=new)


def node_certified(actor: str, node_id: str, *, fingerprint: str, ends_at: str) -> Event:
    """The internal authority has signed a certificate for a node, in the process of `actor`."""
    return event(NODE_CERTIFIED, actor, node_id=node_id, fingerprint=fingerprint, ends_at=ends_at)


def node_processes_set(actor: str, node_id: str, process: str, count: int) -> Event:
    """A node is about to run another number of processes of a kind: `web` or `backgrounder`."""
    return event(NODE_PROCESSES_SET, actor, node_id=node_id, process=process, count=count)


def controller_taken(node_id: str, epoch: int) -> Event:
    """A node of a cluster became its controller; `epoch` is the number of its lock, above that of every controller before."""
    return event(CONTROLLER_TAKEN, SYSTEM, node_id=node_id, epoch=epoch)


def maintenance_entered(actor: str, epoch: int, *, what: str, without: str) -> Event:
    """Maintenance number `epoch` is about to begin; `what` is the reason, `without` names nodes that are not waited for."""
    return event(MAINTENANCE_ENTERED, actor, epoch=epoch, what=what, without=without)


def maintenance_left(actor: str, epoch: int) -> Event:
    """Maintenance number `epoch` is about to end."""
    return event(MAINTENANCE_LEFT, actor, epoch=epoch)


def node_draining(actor: str, node_id: str, epoch: int, *, what: str) -> Event:
    """A node alone is about to be drained, for the time number `epoch`; `what` is the reason."""
    return event(NODE_DRAINING, actor, node_id=node_id, epoch=epoch, what=what)


def node_undrained(actor: str, node_id: str, epoch: int) -> Event:
    """A node that was drained alone is about to serve again."""
    return event(NODE_UNDRAINED, actor, node_id=node_id, epoch=epoch)


def node_drained(node_id: str, epoch: int, *, cut: int) -> Event:
    """A node serves no client and works on no job, for the time number `epoch`; `cut` requests did not end in time."""
    return event(NODE_DRAINED, SYSTEM, node_id=node_id, epoch=epoch, cut=cut)


def formats_raised(actor: str, *, min_version: str, formats: str) -> Event:
    """Formats that every node of the cluster knows are about to be switched on; none older than `min_version` is controller."""
    return event(FORMATS_RAISED, actor, min_version=min_version, formats=formats)


def node_stale(actor: str, node_id: str) -> Event:
    """The KMS store is about to be changed without a node, which must prove that it opens the store before it serves."""
    return event(NODE_STALE, actor, node_id=node_id)


def kms_change_staged(actor: str, change_id: str, *, epoch: int, nodes: str) -> Event:
    """A KMS store was staged, for `nodes` to open it by their own access to its root before it comes into force."""
    return event(KMS_CHANGE_STAGED, actor, change_id=change_id, epoch=epoch, nodes=nodes)


def kms_change_tried(change_id: str, *, epoch: int, cause: str) -> Event:
    """This node has tried a staged KMS store and said so; `cause` is empty if it opens the store."""
    return event(KMS_CHANGE_TRIED, SYSTEM, change_id=change_id, epoch=epoch, cause=cause)


def kms_change_withdrawn(actor: str, change_id: str, *, epoch: int, cause: str) -> Event:
    """A staged KMS store was withdrawn: the present one stays in force, and the epoch is used up."""
    return event(KMS_CHANGE_WITHDRAWN, actor, change_id=change_id, epoch=epoch, cause=cause)
