"""What is kept of certificates: the authorities, a node's own, and the words of a node (docs/format/certificates.md 1, 3, 4)."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from strongroom import ids
from strongroom.canonical import to_base64
from strongroom.crypto import node_certificates
from strongroom.crypto.node_certificates import Issuing, NodeName
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, IntegrityError, StorageError
from strongroom.joining import authorities, node_keys, own_certificate, shown_certificates
from strongroom.joining.authorities import MOST_FORMER, Authorities
from strongroom.joining.own_certificate import OwnCertificate, Pair
from strongroom.joining.shown_certificates import ShownCertificates
from strongroom.runtime.paths import DataPaths

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
NAME = NodeName(ids.new_id(), "node2")
FIRST, SECOND = (node_certificates.new_authority(NAME.installation_id, NOW) for _ in range(2))
KEY = node_certificates.new_key()
PAIR = Pair(Issuing(FIRST, NOW).certify(node_certificates.request(KEY, NAME), NAME), KEY)
KEYS, OTHER = (node_keys.make(NAME.installation_id, "node2") for _ in range(2))
SHOWN = ShownCertificates(
    "node2", (PAIR.certificate,), "node2.example:8850", "2026-11-30T12:00:00Z"
)


def changed(data: bytes, **members: object) -> bytes:
    return json.dumps(json.loads(data) | members, sort_keys=True, separators=(",", ":")).encode()


def test_authorities_are_read_back_without_a_word_of_their_key() -> None:
    both = Authorities(FIRST).renewed(SECOND)
    found = authorities.parse(both.serialize())
    assert found.certificates == (SECOND.certificate, FIRST.certificate)
    assert found.present.key.reveal() == SECOND.key.reveal()
    assert both.without_former().certificates == (SECOND.certificate,)
    with pytest.raises(FormatError) as caught:
        authorities.parse(SecretBytes(changed(both.serialize().reveal(), format="x")))
    assert to_base64(SECOND.key.reveal()) not in str(caught.value)


def test_only_so_many_former_authorities_are_believed() -> None:
    found = Authorities(FIRST)
    for _ in range(MOST_FORMER + 2):
        found = found.renewed(SECOND)
    assert len(found.former) == MOST_FORMER


def test_an_authority_is_due_late_in_its_life_and_never_before_its_begin() -> None:
    """A node whose clock is a day behind must not replace the authority of all."""
    found = Authorities(FIRST)
    assert not found.is_due(NOW)
    assert not found.is_due(NOW - timedelta(days=1))
    assert found.is_due(NOW + timedelta(days=1300))


def test_a_new_authority_is_used_when_every_node_had_the_time_to_hear_of_it() -> None:
    spread, both = timedelta(seconds=60), Authorities(FIRST).renewed(SECOND)
    assert not both.is_used(NOW, spread)
    assert both.is_used(NOW + spread, spread)
    assert Authorities(FIRST).is_used(NOW, spread)
    assert Authorities(FIRST).has_issued((PAIR.certificate,))
    assert not both.has_issued((PAIR.certificate,))


def test_a_nodes_own_file_is_read_back(tmp_path: Path) -> None:
    paths = DataPaths(tmp_path)
    paths.tabsvc.mkdir()
    assert own_certificate.find(paths) is None
    own = OwnCertificate(NAME, PAIR, PAIR, (FIRST.certificate,), "ENC(x)")
    own_certificate.write(paths, own)
    found = own_certificate.find(paths)
    assert found is not None
    assert found.serialize().reveal() == own.serialize().reveal()
    assert found.certificates == (PAIR.certificate, PAIR.certificate)
    assert paths.certificate.stat().st_mode & 0o777 == 0o600
    assert PAIR.described.name == NAME
    assert own_certificate.parse(OwnCertificate(NAME).serialize().reveal()).certificates == ()
    with pytest.raises(FormatError):
        own_certificate.parse(changed(own.serialize().reveal(), more=1))


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    paths = DataPaths(tmp_path)
    paths.certificate.mkdir(parents=True)
    with pytest.raises(StorageError, match=r"cannot read .*certificate\.json"):
        own_certificate.find(paths)


def read(data: bytes, node_id: str = "node2") -> ShownCertificates:
    return shown_certificates.parse(data, NAME.installation_id, node_id, KEYS.public.signing)


def test_the_words_of_a_node_are_read_back() -> None:
    data = SHOWN.signed(NAME.installation_id, KEYS.signing)
    assert read(data) == SHOWN
    assert SHOWN.key_digests == {PAIR.described.key_digest}
    assert SHOWN._replace(at="2026-12-01T12:00:00Z").says_the_same(SHOWN)
    assert not SHOWN.says_the_same(None)
    assert not SHOWN.says_the_same(SHOWN._replace(address=""))


def test_nobody_says_for_a_node_which_certificates_are_its() -> None:
    """Design (f) 2: every node has the key of the authority, and of the MACs of entries."""
    forged = SHOWN.signed(NAME.installation_id, OTHER.signing)
    with pytest.raises(IntegrityError):
        read(forged)
    data = SHOWN.signed(NAME.installation_id, KEYS.signing)
    with pytest.raises(IntegrityError):
        read(changed(data, address="elsewhere.example:8850"))
    with pytest.raises(IntegrityError, match="another node"):
        read(data, "node3")
    with pytest.raises(IntegrityError):
        shown_certificates.parse(data, ids.new_id(), "node2", KEYS.public.signing)
    three = SHOWN._replace(certificates=(PAIR.certificate,) * 3)
    for strange in (three, SHOWN._replace(certificates=())):
        with pytest.raises(FormatError, match="none, or too many"):
            read(strange.signed(NAME.installation_id, KEYS.signing))
