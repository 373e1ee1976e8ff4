"""The catalogue of events about keys and secrets: their ids, and one function that makes each (C-23).

An event is made by its function only, so that it always carries the same details, and never a key or a secret's value.
An event that lists many names becomes several events when they do not fit into one line; a text that is too long for a
line is cut and ends with `…`.
"""

from collections.abc import Iterable, Sequence

from strongroom.eventlog import fitting
from strongroom.eventlog.base import Detail, Event

KEY_GENERATED = "KEY_GENERATED"
KEY_MOVED = "KEY_MOVED"
KEY_CHANGED = "KEY_CHANGED"
KEY_REMOVED = "KEY_REMOVED"
KEYSTORE_REPAIRED = "KEYSTORE_REPAIRED"
SECRET_ENCRYPTED = "SECRET_ENCRYPTED"  # noqa: S105 the name of an event, as the next line
SECRET_REVEALED = "SECRET_REVEALED"  # noqa: S105
SECRET_ROTATED = "SECRET_ROTATED"  # noqa: S105
SECRET_ROTATION_FAILED = "SECRET_ROTATION_FAILED"  # noqa: S105
KMS_MODE_CHANGED = "KMS_MODE_CHANGED"
KMS_STORE_CHANGING = "KMS_STORE_CHANGING"
KMS_STORE_CHANGED = "KMS_STORE_CHANGED"
KMS_STORE_ABANDONED = "KMS_STORE_ABANDONED"
KMS_EPOCH_ACCEPTED = "KMS_EPOCH_ACCEPTED"
ROOT_ADDED = "ROOT_ADDED"
ROOT_REMOVED = "ROOT_REMOVED"
ROOTS_VERIFIED = "ROOTS_VERIFIED"
ROOT_REACHED_ANEW = "ROOT_REACHED_ANEW"
RECOVERY_DRILLED = "RECOVERY_DRILLED"
NODE_RECOVERED = "NODE_RECOVERED"
MEK_ADOPTED = "MEK_ADOPTED"
RMK_UNWRAPPED = "RMK_UNWRAPPED"
MEK_RETIRED = "MEK_RETIRED"
EXTRACT_ENCRYPTED = "EXTRACT_ENCRYPTED"
EXTRACT_DECRYPTED = "EXTRACT_DECRYPTED"
EXTRACT_REKEYED = "EXTRACT_REKEYED"
EXTRACT_REWRAPPED = "EXTRACT_REWRAPPED"
EXTRACT_DELETED = "EXTRACT_DELETED"
DATA_KEY_REVEALED = "DATA_KEY_REVEALED"
DATA_KEY_GENERATED = "DATA_KEY_GENERATED"
DATA_KEY_UNWRAPPED = "DATA_KEY_UNWRAPPED"
FILE_ENCRYPTED = "FILE_ENCRYPTED"
FILE_DECRYPTED = "FILE_DECRYPTED"
FILE_REWRAPPED = "FILE_REWRAPPED"
SITE_CREATED = "SITE_CREATED"
SITE_MODE_CHANGED = "SITE_MODE_CHANGED"
SITE_DELETED = "SITE_DELETED"
USER_CREATED = "USER_CREATED"
USER_ROLE_CHANGED = "USER_ROLE_CHANGED"
USER_DELETED = "USER_DELETED"
PASSWORD_CHANGED = "PASSWORD_CHANGED"  # noqa: S105
SIGN_IN_UNLOCKED = "SIGN_IN_UNLOCKED"
TOKEN_CREATED = "TOKEN_CREATED"  # noqa: S105
TOKEN_REVOKED = "TOKEN_REVOKED"  # noqa: S105
SIGNED_IN = "SIGNED_IN"
SIGN_IN_FAILED = "SIGN_IN_FAILED"
CONFIGURATION_APPLIED = "CONFIGURATION_APPLIED"
JOB_QUEUED = "JOB_QUEUED"
JOB_FINISHED = "JOB_FINISHED"
JOB_CANCELLED = "JOB_CANCELLED"
NODE_INITIALISED = "NODE_INITIALISED"
NODE_PREPARED = "NODE_PREPARED"
NODE_ADMITTED = "NODE_ADMITTED"
NODE_REFUSED = "NODE_REFUSED"
NODE_CREDENTIAL_WITHDRAWN = "NODE_CREDENTIAL_WITHDRAWN"
NODE_JOINED = "NODE_JOINED"
NODE_LEFT_OUT = "NODE_LEFT_OUT"
NODE_REMOVED = "NODE_REMOVED"
NODE_ROLE_SET = "NODE_ROLE_SET"
NODE_STALE = "NODE_STALE"
KMS_CHANGE_STAGED = "KMS_CHANGE_STAGED"
KMS_CHANGE_TRIED = "KMS_CHANGE_TRIED"
KMS_CHANGE_WITHDRAWN = "KMS_CHANGE_WITHDRAWN"
FORMAT_UPGRADED = "FORMAT_UPGRADED"
CLUSTER_ENABLED = "CLUSTER_ENABLED"
EXTRACTS_MOVED = "EXTRACTS_MOVED"
SERVICE_PASSWORD_CHANGING = "SERVICE_PASSWORD_CHANGING"  # noqa: S105
SERVICE_PASSWORD_CHANGED = "SERVICE_PASSWORD_CHANGED"  # noqa: S105
SERVICE_PASSWORD_WITHDRAWN = "SERVICE_PASSWORD_WITHDRAWN"  # noqa: S105
IDENTITY_RENEWED = "IDENTITY_RENEWED"
BOOTSTRAP_FILE_MADE = "BOOTSTRAP_FILE_MADE"
EVENT_LOG_TORN = "EVENT_LOG_TORN"
EVENT_LOG_SIGNED = "EVENT_LOG_SIGNED"
EVENT_LOG_UNSIGNED = "EVENT_LOG_UNSIGNED"
EVENT_LOG_REKEYED = "EVENT_LOG_REKEYED"
EVENT_LOG_KEY_REGISTERED = "EVENT_LOG_KEY_REGISTERED"
EVENT_LOG_KEY_RECOVERED = "EVENT_LOG_KEY_RECOVERED"
EVENT_LOG_ACKNOWLEDGED = "EVENT_LOG_ACKNOWLEDGED"
EVENT_LOG_ARCHIVED = "EVENT_LOG_ARCHIVED"
STATE_ACCEPTED = "STATE_ACCEPTED"
IMPORT = "IMPORT"
EXPORT_PLAINTEXT = "EXPORT_PLAINTEXT"
EXPORT_SEALED = "EXPORT_SEALED"
EXPORT_WITHOUT_SECRETS = "EXPORT_WITHOUT_SECRETS"
RESTORE = "RESTORE"
BACKUP_MADE = "BACKUP_MADE"
BACKUP_VERIFIED = "BACKUP_VERIFIED"

