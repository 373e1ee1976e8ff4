"""AWS KMS twice: ministack enforces policies and states of keys, moto authenticates ciphertexts.

Between the SDK and the emulator stands a server with faults, over TLS; it counts what is called.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from typing_extensions import override

from strongroom.clock import SystemClock
from strongroom.roots import aws, aws_connection
from strongroom.roots.base import RootProvider
from strongroom.roots.settings import RootSettings
from tests.contract.roots.harness import FrontedLab, Told, Unfit, before
from tests.support import emulators, fault_server
from tests.support.emulators import Aws
from tests.support.fault_server import Fault, FaultServer, Response
from tests.support.tls import Authority

REGION = "us-west-2"
USER = "strongroom-node"
TWO_ACTIONS = ("kms:GenerateDataKey", "kms:Decrypt")
_POLICY = "strongroom"
_JSON = {"Content-Type": "application/x-amz-json-1.1"}


def _error(code: str, status: int = 400) -> Response:
    body = json.dumps({"__type": code, "message": f"made by the test: {code}"}).encode()
    return Response(status, body, _JSON)


ANSWERS = {
    Fault.SERVER_ERROR: _error("KMSInternalException", 500),
    Fault.THROTTLED: _error("ThrottlingException"),
    Fault.EXPIRED: _error("ExpiredTokenException"),
    Fault.MISSING: _error("NotFoundException"),
    # what another region says of the key's ARN
    Fault.WRONG_REGION: _error("NotFoundException"),
}


class AwsLab(FrontedLab):
    """What both emulators share."""

    told: ClassVar[Told] = {
        Fault.EXPIRED: ("ExpiredTokenException", "clock"),
        Fault.THROTTLED: ("ThrottlingException",),
    }

    def __init__(self, emulator: Aws, front: FaultServer, authority: Authority) -> None:
        self.emulator = emulator
        self.front = front
        self.ca_file = authority.ca_file
        self.key_ids = [self.admin("kms").create_key()["KeyMetadata"]["KeyId"] for _ in range(2)]
        arns = [
            self.admin("kms").describe_key(KeyId=one)["KeyMetadata"]["Arn"] for one in self.key_ids
        ]
        self.settings, self.foreign_settings = (aws.settings(arn, REGION) for arn in arns)
        self.credentials = {
            "AWS_ACCESS_KEY_ID": emulator.access_key,
            "AWS_SECRET_ACCESS_KEY": emulator.secret_key,
        }

    def admin(self, service: str) -> Any:
        """A client of the emulator itself, that may do everything."""
        import boto3

        return boto3.client(
            service,
            endpoint_url=self.emulator.url,
            region_name=REGION,
            aws_access_key_id=self.emulator.access_key,
            aws_secret_access_key=self.emulator.secret_key,
        )

    @property
    def endpoint(self) -> Mapping[str, str]:
        """Variables that lead the SDK here and to no file of whoever runs the tests."""
        return {
            "AWS_ENDPOINT_URL_KMS": self.front.url,
            "AWS_CA_BUNDLE": str(self.ca_file),
            "AWS_CONFIG_FILE": "/nonexistent/config",
            "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent/credentials",
        }

    @property
    @override
    def environment(self) -> Mapping[str, str]:
        return {**self.endpoint, **self.credentials, "AWS_EC2_METADATA_DISABLED": "true"}

    @override
    def quicken(self, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(aws_connection, "ATTEMPTS", 1)
        patch.setattr(aws, "CONSISTENT_S", 0.0)

    @override
    def await_answers(self, seconds: float, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(aws_connection, "READ_S", seconds)

    @override
    def root(self, settings: RootSettings | None = None) -> RootProvider:
        return aws.build(settings or self.settings, SystemClock())


class MinistackLab(AwsLab):
    """An IAM user who may do the two actions of A-04, and nothing else."""

    told: ClassVar[Told] = {
        **AwsLab.told,
        Fault.REFUSED: (f"user/{USER}", "kms:", "policy"),
        Fault.DISABLED: ("disabled", "enable it"),
        Fault.PENDING_DELETION: ("pending deletion", "cancel the deletion"),
        Fault.WRONG_REGION: ("there is no CMK", "compare region"),
    }
    authenticates = False

    def __init__(self, emulator: Aws, front: FaultServer, authority: Authority) -> None:
        super().__init__(emulator, front, authority)
        iam = self.admin("iam")
        iam.create_user(UserName=USER)
        self.allow(TWO_ACTIONS)
        key = iam.create_access_key(UserName=USER)["AccessKey"]
        self.credentials = {
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        }

    def policy(self, actions: tuple[str, ...] = TWO_ACTIONS) -> str:
        """The least policy, as docs/howto/root-aws.md has it."""
        statement = {
            "Effect": "Allow",
            "Action": list(actions),
            "Resource": [self.settings.root_key_id, self.foreign_settings.root_key_id],
        }
        return json.dumps({"Version": "2012-10-17", "Statement": [statement]})

    def allow(self, actions: tuple[str, ...]) -> None:
        """What the user may do from now on."""
        self.admin("iam").put_user_policy(
            UserName=USER, PolicyName=_POLICY, PolicyDocument=self.policy(actions)
        )

    @override
    def break_it(self, fault: Fault, undo: ExitStack) -> None:
        kms, key = self.admin("kms"), self.key_ids[0]
        match fault:
            case Fault.REFUSED:
                self.admin("iam").delete_user_policy(UserName=USER, PolicyName=_POLICY)
                undo.callback(self.allow, TWO_ACTIONS)
            case Fault.DISABLED:
                kms.disable_key(KeyId=key)
                undo.callback(kms.enable_key, KeyId=key)
            case Fault.PENDING_DELETION:
                kms.schedule_key_deletion(KeyId=key)
                undo.callback(kms.enable_key, KeyId=key)
                undo.callback(kms.cancel_key_deletion, KeyId=key)
            case _:
                super().break_it(fault, undo)


class MotoLab(AwsLab):
    """Ciphertexts are real here; the faults are those of the other lab, so they are not run twice."""

    unfit: ClassVar[Unfit] = dict.fromkeys(Fault, "tried with the other emulator")


@contextmanager
def start_ministack(folder: Path) -> Iterator[MinistackLab]:
    """ministack behind its front."""
    with ExitStack() as stack:
        emulator = stack.enter_context(emulators.ministack(folder))
        backend = fault_server.forward_to(emulator.url)
        yield MinistackLab(emulator, *stack.enter_context(before(backend, folder, ANSWERS)))


@contextmanager
def start_moto(folder: Path) -> Iterator[MotoLab]:
    """moto behind its front."""
    with ExitStack() as stack:
        emulator = stack.enter_context(emulators.moto(folder))
        backend = fault_server.forward_to(emulator.url)
        yield MotoLab(emulator, *stack.enter_context(before(backend, folder, ANSWERS)))
