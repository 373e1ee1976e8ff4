"""Every call of the publish path fails once: nothing stays that counts, nothing is told that was not done (findings R9, B4).

The calls of the ports (file store, repository, event log, keys, asset keys) are counted in a run that nothing disturbs;
then each of them is refused, in a run of its own, and each of them fails for good from some moment on, as a full disk does.
An upload has so many calls that an ordinary run takes every third of them, from one by its seed.
"""

import functools
import operator
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from strongroom.crypto.secret import SecretBytes
from strongroom.envelope.keys import EnvelopeKeys
from strongroom.errors import ConflictError, StateError, StorageError, StrongroomError
from strongroom.eventlog.events import extract_events
from strongroom.eventlog.jsonl import JsonlEventLog
from strongroom.extracts.model import ContentKind
from strongroom.filestore.blockfile import NewFile
from strongroom.filestore.local import LocalFileStore
from strongroom.node.opening import Node
from strongroom.repository.reach import Reach
from strongroom.repository.rows import ContentRow, SiteMode
from strongroom.repository.unit_of_work import Repository, Transaction
from strongroom.services.content.credentials import Login
from strongroom.services.content.uploads import UploadsService
from strongroom.services.secrets.embedded import AssetService
from tests.conftest import Torture
from tests.torture import publish_actions
from tests.torture.publish_actions import NEW, OLD

_PORTS: tuple[tuple[type, tuple[str, ...]], ...] = (
    (LocalFileStore, ("put", "open", "delete")),
    (NewFile, ("write_at", "commit")),
    (Repository, ("reading",)),
    (JsonlEventLog, ("append",)),
    (EnvelopeKeys, ("new_envelope", "open_envelope")),
    (AssetService, ("seal",)),
)


@dataclass
class Calls:
    """What is called, and whether it is refused."""

    refused: Callable[[int], bool]
    names: list[str] = field(default_factory=list)

    def called(self, name: str) -> None:
        self.names.append(name)
        if self.refused(len(self.names)):
            raise StorageError(f"{name} is refused: no space left on device")


@contextmanager
def watched(refused: Callable[[int], bool]) -> Iterator[Calls]:
    """All ports, for the block."""
    calls = Calls(refused)
    with pytest.MonkeyPatch.context() as patch:
        for port, names in _PORTS:
            for name in names:
                patch.setattr(port, name, _counted(calls, getattr(port, name), name))
        patch.setattr(
            Repository, "transaction", _counted_transaction(calls, Repository.transaction)
        )
        yield calls