_CLAIMED_BYTES = 128

SYSTEM = "system"  # the actor of events that the server causes itself, without a request


def key_generated(actor: str, kind: str, key_id: str) -> Event:
    """A new key; `kind` is such as `master key`, `configuration key`, `RMK`, `MEK`, `asset key`."""
    return _event(KEY_GENERATED, actor, kind=kind, key_id=key_id)


def key_moved(actor: str, kind: str, key_id: str, *, place: str) -> Event:
    """A key was copied or wrapped to another place: a replica's folder, another root."""
    return _event(KEY_MOVED, actor, kind=kind, key_id=key_id, place=place)


def key_changed(actor: str, kind: str, key_id: str, *, state: str) -> Event:
    """A key entered another state, such as `decrypt-only`."""
    return _event(KEY_CHANGED, actor, kind=kind, key_id=key_id, state=state)


def key_removed(actor: str, kind: str, key_id: str) -> Event:
    """A key that nothing needs any longer was removed."""
    return _event(KEY_REMOVED, actor, kind=kind, key_id=key_id)


def keystore_repaired(actor: str, *, files: int, kept: int) -> Event:
    """Replicas of the key files were replaced by those that open the configuration; `kept` copies lie beside them."""
    return _event(KEYSTORE_REPAIRED, actor, files=files, kept=kept)


