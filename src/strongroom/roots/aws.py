"""AWS KMS as the root: the CMK gives the RMK as a data key (A-07); the one door to boto3.

Two actions are ever needed, `kms:GenerateDataKey` and `kms:Decrypt` on the key (A-04). What DescribeKey
would tell is asked for status only, and its refusal is no error. No call is made before the ARN and the
region are checked (A-08, A-09, Q-21).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from strongroom.clock import Clock, format_utc
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import (
    IntegrityError,
    RootError,
    RootRefusedError,
    RootUnavailableError,
    UsageError,
)
from strongroom.ids import new_id
from strongroom.roots import indirect
from strongroom.roots.base import Context, RootDescription, WrapForm, WrapRecord
from strongroom.roots.settings import RootSettings

KIND = "aws"
ATTEMPTS = 4
CONNECT_S = 3
READ_S = 5
_KEY_BYTES = 32
_ARN = re.compile(
    r"arn:(?P<partition>aws[a-z-]*):kms:(?P<region>[a-z0-9-]+):(?P<account>\d{12})"
    r":(?P<what>key|alias)/(?P<id>[A-Za-z0-9/_-]+)"
)


@dataclass(frozen=True)
class KeyArn:
    """A full key ARN."""

    text: str
    region: str
    account: str


def parse_arn(text: str) -> KeyArn:
    """The ARN as the console shows it; blanks and quotes around it are taken off (A-11).

    Raises:
        UsageError: It is no key ARN.
    """
    trimmed = text.strip().strip("\"'").strip()
    match = _ARN.fullmatch(trimmed)
    hint = "give the full ARN: arn:aws:kms:<region>:<account>:key/<key id>"
    if match is None:
        raise UsageError(f"not the ARN of a KMS key: {trimmed!r}", hint=hint)
    if match["what"] == "alias":
        raise UsageError(f"an alias can be moved to another key: {trimmed!r}", hint=hint)
    return KeyArn(trimmed, match["region"], match["account"])


def settings(key_arn: str, region: str) -> RootSettings:
    """Checked settings; asks nobody (A-08, A-09).

    Raises:
        UsageError: No key ARN, or the region is not the ARN's.
    """
    arn = parse_arn(key_arn)
    named = region.strip().strip("\"'")
    if named != arn.region:
        raise UsageError(
            f"the key is in region {arn.region}, not in {named}",
            hint=f"use --aws-region {arn.region}",
        )
    return RootSettings(KIND, arn.text, {"region": arn.region})


def build(root: RootSettings, clock: Clock) -> "AwsRoot":
    """The root with a client of boto3's default credential chain, instance role included (A-01)."""
    try:
        import boto3
        from botocore.config import Config
    except ImportError as error:
        raise RootError("the AWS root needs boto3", hint="pip install 'strongroom[aws]'") from error
    session = boto3.Session(region_name=root.options["region"])
    client = session.client(
        "kms",
        config=Config(
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            connect_timeout=CONNECT_S,
            read_timeout=READ_S,
        ),
    )
    return AwsRoot(client, root.root_key_id, clock, lambda: _identity(session))


