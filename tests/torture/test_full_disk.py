"""A full disk is told as a full disk, by whatever command and at whatever call it is met (findings R11).

"Restore the coordination database from a backup", "the keys are not in order" and "authentication failed" were said of
it, which made people harm what was whole. What a command did before must not be lost, and it works when there is room.
"""

import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from strongroom.crypto import age
from strongroom.kms.status import MekStatus
from tests.conftest import Torture
from tests.support.backups import publish
from tests.torture import harness, nodes
from tests.torture.harness import FULL, Lab, Outcome
from tests.torture.root_moves import Prepare
from tests.torture.test_root_moves import lab_of

#: Of the commands a run takes a third, by its seed; `make torture` takes all.
pytestmark = [pytest.mark.torture, pytest.mark.sampled(3)]
#: On a node with a pending change.
COMMANDS = {
    "kms rotate": "tsm security kms rotate",
    "set a value": "tsm configuration set -k gateway.timeout -v 77",
    "set a secret": "tsm configuration set -k redis.password -v Secret12345",
    "apply": "tsm pending-changes apply --ignore-prompt",
    "discard": "tsm pending-changes discard",
    "sites": "strongroom sites create West",
    "users": "strongroom users create somebody --no-password",
    "token": "strongroom tokens create --user admin here",
    "job": "strongroom extracts rewrap --site Default --wait",
    "checkpoint": "strongroom events checkpoint",
    "keystore repair": "tsm security keystore repair",
    "backup": "tsm maintenance backup -f nightly",
    "logs": "tsm maintenance ziplogs -f logs",
    "settings": "tsm settings export --output-config-file {place}/settings.json",
    "bootstrap file": "tsm topology nodes get-bootstrap-file --file {place}/bootstrap.json",
    "encrypt": "strongroom encrypt {place}/password {place}/sealed",
}
#: On a node that has been used: keys of before, a recipient, sealed files, a backup.
USED = {
    "regenerate": "tsm security regenerate-internal-tokens",
    "secrets rotate": "tsm security secrets rotate --only passwords",
    "kms retire": "tsm security kms retire --yes {mek}",
    "roots add": "tsm security kms roots add age --recipient {other}",
    "roots remove": "tsm security kms roots remove {wrap}",
    "roots repair": "tsm security kms roots repair",
    "archive": "strongroom events archive --reason full",
    "recover": "strongroom recover --identity {place}/identity",
    "recover lost keys": "strongroom recover --identity {place}/identity",
    "drill": "strongroom recover --drill --identity {place}/identity",
    "restore": "tsm maintenance restore -f then.tsbak --ignore-prompt",
    "verify a backup": "strongroom backup verify {place}/node/tabsvc/files/backups/then.tsbak",
    "import": "tsm settings import -f {place}/settings.json",
    "decrypt": "strongroom decrypt {place}/sealed {place}/plain",
    "decrypt a folder": "strongroom decrypt --into {place}/plain -r {place}/many",
    "rewrap": "strongroom rewrap {place}/sealed",
    "rewrap extracts": "strongroom extracts rewrap --site Default --wait",
    "reencrypt": "strongroom extracts reencrypt --site Default --wait",
    "set the mode of a site": "strongroom sites set-mode Default disabled",
    "a password": "strongroom users set-password admin --password-file {place}/password",
}
HARMFUL = ("restore", "from a backup", "authentication failed", "not in order", "damaged")


