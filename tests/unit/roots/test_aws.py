"""The AWS root without AWS: ARNs (A-08, A-09, Q-21) and what each error becomes."""

import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError, NoCredentialsError
from botocore.parsers import ResponseParserError

from strongroom.clock import FixedClock, SystemClock
from strongroom.errors import (
    IntegrityError,
    RootError,
    RootRefusedError,
    RootUnavailableError,
    UsageError,
)
from strongroom.foreign_words import ForeignError
from strongroom.ids import new_id
from strongroom.roots import aws
from strongroom.roots.aws import AwsRoot
from strongroom.roots.base import Context

ARN = "arn:aws:kms:us-west-2:867530990073:key/1abc23de-fg45-6hij-7k89-1l0mn1234567"


class Scripted:
    """A connection whose client answers by a function; counts how often it was renewed."""

    def __init__(self, answer: Callable[[], dict[str, Any]]) -> None:
        self._answer = answer
        self.renewed = 0
        self.asked: list[dict[str, object]] = []

    def client(self) -> "Scripted":
        return self

    def generate_data_key(self, **_: object) -> dict[str, Any]:
        return self._answer()

    def list_key_rotations(self, **words: object) -> dict[str, Any]:
        self.asked.append(words)
        return self._answer()

    def decrypt(self, **_: object) -> dict[str, Any]:
        return self._answer()

    def renew(self) -> None:
        self.renewed += 1

    def identity(self) -> str:
        return "instance role, access key ASIAEXAMPLE"

    def secrets(self) -> tuple[str, ...]:
        return ()

    def way(self) -> dict[str, str]:
        return {}

    def ends_at(self) -> None:
        return None


