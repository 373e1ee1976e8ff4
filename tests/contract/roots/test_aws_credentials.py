"""Credentials of the default chain: an instance role over IMDSv2 (A-01, 7.2), renewal, retries of the SDK."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from strongroom.clock import SystemClock
from strongroom.errors import RootRefusedError, RootUnavailableError
from strongroom.ids import new_id
from strongroom.roots import aws, aws_connection
from strongroom.roots.base import Context
from tests.contract.roots.provider_aws import REGION, TWO_ACTIONS, MinistackLab
from tests.support import fault_server
from tests.support.fault_server import Fault, FaultServer, Request, Response

ROLE = "strongroom-node"
ministack = pytest.mark.parametrize("lab", ["aws-ministack"], indirect=True)


class Metadata:
    """IMDSv2 of an instance with a role: a session token first, then the role's credentials."""

    def __init__(self, lab: MinistackLab) -> None:
        self._lab = lab
        self._token = new_id()
        iam = lab.admin("iam")
        trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=document)
        self.allow()

    def allow(self) -> None:
        """Attach the two actions to the role."""
        self._lab.admin("iam").put_role_policy(
            RoleName=ROLE, PolicyName="strongroom", PolicyDocument=self._lab.policy(TWO_ACTIONS)
        )

    def revoke(self) -> None:
        """Take them away."""
        self._lab.admin("iam").delete_role_policy(RoleName=ROLE, PolicyName="strongroom")

    def remove(self) -> None:
        """Remove the role."""
        self._lab.admin("iam").delete_role(RoleName=ROLE)

    def answer(self, request: Request) -> Response:
        if request.method == "PUT" and request.path == "/latest/api/token":
            return Response(200, self._token.encode())
        if request.headers.get("x-aws-ec2-metadata-token") != self._token:
            return Response(401)
        folder = "/latest/meta-data/iam/security-credentials/"
        if request.path == folder:
            return Response(200, ROLE.encode())
        if request.path == folder + ROLE:
            return Response(200, self._credentials(), {"Content-Type": "application/json"})
        return Response(404)

    def _credentials(self) -> bytes:
        arn = f"arn:aws:iam::000000000000:role/{ROLE}"
        given = self._lab.admin("sts").assume_role(RoleArn=arn, RoleSessionName="i-0abc")
        until = datetime.now(UTC) + timedelta(hours=6)
        return json.dumps(
            {
                "Code": "Success",
                "Type": "AWS-HMAC",
                "LastUpdated": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
                "AccessKeyId": given["Credentials"]["AccessKeyId"],
                "SecretAccessKey": given["Credentials"]["SecretAccessKey"],
                "Token": given["Credentials"]["SessionToken"],
                "Expiration": f"{until:%Y-%m-%dT%H:%M:%SZ}",
            }
        ).encode()


@contextmanager
def instance(
    lab: MinistackLab, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Metadata, FaultServer]]:
    """A machine that has no credentials of its own but the role of its instance."""
    metadata = Metadata(lab)
    with fault_server.running(metadata.answer) as server:
        for name in (*lab.credentials, "AWS_EC2_METADATA_DISABLED"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.url)
        yield metadata, server
        metadata.remove()


def fresh() -> Context:
    return Context(new_id(), new_id(), new_id())


@ministack
def test_the_role_of_the_instance_is_used_and_its_revocation_obeyed(
    lab: MinistackLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A-01, A-05."""
    with instance(lab, monkeypatch) as (metadata, server):
        root = lab.root()
        key, record = root.generate_data_key(fresh())
        assert root.unwrap(record) == key
        assert root.describe().details["identity"].startswith("instance role, access key ")
        assert server.calls[0] == "PUT /latest/api/token"
        metadata.revoke()
        with pytest.raises(RootRefusedError) as caught:
            root.unwrap(record)
        assert f"assumed-role/{ROLE}/i-0abc may not kms:Decrypt" in caught.value.message
        metadata.allow()
        assert root.unwrap(record) == key
        metadata.revoke()


@ministack
def test_a_role_that_is_attached_later_is_found_without_a_restart(
    lab: MinistackLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    with instance(lab, monkeypatch) as (metadata, server):
        root = lab.root()
        with (
            server.broken(Fault.UNREACHABLE),
            pytest.raises(RootUnavailableError, match="no AWS credentials"),
        ):
            root.check()
        root.check()
        metadata.revoke()


@ministack
@pytest.mark.parametrize("attempts", ["1", "2"], ids=["default", "set by the operator"])
def test_one_lost_answer_of_the_metadata_service_is_no_loss_of_credentials(
    lab: MinistackLab, monkeypatch: pytest.MonkeyPatch, attempts: str
) -> None:
    """7.2: the SDK's default is one attempt."""
    monkeypatch.setenv("AWS_METADATA_SERVICE_NUM_ATTEMPTS", attempts)
    with instance(lab, monkeypatch) as (metadata, server):
        with server.broken(Fault.RESET, times=1, after=1):
            lab.root().check()
        metadata.revoke()


@ministack
@pytest.mark.parametrize("fault", [Fault.THROTTLED, Fault.SERVER_ERROR, Fault.RESET])
def test_what_passes_soon_is_no_error(
    lab: MinistackLab, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    """7.5: the SDK tries again, with jitter."""
    monkeypatch.setattr(aws_connection, "ATTEMPTS", 4)
    root = lab.root()
    with lab.front.broken(fault, times=1):
        root.check()


@ministack
def test_credentials_that_expire_are_read_anew_once(lab: MinistackLab) -> None:
    """7.5."""
    root = lab.root()
    with lab.front.broken(Fault.EXPIRED, times=1):
        root.check()


@ministack
def test_a_key_of_another_region_is_told(
    lab: MinistackLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R10: wrong region; region and ARN agree, but the key is elsewhere."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", lab.emulator.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", lab.emulator.secret_key)
    arn = lab.settings.root_key_id.replace(REGION, "eu-west-1")
    with pytest.raises(RootRefusedError) as caught:
        aws.build(aws.settings(arn, "eu-west-1"), SystemClock()).check()
    assert f"there is no CMK {arn}" in caught.value.message
    assert "compare region" in caught.value.hint