def identity_renewed(actor: str, *, old: str, new: str, public: str, signature: str) -> Event:
    """The installation got another identity; `old` and `new` are fingerprints.

    `public` is the new public key and `signature` the old identity's statement about it, both in base64.
    """
    return _event(IDENTITY_RENEWED, actor, old=old, new=new, public=public, signature=signature)


def secret_encrypted(actor: str, parameter: str, key_id: str) -> Event:
    """A new value of a secret parameter was encrypted under a configuration key."""
    return _event(SECRET_ENCRYPTED, actor, parameter=parameter, key_id=key_id)


def secret_revealed(actor: str, parameter: str, *, reason: str = "") -> Event:
    """A secret parameter's value was shown; `reason` is the text that its reader gave."""
    return _event(SECRET_REVEALED, actor, parameter=parameter, reason=reason)


def secret_rotated(actor: str, parameter: str, consumer: str, *, step: str, version: int) -> Event:
    """A rotation of a secret made progress.

    Step `promoted`: the new value is in use. `withdrawn`: the component no longer accepts the old value. `taken-back`:
    no login succeeded with the new value, so the old one stays in use. `consumer` is empty where no component is
    configured that uses the secret. `version` is that of the configuration, which is never lower again
    (docs/format/anchor.md 3.5).
    """
    details: dict[str, Detail] = {"parameter": parameter, "consumer": consumer, "step": step}
    return _event(SECRET_ROTATED, actor, **details, version=version)


def secret_rotation_failed(
    actor: str, parameter: str, consumer: str, *, step: str, error: str, attempt: int
) -> Event:
    """A rotation stopped at `step`; `error` is the class of the error, `attempt` counts the attempts from 1."""
    details: dict[str, Detail] = {"parameter": parameter, "consumer": consumer, "step": step}
    return _event(SECRET_ROTATION_FAILED, actor, **details, error=error, attempt=attempt)


def kms_mode_changed(actor: str, *, before: str, after: str) -> Event:
    """Another root protects the RMK."""
    return _event(KMS_MODE_CHANGED, actor, before=before, after=after)


def kms_store_changing(actor: str, *, epoch: int, digest: str) -> Event:
    """A new version of the KMS store is about to be put; `KMS_STORE_CHANGED` says that it was."""
    return _event(KMS_STORE_CHANGING, actor, epoch=epoch, sha256=digest)


def kms_store_changed(actor: str, *, epoch: int, digest: str) -> Event:
    """There is a new version of the KMS store (docs/format/kms-store.md 4.3)."""
    return _event(KMS_STORE_CHANGED, actor, epoch=epoch, sha256=digest)


def kms_store_abandoned(actor: str, *, epoch: int, before: str, after: str) -> Event:
    """A KMS store that nothing opens was left behind; before and after are digests (docs/format/kms-store.md 6.3)."""
    return _event(KMS_STORE_ABANDONED, actor, epoch=epoch, before=before, after=after)


def kms_epoch_accepted(actor: str, *, epoch: int, digest: str) -> Event:
    """An administrator accepted a KMS store that does not follow from the last one this node has seen."""
    return _event(KMS_EPOCH_ACCEPTED, actor, epoch=epoch, sha256=digest)


def root_added(actor: str, kind: str, root_key_id: str) -> Event:
    """The RMK is wrapped by one root more."""
    return _event(ROOT_ADDED, actor, kind=kind, root_key_id=root_key_id)


def root_removed(actor: str, kind: str, root_key_id: str) -> Event:
    """The RMK is no longer wrapped by a root."""
    return _event(ROOT_REMOVED, actor, kind=kind, root_key_id=root_key_id)


def root_reached_anew(actor: str, kind: str, root_key_id: str) -> Event:
    """The settings by which a root is reached were replaced: another credential or address, the same root key."""
    return _event(ROOT_REACHED_ANEW, actor, kind=kind, root_key_id=root_key_id)


