"""The key of a node's first certificate and the request for it (nodes.md 1.5; E11)."""

from datetime import UTC, datetime

import pytest

from strongroom.crypto import node_certificates
from strongroom.crypto.node_certificates import Authority, Issuing, NodeName
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError
from strongroom.ids import new_id
from strongroom.joining import certificate_request

NOW = datetime(2026, 11, 30, tzinfo=UTC)
NAME = NodeName(new_id(), "node2")
AUTHORITY, STRANGER = (node_certificates.new_authority(NAME.installation_id, NOW) for _ in "ab")
ASKED, OTHER = (certificate_request.make(NAME) for _ in "ab")


def certified(asked: bytes, by: Authority = AUTHORITY) -> bytes:
    return Issuing(by, NOW).certify(asked, NAME)


def test_what_is_written_is_read_back() -> None:
    data = ASKED.serialize().reveal()
    found = certificate_request.parse(data)
    assert (found.asked, found.key.reveal()) == (ASKED.asked, ASKED.key.reveal())
    with pytest.raises(FormatError):
        certificate_request.parse(data.replace(b"request-1", b"request-2"))


def test_the_answer_goes_with_the_key() -> None:
    made = certified(ASKED.asked)
    pair = ASKED.answered(made, (STRANGER.certificate, AUTHORITY.certificate), NAME)
    assert (pair.certificate, pair.key) == (made, ASKED.key)


@pytest.mark.parametrize(
    ("certificate", "name", "words"),
    [
        (certified(OTHER.asked), NAME, "not for the key of this node"),
        (certified(ASKED.asked), NAME._replace(node_id="node3"), "not for the key of this node"),
        (certified(ASKED.asked, STRANGER), NAME, "of none of the installation's authorities"),
        (b"no certificate", NAME, "this is no certificate"),
    ],
    ids=["key", "node", "authority", "bytes"],
)
def test_another_answer_is_refused(certificate: bytes, name: NodeName, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        ASKED.answered(certificate, (AUTHORITY.certificate,), name)


def test_whoever_asks_has_the_key() -> None:
    """A request whose signature is of another key is refused, as is one that names another node."""
    node_certificates.check_request(ASKED.asked, NAME)
    broken = bytearray(ASKED.asked)
    broken[-1] ^= 1
    with pytest.raises(FormatError, match=r"not signed by its own key|damaged"):
        node_certificates.check_request(bytes(broken), NAME)
    with pytest.raises(FormatError, match="of another node"):
        node_certificates.check_request(ASKED.asked, NAME._replace(node_id="node3"))
    with pytest.raises(FormatError, match="no private key"):
        node_certificates.key_digest(SecretBytes(b"x"))