class Waiting:
    """Time that passes by sleeping only."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    def monotonic(self) -> float:
        return sum(self.waits)


def root(answer: Callable[[], dict[str, Any]], waiting: Waiting | None = None) -> AwsRoot:
    time = waiting or Waiting()
    return AwsRoot(Scripted(answer), ARN, SystemClock(), sleep=time.sleep, monotonic=time.monotonic)


def fresh() -> Context:
    return Context(new_id(), new_id(), new_id())


def raising(error: Exception) -> Callable[[], dict[str, Any]]:
    def answer() -> dict[str, Any]:
        raise error

    return answer


def refusal(code: str, message: str = "", status: int = 400) -> ClientError:
    told = {"Error": {"Code": code, "Message": message}}
    return ClientError({**told, "ResponseMetadata": {"HTTPStatusCode": status}}, "GenerateDataKey")


@pytest.mark.parametrize(
    "arn",
    [
        ARN,
        "arn:aws:kms:eu-central-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab",
        "arn:aws-cn:kms:cn-north-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
        "arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
    ],
)
def test_arns_of_every_partition(arn: str) -> None:
    assert aws.parse_arn(f' "{arn}" ').text == arn
    assert aws.settings(arn, arn.split(":")[3]).root_key_id == arn


@pytest.mark.parametrize(
    "arn", ["", "1abc23de", ARN.replace(":key/", ":alias/"), ARN + " x", ARN.replace("kms", "s3")]
)
def test_what_is_no_key_arn(arn: str) -> None:
    with pytest.raises(UsageError):
        aws.parse_arn(arn)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (refusal("ThrottlingException"), RootUnavailableError, "ThrottlingException"),
        (refusal("Strange", status=502), RootUnavailableError, "Strange"),
        (refusal("", status=429), RootUnavailableError, "429"),
        (refusal("KMSInvalidStateException"), RootRefusedError, "cancel the deletion"),
        (refusal("NotFoundException"), RootRefusedError, "compare region"),
        (refusal("IncorrectKeyException"), RootRefusedError, "another CMK"),
        (refusal("InvalidKeyUsageException"), RootRefusedError, "symmetric"),
        (refusal("SomethingNew"), RootRefusedError, "SomethingNew"),
        (refusal("AccessDeniedException"), RootRefusedError, "instance role"),
        (NoCredentialsError(), RootUnavailableError, "attach a role"),
        (ResponseParserError("<html>"), RootUnavailableError, "something else may answer"),
        (ValueError("Invalid endpoint"), RootUnavailableError, "endpoint"),
    ],
    ids=lambda value: str(value)[-60:] if isinstance(value, Exception) else None,
)
def test_every_error_is_one_of_ours(error: Exception, kind: type[RootError], words: str) -> None:
    with pytest.raises(RootError) as caught:
        root(raising(error)).generate_data_key(fresh())
    assert type(caught.value) is kind
    assert ARN in caught.value.message
    assert words in f"{caught.value.message} {caught.value.hint}"
    assert isinstance(caught.value.__cause__, ForeignError)
    assert type(error).__name__ in str(caught.value.__cause__)


def test_a_refusal_names_whom_aws_names() -> None:
    who = "arn:aws:sts::867530990073:assumed-role/strongroom-node/i-0abc"
    error = refusal("AccessDeniedException", f"User: {who} is not authorized to perform: kms:X")
    with pytest.raises(RootRefusedError) as caught:
        root(raising(error)).generate_data_key(fresh())
    assert f"{who} may not kms:GenerateDataKey with {ARN}" in caught.value.message
    assert who in caught.value.hint


def test_a_ciphertext_that_does_not_open_is_an_integrity_error() -> None:
    _, record = root(lambda: {"Plaintext": bytes(32), "CiphertextBlob": b"c"}).generate_data_key(
        fresh()
    )
    with pytest.raises(IntegrityError):
        root(raising(refusal("InvalidCiphertextException"))).unwrap(record)
    other = replace(record, root_key_id=ARN.replace("1abc", "2abc"))
    with pytest.raises(RootRefusedError, match="2abc"):
        root(lambda: {"Plaintext": bytes(32)}).unwrap(other)


@pytest.mark.parametrize("answer", [{}, {"Plaintext": b"short", "CiphertextBlob": b"c"}])
def test_a_key_of_another_length_is_refused(answer: dict[str, Any]) -> None:
    with pytest.raises(RootError, match="bytes instead of 32"):
        root(lambda: answer).generate_data_key(fresh())


def test_a_root_that_gives_back_another_key_does_not_pass_its_check() -> None:
    keys = iter([bytes(32), b"x" * 32])
    with pytest.raises(RootError, match="another key"):
        root(lambda: {"Plaintext": next(keys), "CiphertextBlob": b"c"}).check()


def test_credentials_that_expired_are_renewed_once() -> None:
    """7.2."""
    answers = iter([refusal("ExpiredTokenException"), None])

    def answer() -> dict[str, Any]:
        if (error := next(answers)) is not None:
            raise error
        return {"Plaintext": bytes(32), "CiphertextBlob": b"c"}

    connection = Scripted(answer)
    AwsRoot(connection, ARN, SystemClock()).generate_data_key(fresh())
    assert connection.renewed == 1
    with pytest.raises(RootRefusedError, match="ASIAEXAMPLE"):
        root(raising(refusal("ExpiredTokenException"))).generate_data_key(fresh())


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(RootError) as caught:
        aws.build(aws.settings(ARN, "us-west-2"), SystemClock())
    assert caught.value.hint == "pip install 'strongroom[aws]'"


KEY = {"Plaintext": bytes(32), "CiphertextBlob": b"blob"}


def test_a_preflight_waits_a_moment_for_a_permission_that_was_just_given() -> None:
    """7.5: IAM is eventually consistent."""
    waiting, answers = Waiting(), [refusal("AccessDeniedException")] * 3

    def answer() -> dict[str, Any]:
        if answers:
            raise answers.pop()
        return KEY

    root(answer, waiting).check()
    assert len(waiting.waits) == 3
    assert len(set(waiting.waits)) > 1
    assert all(0.5 <= pause <= 1.5 for pause in waiting.waits)


def test_it_waits_for_seconds_only_and_only_if_access_is_denied() -> None:
    waiting = Waiting()
    with pytest.raises(RootRefusedError, match="may not"):
        root(raising(refusal("AccessDeniedException")), waiting).check()
    assert aws.CONSISTENT_S <= sum(waiting.waits) <= aws.CONSISTENT_S + 2
    waiting = Waiting()
    with pytest.raises(RootRefusedError, match="disabled"):
        root(raising(refusal("DisabledException")), waiting).check()
    with pytest.raises(RootRefusedError, match="may not"):
        root(raising(refusal("AccessDeniedException")), waiting).generate_data_key(fresh())
    assert waiting.waits == []


def test_the_last_rotation_is_told_where_it_may_be_known() -> None:
    """7.4: ListKeyRotations, page by page."""
    pages: list[dict[str, Any]] = [
        {"Rotations": [{"RotationDate": moment(1)}], "Truncated": True, "NextMarker": "m"},
        {"Rotations": [{"RotationDate": moment(3)}, {"RotationDate": moment(2)}, {}]},
    ]
    assert root(lambda: pages.pop(0)).rotated_at() == "2026-01-03T00:00:00Z"
    assert root(lambda: {"Rotations": []}).rotated_at() == ""
    endless: dict[str, Any] = {"Rotations": [], "Truncated": True, "NextMarker": "m"}
    assert root(lambda: endless).rotated_at() == ""


def moment(day: int) -> datetime:
    return datetime(2026, 1, day, tzinfo=UTC)


def test_who_may_not_know_the_last_rotation_is_not_asked_again() -> None:
    """7.1: it degrades silently."""
    connection = Scripted(raising(refusal("AccessDeniedException")))
    refused = AwsRoot(connection, ARN, SystemClock())
    assert [refused.rotated_at(), refused.rotated_at()] == ["", ""]
    assert connection.asked == [{"KeyId": ARN}]


@pytest.mark.parametrize(
    ("date", "told"),
    [
        ("Fri, 02 Jan 2026 03:04:05 GMT", ""),
        ("Fri, 02 Jan 2026 03:14:05 GMT", "; this machine's clock is 600 s behind that of AWS"),
        ("Fri, 02 Jan 2026 02:54:05 GMT", "; this machine's clock is 600 s ahead of that of AWS"),
        ("soon", ""),
        ("Fri, 02 Jan 2026 03:04:05 -0000", ""),
    ],
)
def test_a_clock_that_is_wrong_is_told(date: str, told: str) -> None:
    """7.5."""
    error = refusal("RequestExpired")
    error.response["ResponseMetadata"]["HTTPHeaders"] = {"date": date}
    clock = FixedClock(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    with pytest.raises(RootRefusedError) as caught:
        AwsRoot(Scripted(raising(error)), ARN, clock).generate_data_key(fresh())
    assert caught.value.message.partition(")")[2] == told