def roots_verified(actor: str, count: int) -> Event:
    """Each of `count` roots was asked to unwrap the RMK, and did."""
    return _event(ROOTS_VERIFIED, actor, count=count)


def recovery_drilled(actor: str, kind: str, root_key_id: str, *, rmk_id: str) -> Event:
    """An identity or shares were proved to open RMK and configuration keys, in memory; nothing was shown."""
    return _event(RECOVERY_DRILLED, actor, kind=kind, root_key_id=root_key_id, rmk_id=rmk_id)


def node_recovered(actor: str, kind: str, root_key_id: str, *, keystore: str) -> Event:
    """The node was opened by a recovery recipient's identity; `keystore` is `kept` or `renewed`."""
    return _event(NODE_RECOVERED, actor, kind=kind, root_key_id=root_key_id, keystore=keystore)


def meks_adopted(actor: str, mek_id: str) -> Event:
    """A MEK of a former store is available again."""
    return _event(MEK_ADOPTED, actor, mek_id=mek_id)


def rmk_unwrapped(actor: str, rmk_id: str, root: str) -> Event:
    """A root opened the RMK."""
    return _event(RMK_UNWRAPPED, actor, rmk_id=rmk_id, root=root)


def mek_retired(actor: str, mek_id: str) -> Event:
    """A MEK that nothing uses left the store."""
    return _event(MEK_RETIRED, actor, mek_id=mek_id)


def extract_encrypted(
    actor: str, site_id: str, extract_id: str, mek_id: str, *, size: int
) -> Event:
    """An extract was encrypted; `size` is in plaintext bytes."""
    return _extract(EXTRACT_ENCRYPTED, actor, site_id, extract_id, mek_id=mek_id, bytes=size)


def extract_decrypted(actor: str, site_id: str, extract_id: str, *, size: int) -> Event:
    """An extract was turned into plain data, for good."""
    return _extract(EXTRACT_DECRYPTED, actor, site_id, extract_id, bytes=size)


def extract_reencrypted(
    actor: str, site_id: str, extract_id: str, mek_id: str, *, size: int
) -> Event:
    """An extract got a new data key."""
    return _extract(EXTRACT_REKEYED, actor, site_id, extract_id, mek_id=mek_id, bytes=size)


def extract_rewrapped(
    actor: str, site_id: str, extract_id: str, *, before: str, after: str
) -> Event:
    """An extract's data key was wrapped by another MEK; the extract's bytes stay."""
    return _extract(EXTRACT_REWRAPPED, actor, site_id, extract_id, before=before, after=after)


def file_encrypted(actor: str, file_id: str, mek_id: str, *, size: int) -> Event:
    """A standalone file was encrypted; `size` is in plaintext bytes."""
    return _event(FILE_ENCRYPTED, actor, file_id=file_id, mek_id=mek_id, bytes=size)


def file_decrypted(actor: str, file_id: str, mek_id: str) -> Event:
    """A file was decrypted by a standalone command, which gave its content to the actor."""
    return _event(FILE_DECRYPTED, actor, file_id=file_id, mek_id=mek_id)


def file_rewrapped(actor: str, file_id: str, *, before: str, after: str) -> Event:
    """A file's data key was wrapped by another MEK by a standalone command."""
    return _event(FILE_REWRAPPED, actor, file_id=file_id, before=before, after=after)


def extract_deleted(actor: str, site_id: str, extract_id: str, *, file_id: str) -> Event:
    """An extract was deleted, and with its file the only wrapped copy of its data key; a plain one has no `file_id`."""
    return _extract(EXTRACT_DELETED, actor, site_id, extract_id, file_id=file_id)


def data_key_revealed(actor: str, file_id: str, mek_id: str) -> Event:
    """A file's data key was shown."""
    return _event(DATA_KEY_REVEALED, actor, file_id=file_id, mek_id=mek_id)


def data_key_generated(actor: str, file_id: str, mek_id: str) -> Event:
    """A client got a fresh data key and the header page of a new file, which it encrypts by itself."""
    return _event(DATA_KEY_GENERATED, actor, file_id=file_id, mek_id=mek_id)


