"""Names under which a node keeps things: whoever moves or renames a module must not rename what 0.1.0 wrote.

They are written out here, and not taken from the code: a name that is changed in both places is still changed.
"""

from strongroom.config import rotation, versions
from strongroom.coordination import anchor, base
from strongroom.extracts import place
from strongroom.joining import authorities, maintenance, shown_certificates, software
from strongroom.node.parts import configuration
from strongroom.repository import rows
from strongroom.services.backups import make
from strongroom.services.content import stored_files
from strongroom.services.jobs import journal, processes, roles
from strongroom.services.keys import (
    epochs,
    follows,
    identity,
    keeper,
    key_recipients,
    log_anchor,
    log_signing,
    regeneration,
    stored,
)
from strongroom.services.nodes import admit
from strongroom.services.recovery import journal as recovery_journal
from strongroom.services.secrets import embedded


def test_entries_of_the_coordination_service() -> None:
    assert [
        versions.CURRENT,
        versions.PREVIOUS,
        versions.PENDING,
        versions.RESTART,
        rotation.PREFIX,
        rotation.RECORDS,
        rotation.KEPT,
        regeneration.JOURNAL,
        recovery_journal.JOURNAL,
        key_recipients.JOURNAL,
        admit.CREDENTIALS,
        place.ENTRY,
        roles.ENTRY,
        shown_certificates.PREFIX,
        processes.ENTRY,
        software.PREFIX,
        software.IN_FORCE,
        maintenance.ENTRY,
        maintenance.PREFIX,
        maintenance.DRAINS,
        base.LOCKS,
    ] == [
        "config",
        "config/previous",
        "pending",
        "restart",
        "journal/rotation/",
        "rotation/records",
        "rotation/previous",
        "journal/regenerate",
        "journal/recover",
        "journal/recipients",
        "topology/credentials",
        "extracts/store",
        "topology/roles",
        "topology/certificates/",
        "topology/processes",
        "topology/software/",
        "topology/formats",
        "maintenance",
        "maintenance/",
        "draining/",
        "locks/",
    ]


def test_values_marks_and_intents() -> None:
    assert [
        stored.STORE,
        keeper.PREVIOUS_STORE,
        keeper.ROOTS,
        embedded.PARAMETER,
        log_signing.PARAMETER,
        identity.PARAMETER,
        authorities.PARAMETER,
    ] == [
        "kms.persistent_store",
        "kms.previous_store",
        "kms.roots",
        "asset.keys",
        "eventlog.signing_key",
        "installation.identity_key",
        "installation.authority",
    ]
    marks = [follows.NAME, follows.ACCEPTED, epochs._PROOF, log_anchor.MARK, anchor.MARK]
    assert marks == ["kms.epoch", "kms.accepted", "kms.proof", "anchor.logs", "anchor"]
    assert configuration._LOG_MARK == log_anchor.MARK
    purposes = [stored_files.PUBLISH, make.PURPOSE, journal.PURPOSE, rows.DELETE_INTENT]
    assert purposes == ["publish", "backup", "job", "delete"]