def _counted(calls: Calls, inner: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(inner)
    def outer(*given: Any, **more: Any) -> Any:
        calls.called(name)
        return inner(*given, **more)

    return outer


def _counted_transaction(calls: Calls, inner: Callable[..., Any]) -> Callable[..., Any]:
    """Refused at its begin, before its commit (it is rolled back), and behind it (it is done all the same)."""

    @contextmanager
    def outer(repository: Repository, *reach: Reach) -> Iterator[Transaction]:
        calls.called("begin")
        with inner(repository, *reach) as tx:
            yield tx
            calls.called("commit")
        calls.called("commit that is done")

    return outer


ACTIONS: dict[str, Callable[[Node], object]] = {
    "publish": publish_actions.publish,
    "overwrite": publish_actions.overwrite,
    "upload": publish_actions.upload,
}
_MODES = (SiteMode.ENFORCED, SiteMode.DISABLED)
EVERY = pytest.mark.parametrize("mode", _MODES, ids=["sealed", "plain"])


def _prepared(node: Node, action: str, mode: SiteMode) -> None:
    with node.repository.transaction() as tx:
        site = tx.sites.find_by_content_url("")
        assert site is not None
        tx.sites.update(site.id, mode=mode)
    if action != "publish":
        publish_actions.write(node, OLD, replaces=False)


def _rows(node: Node) -> list[ContentRow]:
    who = publish_actions.identity(node)
    with node.repository.reading() as tx:
        return list(tx.contents.list_for_site(who.site.id))


def _content(node: Node) -> bytes | None:
    found = _rows(node)
    if not found:
        return None
    (row,) = found
    who = publish_actions.identity(node)
    _, reader = node.content.open(who, ContentKind.DATASOURCE, row.id)
    with reader:
        return b"".join(reader.iterate())


def _intents(node: Node) -> list[str]:
    with node.repository.reading() as tx:
        return [intent.storage_key for intent in tx.intents.list()]


def _check(node: Node, before: bytes | None, error: StrongroomError | None) -> None:
    """The old or the new content; no intent, and no file that no row names; the MEK counts for what is there."""
    found = _content(node)
    assert found == NEW if error is None else found in (before, NEW)
    node.meks.usage()  # in the server's process it ends what was left open
    assert _intents(node) == []
    with node.repository.reading() as tx:
        named = tx.contents.storage_keys() | tx.uploads.storage_keys()
    assert set(node.files.list()) == named
    sealed = sum(key.endswith(".sealed") for key in named)
    assert sum(use.extracts for use in node.meks.usage().by_mek.values()) == sealed
    assert node.meks.usage().unreadable == ()


def _attempt(
    node: Node, action: str, refused: Callable[[int], bool]
) -> tuple[Calls, StrongroomError | None]:
    error: StrongroomError | None = None
    with watched(refused) as calls:
        try:
            ACTIONS[action](node)
        except StrongroomError as caught:
            error = caught
    return calls, error


@EVERY
@pytest.mark.parametrize("action", ACTIONS)
def test_a_call_that_is_refused_leaves_no_intent(
    node: Node, action: str, mode: SiteMode, torture: Torture
) -> None:
    """findings R9: once, and everything works again behind it."""
    _prepared(node, action, mode)
    before = _content(node)
    step = _step(torture, action)
    number, tried = torture.seed % step + 1 - step, 0
    while True:
        number += step
        calls, error = _attempt(node, action, functools.partial(operator.eq, number))
        if len(calls.names) < number:
            break
        tried += 1
        assert error is None or "is refused" in error.message
        _check(node, before, error)
        if _content(node) == NEW:
            _again(node, action, before)
    assert tried * step > 12


@EVERY
@pytest.mark.parametrize("action", ACTIONS)
def test_a_disk_that_is_full_from_some_moment_on_leaves_no_intent(
    node: Node, action: str, mode: SiteMode, torture: Torture
) -> None:
    """findings R9: not even what would clean up can be done; as soon as there is room it is."""
    _prepared(node, action, mode)
    before = _content(node)
    step = _step(torture, action)
    number = torture.seed % step + 1 - step
    while True:
        number += step
        calls, error = _attempt(node, action, functools.partial(operator.le, number))
        if len(calls.names) < number:
            break
        _check(node, before, error)
        if _content(node) == NEW:
            _again(node, action, before)


def _step(torture: Torture, action: str) -> int:
    """How many calls lie between two that are refused."""
    return 3 if action == "upload" and not torture.whole else 1


def _again(node: Node, action: str, before: bytes | None) -> None:
    """Back to how it was before: what was refused came after the commit."""
    publish_actions.delete(node)
    if action != "publish":
        assert before == OLD
        publish_actions.write(node, OLD, replaces=False)


def test_what_does_not_get_room_lets_its_key_be_retired(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """findings R9: the example; retire said that extracts use the MEK, and rewrap could not help."""
    old = node.envelope_keys.active_mek_id
    put = LocalFileStore.put

    def refuse(store: LocalFileStore, key: str, *, expected_bytes: int = 0) -> NewFile:
        raise StorageError(f"cannot write {key}: no space left on device")

    _prepared(node, "publish", SiteMode.ENFORCED)
    monkeypatch.setattr(LocalFileStore, "put", refuse)
    for _ in range(4):
        with pytest.raises(StorageError):
            publish_actions.publish(node)
    monkeypatch.setattr(LocalFileStore, "put", put)
    node.meks.rotate("os:tester")
    assert node.meks.usage().by_mek[old].extracts == 0
    node.meks.retire(old, "os:tester")


def test_a_plain_file_whose_intent_is_refused_is_let_go(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """findings B4: its writer was not aborted."""
    _prepared(node, "publish", SiteMode.DISABLED)
    made: list[NewFile] = []
    put = LocalFileStore.put

    def noted(store: LocalFileStore, key: str, *, expected_bytes: int = 0) -> NewFile:
        made.append(put(store, key, expected_bytes=expected_bytes))
        return made[-1]

    def refuse(*_: object) -> None:
        raise StorageError("no space left on device")

    monkeypatch.setattr(LocalFileStore, "put", noted)
    monkeypatch.setattr(type(node.stored_files), "_announce", refuse)
    with pytest.raises(StorageError):
        publish_actions.publish(node)
    (file,) = made
    assert file._fd == -1


def test_what_is_refused_at_the_end_leaves_no_event_of_an_encryption(node: Node) -> None:
    """findings B4: the event stood before the transaction that may refuse."""
    _prepared(node, "publish", SiteMode.ENFORCED)
    who = publish_actions.identity(node)
    with node.publishing.begin(who, publish_actions.request(replaces=False)) as publication:
        publication.write(NEW)
        publish_actions.publish(node)  # somebody else is faster
        with pytest.raises(ConflictError, match="exists already"):
            publication.finish()
    with node.publishing.begin(who, publish_actions.request(replaces=True)) as publication:
        publication.write(NEW)
        with node.repository.transaction() as tx:
            tx.sites.update(who.site.id, mode=SiteMode.DISABLED)
        with pytest.raises(StateError):
            publication.finish()
    told = [one["id"] for one in node.events.read()]
    assert told.count(extract_events.EXTRACT_ENCRYPTED) == 1


def test_an_upload_that_is_published_is_no_error_if_its_parts_stay(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """findings B4: the error was told of what had been done."""

    def refuse(*_: object) -> None:
        raise StorageError("no space left on device")

    _prepared(node, "upload", SiteMode.ENFORCED)
    with monkeypatch.context() as patch:
        patch.setattr(UploadsService, "_remove", refuse)
        publish_actions.upload(node)
    assert _content(node) == NEW


def test_a_credential_is_not_lost_to_a_regeneration_that_runs_meanwhile(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """findings D5, a sibling: it was sealed under an asset key that was dropped before it got its row."""
    login = Login("reader", SecretBytes(b"hunter2"))
    request = replace(publish_actions.request(replaces=False), logins=[login])
    with node.publishing.begin(publish_actions.identity(node), request) as publication:
        publication.write(NEW)
        commit, transaction = node.publishing.commit, Repository.transaction

        def regenerated_between(*given: Any, **more: Any) -> ContentRow:
            def first(repository: Repository, *reach: Reach) -> AbstractContextManager[Transaction]:
                monkeypatch.setattr(Repository, "transaction", transaction)
                node.regenerate.run("os:tester", lambda _: None, ["keys"])
                return repository.transaction(*reach)

            monkeypatch.setattr(Repository, "transaction", first)
            return commit(*given, **more)

        monkeypatch.setattr(node.publishing, "commit", regenerated_between)
        row = publication.finish()
    with node.repository.reading() as tx:
        (credential,) = tx.credentials.list_for_content(row.id)
    plain = node.assets.open_(credential.asset_key_id, credential.sealed, content_id=row.id)
    assert b"hunter2" in plain.reveal()
