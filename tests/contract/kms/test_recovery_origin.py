"""A data directory that a stranger made for our recipient is not taken for ours (X2 of the review of format 1)."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from strongroom.cli import dispatch
from strongroom.configuration_keys import generations, recovery_copy
from strongroom.crypto import age
from strongroom.crypto.age import Identity
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import IntegrityError, RootUnavailableError
from strongroom.ids import new_id
from strongroom.node import create, opening
from strongroom.node.opening import Node
from strongroom.roots import recipient
from strongroom.roots.settings import RootSettings
from strongroom.secrets import committed, enc
from strongroom.services.keys import identity as identities
from strongroom.services.nodes import create as creating
from strongroom.services.recovery.origin import Known
from tests.contract.kms.recovery_lab import (
    ACTOR,
    BAO,
    add,
    check_new_key,
    elsewhere,
    lose_keystore,
    quiet,
    service,
)
from tests.support.memory_root import Outside

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def identity() -> Identity:
    return age.new_identity()


@contextmanager
def strangers(node: Node, folder: Path, recipient_text: str) -> Iterator[Node]:
    """A stranger's node with our installation's id, which wraps for our recipient; the keystore is "lost"."""
    ids = iter([node.configuration.document().installation_id])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(creating, "new_id", lambda: next(ids, None) or new_id())
        create.create_node(str(folder), "admin", SecretBytes(b"correct horse battery"))
    made = opening.open_node(str(folder))
    made.roots.add(recipient.settings(recipient_text), ACTOR)
    yield made
    made.close()


def recover(home: Path, *words: str) -> int:
    return dispatch.main("strongroom", ["--data-dir", str(home), "recover", *words])


def test_a_strangers_directory_is_refused_by_the_fingerprint(
    node: Node, identity: Identity, tmp_path: Path
) -> None:
    """Drill and recovery succeeded, and whoever made the directory read what was encrypted afterwards."""
    add(node, identity)
    known = Known(node.identity.fingerprint())
    with strangers(node, tmp_path / "theirs", identity.recipient) as theirs:
        lose_keystore(theirs)
        before = theirs.configuration.document()
        for call in (
            lambda: service(theirs).drill((identity,), ACTOR, known),
            lambda: service(theirs).plan((identity,), known),
            lambda: service(theirs).recover((identity,), ACTOR, quiet, known),
        ):
            with pytest.raises(IntegrityError, match=f"not of {known.fingerprint}"):
                call()
        assert theirs.configuration.document() == before
        assert not theirs.paths.keystore_password.exists()


def test_the_shares_know_their_installation(node: Node, tmp_path: Path, capsys: Capture) -> None:
    """No option is needed: the fingerprint is printed on each share."""
    kit = ("roots", "add", "shares", "--threshold", "2", "--shares", "3")
    home = str(node.paths.root)
    words = ["--data-dir", home, "security", "kms", *kit, "--output", str(tmp_path / "kit")]
    assert dispatch.main("tsm", words) == 0
    files = sorted((tmp_path / "kit").iterdir())
    given = [word for path in files[:2] for word in ("--share", str(path))]
    recipient_text = node.kms_store.current()[0].recipients[0]
    with strangers(node, tmp_path / "theirs", recipient_text) as theirs:
        root = theirs.paths.root
    capsys.readouterr()
    assert recover(root, "--drill", *given) == 20
    assert f"not of {node.identity.fingerprint()}" in capsys.readouterr().err
    with elsewhere(node, tmp_path, keystore=False) as again:
        ours = again.paths.root
    assert recover(ours, "--drill", *given, "--fingerprint", "aaaa-bbbb-cccc-dddd-eeee") == 2
    assert "name several installations" in capsys.readouterr().err
    assert recover(ours, *given) == 0
    assert f"with the fingerprint {node.identity.fingerprint()}" in capsys.readouterr().err


def test_the_directory_of_another_installation_is_refused(node: Node, identity: Identity) -> None:
    """Its id is compared as well, so that a mistaken copy is told before anything is opened."""
    add(node, identity)
    other = Known(installation_id=new_id())
    with pytest.raises(IntegrityError, match=f"the shares are of the installation {other[1]}"):
        service(node).drill((identity,), ACTOR, other)


def test_a_directory_without_an_identity_is_of_no_known_installation(
    node: Node, identity: Identity
) -> None:
    add(node, identity)
    known = Known(node.identity.fingerprint())
    node.configuration.compare_and_put(
        lambda document: document.with_values({identities.PARAMETER: None})
    )
    assert service(node).drill((identity,), ACTOR).fingerprint == ""
    with pytest.raises(IntegrityError, match="of no installation that has an identity"):
        service(node).drill((identity,), ACTOR, known)


def test_words_alone_prove_no_origin(node: Node, tmp_path: Path, capsys: Capture) -> None:
    """Typed from paper without their printed lines; the option says the fingerprint then."""
    identity, file = age.new_identity(), tmp_path / "identity"
    file.write_bytes(identity.text.reveal() + b"\n")
    add(node, identity)
    ours = node.identity.fingerprint()
    root = node.paths.root
    assert recover(root, "--drill", "--identity", str(file)) == 0
    assert f"compare the fingerprint: {ours}" in capsys.readouterr().err
    given = ("--drill", "--identity", str(file), "--fingerprint")
    assert recover(root, *given, ours.upper()) == 0
    assert "was not proved" not in capsys.readouterr().err
    assert recover(root, *given, "aaaa-bbbb-cccc-dddd-eeee") == 20


@pytest.mark.parametrize("claims", [False, True], ids=["their key", "our key claimed"])
def test_a_genuine_identity_beside_a_strangers_entries_is_refused(
    node: Node, identity: Identity, tmp_path: Path, claims: bool
) -> None:
    """The identity's sealed key and the wrap of the key that opens it lie in every copy: they prove nothing of the rest."""
    add(node, identity)
    known = Known(node.identity.fingerprint())
    with strangers(node, tmp_path / "theirs", identity.recipient) as theirs:
        genuine = node.configuration.document()
        sealed = genuine.values[identities.PARAMETER]
        ours = recovery_copy.collect((node.paths.recovery_records,), genuine.installation_id)
        own = theirs.present_keys().present
        assert ours is not None
        mixed = own._replace(records=(*own.records, *ours.records))
        key_id = genuine.configuration_key_id if claims else own.active
        theirs.configuration.compare_and_put(
            lambda document: document.with_values(
                {identities.PARAMETER: sealed}, configuration_key_id=key_id
            )
        )
        master_key = theirs.keystore.load().master_key("master-key-1")
        copied = [one._replace(wraps=one.wraps[-1:]) for one in mixed.records]
        data = generations.serialize_part(mixed._replace(records=tuple(copied)), master_key)
        lose_keystore(theirs)
        theirs.paths.recovery_records.write_bytes(data)
        drilled = service(theirs).drill((identity,), ACTOR, note=False)
        assert drilled.fingerprint == known.fingerprint
        with pytest.raises(IntegrityError, match="who wrote the entries is not known"):
            service(theirs).drill((identity,), ACTOR, known, note=False)