class AwsRoot:
    """Wraps the RMK by one CMK."""

    def __init__(
        self, client: Any, arn: str, clock: Clock, identity: Callable[[], str] = lambda: ""
    ) -> None:
        """Build the root.

        Args:
            client: A KMS client of boto3.
            arn: The CMK.
            clock: For the times in records.
            identity: Who the credentials belong to, in words.
        """
        self._client = client
        self._arn = parse_arn(arn)
        self._clock = clock
        self._identity = identity

    def generate_data_key(self, context: Context) -> tuple[SecretBytes, WrapRecord]:
        """The data key is the RMK (A-07)."""
        key, blob = self._data_key(context.pairs())
        return key, self._record(context, "direct", blob, b"")

    def wrap(self, key: SecretBytes, context: Context) -> WrapRecord:
        """Wrap a given key: indirect, since no encrypt action may be needed (A-04)."""
        pairs = context.pairs()
        data_key, blob = self._data_key(pairs)
        return self._record(context, "indirect", blob, indirect.seal(key, data_key, pairs))

    def unwrap(self, record: WrapRecord) -> SecretBytes:
        """Decrypt, by the CMK that the record names and with the context it was made with (A-25)."""
        answer = self._call(
            "kms:Decrypt",
            record.root_key_id,
            lambda: self._client.decrypt(
                CiphertextBlob=record.blob,
                KeyId=record.root_key_id,
                EncryptionContext=dict(record.context),
            ),
        )
        key = _key(answer)
        if record.form == "direct":
            return key
        return indirect.open_(record.inner, key, record.context)

    def describe(self) -> RootDescription:
        """ARN, region, account and the identity used."""
        details = {"region": self._arn.region, "account": self._arn.account}
        return RootDescription(KIND, self._arn.text, {**details, "identity": self._identity()})

    def check(self) -> None:
        """GenerateDataKey and Decrypt, for real.

        Raises:
            RootError: The CMK or its policy does not allow one of them, or gives back another key.
        """
        key, record = self.generate_data_key(Context(new_id(), new_id(), new_id()))
        if self.unwrap(record) != key:
            raise RootError(f"the CMK {self._arn.text} gave back another key than it made")

    def _data_key(self, pairs: Mapping[str, str]) -> tuple[SecretBytes, bytes]:
        answer = self._call(
            "kms:GenerateDataKey",
            self._arn.text,
            lambda: self._client.generate_data_key(
                KeyId=self._arn.text, KeySpec="AES_256", EncryptionContext=dict(pairs)
            ),
        )
        return _key(answer), answer["CiphertextBlob"]

    def _record(self, context: Context, form: WrapForm, blob: bytes, inner: bytes) -> WrapRecord:
        now = format_utc(self._clock.now())
        return WrapRecord(
            id=context.wrap_id,
            kind=KIND,
            form=form,
            root_key_id=self._arn.text,
            region=self._arn.region,
            blob=blob,
            inner=inner,
            context=context.pairs(),
            added_at=now,
            last_verified=now,
        )

    def _call(self, action: str, arn: str, call: Callable[[], Any]) -> Any:
        """Run a call and translate what the SDK raises (requirements 7.5)."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return call()
        except ClientError as error:
            raise _translated(error.response, action, arn, self._identity()) from error
        except BotoCoreError as error:
            raise _unreachable(error, action, arn) from error


def _key(answer: Mapping[str, Any]) -> SecretBytes:
    key = SecretBytes(answer["Plaintext"])
    if len(key) != _KEY_BYTES:
        raise RootError(f"AWS KMS gave a key of {len(key)} bytes instead of {_KEY_BYTES}")
    return key


_TRANSIENT = frozenset(
    {
        "ThrottlingException",
        "Throttling",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "LimitExceededException",
        "KMSInternalException",
        "DependencyTimeoutException",
        "KeyUnavailableException",
        "InternalFailure",
        "ServiceUnavailable",
    }
)
_CREDENTIALS = frozenset(
    {
        "UnrecognizedClientException",
        "InvalidSignatureException",
        "ExpiredTokenException",
        "ExpiredToken",
        "RequestExpired",
        "IncompleteSignature",
        "MissingAuthenticationTokenException",
        "InvalidClientTokenId",
    }
)
#: Error of AWS → what happened and what to do; `{arn}`, `{action}` and `{who}` are filled in.
_REFUSED = {
    "AccessDeniedException": (
        "{who} may not {action} with {arn}",
        "allow {action} on the key for this identity, in its role's policy and in the key's policy",
    ),
    "DisabledException": ("the CMK {arn} is disabled", "enable it in AWS KMS"),
    "KMSInvalidStateException": (
        "the CMK {arn} cannot be used: it is pending deletion, or its material is missing",
        "cancel the deletion at once; when it is gone, all that it protects is lost",
    ),
    "NotFoundException": (
        "there is no CMK {arn}",
        "compare region, account and key id with the console",
    ),
    "IncorrectKeyException": (
        "the RMK was wrapped by another CMK than {arn}",
        "this is the store of another installation or of a backup",
    ),
    "InvalidKeyUsageException": (
        "the CMK {arn} is not a symmetric key for encryption",
        "create a symmetric key with the usage ENCRYPT_DECRYPT",
    ),
    "ValidationException": ("AWS KMS does not accept {arn}", "compare it with the console"),
    "InvalidArnException": ("AWS KMS does not accept {arn}", "compare it with the console"),
}


def _translated(
    response: Mapping[str, Any], action: str, arn: str, identity: str
) -> RootError | IntegrityError:
    code = str(response.get("Error", {}).get("Code", ""))
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code == "InvalidCiphertextException":
        return IntegrityError()
    if code in _TRANSIENT or status == 429 or status >= 500:
        return RootUnavailableError(
            f"AWS KMS cannot {action} now for {arn}: {code or status}",
            hint="it is tried again by itself; see the AWS service status if it lasts",
        )
    if code in _CREDENTIALS:
        return RootRefusedError(
            f"AWS does not accept the credentials used for {arn}: {code}",
            hint="check the instance role or the credentials, and this machine's clock",
        )
    words = {"arn": arn, "action": action, "who": identity or "this machine's identity"}
    message, hint = _REFUSED.get(
        "AccessDeniedException" if code in {"403", "AccessDenied"} else code,
        (f"AWS KMS refused {{action}} for {{arn}}: {code}", "see the AWS documentation"),
    )
    return RootRefusedError(message.format(**words), hint=hint.format(**words))


def _unreachable(error: Exception, action: str, arn: str) -> RootError:
    name = type(error).__name__
    if "Credential" in name or name == "NoRegionError":
        return RootRefusedError(
            f"there are no AWS credentials to {action} with {arn}",
            hint="attach a role to the instance, or set up the default credential chain",
        )
    return RootUnavailableError(
        f"AWS KMS cannot be reached to {action} with {arn}: {name}",
        hint="check network, proxy, TLS and the region's endpoint",
    )


def _identity(session: Any) -> str:
    """Where the credentials come from; asks nobody."""
    credentials = session.get_credentials()
    if credentials is None:
        return "nobody (no credentials)"
    return f"{credentials.method} {credentials.access_key}"
