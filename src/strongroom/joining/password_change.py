"""The change of a password that all nodes use: what one tells the others, and their answers (format/services-file.md 5); pure."""

from enum import StrEnum
from typing import Final, NamedTuple

from strongroom.canonical import UTF_8, Kind, to_base64
from strongroom.crypto import said
from strongroom.crypto.signing import SigningKey
from strongroom.crypto.statements import Origin, Purpose, Statement
from strongroom.joining.bootstrap_file import check_node_id

PREFIX: Final = "topology/passwords/"
CHANGE_FORMAT: Final = "strongroom-password-change-1"
ANSWER_FORMAT: Final = "strongroom-password-answer-1"
_CHANGE = Kind("the change of a password", UTF_8, most=16 << 10)
_ANSWER = Kind("the answer of a node to the change of a password", UTF_8, most=4 << 10)


class Stage(StrEnum):
    """The stages of a change, in their order."""

    #: Each node writes the new password down, beside the present one; the service does not know it yet.
    SPREAD = "spread"
    #: The service takes the new password: it is the one that counts on each node.
    IN_FORCE = "in force"
    #: The service refuses the old password, which each node forgets.
    DONE = "done"


class PasswordChange(NamedTuple):
    """A change as one node tells it.

    Attributes:
        change_id: UUID of the change.
        stage: The stage that it has reached.
        by: The node that makes it.
        text: The new password, sealed under the active configuration key.
    """

    change_id: str
    stage: Stage
    by: str
    text: str

    def serialize(self) -> bytes:
        """The canonical bytes."""
        return _CHANGE.dumps(
            {
                "format": CHANGE_FORMAT,
                "change_id": self.change_id,
                "stage": self.stage.value,
                "by": self.by,
                "password": self.text,
            }
        )


class Answer(NamedTuple):
    """The word of a node that it has done a stage.

    Attributes:
        change_id: UUID of the change.
        stage: The stage.
        node_id: The node.
        signature: The statement's signature by the node's own key.
    """

    change_id: str
    stage: Stage
    node_id: str
    signature: bytes

    def serialize(self) -> bytes:
        """The canonical bytes."""
        return _ANSWER.dumps(
            {
                "format": ANSWER_FORMAT,
                "change_id": self.change_id,
                "stage": self.stage.value,
                "node_id": self.node_id,
                "signature": to_base64(self.signature),
            }
        )

    def check(self, installation_id: str, public: bytes) -> None:
        """Prove that the node itself has said so.

        Raises:
            IntegrityError: The signature is not that of the node.
        """
        _said(installation_id, self).check(self.signature, public)


def parameter(service: str, change_id: str) -> str:
    """The name under which the new password of a change is sealed."""
    return f"service-password.{service} {change_id}"


def answered(installation_id: str, change: PasswordChange, node_id: str, key: SigningKey) -> Answer:
    """The answer of a node that has done the stage of a change.

    Args:
        installation_id: The installation.
        change: The change, at the stage that was done.
        node_id: The node.
        key: The key of that node.
    """
    answer = Answer(change.change_id, change.stage, node_id, b"")
    return answer._replace(signature=_said(installation_id, answer).signature(key))


def parse_change(data: bytes) -> PasswordChange:
    """The change of its bytes.

    Raises:
        FormatError: The bytes are none.
    """
    fields = _CHANGE.loads(data)
    fields.check_version("format", CHANGE_FORMAT)
    fields.check_names({"format", "change_id", "stage", "by", "password"})
    return PasswordChange(
        fields.id("change_id"),
        fields.one_of("stage", Stage),
        check_node_id(fields.text("by")),
        fields.text("password"),
    )


def parse_answer(data: bytes) -> Answer:
    """The answer of its bytes, whose signature is still to be checked.

    Raises:
        FormatError: The bytes are none.
    """
    fields = _ANSWER.loads(data)
    fields.check_version("format", ANSWER_FORMAT)
    fields.check_names({"format", "change_id", "stage", "node_id", "signature"})
    return Answer(
        fields.id("change_id"),
        fields.one_of("stage", Stage),
        check_node_id(fields.text("node_id")),
        fields.raw("signature"),
    )


def _said(installation_id: str, answer: Answer) -> Statement:
    payload = said.of_stage_done(answer.node_id, answer.change_id, answer.stage)
    return Statement(Purpose.STAGE_DONE, Origin(installation_id), payload)