def data_key_unwrapped(actor: str, file_id: str, mek_id: str) -> Event:
    """A client got a file's data key, by which it decrypts the file by itself."""
    return _event(DATA_KEY_UNWRAPPED, actor, file_id=file_id, mek_id=mek_id)


def site_created(actor: str, site_id: str, name: str, *, mode: str) -> Event:
    """A site was created."""
    return _event(SITE_CREATED, actor, site_id=site_id, name=name, mode=mode)


def site_deleted(actor: str, site_id: str, name: str, *, files: int) -> Event:
    """A site was deleted with its content."""
    return _event(SITE_DELETED, actor, site_id=site_id, name=name, files=files)


def site_mode_changed(actor: str, site_id: str, *, before: str, after: str) -> Event:
    """A site has another encryption mode."""
    return _event(SITE_MODE_CHANGED, actor, site_id=site_id, before=before, after=after)


def user_created(actor: str, user_id: str, name: str) -> Event:
    """A user was created."""
    return _event(USER_CREATED, actor, user_id=user_id, name=name)


def user_role_changed(actor: str, user_id: str, *, site_id: str, role: str) -> Event:
    """A user has another role on a site, or on the server if `site_id` is empty; an empty role: the role was taken away."""
    return _event(USER_ROLE_CHANGED, actor, user_id=user_id, site_id=site_id, role=role)


def user_deleted(actor: str, user_id: str, name: str) -> Event:
    """A user was deleted."""
    return _event(USER_DELETED, actor, user_id=user_id, name=name)


def password_changed(actor: str, user_id: str) -> Event:
    """A user's password was set."""
    return _event(PASSWORD_CHANGED, actor, user_id=user_id)


def sign_in_unlocked(actor: str, user_id: str) -> Event:
    """The pauses after a user's failed sign-ins were ended."""
    return _event(SIGN_IN_UNLOCKED, actor, user_id=user_id)


def token_created(actor: str, token_id: str, user_id: str) -> Event:
    """A personal access token was made."""
    return _event(TOKEN_CREATED, actor, token_id=token_id, user_id=user_id)


def token_revoked(actor: str, token_id: str, user_id: str) -> Event:
    """A personal access token was revoked."""
    return _event(TOKEN_REVOKED, actor, token_id=token_id, user_id=user_id)


def signed_in(actor: str, user_id: str, site_id: str, *, method: str) -> Event:
    """A user signed in by `password` or `token`."""
    return _event(SIGNED_IN, actor, user_id=user_id, site_id=site_id, method=method)


def sign_in_failed(name: str, *, method: str, reason: str, held_back: int) -> Event:
    """A sign-in with a wrong credential; `name` is the user name that was claimed, cut to 128 bytes.

    Strangers cause this event, so it is throttled, or they could fill the log: at most ten events a minute for wrong
    passwords and one for wrong tokens. `held_back` counts the failures since the last event that left none.
    """
    details: dict[str, Detail] = {"name": fitting.text(name, _CLAIMED_BYTES), "method": method}
    return _event(SIGN_IN_FAILED, SYSTEM, **details, reason=reason, held_back=held_back)


def configuration_applied(
    actor: str, *, version: int, keys: int, secrets: Iterable[str] = ()
) -> tuple[Event, ...]:
    """Pending changes became the current configuration; `secrets` names those of them, with blanks between.

    Where the names do not fit into one event there are several of the same version, and each says which `part` it is.
    """
    details: dict[str, Detail] = {"version": version, "keys": keys}
    return _events(CONFIGURATION_APPLIED, actor, details, "secrets", secrets)


def job_queued(actor: str, job_id: str, kind: str, site_id: str) -> Event:
    """A job was asked for."""
    return _event(JOB_QUEUED, actor, job_id=job_id, kind=kind, site_id=site_id)


def job_finished(actor: str, job_id: str, kind: str, *, state: str, remaining: int) -> Event:
    """A job ended; `remaining` counts the extracts that it did not process."""
    return _event(JOB_FINISHED, actor, job_id=job_id, kind=kind, state=state, remaining=remaining)


