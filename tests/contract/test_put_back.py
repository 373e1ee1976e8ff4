"""Whoever writes the coordination database, and has no key, on a real node (issue 10, "Must show" 1; review X3, X4; S3).

Each test is the attack of the review: on the revision before, it came through.
"""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from strongroom.config import versions
from strongroom.config.rotation import PREFIX, RECORDS, RotationJournal
from strongroom.coordination.base import Versioned
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, IntegrityError, StrongroomError
from strongroom.ids import new_id
from strongroom.joining import credentials
from strongroom.joining.credentials import Issued
from strongroom.node import create, opening
from strongroom.node.opening import Node
from strongroom.services.nodes.admit import CREDENTIALS, BootstrapRequest

ACTOR = "os:tester"
REDIS = "redis.password"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    create.create_node(str(tmp_path / "node"), "ada", SecretBytes(b"correct horse battery"))
    made = opening.open_node(str(tmp_path / "node"))
    yield made
    made.close()


class Writer:
    """Somebody who writes the database with SQL, as the digest of a row needs no key (coordination.md 1.3)."""

    def __init__(self, node: Node) -> None:
        self.path = node.paths.coordination

    def rows(self) -> dict[str, Versioned]:
        with closing(sqlite3.connect(self.path)) as connection:
            found = connection.execute("SELECT key, version, value FROM entries").fetchall()
        return {key: Versioned(value, version) for key, version, value in found}

    def write(self, key: str, value: bytes, version: int) -> None:
        over = key.encode() + b"\0" + str(version).encode() + b"\0" + value
        row = (key, version, value, hashlib.sha256(over).digest())
        self._run("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?)", row)

    def remove(self, key: str) -> None:
        self._run("DELETE FROM entries WHERE key = ?", (key,))

    def _run(self, statement: str, values: tuple[object, ...]) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute(statement, values)


@pytest.fixture
def writer(node: Node) -> Writer:
    return Writer(node)


def applied(node: Node, value: str) -> None:
    node.configuration.set(REDIS, value, actor=ACTOR)
    node.configuration.apply(actor=ACTOR)


def test_an_ordinary_setting_cannot_be_written(node: Node, writer: Writer) -> None:
    """S3: `redis.host` of his own gets the password at the next rotation."""
    row = writer.rows()[versions.CURRENT]
    changed = row.value.replace(b'"values":{', b'"values":{"redis.host":"evil.example",', 1)
    assert changed != row.value
    writer.write(versions.CURRENT, changed, row.version + 1)
    with pytest.raises(IntegrityError, match="'config' is refused"):
        node.configuration.effective("redis.host")


def test_an_older_document_at_its_own_version_or_the_present_one_is_refused(
    node: Node, writer: Writer
) -> None:
    """X4: the document before is always at hand, and has a genuine MAC."""
    applied(node, "first")
    old = writer.rows()[versions.CURRENT]
    applied(node, "second")
    present = writer.rows()[versions.CURRENT]
    kept = writer.rows()[versions.PREVIOUS]
    for value in (old.value, kept.value):
        writer.write(versions.CURRENT, value, present.version)
        with pytest.raises(IntegrityError, match="'config' is refused"):
            node.configuration.get(REDIS, actor=ACTOR)
    # at its own version the MAC fits; that this is an older state only the anchor tells (anchor.md)
    writer.write(versions.CURRENT, present.value, present.version)
    assert node.configuration.get(REDIS, actor=ACTOR) == "second"


def test_another_predecessor_is_refused(node: Node, writer: Writer) -> None:
    """X4; entries.md 3.1"""
    applied(node, "first")
    old = writer.rows()[versions.PREVIOUS]
    applied(node, "second")
    writer.write(versions.PREVIOUS, old.value, old.version)
    with pytest.raises(IntegrityError, match="before the present one is not the one"):
        versions.load_previous(node.coordinator)


def test_a_transaction_that_was_discarded_does_not_come_back(node: Node, writer: Writer) -> None:
    """X4: it was sealed and genuine, and `apply` brought its value into force."""
    node.configuration.set(REDIS, "discarded", actor=ACTOR)
    old = writer.rows()[versions.PENDING]
    assert node.configuration.discard()
    applied(node, "wanted")
    writer.write(versions.PENDING, old.value, old.version)
    for ask in (
        node.configuration.pending,
        lambda: node.configuration.apply(actor=ACTOR),
        lambda: node.configuration.set(REDIS, "next", actor=ACTOR),
    ):
        with pytest.raises(IntegrityError, match="were applied or discarded"):
            ask()
    assert node.configuration.get(REDIS, actor=ACTOR) == "wanted"
    with pytest.raises(IntegrityError, match="the entry 'pending' is there"):
        node.configuration.discard()
    assert node.accept_state(ACTOR, "to throw it away")
    assert node.configuration.discard(), "and it can be thrown away"
    applied(node, "next")


