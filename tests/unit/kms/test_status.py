"""The status as text and for scripts: K-10, Q-01."""

from strongroom.ids import new_id
from strongroom.kms import status as kms_status
from strongroom.kms.states import MekState
from strongroom.kms.status import KmsStatus, MekStatus

TIME = "2019-05-29T23:46:54Z"
ACTIVE = MekStatus(new_id(), MekState.ENCRYPT_OR_DECRYPT, TIME, TIME, None)
LOST = MekStatus(new_id(), MekState.UNAVAILABLE, None, None, None)


def status(*problems: str) -> KmsStatus:
    return KmsStatus(problems, "local", new_id(), TIME, (ACTIVE, LOST), 7)


def test_the_text_has_the_words_of_the_seeds() -> None:
    text = kms_status.as_text(status())
    assert text.splitlines()[0] == "Status: OK"
    assert f"  {ACTIVE.id}\n    Status: encrypt or decrypt key\n    Created at: {TIME}" in text
    assert f"    First transition to encrypt and decrypt: {TIME}" in text
    assert f"  {LOST.id}\n    Status: unavailable key\n    Created at: -" in text


def test_a_problem_makes_it_red() -> None:
    red = status("the root is gone")
    assert not red.is_ok
    assert kms_status.as_text(red).startswith("Status: ERROR\nProblem: the root is gone\n")
    assert kms_status.as_json(red)["status"] == "ERROR"
    assert kms_status.as_json(red)["problems"] == ["the root is gone"]


def test_scripts_get_the_same_fields_always() -> None:
    found = kms_status.as_json(status())
    assert found["meks"] == [
        {
            "id": ACTIVE.id,
            "status": "encrypt or decrypt",
            "created_at": TIME,
            "encrypting_since": TIME,
            "decrypt_only_since": None,
        },
        {
            "id": LOST.id,
            "status": "unavailable",
            "created_at": None,
            "encrypting_since": None,
            "decrypt_only_since": None,
        },
    ]