@pytest.mark.parametrize("keystore", [True, False], ids=["root lost", "keystore lost"])
def test_a_recovery_makes_a_new_configuration_key_in_every_case(
    node: Node,
    outside: Outside,
    identity: Identity,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    keystore: bool,
) -> None:
    """The old one was kept, so that whoever knew it opened every later store."""
    node.modes.set_mode(BAO, ACTOR)
    add(node, identity)
    old_key_id = node.configuration.document().configuration_key_id
    old_key = node.configuration.open_key(old_key_id)
    fingerprint = node.identity.fingerprint()

    def gone(_: RootSettings) -> object:
        raise RootUnavailableError("gone")

    monkeypatch.setattr(outside, "provider", gone)
    with elsewhere(node, tmp_path, keystore=keystore) as again:
        done = service(again).recover((identity,), ACTOR, quiet, Known(fingerprint))
        assert (done.done, done.keystore_renewed) == (True, not keystore)
        document = again.configuration.document()
        assert done.configuration_key_id == document.configuration_key_id != old_key_id
        check_new_key(again, old_key_id)
        for name, text in document.values.items():
            if enc.is_enc(text):
                with pytest.raises(IntegrityError):
                    committed.open_text(document.installation_id, lambda _: old_key, name, text)
        assert again.kms_store.status().is_ok
        assert again.identity.fingerprint() == fingerprint