def job_cancelled(actor: str, job_id: str, kind: str) -> Event:
    """A user asked for the end of a job."""
    return _event(JOB_CANCELLED, actor, job_id=job_id, kind=kind)


def node_initialised(actor: str, installation_id: str, node_id: str) -> Event:
    """A node was created."""
    return _event(NODE_INITIALISED, actor, installation_id=installation_id, node_id=node_id)


def format_upgraded(actor: str, run: str, backup: str) -> Event:
    """The node was brought to the formats of this release; `backup` is the file made before it, or empty."""
    return _event(FORMAT_UPGRADED, actor, run=run, backup=backup)


def cluster_enabled(actor: str, *, run: str, zookeeper: str, postgres: str) -> Event:
    """A single node has its entries in ZooKeeper and its rows in PostgreSQL from now on."""
    return _event(CLUSTER_ENABLED, actor, run=run, zookeeper=zookeeper, postgres=postgres)


def extracts_moved(actor: str, *, before: str, after: str, files: int, size: int) -> Event:
    """The files of all extracts lie in another store from now on; `size` is what the last run copied, in bytes."""
    details: dict[str, Detail] = {"before": before, "after": after}
    return _event(EXTRACTS_MOVED, actor, **details, files=files, bytes=size)


def service_password_changing(actor: str, service: str, user: str) -> Event:
    """A new password for a service of the cluster is sealed on the node, and the service hears of it next."""
    return _event(SERVICE_PASSWORD_CHANGING, actor, service=service, user=user)


def service_password_changed(actor: str, service: str, user: str, *, made_by: str) -> Event:
    """A login proved the new password, which the node uses from now on; `made_by` is `strongroom` or `administrator`."""
    return _event(SERVICE_PASSWORD_CHANGED, actor, service=service, user=user, made_by=made_by)


def service_password_withdrawn(actor: str, service: str, user: str) -> Event:
    """The service refuses the former password from now on, which a login proved."""
    return _event(SERVICE_PASSWORD_WITHDRAWN, actor, service=service, user=user)


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
    return _event(
        BOOTSTRAP_FILE_MADE, actor, **details, credential_id=credential_id, expires_at=expires_at
    )


def node_prepared(
    actor: str, installation_id: str, node_id: str, *, server: str, fingerprint: str
) -> Event:
    """A node's directory was made from a bootstrap file that the identity with this fingerprint signed.

    `server` is the server that admitted the node, or empty so far; `fingerprint` is empty if nobody signed the file.
    """
    details: dict[str, Detail] = {"installation_id": installation_id, "node_id": node_id}
    return _event(NODE_PREPARED, actor, **details, server=server, fingerprint=fingerprint)


def node_admitted(
    node_id: str, credential_id: str, *, fingerprint: str, again: bool, held_back: int
) -> Event:
    """A new node was admitted by its one-time credential, which is used up thereby; `fingerprint` is that of its keys.

    `again`: the node had been admitted before and repeated its request. At most ten repetitions a minute leave an
    event; `held_back` counts the repetitions since the last event that left none.
    """
    details: dict[str, Detail] = {"node_id": node_id, "credential_id": credential_id}
    details["fingerprint"] = fingerprint
    return _event(NODE_ADMITTED, SYSTEM, **details, again=again, held_back=held_back)


def node_refused(node_id: str, credential_id: str, *, reason: str, held_back: int) -> Event:
    """A request for admission as a new node was refused; both ids are those that the request claimed.

    Strangers cause this event, so under an unknown or exhausted credential at most one a minute is written; `held_back`
    counts the refusals since the last event that left none.
    """
    claimed = {"node_id": node_id, "credential_id": credential_id}
    details = {name: fitting.text(value, _CLAIMED_BYTES) for name, value in claimed.items()}
    return _event(NODE_REFUSED, SYSTEM, **details, reason=reason, held_back=held_back)


