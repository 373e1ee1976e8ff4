"""What the tests of recovery share: a copy of a node elsewhere, ways to lose things, what must hold afterwards."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from strongroom.crypto.age import Identity
from strongroom.envelope.header import Header, Placement
from strongroom.ids import new_id
from strongroom.keystore.replicas import ReplicaCondition
from strongroom.kms.states import MekState
from strongroom.node import opening
from strongroom.node import recover as recovering
from strongroom.node.opening import Node
from strongroom.roots import recipient
from strongroom.roots.settings import RootSettings
from strongroom.secrets import committed, enc
from strongroom.services.keys.roots import RootState
from strongroom.services.recovery import journal as recovery_journal
from strongroom.services.recovery.lost_keystore import LostKeystore
from strongroom.services.recovery.new_keys import NewKeys
from strongroom.services.recovery.recover import RecoverService
from tests.support.stored_forms import differing_files

HERE = Placement(new_id(), new_id())
BAO = RootSettings("openbao", "https://bao.example/transit/keys/one")
GCP = RootSettings("gcp", "projects/p/cryptoKeys/k")
ACTOR = "os:tester"


def add(node: Node, identity: Identity) -> str:
    return node.roots.add(recipient.settings(identity.recipient), ACTOR)


def service(node: Node) -> RecoverService:
    return recovering.recovery_of(node)


def quiet(_: str) -> None:
    pass


@contextmanager
def elsewhere(node: Node, folder: Path, *, keystore: bool = True) -> Iterator[Node]:
    """A copy of the data directory on a fresh machine, perhaps without its keystore."""
    target = folder / "elsewhere"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(node.paths.root, target)
    again = opening.open_node(str(target))
    if not keystore:
        lose_keystore(again)
    yield again
    again.close()


def lose_keystore(node: Node) -> None:
    for place in node.keystore.folders:
        shutil.rmtree(place)
    shutil.rmtree(node.paths.keystore_password.parent)


def check_recovered(node: Node, file: tuple[Header, object], *, adopted: int = 0) -> None:
    """The node is whole; behind its newest MEK, which encrypts, stand those that were adopted."""
    header, dek = file
    status = node.kms_store.prove()
    assert (status.is_ok, status.mode) == (True, "local"), status
    states = [mek.state for mek in status.meks]
    assert states.count(MekState.ENCRYPT_OR_DECRYPT) == 1
    assert states[-1 - adopted] is MekState.ENCRYPT_OR_DECRYPT
    assert node.envelope_keys.open_envelope(header, HERE).dek == dek
    assert node.configuration.get("redis.password", actor=ACTOR)
    assert {state.condition for state in node.keystore.verify()} == {ReplicaCondition.INTACT}
    assert differing_files(node.configuration) == ()
    assert node.events.verify().breaks == ()
    assert problems(node) == []
    assert node.coordinator.get(recovery_journal.JOURNAL) is None


def check_new_key(node: Node, old_key_id: str) -> None:
    """Whoever knows the configuration key from before opens nothing of the node any more."""
    document = node.configuration.document()
    keys = node.open_configuration_keys(document.installation_id)
    assert old_key_id not in keys.present.ids
    assert (keys.present.active, keys.present.next) == (document.configuration_key_id, None)
    sealed = [text for text in document.values.values() if enc.is_enc(text)]
    assert {committed.key_id_of(text) for text in sealed} == {document.configuration_key_id}


def problems(node: Node) -> list[str]:
    return [state.problem for state in node.roots.list() if state.problem]


def state_of(node: Node, identity: Identity) -> RootState:
    (found,) = [s for s in node.roots.list() if s.root_key_id == identity.recipient]
    return found


def event_ids(node: Node) -> list[str]:
    return [str(record["id"]) for record in node.events.read()]


def installation(node: Node) -> str:
    return node.configuration.document().installation_id


STEPS: dict[str, tuple[type, str]] = {
    "new keystore": (LostKeystore, "renew"),
    "wraps by it": (LostKeystore, "_rewrap_keys"),
    "new configuration key": (NewKeys, "add_key"),
    "new store": (NewKeys, "replace_store"),
    "end": (RecoverService, "_finish"),
}
"""Steps of a recovery that a test cuts: the class and its method, by what the step makes."""