@pytest.fixture(scope="module")
def pending(fresh_node: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A node with a change that is not yet applied."""
    start = nodes.copy(fresh_node, tmp_path_factory.mktemp("pending") / "start")
    nodes.run(start / "node", "tsm", "configuration", "set", "-k", "redis.port", "-v", "6380")
    return start


@pytest.fixture(scope="module")
def used(fresh_node: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A node with keys of before, a recipient whose identity lies beside it, sealed files and a backup."""
    start = nodes.copy(fresh_node, tmp_path_factory.mktemp("used") / "start")
    home, sealed = start / "node", start / "sealed"
    identity = age.new_identity()
    (start / "identity").write_bytes(identity.text.reveal())
    (start / "other").write_text(age.new_identity().recipient)
    nodes.run(
        home, "tsm", "security", "kms", "roots", "add", "age", "--recipient", identity.recipient
    )
    with nodes.opened(home) as node:
        publish(node, "before", nodes.PLAINTEXT)
    nodes.run(home, "strongroom", "encrypt", start / "password", sealed)
    (start / "many" / "deep").mkdir(parents=True)
    nodes.run(home, "strongroom", "encrypt", start / "password", start / "many" / "deep" / "sealed")
    nodes.run(home, "tsm", "maintenance", "backup", "-f", "then")
    nodes.run(home, "tsm", "settings", "export", "--output-config-file", start / "settings.json")
    nodes.run(home, "tsm", "security", "kms", "rotate")
    nodes.run(home, "tsm", "security", "kms", "rotate")
    with nodes.opened(home) as node:
        (start / "mek").write_text(_unused_mek(node.kms_store.status().meks))
        (start / "wrap").write_text(node.roots.list()[1].wrap_id)
    return start


def _unused_mek(meks: Sequence[MekStatus]) -> str:
    """The one in the middle: neither active nor of anything that was sealed."""
    return sorted(meks, key=lambda mek: str(mek.created_at))[1].id


def _checking(lab: Lab) -> Callable[[Outcome], None]:
    def check(outcome: Outcome) -> None:
        # a write to a connection is no call of the disk, though it may be refused with the same number
        if not outcome.succeeded and "Connection aborted" not in outcome.err:
            told = outcome.err.lower()
            # of a job that failed for it, the code is that of a job that failed
            assert outcome.code == (1 if told.startswith("strongroom: job ") else 41), told
            # what stdout is has words of its own
            assert "standard output" in told or ("free" in told and "space" in told), told
            # a path says what its folder is for ("…/.restore/repository.db"), and advises nothing
            advice = re.sub(r"\S*/\S*", "", told)
            assert not [word for word in HARMFUL if word in advice], told
        nodes.check_opens(lab.place / "node")

    return check


@pytest.mark.parametrize("title", COMMANDS)
def test_a_full_disk_is_told_as_one(
    title: str, pending: Path, tmp_path: Path, torture: Torture
) -> None:
    words, variables = COMMANDS[title].split(), {"STRONGROOM_HOME": "{place}/node"}
    lab = Lab(pending, tmp_path / "place", words, variables)
    harness.torture(lab, torture.choose(lab.points(FULL)), _checking(lab))


@pytest.mark.parametrize("title", USED)
def test_a_full_disk_is_told_as_one_by_a_node_that_was_used(
    title: str, used: Path, tmp_path: Path, torture: Torture
) -> None:
    notes = {name: (used / name).read_text() for name in ("mek", "wrap", "other")}
    words = USED[title].format(place="{place}", **notes).split()
    start = nodes.copy(used, tmp_path / "start")
    if title == "recover lost keys":
        _lose_keystore(start / "node")
    lab = Lab(start, tmp_path / "place", words, {"STRONGROOM_HOME": "{place}/node"})

    def check(outcome: Outcome) -> None:
        if title == "recover lost keys" and not outcome.succeeded:
            nodes.run(lab.place / "node", *words[:-1], lab.place / "identity")
        _checking(lab)(outcome)

    harness.torture(lab, torture.choose(lab.points(FULL)), check)


def test_a_full_disk_is_told_as_one_where_the_root_changes(
    prepare: Prepare, torture: Torture
) -> None:
    """A root of another kind keeps settings and credentials beside the store."""
    prepared = prepare("local", "openbao")
    lab = lab_of(prepared)
    harness.torture(lab, torture.choose(lab.points(FULL)), _checking(lab))


def _lose_keystore(home: Path) -> None:
    for folder in (home / "tabsvc").rglob("keystores"):
        shutil.rmtree(folder)
    shutil.rmtree(home / "tabsvc" / "keystore")