def node_credential_withdrawn(actor: str, node_id: str, credential_id: str) -> Event:
    """The one-time credential of a new node was withdrawn: its bootstrap file could not be handed over."""
    return _event(NODE_CREDENTIAL_WITHDRAWN, actor, node_id=node_id, credential_id=credential_id)


def node_joined(actor: str, node_id: str, *, fingerprint: str) -> Event:
    """A node has found its services and keys in order, and is active; `fingerprint` is that of its keys."""
    return _event(NODE_JOINED, actor, node_id=node_id, fingerprint=fingerprint)


def node_left_out(actor: str, node_id: str) -> Event:
    """Keys are about to be changed without a node, which opens nothing any more by those that it has."""
    return _event(NODE_LEFT_OUT, actor, node_id=node_id)


def node_removed(actor: str, node_id: str) -> Event:
    """An administrator takes a node out: the passwords of the services are changed without it."""
    return _event(NODE_REMOVED, actor, node_id=node_id)


def node_role_set(actor: str, node_id: str, role: str) -> Event:
    """A node is about to get another role, by which its backgrounder works on jobs or leaves them to other nodes."""
    return _event(NODE_ROLE_SET, actor, node_id=node_id, role=role)


def node_stale(actor: str, node_id: str) -> Event:
    """The KMS store is about to be changed without a node, which must prove that it opens the store before it serves."""
    return _event(NODE_STALE, actor, node_id=node_id)


def kms_change_staged(actor: str, change_id: str, *, epoch: int, nodes: str) -> Event:
    """A KMS store was staged, for `nodes` to open it by their own access to its root before it comes into force."""
    return _event(KMS_CHANGE_STAGED, actor, change_id=change_id, epoch=epoch, nodes=nodes)


def kms_change_tried(change_id: str, *, epoch: int, cause: str) -> Event:
    """This node has tried a staged KMS store and said so; `cause` is empty if it opens the store."""
    return _event(KMS_CHANGE_TRIED, SYSTEM, change_id=change_id, epoch=epoch, cause=cause)


def kms_change_withdrawn(actor: str, change_id: str, *, epoch: int, cause: str) -> Event:
    """A staged KMS store was withdrawn: the present one stays in force, and the epoch is used up."""
    return _event(KMS_CHANGE_WITHDRAWN, actor, change_id=change_id, epoch=epoch, cause=cause)


def event_log_torn(*, offset: int, size: int, sha256: str, file: str) -> Event:
    """Bytes at the end of the event log were no valid line; they were moved to `file`, as after a power cut."""
    return _event(EVENT_LOG_TORN, SYSTEM, offset=offset, bytes=size, sha256=sha256, file=file)


def event_log_signed(key: str, lines: int) -> Event:
    """Signing of the log began, or began again, when the log had `lines` lines (format/events.md 5.4)."""
    return _event(EVENT_LOG_SIGNED, SYSTEM, key=key, lines=lines)


def event_log_unsigned(*, first: int, last: int) -> Event:
    """Lines `first` to `last` had no checkpoint when they were found: their writer died, or was no strongroom process."""
    return _event(EVENT_LOG_UNSIGNED, SYSTEM, first=first, last=last)


def event_log_rekeyed(key: str, former: str, lines: int) -> Event:
    """Another key signs the log from now on; the checkpoint of this line is signed by the former one, too, unless lost."""
    return _event(EVENT_LOG_REKEYED, SYSTEM, key=key, former=former, lines=lines)


def event_log_key_registered(actor: str, node_id: str, *, key: str) -> Event:
    """A node of a cluster signs its event log by a key that it alone has, and says so in the registry."""
    return _event(EVENT_LOG_KEY_REGISTERED, actor, node_id=node_id, key=key)


