"""Other people's servers for the demo of a cluster: three of ZooKeeper, PostgreSQL, an AWS that enforces policies, and S3.

They are the tests' own components, started as the tests start them; each node gets an identity of its own at AWS.
"""

import json
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.contract.roots.provider_aws import REGION, TWO_ACTIONS, MinistackLab, start_ministack
from tests.support import object_stores
from tests.support.cluster_services import ClusterServices, make_cluster_services
from tests.support.components.postgres import running_postgres
from tests.support.components.zookeeper_ensemble import running_ensemble

_POLICY = "strongroom"


@dataclass(frozen=True)
class Rig:
    """The servers.

    Attributes:
        services: ZooKeeper and PostgreSQL, with the options that name them.
        aws: The emulator of AWS, whose KMS has the key.
        store: The address of the store of extracts.
        region: The region of the key.
        seconds: How long all of them took to start.
    """

    services: ClusterServices
    aws: MinistackLab
    store: str
    region: str
    seconds: float

    @property
    def key(self) -> str:
        """The ARN of the key that protects the RMK."""
        return self.aws.settings.root_key_id

    def identity(self, name: str) -> Mapping[str, str]:
        """Make an identity at AWS that may use the key, and return the variables of its processes."""
        iam = self.aws.admin("iam")
        iam.create_user(UserName=name)
        self.allow(name)
        made = iam.create_access_key(UserName=name)["AccessKey"]
        return {
            **self.aws.endpoint,
            "AWS_ACCESS_KEY_ID": made["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"],
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def allow(self, name: str) -> None:
        """Let an identity use the key: generate data keys and decrypt them, and nothing else."""
        statement = {"Effect": "Allow", "Action": list(TWO_ACTIONS), "Resource": [self.key]}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.aws.admin("iam").put_user_policy(
            UserName=name, PolicyName=_POLICY, PolicyDocument=policy
        )

    def forbid(self, name: str) -> None:
        """Take that right away."""
        self.aws.admin("iam").delete_user_policy(UserName=name, PolicyName=_POLICY)


@contextmanager
def running(folder: Path) -> Iterator[Rig]:
    """All servers, started together; they end with the block."""
    began = time.monotonic()
    for name in ("aws", "s3"):
        (folder / name).mkdir()
    with ExitStack() as stack, ThreadPoolExecutor(4) as together:
        managers: list[Any] = [
            running_ensemble(),
            running_postgres(),
            start_ministack(folder / "aws"),
            object_stores.running("moto", folder / "s3"),
        ]
        entered = [together.submit(stack.enter_context, one) for one in managers]
        ensemble, postgres, aws, s3 = (one.result() for one in entered)
        services = make_cluster_services(ensemble, postgres, folder / "services")
        store = object_stores.bucket(s3.url, "extracts").address.text
        yield Rig(services, aws, store, REGION, time.monotonic() - began)