def test_a_journal_that_somebody_wrote_puts_no_setting_into_force(
    node: Node, writer: Writer
) -> None:
    """X4: `promote` put `redis.host` of a journal into the document, with an old value of the secret."""
    text = node.configuration.document().values[REDIS]
    journal = RotationJournal(
        "redis/strongroom",
        new_id(),
        {REDIS: text},
        {REDIS: text},
        {"redis.host": "evil.example"},
        {"redis.host": "evil.example"},
    )
    writer.write(PREFIX + REDIS, journal.serialize(), 1)
    with pytest.raises(FormatError, match="has no MAC"):
        node.rotation.journals.all()


def test_the_journal_of_a_rotation_that_is_over_does_not_come_back(
    node: Node, writer: Writer
) -> None:
    """X4 (f); entries.md 3.3: at the version at which it stood, and with its genuine MAC."""
    journals, text = node.rotation.journals, node.configuration.document().values[REDIS]
    document = node.configuration.version
    journal = RotationJournal("redis/one", new_id(), {REDIS: text}, {}, document=document)
    begun = journals.begin(journal)
    intended = writer.rows()[PREFIX + REDIS]
    promoted = journals.promote(begun)
    records, ended = writer.rows()[RECORDS], writer.rows()[PREFIX + REDIS]
    journals.finish(promoted)
    writer.write(PREFIX + REDIS, intended.value, intended.version)
    with pytest.raises(IntegrityError, match="is over"):
        journals.all()
    writer.write(PREFIX + REDIS, ended.value, ended.version)
    writer.remove(RECORDS)
    with pytest.raises(IntegrityError, match="the record of rotations does not"):
        journals.find((REDIS,))
    writer.write(RECORDS, records.value, records.version)
    assert journals.find((REDIS,)) == promoted


def test_a_credential_that_somebody_wrote_lets_nobody_in(node: Node, writer: Writer) -> None:
    """X3: a digest of his own secret was admitted; a public key of his own is not."""
    wanted = BootstrapRequest("node2", "https://node.example")
    node.topology.make_bootstrap_file(ACTOR, wanted)
    row = writer.rows()[CREDENTIALS]
    entry = node.coordinator.get(CREDENTIALS)
    assert entry
    forged = credentials.serialize(
        Issued(
            tuple(
                one._replace(public=bytes(32)) for one in credentials.parse(entry.value).credentials
            )
        )
    )
    mac = row.value[: -len(entry.value)]
    for value in (forged, mac + forged):
        writer.write(CREDENTIALS, value, row.version)
        with pytest.raises(StrongroomError) as caught:
            node.topology.make_bootstrap_file(ACTOR, wanted)
        assert caught.value.exit_code in {20, 21}


@pytest.mark.parametrize("other", ["pending", "restart", "config/previous"])
def test_an_entry_is_none_of_another_name(node: Node, writer: Writer, other: str) -> None:
    row = writer.rows()[versions.CURRENT]
    writer.write(other, row.value, row.version)
    with pytest.raises(IntegrityError, match=f"'{other}' is refused"):
        node.coordinator.get(other)


def test_an_entry_is_none_of_another_node(node: Node, writer: Writer, tmp_path: Path) -> None:
    create.create_node(str(tmp_path / "other"), "bob", SecretBytes(b"correct horse battery"))
    other = opening.open_node(str(tmp_path / "other"))
    try:
        row = Writer(other).rows()[versions.CURRENT]
    finally:
        other.close()
    writer.write(versions.CURRENT, row.value, row.version)
    with pytest.raises(IntegrityError, match="another installation"):
        node.configuration.document()


def test_a_configuration_key_that_only_decrypts_authenticates_nothing(
    node: Node, writer: Writer
) -> None:
    """X4 (b): which key counts was the document's own word."""
    before = writer.rows()[versions.CURRENT]
    node.regenerate.run(ACTOR, lambda _: None, ["keys"])
    writer.write(versions.CURRENT, before.value, before.version)
    with pytest.raises(IntegrityError, match="which is not in force"):
        node.configuration.document()