def event_log_key_recovered(
    actor: str, *, key: str, former: str, lines: int, signature: str
) -> Event:
    """A node lost the keys that it alone had, and has new ones; `signature` is the identity's statement `log-key`."""
    return _event(
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
    return _events(EVENT_LOG_ACKNOWLEDGED, actor, {"reason": reason}, "acknowledged", acknowledged)


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
    return _event(EVENT_LOG_ARCHIVED, actor, **details, root=root, whole=whole, reason=reason)


def state_accepted(
    actor: str, *, reason: str, findings: Sequence[str], version: int, epoch: int, digest: str
) -> Event:
    """The state of the node counts from now on as it is, though it contradicted its anchors as `findings` says.

    `version` is that of the configuration, `epoch` and `sha256` are those of its KMS store; 0 and empty if nothing can be
    read.
    """
    told = "; ".join(findings)
    return _event(
        STATE_ACCEPTED,
        actor,
        reason=reason,
        findings=told,
        version=version,
        epoch=epoch,
        sha256=digest,
    )


def imported(actor: str, *, source: str, names: Sequence[str]) -> tuple[Event, ...]:
    """Settings were imported: the parameters of these names are pending now; several events if the names are many."""
    details: dict[str, Detail] = {"source": source, "keys": len(names)}
    return _events(IMPORT, actor, details, "names", names)


def exported_plaintext(actor: str, *, target: str, keys: int) -> Event:
    """Settings were exported with their secrets in plain text."""
    return _event(EXPORT_PLAINTEXT, actor, target=target, keys=keys)


def exported_sealed(
    actor: str, *, target: str, keys: int, recipients: Iterable[str]
) -> tuple[Event, ...]:
    """Settings were exported, sealed to recipients, or to a passphrase if there are none; a long list gives several events."""
    details: dict[str, Detail] = {"target": target, "keys": keys}
    return _events(EXPORT_SEALED, actor, details, "recipients", recipients)


def exported_without_secrets(actor: str, *, target: str, keys: int) -> Event:
    """Settings were exported, their secrets left out."""
    return _event(EXPORT_WITHOUT_SECRETS, actor, target=target, keys=keys)


def backup_made(  # noqa: PLR0913 each is a field of the event
    actor: str,
    backup_id: str,
    *,
    name: str,
    rmk_id: str,
    mek_id: str,
    sealed: str,
    manifest: str,
) -> Event:
    """A backup was made.

    The detail `sha256` is the digest of the manifest, `mek_id` the key that wraps the backup's RMK, and `sealed` names
    the recipients or roots to which that RMK is sealed as well.
    """
    return _event(
        BACKUP_MADE,
        actor,
        backup_id=backup_id,
        name=name,
        rmk_id=rmk_id,
        mek_id=mek_id,
        sealed=sealed,
        sha256=manifest,
    )


def backup_verified(actor: str, backup_id: str, *, opened: int, missing: int) -> Event:
    """The keys of a backup were opened to try them: `opened` extracts could be read with them, `missing` could not."""
    return _event(BACKUP_VERIFIED, actor, backup_id=backup_id, opened=opened, missing=missing)


def restored(actor: str, *, source: str, backup_id: str, extracts: int, missing: int) -> Event:
    """A backup was restored; `missing` counts extracts whose keys it does not open."""
    return _event(
        RESTORE, actor, source=source, backup_id=backup_id, extracts=extracts, missing=missing
    )


def _event(event_id: str, actor: str, **details: Detail) -> Event:
    fitted = {name: _fitted(value) for name, value in details.items()}
    return Event(event_id, fitting.text(actor), fitted)


def _events(
    event_id: str, actor: str, details: dict[str, Detail], name: str, listed: Iterable[str]
) -> tuple[Event, ...]:
    """An event with a list of names, or several numbered parts of that event if the list is too long for one line."""
    found = fitting.texts(listed)
    plain = _event(event_id, actor, **details)
    if len(found) == 1:
        return (plain._replace(details={**plain.details, name: found[0]}),)
    return tuple(
        plain._replace(details={**plain.details, name: text, "part": f"{number} of {len(found)}"})
        for number, text in enumerate(found, 1)
    )


def _fitted(value: Detail) -> Detail:
    return fitting.text(value) if isinstance(value, str) else value


def _extract(event_id: str, actor: str, site_id: str, extract_id: str, **details: Detail) -> Event:
    return _event(event_id, actor, site_id=site_id, extract_id=extract_id, **details)
